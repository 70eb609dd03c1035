/**
 * What a recogniser would have to hear again if it were replaced now: the audio since the last utterance that was read,
 * and the detector's words about it, at their places. Bounded: of a long silence only its end is kept.
 */
import type { SttSession, UtteranceAudio } from '../contract.ts';
import { SAMPLES_PER_MS } from '../rates.ts';

export type Unread = {
  readonly at: number;
  readonly audio: UtteranceAudio;
  /** Another recogniser was asked for it, since the first heard nothing in it. */
  isSecondTry: boolean;
};

type Started = { readonly at: number; readonly startMs: number };

/** Before the beginning of speech, and of silence. */
const LEAD_MS = 800;
const MAX_MS = 15_000;
const MAX_UNREAD = 16;
const CHUNK = 160;
const SMALL = 2_000 * SAMPLES_PER_MS;

export class HeardAudio {
  #ring = new Int16Array(SMALL);
  /** Samples since the beginning. */
  #to = 0;
  #from = 0;
  readonly #started: Started[] = [];
  readonly #unread: Unread[] = [];

  /** The detector hears speech now. */
  get isSpeaking(): boolean {
    return (this.#started.at(-1)?.at ?? -1) >= (this.#unread.at(-1)?.at ?? 0);
  }

  get unread(): readonly Unread[] {
    return this.#unread;
  }

  push(pcm: Int16Array): void {
    const isNeeded = this.#started.length > 0 || this.#unread.length > 0;
    const keep = (isNeeded ? MAX_MS : LEAD_MS) * SAMPLES_PER_MS;
    if (!isNeeded && this.#ring.length > SMALL) this.#resize(SMALL);
    else if (this.#to - this.#from + pcm.length > this.#ring.length) this.#grow(pcm.length, keep);
    for (let done = 0; done < pcm.length;) {
      const at = this.#to % this.#ring.length;
      const count = Math.min(pcm.length - done, this.#ring.length - at);
      this.#ring.set(pcm.subarray(done, done + count), at);
      done += count;
      this.#to += count;
    }
    this.#from = Math.max(this.#from, this.#to - Math.min(keep, this.#ring.length));
  }

  started(startMs: number): void {
    this.#started.push({ at: this.#to, startMs });
    if (this.#started.length > MAX_UNREAD) this.#started.shift();
  }

  stopped(audio: UtteranceAudio): Unread {
    const unread = { at: this.#to, audio, isSecondTry: false };
    this.#unread.push(unread);
    if (this.#unread.length > MAX_UNREAD) this.#unread.shift();
    return unread;
  }

  /**
   * The oldest utterance has been read, or by its end (call time) a later one: it, and what came before it, is not needed
   * any more. Null: no utterance waits for that.
   */
  read(endMs: number | null = null): Unread | null {
    if (endMs !== null && endMs <= (this.#unread[0]?.audio.startMs ?? 0)) return null;
    let unread = this.#unread.shift() ?? null;
    while (unread !== null && endMs !== null && endMs > unread.audio.endMs) {
      const next = this.#unread[0];
      if (next === undefined || endMs <= next.audio.startMs) break;
      unread = this.#unread.shift() ?? null;
    }
    if (unread !== null) this.#forget(unread.at);
    return unread;
  }

  /** Nobody waits any more for what was said before this call time (ms). */
  forgetBefore(callMs: number): void {
    while ((this.#unread[0]?.audio.endMs ?? Infinity) < callMs) this.read();
  }

  /** Tells `session` all of it, in order. */
  replay(session: SttSession): void {
    const events = [
      ...this.#started.map((event) => ({
        ...event,
        tell: () => session.speechStarted(event.startMs),
      })),
      ...this.#unread.map((event) => ({
        ...event,
        tell: () => session.speechStopped(event.audio),
      })),
    ].sort((a, b) => a.at - b.at);
    const firstAt = events[0]?.at ?? this.#to;
    let at = Math.max(this.#from, firstAt - LEAD_MS * SAMPLES_PER_MS);
    for (const event of events) {
      at = this.#say(session, at, event.at);
      event.tell();
    }
    this.#say(session, at, this.#to);
  }

  #say(session: SttSession, from: number, to: number): number {
    const chunk = new Int16Array(CHUNK);
    for (let at = from; at < to;) {
      const start = at % this.#ring.length;
      const count = Math.min(CHUNK, to - at, this.#ring.length - start);
      chunk.set(this.#ring.subarray(start, start + count));
      session.push(chunk.subarray(0, count));
      at += count;
    }
    return Math.max(from, to);
  }

  #forget(at: number): void {
    this.#from = Math.max(this.#from, at);
    while ((this.#started[0]?.at ?? Infinity) < at) this.#started.shift();
  }

  #grow(more: number, keep: number): void {
    const wanted = Math.min(keep, this.#to - this.#from) + more;
    let size = this.#ring.length;
    while (size < wanted && size < 2 * keep) size *= 2;
    if (size > this.#ring.length) this.#resize(size);
  }

  #resize(size: number): void {
    const other = new Int16Array(size);
    this.#from = Math.max(this.#from, this.#to - Math.min(size, this.#ring.length));
    for (let at = this.#from; at < this.#to; at++) {
      other[at % size] = this.#ring[at % this.#ring.length] ?? 0;
    }
    this.#ring = other;
  }
}
