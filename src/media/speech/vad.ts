/**
 * Voice activity of one caller: WebRTC's detector (8 kHz, mode 3) behind an energy gate that follows the noise floor.
 * Says "speech" after two voiced frames of three (40-60 ms) and "stopped" when the hangover has run out.
 */
import loadFvad from '@echogarden/fvad-wasm';
import type { FvadModule } from '@echogarden/fvad-wasm';
import { NoiseFloor } from './noise-floor.ts';
import { FRAME_MS, FRAME_SAMPLES, VAD_HANGOVER_MS } from '../types.ts';

/** One 20 ms frame: speech or not. Holds native memory: free it. */
export type SpeechClassifier = {
  /** `level`: its RMS. */
  isSpeech(frame: Int16Array, level: number): boolean;
  free(): void;
};

export type VadOptions = {
  /** Non-speech after the last frame of speech that ends the utterance. */
  readonly hangoverMs?: number;
  /**
   * Whether a frame is the agent's own voice coming back. Asked about every frame; the answer counts for one that would
   * be speech (`isLoud`). `startMs`: its call time.
   */
  readonly isEcho?: (frame: Int16Array, startMs: number, isLoud: boolean) => boolean;
};

/** `startMs` and `endMs` are call times of the audio; `wireMs` is when that audio arrived. */
export type VadListener = {
  started(startMs: number, wireMs: number): void;
  /** `confirmMs` of speech have been heard since `startMs`. */
  lasted?(startMs: number, speechMs: number): void;
  stopped(startMs: number, endMs: number, wireMs: number): void;
};

const MODE_VERY_AGGRESSIVE = 3;
const RATE_HZ = 8000;

let module: Promise<FvadModule> | undefined;

/** Makes classifiers of one shared WASM instance (56 KB), loaded on first use. */
export async function loadSpeechClassifiers(): Promise<() => SpeechClassifier> {
  module ??= loadFvad();
  const fvad = await module;
  const pointer = fvad._malloc(FRAME_SAMPLES * 2);
  return () => {
    const handle = fvad._fvad_new();
    fvad._fvad_set_mode(handle, MODE_VERY_AGGRESSIVE);
    fvad._fvad_set_sample_rate(handle, RATE_HZ);
    return {
      isSpeech: (frame, level) => {
        if (level < DIGITAL_SILENCE) return false;
        fvad.HEAP16.set(frame, pointer >> 1);
        return fvad._fvad_process(handle, pointer, FRAME_SAMPLES) === 1;
      },
      free: () => fvad._fvad_free(handle),
    };
  };
}

/** Below about -78 dBFS the detector neither decides nor learns: it need not be asked. */
const DIGITAL_SILENCE = 4;
/** The shortest word (嗯, no) is longer: something fell over. */
const MISTAKEN_MS = 80;
/** Without packets for this long, time counts as silence. */
const SILENT_LINE_MS = 60;
/** A frame that came in one piece. One for all callers: what a call touches each frame is to be little. */
const whole = new Int16Array(FRAME_SAMPLES);

export class Vad {
  readonly #classifier: SpeechClassifier;
  readonly #listener: VadListener;
  readonly #hangoverMs: number;
  readonly #isEcho: VadOptions['isEcho'];
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  #fill = 0;
  /** Sum of squares of what is in the frame so far. */
  #energy = 0;
  #frameStartMs = 0;
  readonly #noise = new NoiseFloor();
  /** Last three verdicts, newest in bit 0. */
  #recent = 0;
  #isSpeaking = false;
  #startMs = 0;
  /** Frames of speech since the start, in ms. */
  #speechMs = 0;
  #confirmMs = Number.POSITIVE_INFINITY;
  #isConfirmed = false;
  #lastSpeechEndMs = 0;
  #lastSpeechWireMs = 0;
  #candidateMs = 0;
  #candidateWireMs = 0;
  #lastEndMs = 0;
  #freed = false;

  constructor(classifier: SpeechClassifier, listener: VadListener, options: VadOptions = {}) {
    this.#classifier = classifier;
    this.#listener = listener;
    this.#hangoverMs = options.hangoverMs ?? VAD_HANGOVER_MS;
    this.#isEcho = options.isEcho;
  }

  /** From here on speech of this length is told, once, also if it has begun. Infinity: it is not. */
  confirmAfter(ms: number): void {
    this.#confirmMs = ms;
    this.#isConfirmed = false;
  }

  get isSpeaking(): boolean {
    return this.#isSpeaking;
  }

  /** Takes samples in order of their sending; `startMs` is the call time of the first. */
  write(pcm: Int16Array, length: number, startMs: number, wireMs: number): void {
    if (Math.abs(startMs - (this.#frameStartMs + this.#fill / 8)) > FRAME_MS) {
      this.#fill = 0;
      this.#energy = 0;
    }
    for (let done = 0; done < length;) {
      if (this.#fill === 0) this.#frameStartMs = startMs + done / 8;
      const part = Math.min(FRAME_SAMPLES - this.#fill, length - done);
      if (part === FRAME_SAMPLES) {
        this.#energy = copyWithEnergy(pcm, done, whole, 0, part);
        done += part;
        this.#judge(whole, wireMs);
        continue;
      }
      this.#energy += copyWithEnergy(pcm, done, this.#frame, this.#fill, part);
      this.#fill += part;
      done += part;
      if (this.#fill < FRAME_SAMPLES) return;
      this.#fill = 0;
      this.#judge(this.#frame, wireMs);
    }
  }

  /** Lets time pass when no packets come. */
  tick(callMs: number): void {
    if (this.#isSpeaking) this.#stopAfterHangover(callMs - SILENT_LINE_MS);
  }

  /** Gives the detector's memory back. Idempotent. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#classifier.free();
  }

  #judge(frame: Int16Array, wireMs: number): void {
    const level = Math.sqrt(this.#energy / FRAME_SAMPLES);
    const voiced = this.#classifier.isSpeech(frame, level);
    this.#energy = 0;
    const isLoud = voiced && level > this.#noise.leastGate;
    const isEcho = this.#isEcho?.(frame, this.#frameStartMs, isLoud) === true;
    const isSpeech = isLoud && !isEcho && level > this.#noise.gate;
    if (!isEcho) this.#noise.hear(level, voiced, this.#isSpeaking);
    if (this.#frameStartMs - this.#lastEndMs > FRAME_MS * 3) this.#recent = 0;
    this.#lastEndMs = this.#frameStartMs + FRAME_MS;
    this.#recent = ((this.#recent << 1) | (isSpeech ? 1 : 0)) & 7;
    if (isSpeech) this.#hear(wireMs);
    else if (this.#isSpeaking) this.#stopAfterHangover(this.#lastEndMs);
  }

  #hear(wireMs: number): void {
    this.#lastSpeechEndMs = this.#frameStartMs + FRAME_MS;
    this.#lastSpeechWireMs = wireMs;
    this.#speechMs += FRAME_MS;
    if (this.#isSpeaking) return this.#confirm();
    if (this.#recent === 1) {
      this.#candidateMs = this.#frameStartMs;
      this.#candidateWireMs = wireMs;
      this.#speechMs = FRAME_MS;
      return;
    }
    this.#isSpeaking = true;
    this.#isConfirmed = false;
    this.#startMs = this.#candidateMs;
    this.#listener.started(this.#startMs, this.#candidateWireMs);
    this.#confirm();
  }

  #confirm(): void {
    if (this.#isConfirmed || this.#speechMs < this.#confirmMs) return;
    this.#isConfirmed = true;
    this.#listener.lasted?.(this.#startMs, this.#speechMs);
  }

  #stopAfterHangover(untilMs: number): void {
    if (untilMs - this.#lastSpeechEndMs < this.#hangoverMs) return;
    this.#isSpeaking = false;
    this.#recent = 0;
    if (this.#speechMs <= MISTAKEN_MS) this.#noise.mistaken();
    this.#listener.stopped(this.#startMs, this.#lastSpeechEndMs, this.#lastSpeechWireMs);
  }
}

/** Copies `count` samples and returns the sum of their squares. */
function copyWithEnergy(
  from: Int16Array,
  fromAt: number,
  to: Int16Array,
  toAt: number,
  count: number,
): number {
  let energy = 0;
  for (let i = 0; i < count; i++) {
    const sample = from[fromAt + i] as number;
    to[toAt + i] = sample;
    energy += sample * sample;
  }
  return energy;
}
