/**
 * The line of pieces between the words of a reply and the playout: they are heard in order, each is made while the one
 * before is heard, and no more than two ahead, so that little is made for nothing when the caller cuts in.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';
import type { TtsChunk } from '#providers/contract.ts';
import { eachWithin, givenUp } from './speaker-stream.ts';
import type { Utterance } from './utterance.ts';

export type Piece = {
  /** As the transcript has it. */
  readonly text: string;
  /** Whose voice it is, where its sound does not say; absent: nobody's, it is sound as it is. */
  readonly vendor?: string;
  readonly speak: (signal: AbortSignal) => AsyncGenerator<TtsChunk, void>;
};

export type PieceLineOptions = {
  readonly utterance: Utterance;
  readonly media: Pick<MediaSession, 'write' | 'playedSamples'>;
  readonly clock: Clock;
};

/** Pieces in the making or made, besides the one that is heard. */
const AHEAD = 2;
/** Pieces that wait to be made; then whoever adds one waits. */
const MAX_WAITING = 64;
/** Of one piece, made before it is its turn. */
const MAX_MADE_MS = 30_000;
/** How often it is looked where the playout is, at least and at most. */
const LOOK_MS: readonly [number, number] = [20, 500];

export class PieceLine {
  readonly #options: PieceLineOptions;
  readonly #abort = new AbortController();
  /** In order: the first is being written. */
  readonly #pieces: Made[] = [];
  /** Said between two pieces if it is ready before the next one. */
  #aside: Made | null = null;
  #isAsideHeard = false;
  /** Samples of the utterance at which written pieces end that have not been heard yet. */
  readonly #ends: number[] = [];
  readonly #failed = Promise.withResolvers<never>();
  readonly #bell = new Bell();
  readonly #startMs: number;
  #endsAtMs = Number.NEGATIVE_INFINITY;
  #error: { readonly reason: unknown } | null = null;
  #isOver = false;
  #timer: TimerHandle | undefined;
  /** Whether anything but asides was added. */
  hasWords = false;
  /** Whether any of it has been given to the playout. */
  hasSpoken = false;

  constructor(options: PieceLineOptions) {
    this.#options = options;
    this.#startMs = options.clock.now();
    void this.#failed.promise.then(undefined, () => undefined); // `drain` throws it too
    const { signal } = options.utterance.abort;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    void this.#write();
  }

  /** Rejects when a piece could not be made, or the utterance is given up. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  get hasFailed(): boolean {
    return this.#error !== null;
  }

  /** Resolves when there is room for more. Errors: as `drain`. */
  async add(piece: Piece): Promise<void> {
    this.#throwIfOver();
    this.hasWords = true;
    this.#options.utterance.times.mark('pieceReady');
    this.#pieces.push(new Made(piece));
    this.#pump();
    while (this.#pieces.length > MAX_WAITING) {
      await this.#bell.next;
      this.#throwIfOver();
    }
  }

  /** To be said now, unless the next piece is ready first. One at a time; it may be dropped without a word. */
  interject(piece: Piece): void {
    if (this.#aside !== null || this.#isOver || this.#error !== null) return;
    const made = new Made(piece);
    this.#aside = made;
    void this.#make(made);
  }

  get hasAside(): boolean {
    return this.#aside !== null;
  }

  /** All that was added is in the playout. Errors: of a piece that could not be made; E_ABORTED at once. */
  async drain(): Promise<void> {
    for (;;) {
      this.#throwIfOver();
      // Whoever ends it now would cut off an aside in the middle of a word.
      if (this.#pieces.length === 0 && !this.#isAsideHeard) return;
      await this.#bell.next;
    }
  }

  /** For how long nothing has been heard of it, ms; below 0: so much of it is still to be heard. */
  get quietMs(): number {
    const { clock } = this.#options;
    const leftMs = this.soundLeftMs;
    if (leftMs > 0) return -leftMs;
    return clock.now() - Math.max(this.#startMs, this.#endsAtMs);
  }

  /** Of what is in the playout. */
  get soundLeftMs(): number {
    const { utterance } = this.#options;
    return Math.max(0, ((utterance.samples - this.#played) * 1000) / SAMPLE_RATE_HZ);
  }

  /** The voice has begun a piece, all there is of it has been sent, and it owes the rest. */
  get isVoiceAwaited(): boolean {
    const [head] = this.#pieces;
    if (head === undefined || this.#isOver || this.soundLeftMs > 0) return false;
    return head.isSpoken && !head.isDone && !head.hasSound;
  }

  /** Nothing more is made. Idempotent. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.utterance.abort.signal.removeEventListener('abort', this.#onAbort);
    this.#options.clock.clearTimer(this.#timer);
    this.#abort.abort();
    this.#bell.ring();
  }

  readonly #onAbort = (): void => {
    this.#fail(givenUp());
  };

  #fail(reason: unknown): void {
    if (this.#error !== null || this.#isOver) return;
    this.#error = { reason };
    this.#failed.reject(reason);
    this.close();
  }

  #throwIfOver(): void {
    if (this.#error !== null) throw this.#error.reason;
    if (this.#isOver) throw givenUp();
  }

  get #played(): number {
    const { utterance, media } = this.#options;
    return media.playedSamples(utterance.sound) ?? 0;
  }

  // ---- Making ----

  /** Begins the next piece if it is time for it. */
  #pump(): void {
    const next = this.#pieces.findIndex(({ isBegun }) => !isBegun);
    const made = this.#pieces[next];
    if (made === undefined || this.#isOver) return;
    const before = this.#pieces[next - 1];
    if (before !== undefined && !before.canBegin) return;
    const played = this.#played;
    while (this.#ends[0] !== undefined && this.#ends[0] <= played) this.#ends.shift();
    // The one that is heard is not ahead.
    if (next + this.#ends.length > AHEAD) return this.#lookAgain(played);
    void this.#make(made);
    this.#pump();
  }

  /** The playout does not tell where it is. */
  #lookAgain(played: number): void {
    const { clock } = this.#options;
    const [end] = this.#ends;
    if (this.#timer !== undefined || end === undefined) return;
    const leftMs = ((end - played) * 1000) / SAMPLE_RATE_HZ;
    this.#timer = clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#pump();
      },
      Math.min(Math.max(leftMs, LOOK_MS[0]), LOOK_MS[1]),
    );
  }

  /** Never rejects: what went wrong is found when it is the piece's turn. */
  async #make(made: Made): Promise<void> {
    const { clock } = this.#options;
    made.isBegun = true;
    const signal = AbortSignal.any([this.#abort.signal, made.giveUp.signal]);
    try {
      const chunks = made.piece.speak(signal);
      await eachWithin(chunks, { what: 'the voice', signal, clock }, async (chunk) => {
        made.push(chunk);
        if (made === this.#pieces[0] && made.hasSound)
          this.#options.utterance.times.mark('audioReady');
        this.#told();
        while (made.madeMs > MAX_MADE_MS && !signal.aborted) await this.#bell.next;
      });
      made.isDone = true;
    } catch (reason) {
      made.error = { reason };
    }
    if (made === this.#aside && !made.hasSound) this.#aside = null;
    this.#told();
  }

  #told(): void {
    this.#bell.ring();
    this.#pump();
  }

  // ---- Writing ----

  /** Never rejects. */
  async #write(): Promise<void> {
    try {
      while (!this.#isOver) {
        const [head] = this.#pieces;
        const aside = this.#aside;
        if (head?.canBegin === true) {
          this.#dropAside();
          await this.#writeOne(head, (chunk) => this.#answers(head, chunk));
          this.#pieces.shift();
          this.#told();
        } else if (aside?.hasSound === true) {
          await this.#writeAside(aside);
        } else await this.#bell.next;
      }
    } catch (reason) {
      this.#fail(reason);
    }
  }

  #dropAside(): void {
    this.#aside?.giveUp.abort();
    this.#aside = null;
  }

  /** One that breaks off is over: nobody wanted it for itself. */
  async #writeAside(aside: Made): Promise<void> {
    this.#isAsideHeard = true;
    try {
      await this.#writeOne(aside, () => this.#options.utterance.beginFiller());
    } catch (reason) {
      if (this.#isOver || aside.error?.reason !== reason) throw reason;
      this.#options.utterance.endPiece();
    } finally {
      this.#isAsideHeard = false;
      if (this.#aside === aside) this.#aside = null;
      this.#told();
    }
  }

  /** Words of the answer itself go to the playout; a filler before them is none. */
  #answers({ piece }: Made, { pcm, by = piece.vendor }: TtsChunk): void {
    const { utterance } = this.#options;
    this.hasSpoken = true;
    if (pcm.length === 0) return;
    utterance.beginAnswer();
    utterance.times.mark('audioReady');
    if (by !== undefined) utterance.times.servedBy('tts', by);
  }

  async #writeOne(made: Made, onSound: (chunk: TtsChunk) => void = () => undefined): Promise<void> {
    const { utterance } = this.#options;
    if (!made.hasSound && made.error !== null) throw made.error.reason;
    const base = utterance.addPiece(made.piece.text);
    for (;;) {
      const chunk = made.shift();
      if (chunk !== undefined) {
        made.isSpoken = true;
        onSound(chunk);
        utterance.addAudio(base, chunk.pcm.length, chunk.marks);
        await this.#play(chunk.pcm);
      } else if (made.error !== null) throw made.error.reason;
      else if (made.isDone) break;
      else await this.#bell.next;
      if (this.#isOver) throw givenUp();
    }
    utterance.endPiece();
    this.#ends.push(utterance.samples);
  }

  async #play(pcm: Int16Array): Promise<void> {
    const { media, utterance, clock } = this.#options;
    this.#endsAtMs = Math.max(clock.now(), this.#endsAtMs) + (pcm.length * 1000) / SAMPLE_RATE_HZ;
    await media.write(utterance.sound, pcm);
    // Whoever waits for room in this piece.
    this.#bell.ring();
  }
}

/** A piece and what there is of its sound. */
class Made {
  readonly piece: Piece;
  readonly giveUp = new AbortController();
  readonly #chunks: TtsChunk[] = [];
  #samples = 0;
  isBegun = false;
  isDone = false;
  /** Some of it has been given to the playout. */
  isSpoken = false;
  error: { readonly reason: unknown } | null = null;

  constructor(piece: Piece) {
    this.piece = piece;
  }

  get hasSound(): boolean {
    return this.#chunks.length > 0;
  }

  /** There is something to be written, or there will never be. */
  get canBegin(): boolean {
    return this.hasSound || this.isSpoken || this.isDone || this.error !== null;
  }

  get madeMs(): number {
    return (this.#samples * 1000) / SAMPLE_RATE_HZ;
  }

  push(chunk: TtsChunk): void {
    this.#chunks.push(chunk);
    this.#samples += chunk.pcm.length;
  }

  shift(): TtsChunk | undefined {
    const chunk = this.#chunks.shift();
    this.#samples -= chunk?.pcm.length ?? 0;
    return chunk;
  }
}

/** Wakes everybody who waits for a change. */
class Bell {
  #ring = Promise.withResolvers<void>();

  get next(): Promise<void> {
    return this.#ring.promise;
  }

  ring(): void {
    const { resolve } = this.#ring;
    this.#ring = Promise.withResolvers<void>();
    resolve();
  }
}
