/**
 * What the caller says to a realtime model, and the order of the transcript: the model answers before it has written down
 * what it heard, so messages of the agent wait for the caller's words before them, but not for long.
 */
import type { Message } from '#lib/call-events.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { CallStory } from './story.ts';

type Span = { readonly startMs: number; readonly endMs: number };

/** A place in the transcript: words that were heard and are not written down yet, or something that comes after them. */
type Entry =
  | { readonly kind: 'owed'; readonly span: Span; timer: TimerHandle | undefined }
  | { readonly kind: 'told'; readonly tell: () => void };

export type RealtimeWordsOptions = {
  readonly story: Pick<CallStory, 'message' | 'fact' | 'heardSoFar' | 'callTimeMs'>;
  readonly clock: Clock;
};

/** How long a vendor may take to write down what it heard. */
const OWED_MS = 3_000;
/** More than this means that nothing is written down at all. */
const MAX_WAITING = 64;

export class RealtimeWords {
  readonly #options: RealtimeWordsOptions;
  #entries: Entry[] = [];
  /** Since the last words that are owed: what our own detector has heard. */
  #beganMs: number | null = null;
  #span: Span | null = null;
  /** Until then the detector's speech is part of what is owed already. */
  #takenToMs = -1;
  #settled: (() => void)[] = [];

  constructor(options: RealtimeWordsOptions) {
    this.#options = options;
  }

  /** Our own detector heard speech begin. */
  began(startMs: number): void {
    this.#beganMs = startMs;
  }

  /** Our own detector heard it end. */
  stopped(startMs: number, endMs: number): void {
    this.#beganMs = null;
    if (startMs < this.#takenToMs) return;
    this.#span = { startMs: this.#span?.startMs ?? startMs, endMs };
  }

  /** The model has heard all of it: its words are to come. */
  taken(): void {
    const isAgain = this.#span === null && this.#beganMs === null;
    // After a broken line the same sound is heard again.
    if (isAgain && this.#entries.some(({ kind }) => kind === 'owed')) return;
    this.#owe();
  }

  /** What the model takes it for so far: clients are told, nobody keeps it. */
  partial(text: string): void {
    const owed = this.#entries.find((entry) => entry.kind === 'owed');
    const { startMs, endMs } = owed?.kind === 'owed' ? owed.span : this.#spanNow;
    if (text !== '') this.#options.story.heardSoFar(text, { startMs, endMs });
  }

  /** The model's word for what it took first, and nobody has read yet. */
  read(text: string): void {
    const known = this.#entries.find((entry) => entry.kind === 'owed');
    const owed = known ?? (text === '' ? null : this.#owe());
    if (owed?.kind === 'owed') this.#resolve(owed, text);
  }

  /** Written instead of spoken. */
  written(text: string): void {
    const at = Math.round(this.#options.story.callTimeMs());
    this.#inOrder(() => this.#tell({ startMs: at, endMs: at }, text));
  }

  /** A message of the agent, which stands behind the words before it. */
  message(message: Omit<Message, 'timestamp'>, atMs: number): void {
    this.#inOrder(() => this.#options.story.message(message, atMs));
  }

  /** Resolves when nothing is owed, or `ms` have passed. */
  async settled(ms: number): Promise<void> {
    if (this.#entries.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.setTimer(resolve, ms);
    this.#settled.push(resolve);
    await promise;
    this.#options.clock.clearTimer(timer);
  }

  /** What is still owed will not come. */
  close(): void {
    for (const entry of [...this.#entries]) if (entry.kind === 'owed') this.#resolve(entry, '');
  }

  #owe(): Entry {
    const span = this.#spanNow;
    this.#takenToMs = span.endMs;
    this.#span = null;
    const owed: Entry = { kind: 'owed', span, timer: undefined };
    owed.timer = this.#options.clock.setTimer(() => this.#resolve(owed, ''), OWED_MS);
    this.#entries.push(owed);
    return owed;
  }

  get #spanNow(): Span {
    const nowMs = Math.round(this.#options.story.callTimeMs());
    const startMs = Math.round(this.#span?.startMs ?? this.#beganMs ?? nowMs);
    const endMs = Math.round(this.#beganMs === null ? (this.#span?.endMs ?? nowMs) : nowMs);
    return { startMs, endMs: Math.max(startMs, endMs) };
  }

  #resolve(owed: Extract<Entry, { kind: 'owed' }>, text: string): void {
    const at = this.#entries.indexOf(owed);
    if (at < 0) return;
    this.#options.clock.clearTimer(owed.timer);
    this.#entries[at] = { kind: 'told', tell: () => this.#tell(owed.span, text) };
    this.#tellRipe();
  }

  #inOrder(tell: () => void): void {
    this.#entries.push({ kind: 'told', tell });
    if (this.#entries.length > MAX_WAITING) {
      const [oldest] = this.#entries;
      if (oldest?.kind === 'owed') this.#resolve(oldest, '');
    }
    this.#tellRipe();
  }

  #tellRipe(): void {
    for (let entry = this.#entries[0]; entry?.kind === 'told'; entry = this.#entries[0]) {
      this.#entries.shift();
      entry.tell();
    }
    if (this.#entries.length === 0) for (const resolve of this.#settled.splice(0)) resolve();
  }

  #tell({ startMs, endMs }: Span, text: string): void {
    const { story } = this.#options;
    const times = { start_ms: startMs, end_ms: endMs };
    const unknown = { confidence: null, language: null };
    story.fact('user-speech', { text, is_final: true, ...times, ...unknown });
    story.message({ role: 'user', content: text, ...times }, startMs);
  }
}
