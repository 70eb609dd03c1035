/** What clients are told of the agent's speech: its words before they are said, and a mark behind each piece of sound. */
import type { CallFeed } from './call-frames.ts';

/** What of an utterance is told. */
type Spoken = { readonly number: number; readonly sound: number };

type Piece = {
  readonly sound: number;
  readonly name: string;
  /** Samples of the utterance up to its end. */
  readonly endSample: number;
};

export type SpeechFramesOptions = {
  readonly feed: CallFeed;
  readonly nowMs: () => number;
  /** As in `MediaSession.playedSamples`. */
  readonly playedSamples: (sound: number) => number | null;
};

/** Marks that a client may still echo; older ones measure nothing. */
const MAX_TOLD = 64;
/** A client that is further behind than this has not played what it says. */
const MAX_LAG_MS = 2000;

export class SpeechFrames {
  readonly #options: SpeechFramesOptions;
  /** Pieces on their way to the wire, in order. */
  #pieces: Piece[] = [];
  readonly #counts = new Map<number, number>();
  readonly #toldAtMs = new Map<string, number>();
  #lagMs = 0;

  constructor(options: SpeechFramesOptions) {
    this.#options = options;
  }

  /** How much later than it is sent the client plays, as far as it says so by echoing marks; else 0. */
  get lagMs(): number {
    return this.#lagMs;
  }

  /** About to be made into sound. */
  piece({ number }: Spoken, text: string): void {
    this.#options.feed.tell({ type: 'reply', text, turn: number, isFinal: false });
  }

  /** All sound of the piece is queued. A piece without sound has no mark. */
  pieceEnd({ number, sound }: Spoken, endSample: number): void {
    if (endSample <= (this.#pieces.findLast((piece) => piece.sound === sound)?.endSample ?? 0))
      return;
    const count = (this.#counts.get(number) ?? 0) + 1;
    this.#counts.set(number, count);
    this.#pieces.push({ sound, name: `t${number}-p${count}`, endSample });
  }

  /** Nothing more of this turn follows. */
  queued({ number }: Spoken): void {
    this.#counts.delete(number);
    this.#options.feed.tell({ type: 'reply', text: '', turn: number, isFinal: true });
  }

  /** Tells the marks whose sound has been sent. Call it every frame or so. */
  poll(): void {
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      const played = this.#options.playedSamples(piece.sound);
      if (played === null || played < piece.endSample) return;
      this.#pieces.shift();
      this.#tellMark(piece.name);
    }
  }

  /** The utterance was sent to its end. */
  done({ sound }: Spoken): void {
    const rest = this.#pieces.filter((piece) => piece.sound === sound);
    this.#pieces = this.#pieces.filter((piece) => piece.sound !== sound);
    for (const { name } of rest) this.#tellMark(name);
  }

  /** The rest of the utterance was thrown away: whatever has been sent and not played is void. */
  flushed({ sound }: Spoken): void {
    this.#pieces = this.#pieces.filter((piece) => piece.sound !== sound);
    this.#options.feed.tell({ type: 'clear' });
  }

  /** A client's player has got past this mark. */
  played(name: string): void {
    const toldAtMs = this.#toldAtMs.get(name);
    if (toldAtMs === undefined) return;
    this.#toldAtMs.delete(name);
    const lagMs = this.#options.nowMs() - toldAtMs;
    if (lagMs <= MAX_LAG_MS) this.#lagMs = lagMs;
  }

  #tellMark(name: string): void {
    const oldest = this.#toldAtMs.keys().next();
    if (this.#toldAtMs.size >= MAX_TOLD && !oldest.done) this.#toldAtMs.delete(oldest.value);
    this.#toldAtMs.set(name, this.#options.nowMs());
    this.#options.feed.tell({ type: 'mark', name });
  }
}
