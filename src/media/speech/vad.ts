/**
 * Voice activity of one caller: WebRTC's detector (8 kHz, mode 3) behind an energy gate that follows the noise floor.
 * Says "speech" after two voiced frames of three (40-60 ms) and "stopped" when the hangover has run out.
 */
import loadFvad from '@echogarden/fvad-wasm';
import type { FvadModule } from '@echogarden/fvad-wasm';
import { FrameSound } from './frame-sound.ts';
import { decibelsOf, NoiseFloor } from './noise-floor.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ, VAD_HANGOVER_MS } from '../types.ts';

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
   * be speech (`isLoud`). `startMs`: its call time; `sound`: the frame with its levels.
   */
  isEcho?(frame: Int16Array, startMs: number, isLoud: boolean, sound: FrameSound): boolean;
};

/** `startMs` and `endMs` are call times of the audio; `wireMs` is when that audio arrived. */
export type VadListener = {
  started(startMs: number, wireMs: number): void;
  /** `confirmMs` of speech have been heard since `startMs`. */
  lasted?(startMs: number, speechMs: number): void;
  stopped(startMs: number, endMs: number, wireMs: number): void;
};

const MODE_VERY_AGGRESSIVE = 3;
const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;

let module: Promise<FvadModule> | undefined;

/** Makes classifiers of one shared WASM instance (56 KB), loaded on first use. */
export async function loadSpeechClassifiers(): Promise<() => SpeechClassifier> {
  module ??= loadFvad();
  const fvad = await module;
  const pointer = fvad._malloc(FRAME_SAMPLES * 2);
  return () => new FvadClassifier(fvad, pointer);
}

/** Below about -78 dBFS the detector neither decides nor learns: it need not be asked. */
const DIGITAL_SILENCE = 4;

class FvadClassifier implements SpeechClassifier {
  readonly #fvad: FvadModule;
  /** Where in its memory the frame is laid: one place for all callers. */
  readonly #pointer: number;
  readonly #handle: number;

  constructor(fvad: FvadModule, pointer: number) {
    this.#fvad = fvad;
    this.#pointer = pointer;
    this.#handle = fvad._fvad_new();
    fvad._fvad_set_mode(this.#handle, MODE_VERY_AGGRESSIVE);
    fvad._fvad_set_sample_rate(this.#handle, SAMPLE_RATE_HZ);
  }

  isSpeech(frame: Int16Array, level: number): boolean {
    if (level < DIGITAL_SILENCE) return false;
    this.#fvad.HEAP16.set(frame, this.#pointer >> 1);
    return this.#fvad._fvad_process(this.#handle, this.#pointer, FRAME_SAMPLES) === 1;
  }

  free(): void {
    this.#fvad._fvad_free(this.#handle);
  }
}

/** The shortest word (嗯, no) is longer: something fell over. */
const MISTAKEN = 80 * SAMPLES_PER_MS;
/** Without packets for this long, time counts as silence. */
const SILENT_LINE_MS = 60;
/** The frame being judged, of whichever caller. */
const sound = new FrameSound();

/** Times are kept in samples of call time: small integers lie in the object, any other number is a place of its own. */
export class Vad {
  readonly #classifier: SpeechClassifier;
  readonly #listener: VadListener;
  readonly #options: VadOptions;
  readonly #hangover: number;
  readonly #noise = new NoiseFloor();
  /** Samples of a frame that comes in parts. */
  #fill = 0;
  #frameAt = 0;
  #lastEnd = 0;
  /** Last three verdicts, newest in bit 0. */
  #recent = 0;
  #isSpeaking = false;
  #isConfirmed = false;
  #start = 0;
  /** Frames of speech since the start, in samples. */
  #speech = 0;
  #confirmMs = Number.POSITIVE_INFINITY;
  #lastSpeechEnd = 0;
  #candidate = 0;
  #lastSpeechWireMs = 0;
  #candidateWireMs = 0;
  #frame: Int16Array | null = null;
  #freed = false;

  constructor(classifier: SpeechClassifier, listener: VadListener, options: VadOptions = {}) {
    this.#classifier = classifier;
    this.#listener = listener;
    this.#options = options;
    this.#hangover = (options.hangoverMs ?? VAD_HANGOVER_MS) * SAMPLES_PER_MS;
  }

  /** From here on speech of this length is told, once, also if it has begun. Infinity: it is not. */
  confirmAfter(ms: number): void {
    this.#confirmMs = ms;
    this.#isConfirmed = false;
  }

  get isSpeaking(): boolean {
    return this.#isSpeaking;
  }

  /**
   * Takes samples in order of their sending; `startMs` is the call time of the first. Returns their levels when they were
   * one whole frame, until the next call for whichever caller.
   */
  write(pcm: Int16Array, length: number, startMs: number, wireMs: number): FrameSound | null {
    const at = Math.round(startMs * SAMPLES_PER_MS);
    if (this.#fill === 0 && length === FRAME_SAMPLES) {
      this.#judge(pcm, 0, at, wireMs);
      return sound;
    }
    this.#gather(pcm, length, at, wireMs);
    return null;
  }

  /** Lets time pass when no packets come. */
  tick(callMs: number): void {
    if (this.#isSpeaking) this.#stopAfterHangover((callMs - SILENT_LINE_MS) * SAMPLES_PER_MS);
  }

  /** Gives the detector's memory back. Idempotent. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#classifier.free();
  }

  /** Samples that are not one frame each. */
  #gather(pcm: Int16Array, length: number, at: number, wireMs: number): void {
    const frame = (this.#frame ??= new Int16Array(FRAME_SAMPLES));
    if (Math.abs(at - (this.#frameAt + this.#fill)) > FRAME_SAMPLES) this.#fill = 0;
    for (let done = 0; done < length;) {
      if (this.#fill === 0) this.#frameAt = at + done;
      const part = Math.min(FRAME_SAMPLES - this.#fill, length - done);
      for (let i = 0; i < part; i++) frame[this.#fill + i] = pcm[done + i] as number;
      this.#fill += part;
      done += part;
      if (this.#fill < FRAME_SAMPLES) return;
      this.#fill = 0;
      this.#judge(frame, 0, this.#frameAt, wireMs);
    }
  }

  #judge(pcm: Int16Array, from: number, at: number, wireMs: number): void {
    this.#frameAt = at;
    sound.take(pcm, from);
    const { samples } = sound;
    const voiced = this.#classifier.isSpeech(samples, sound.level);
    const db = decibelsOf(sound.energy);
    const noise = this.#noise;
    const isLoud = voiced && noise.isSound(db);
    const isForeign = this.#options.isEcho?.(samples, at / SAMPLES_PER_MS, isLoud, sound) === true;
    const isSpeech = isLoud && !isForeign && noise.standsOut(db);
    if (!isForeign) noise.hear(db, voiced, this.#isSpeaking);
    if (at - this.#lastEnd > FRAME_SAMPLES * 3) this.#recent = 0;
    this.#lastEnd = at + FRAME_SAMPLES;
    this.#recent = ((this.#recent << 1) | (isSpeech ? 1 : 0)) & 7;
    if (isSpeech) this.#hear(at, wireMs);
    else if (this.#isSpeaking) this.#stopAfterHangover(this.#lastEnd);
  }

  #hear(at: number, wireMs: number): void {
    this.#lastSpeechEnd = at + FRAME_SAMPLES;
    this.#lastSpeechWireMs = wireMs;
    this.#speech += FRAME_SAMPLES;
    if (this.#isSpeaking) return this.#confirm();
    if (this.#recent === 1) {
      this.#candidate = at;
      this.#candidateWireMs = wireMs;
      this.#speech = FRAME_SAMPLES;
      return;
    }
    this.#isSpeaking = true;
    this.#isConfirmed = false;
    this.#start = this.#candidate;
    this.#listener.started(this.#start / SAMPLES_PER_MS, this.#candidateWireMs);
    this.#confirm();
  }

  #confirm(): void {
    if (this.#isConfirmed) return;
    const speechMs = this.#speech / SAMPLES_PER_MS;
    if (speechMs < this.#confirmMs) return;
    this.#isConfirmed = true;
    this.#listener.lasted?.(this.#start / SAMPLES_PER_MS, speechMs);
  }

  #stopAfterHangover(until: number): void {
    if (until - this.#lastSpeechEnd < this.#hangover) return;
    this.#isSpeaking = false;
    this.#recent = 0;
    if (this.#speech <= MISTAKEN) this.#noise.mistaken();
    const [startMs, endMs] = [this.#start / SAMPLES_PER_MS, this.#lastSpeechEnd / SAMPLES_PER_MS];
    this.#listener.stopped(startMs, endMs, this.#lastSpeechWireMs);
  }
}
