/**
 * A recogniser that hears the whole call on one connection and cuts sentences by itself, behind the contract of one
 * `final` for each utterance of our detector. A line that drops is opened again once, and hears again what it had not
 * read: nothing the caller said is lost with a connection.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { toAppError, type AppError } from '#lib/errors.ts';
import type { Language, SttEvent, SttProvider, SttSession, UtteranceAudio } from './contract.ts';
import { Framer } from './frames.ts';
import { SAMPLES_PER_MS } from './rates.ts';
import { joinPieces } from './speakable.ts';
import { checkLine, type HearingLine, type LineSettings } from './stt-line.ts';

export type StreamingSettings = LineSettings & {
  /** A vendor that has heard nothing by so long after the end of an utterance, heard no words in it. Default 800. */
  readonly quietMs?: number;
  /** The last word for an utterance, whatever the vendor has said by then. Default 1500. */
  readonly finalMs?: number;
  /** How far ahead of real time audio may be sent, when a line has to catch up. Default 1500. */
  readonly aheadMs?: number;
  /** How much faster than real time it goes from there: a line that stays behind is late with every word. Default 1.25. */
  readonly catchUpSpeed?: number;
};

/** Audio that is kept for a line to come: what was not read yet, at most. */
const KEPT_MS = 15_000;
const CATCH_UP_EVERY_MS = 60;

export function streamingStt(settings: StreamingSettings): SttProvider {
  return {
    vendor: settings.vendor,
    reads: true,
    open: (call) => new StreamingSession(settings, call),
    check: (signal) => checkLine(settings, signal),
  };
}

type Call = Parameters<SttProvider['open']>[0];

class StreamingSession implements SttSession {
  readonly #settings: StreamingSettings;
  readonly #call: Call;
  readonly #abort = new AbortController();
  readonly #unsaid = new Unsaid(KEPT_MS * SAMPLES_PER_MS);
  readonly #timers = new Set<TimerHandle>();
  #line: HearingLine | null = null;
  #framer: Framer | null = null;
  /** Lines opened since something was read. */
  #tries = 0;
  #isOpening = false;
  #isOver = false;
  /** Samples (8 kHz) given to this line, and when it began. */
  #sent = 0;
  #sinceMs = 0;
  #catchUp: TimerHandle | undefined;
  /** Sentences that are over, of an utterance that is not. */
  #carried = '';
  #confidence: number | null = null;
  #partial = '';
  /** What of the sentence under way was handed out already. */
  #given = '';
  readonly #pending: UtteranceAudio[] = [];

  constructor(settings: StreamingSettings, call: Call) {
    this.#settings = settings;
    this.#call = call;
    void this.#open();
  }

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    this.#unsaid.append(pcm);
    if (this.#line === null) void this.#open();
    else this.#send();
  }

  speechStarted(): void {
    // The line hears it by itself.
  }

  speechStopped(audio: UtteranceAudio): void {
    if (this.#isOver) return;
    this.#pending.push(audio);
    this.#line?.flush?.();
    const { quietMs = 800, finalMs = 1500 } = this.#settings;
    if (this.#carried !== '' && this.#partial === '' && !this.#isBehind) {
      return this.#later(0, () => this.#settle());
    }
    this.#later(quietMs, () => {
      if (this.#pending.includes(audio) && this.#partial === '' && !this.#isBehind) this.#settle();
    });
    this.#later(finalMs, () => {
      if (!this.#pending.includes(audio)) return;
      this.#carried = joinPieces([this.#carried, this.#partial].filter(Boolean));
      this.#given = joinPieces([this.#given, this.#partial].filter(Boolean));
      this.#partial = '';
      this.#settle();
    });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // The line first: its goodbye cannot be sent once the channel is given up.
    this.#drop();
    this.#abort.abort();
    for (const timer of this.#timers) this.#settings.tools.clock.clearTimer(timer);
    this.#timers.clear();
  }

  /** The vendor has not been given all that was said: what it has read by now is of something earlier. */
  get #isBehind(): boolean {
    return this.#line === null || this.#unsaid.unread > 0;
  }

  // ---- The line ----

  async #open(): Promise<void> {
    if (this.#isOpening || this.#isOver) return;
    this.#isOpening = true;
    this.#tries += 1;
    const { rateHz, frameMs, tools } = this.#settings;
    let line: HearingLine | null = null;
    try {
      const resampling = await tools.resampling();
      let isMine = true;
      const mine = (act: () => void) => {
        if (isMine && !this.#isOver) act();
      };
      line = await this.#settings.connect(
        this.#call,
        {
          partial: (text) => mine(() => this.#heard(text)),
          final: (text, confidence) => mine(() => this.#read(text, confidence)),
          failed: (error) =>
            mine(() => {
              isMine = false;
              this.#failed(error);
            }),
        },
        this.#abort.signal,
      );
      if (this.#isOver || !isMine) return line.close();
      this.#line = line;
      this.#framer = new Framer(rateHz, frameMs, resampling.open(8000, rateHz));
      this.#sinceMs = tools.clock.now();
      this.#sent = 0;
      this.#send();
      if (this.#pending.length > 0) line.flush?.();
    } catch (error) {
      if (!this.#isOver) this.#failed(toAppError(error, 'E_PROVIDER_SERVER'));
    } finally {
      this.#isOpening = false;
    }
    if (this.#line === null && !this.#isOver && this.#tries === 1) void this.#open();
  }

  /** A line that had worked is opened again at once; one that had not, is the vendor's fault. */
  #failed(error: AppError): void {
    this.#drop();
    this.#unsaid.rewind();
    const isHopeless = error.code === 'E_PROVIDER_AUTH' || error.code === 'E_PROVIDER_PARAM';
    if (error.code === 'E_PROVIDER_IDLE') this.#tries = 0;
    else if (!isHopeless && this.#tries < 2) return void this.#open();
    else this.#giveUp(error);
  }

  #giveUp(error: AppError): void {
    this.#isOver = true;
    this.close();
    for (const timer of this.#timers) this.#settings.tools.clock.clearTimer(timer);
    this.#timers.clear();
    this.#tell({ type: 'error', error, isFatal: true });
  }

  #drop(): void {
    this.#settings.tools.clock.clearTimer(this.#catchUp);
    this.#catchUp = undefined;
    this.#line?.close();
    this.#line = null;
    this.#framer?.close();
    this.#framer = null;
    this.#partial = '';
    this.#given = '';
  }

  /** Whatever was not sent yet, no faster than the vendor takes it. */
  #send(): void {
    const { clock } = this.#settings.tools;
    const line = this.#line;
    const framer = this.#framer;
    if (line === null || framer === null || this.#catchUp !== undefined) return;
    const { aheadMs = 1500, catchUpSpeed = 1.25 } = this.#settings;
    const mayMs = (clock.now() - this.#sinceMs) * catchUpSpeed + aheadMs;
    const room = Math.max(0, Math.floor(mayMs * SAMPLES_PER_MS) - this.#sent);
    this.#sent += this.#unsaid.read(room, (pcm) => framer.push(pcm, (frame) => line.send(frame)));
    if (this.#unsaid.unread === 0 || this.#line === null) return;
    this.#catchUp = clock.setTimer(() => {
      this.#catchUp = undefined;
      this.#send();
    }, CATCH_UP_EVERY_MS);
  }

  // ---- Words ----

  #heard(text: string): void {
    this.#partial = withoutGiven(text, this.#given);
    const whole = joinPieces([this.#carried, this.#partial].filter(Boolean));
    if (whole !== '') this.#tell({ type: 'partial', text: whole });
  }

  #read(text: string, confidence: number | null): void {
    this.#tries = 0;
    this.#unsaid.forget();
    const words = withoutGiven(text, this.#given);
    this.#given = '';
    this.#partial = '';
    this.#confidence = confidence ?? this.#confidence;
    this.#carried = joinPieces([this.#carried, words].filter(Boolean));
    if (this.#pending.length > 0) this.#settle();
  }

  /** What was read belongs to the oldest utterance; those that the same sentence reaches into had no other words. */
  #settle(): void {
    const utterances = this.#pending.splice(0);
    for (const [index, { startMs, endMs }] of utterances.entries()) {
      const text = index === 0 ? this.#carried : '';
      const confidence = text === '' ? null : this.#confidence;
      const language = text === '' ? null : languageOf(text);
      this.#tell({ type: 'final', text, confidence, startMs, endMs, language });
    }
    if (utterances.length > 0) this.#carried = '';
    this.#confidence = null;
  }

  #later(ms: number, act: () => void): void {
    const { clock } = this.#settings.tools;
    const timer = clock.setTimer(() => {
      this.#timers.delete(timer);
      if (!this.#isOver) act();
    }, ms);
    this.#timers.add(timer);
  }

  #tell(event: SttEvent): void {
    this.#call.onEvent(event);
  }
}

/** Audio that no final has covered yet, and how far it was sent. The oldest goes when there is too much. */
class Unsaid {
  readonly #ring: Int16Array;
  /** Positions since the start, in samples. */
  #from = 0;
  #sentTo = 0;
  #to = 0;

  constructor(samples: number) {
    this.#ring = new Int16Array(samples);
  }

  get unread(): number {
    return this.#to - this.#sentTo;
  }

  append(pcm: Int16Array): void {
    for (let done = 0; done < pcm.length;) {
      const at = this.#to % this.#ring.length;
      const count = Math.min(pcm.length - done, this.#ring.length - at);
      this.#ring.set(pcm.subarray(done, done + count), at);
      done += count;
      this.#to += count;
    }
    this.#from = Math.max(this.#from, this.#to - this.#ring.length);
    this.#sentTo = Math.max(this.#sentTo, this.#from);
  }

  /** Gives up to `limit` samples that were not sent yet; returns how many. */
  read(limit: number, send: (pcm: Int16Array) => void): number {
    let left = Math.min(limit, this.unread);
    const total = left;
    while (left > 0) {
      const at = this.#sentTo % this.#ring.length;
      const count = Math.min(left, this.#ring.length - at);
      this.#sentTo += count;
      left -= count;
      send(this.#ring.subarray(at, at + count));
    }
    return total;
  }

  /** What was sent was read. */
  forget(): void {
    this.#from = this.#sentTo;
  }

  /** What was sent went nowhere. */
  rewind(): void {
    this.#sentTo = this.#from;
  }
}

/** A sentence without what was handed out of it before its end; a vendor that changed its mind repeats itself. */
function withoutGiven(text: string, given: string): string {
  if (given === '') return text;
  const plain = (words: string): string => words.replace(/[\p{P}\p{S}\s]/gu, '');
  const skip = plain(given);
  if (!plain(text).startsWith(skip)) return text;
  let left = skip.length;
  let at = 0;
  for (; at < text.length && left > 0; at++) if (plain(text.charAt(at)) !== '') left--;
  return text.slice(at).replace(/^[\p{P}\p{S}\s]+/u, '');
}

export function languageOf(text: string): Language {
  return /\p{Script=Han}/u.test(text) ? 'zh' : 'en';
}
