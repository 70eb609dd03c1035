/**
 * A recogniser that reads one utterance on one connection (or in one request): opened when our detector hears speech
 * begin, with a little of what came before, and asked for its last word when speech is over.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { SttEvent, SttProvider, SttSession, UtteranceAudio } from './contract.ts';
import { Framer } from './frames.ts';
import { SAMPLES_PER_MS } from './rates.ts';
import { joinPieces } from './speakable.ts';
import { languageOf } from './streaming-stt.ts';
import { checkLine, type HearingLine, type LineSettings } from './stt-line.ts';

export type UtteranceSettings = LineSettings & {
  /** From the end of speech to the vendor's last word; then what it has said so far counts. Default 1800. */
  readonly finalMs?: number;
};

/** Speech begins before the detector is sure of it. */
const BEFORE_MS = 400;
/** What an utterance may be long; providers.md 3.2 allows 60 s. */
const MAX_MS = 58_000;
/** Pieces that wait for the next line, and lines of one utterance. */
const MAX_REST = 500;
const MAX_TURNS = 30;

export function utteranceStt(settings: UtteranceSettings): SttProvider {
  return {
    vendor: settings.vendor,
    reads: true,
    open: (call) => new UtteranceSession(settings, call),
    check: (signal) => checkLine(settings, signal),
  };
}

type Call = Parameters<SttProvider['open']>[0];

class UtteranceSession implements SttSession {
  readonly #settings: UtteranceSettings;
  readonly #call: Call;
  readonly #before = new Int16Array(BEFORE_MS * SAMPLES_PER_MS);
  /** In the order in which they were said: so they are told. */
  readonly #readings: Reading[] = [];
  #filled = 0;
  #current: Reading | null = null;
  #isOver = false;

  constructor(settings: UtteranceSettings, call: Call) {
    this.#settings = settings;
    this.#call = call;
  }

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    this.#current?.push(pcm);
    const kept = pcm.subarray(Math.max(0, pcm.length - this.#before.length));
    const old = Math.min(this.#filled, this.#before.length - kept.length);
    this.#before.copyWithin(0, this.#filled - old, this.#filled);
    this.#before.set(kept, old);
    this.#filled = old + kept.length;
  }

  speechStarted(): void {
    if (this.#isOver || this.#current !== null) return;
    this.#current = this.#begin(this.#before.slice(0, this.#filled));
  }

  speechStopped(audio: UtteranceAudio): void {
    if (this.#isOver) return;
    // Opened in the middle of speech: the utterance itself is all there is.
    const reading = this.#current ?? this.#begin(audio.pcm.slice());
    this.#current = null;
    reading.stop(audio);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const reading of this.#readings.splice(0)) reading.close();
    this.#current = null;
  }

  #begin(pcm: Int16Array): Reading {
    const reading = new Reading(this.#settings, this.#call, pcm, () => this.#settled());
    this.#readings.push(reading);
    return reading;
  }

  #settled(): void {
    while (!this.#isOver && this.#readings[0]?.isDone === true) {
      const { audio, text, confidence, error } = this.#readings.shift() as Reading;
      if (error !== null) this.#tell({ type: 'error', error });
      if (audio === null) continue;
      const { startMs, endMs } = audio;
      const language = text === '' ? null : languageOf(text);
      this.#tell({ type: 'final', text, confidence, startMs, endMs, language });
    }
    const partial = this.#readings[0]?.partial ?? '';
    if (!this.#isOver && partial !== '') this.#tell({ type: 'partial', text: partial });
  }

  #tell(event: SttEvent): void {
    this.#call.onEvent(event);
  }
}

/** One utterance on its way to words. */
class Reading {
  readonly #settings: UtteranceSettings;
  readonly #call: Call;
  readonly #abort = new AbortController();
  readonly #onSettled: () => void;
  /** Until the line is there, and again when it breaks. */
  #pcm: Int16Array[];
  #samples = 0;
  #line: HearingLine | null = null;
  #framer: Framer | null = null;
  #timer: TimerHandle | undefined;
  #tries = 0;
  audio: UtteranceAudio | null = null;
  #carried = '';
  /** Of a line that ended by itself before: its audio is not kept. */
  #safe = '';
  #rest: Int16Array[] = [];
  #turns = 0;
  partial = '';
  confidence: number | null = null;
  error: AppError | null = null;
  /** Nothing more will come of it, and speech is over. */
  isDone = false;

  constructor(settings: UtteranceSettings, call: Call, pcm: Int16Array, onSettled: () => void) {
    this.#settings = settings;
    this.#call = call;
    this.#pcm = [pcm];
    this.#samples = pcm.length;
    this.#onSettled = onSettled;
    void this.#open();
  }

  get text(): string {
    return joinPieces([this.#carried, this.partial].filter(Boolean));
  }

  push(pcm: Int16Array): void {
    if (this.#samples >= MAX_MS * SAMPLES_PER_MS) return this.#overflow(pcm);
    this.#samples += pcm.length;
    this.#pcm.push(pcm.slice());
    const line = this.#line;
    if (line !== null) this.#framer?.push(pcm, (frame) => line.send(frame));
  }

  /** More than the vendor takes at once: it says what it has, and the rest waits for the next line. */
  #overflow(pcm: Int16Array): void {
    if (this.#line?.isOver === false) this.#flush();
    if (this.#rest.length < MAX_REST) this.#rest.push(pcm.slice());
  }

  stop(audio: UtteranceAudio): void {
    this.audio = audio;
    const { clock } = this.#settings.tools;
    this.#timer = clock.setTimer(() => this.#done(null), this.#settings.finalMs ?? 1800);
    this.#flush();
  }

  close(): void {
    this.isDone = true;
    this.#settings.tools.clock.clearTimer(this.#timer);
    // The line first: its goodbye cannot be sent once the channel is given up.
    this.#drop();
    this.#abort.abort();
    this.#pcm = [];
  }

  async #open(): Promise<void> {
    this.#tries += 1;
    const { rateHz, frameMs, tools } = this.#settings;
    try {
      const resampling = await tools.resampling();
      let isMine = true;
      const line = await this.#settings.connect(
        this.#call,
        {
          partial: (text) => isMine && this.#heard(text),
          final: (text, confidence) => isMine && this.#read(text, confidence),
          failed: (error) => {
            if (!isMine) return;
            isMine = false;
            this.#failed(error);
          },
        },
        this.#abort.signal,
      );
      if (this.isDone || !isMine) return line.close();
      this.#line = line;
      const framer = new Framer(rateHz, frameMs, resampling.open(8000, rateHz));
      this.#framer = framer;
      for (const pcm of this.#pcm) framer.push(pcm, (frame) => line.send(frame));
      if (this.audio !== null) this.#flush();
    } catch (error) {
      this.#failed(toAppError(error, 'E_PROVIDER_SERVER'));
    }
  }

  #flush(): void {
    const line = this.#line;
    if (line === null) return;
    this.#framer?.flush((frame) => line.send(frame));
    line.flush?.();
  }

  #heard(text: string): void {
    this.partial = text;
    this.#onSettled();
  }

  #read(text: string, confidence: number | null): void {
    this.#carried = joinPieces([this.#carried, text].filter(Boolean));
    this.partial = '';
    this.confidence = confidence ?? this.confidence;
    if (this.audio !== null) this.#done(null);
    else {
      if (this.#line?.isOver === true) this.#goOn();
      this.#onSettled();
    }
  }

  /** The vendor took a pause for the end, or wants no longer utterances: the rest is read on a new line. */
  #goOn(): void {
    this.#drop();
    if (++this.#turns > MAX_TURNS) return;
    this.#safe = this.#carried;
    this.#pcm = this.#rest.splice(0);
    this.#samples = 0;
    this.#tries = 0;
    void this.#open();
  }

  #failed(error: AppError): void {
    if (this.isDone) return;
    this.#drop();
    const isHopeless = error.code === 'E_PROVIDER_AUTH' || error.code === 'E_PROVIDER_PARAM';
    if (!isHopeless && this.#tries < 2 && error.code !== 'E_ABORTED') {
      this.partial = '';
      this.#carried = this.#safe;
      void this.#open();
      return;
    }
    this.#done(error);
  }

  #done(error: AppError | null): void {
    if (this.isDone) return;
    const { audio } = this;
    const isLate = error === null && this.text === '' && this.#line === null;
    this.error =
      error ?? (isLate ? new AppError('E_TIMEOUT', 'the recogniser was too late') : null);
    this.close();
    this.audio = audio;
    this.#onSettled();
  }

  #drop(): void {
    this.#line?.close();
    this.#line = null;
    this.#framer?.close();
    this.#framer = null;
  }
}
