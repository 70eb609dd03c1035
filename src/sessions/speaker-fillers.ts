/** What is said while the caller would hear nothing: a short phrase soon, a longer one later, never the same twice. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { Language } from '#providers/contract.ts';
import { fillerTexts, type FillerKind } from '#providers/prompts.ts';

/** Whose silence it is: the model's or the voice's, or a tool's; null: nobody minds it. */
export type Waiting = 'thinking' | 'tool' | null;

export type FillerWatch = {
  waits(for_: Waiting): void;
  /** Idempotent. */
  stop(): void;
};

export type FillersOptions = {
  readonly clock: Clock;
  readonly onSlow: (quietMs: number) => void;
};

/** What a watch needs to know. */
export type Silence = {
  /** As `PieceLine.quietMs`. */
  readonly quietMs: () => number;
  /** Whether one is on its way. */
  readonly hasAside: () => boolean;
  readonly agent: () => AgentConfig;
  readonly language: () => Language;
  readonly say: (text: string) => void;
};

/** A model that thinks is covered so much sooner than a tool at work: nothing was said before it. */
const SOONER_MS = 800;
const SOONEST_MS = 1000;
/** In one reply. */
const MAX_FILLERS = 8;

export class Fillers {
  readonly #options: FillersOptions;
  #last = '';
  #count = 0;

  constructor(options: FillersOptions) {
    this.#options = options;
  }

  /** Watches one reply. An agent without `filler` says none. */
  watch(silence: Silence): FillerWatch {
    return new Watch(this.#options, silence, (kind) => this.#next(kind, silence));
  }

  /** Another one than last time, if there is any. */
  #next(kind: FillerKind, { agent, language }: Silence): string {
    const { filler } = agent();
    const own = kind === 'long' ? filler?.longText : filler?.text;
    const texts = own == null ? fillerTexts(kind, language()) : [own];
    const others = texts.filter((text) => text !== this.#last);
    const from = others.length === 0 ? texts : others;
    this.#last = from[this.#count++ % from.length] ?? '';
    return this.#last;
  }
}

class Watch implements FillerWatch {
  readonly #options: FillersOptions;
  readonly #silence: Silence;
  readonly #next: (kind: FillerKind) => string;
  #waiting: Waiting = null;
  #sinceMs = 0;
  /** Said during the present wait, and when the last was. */
  #said = 0;
  #saidAtMs = 0;
  #inAll = 0;
  #timer: TimerHandle | undefined;

  constructor(options: FillersOptions, silence: Silence, next: (kind: FillerKind) => string) {
    this.#options = options;
    this.#silence = silence;
    this.#next = next;
  }

  waits(for_: Waiting): void {
    this.#waiting = for_;
    this.#sinceMs = this.#options.clock.now();
    this.#said = 0;
    this.#arm();
  }

  stop(): void {
    this.#waiting = null;
    this.#options.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    const dueMs = this.#dueMs();
    if (dueMs === null) return;
    this.#timer = clock.setTimer(() => this.#look(), Math.max(1, dueMs - clock.now()));
  }

  #look(): void {
    const { clock, onSlow } = this.#options;
    const dueMs = this.#dueMs();
    if (dueMs !== null && dueMs <= clock.now() && !this.#silence.hasAside()) {
      const kind = this.#said > 0 ? 'long' : (this.#waiting ?? 'tool');
      onSlow(Math.round(this.#silence.quietMs()));
      this.#said++;
      this.#inAll++;
      this.#saidAtMs = clock.now();
      this.#silence.say(this.#next(kind));
    }
    this.#arm();
  }

  /** When the next one is due, by what is known now: sound that is still to be heard puts it off. */
  #dueMs(): number | null {
    const { filler } = this.#silence.agent();
    if (filler === undefined || this.#waiting === null || this.#inAll >= MAX_FILLERS) return null;
    const { clock } = this.#options;
    const quietFromMs = Math.max(this.#sinceMs, clock.now() - this.#silence.quietMs());
    const { afterMs, longAfterMs } = filler;
    const soonMs = this.#waiting === 'tool' ? afterMs : Math.max(SOONEST_MS, afterMs - SOONER_MS);
    if (this.#said === 0) return quietFromMs + soonMs;
    const fromMs = this.#said === 1 ? this.#sinceMs : this.#saidAtMs;
    return Math.max(fromMs + longAfterMs, quietFromMs + soonMs);
  }
}

/** What the agent has said without its fillers: they are not the model's words. Also of one that was cut off. */
export function withoutFillers(
  content: string,
  filler: AgentConfig['filler'],
  isCut = false,
): string {
  if (filler === undefined) return content;
  const own = [filler.text ?? '', filler.longText ?? ''];
  const known = [...own, ...fixed()].filter((text) => text !== '');
  let left = content;
  for (const text of known) left = left.replace(patternOf(text), '');
  if (isCut) for (const text of known) left = withoutBeginning(left, text);
  return left.replace(/ {2,}/g, ' ').trim();
}

/** A short one without an end of its own may be part of other words. */
const MIN_DISTINCT = 6;

function patternOf(text: string): RegExp {
  const own = text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  const isDistinct = text.length >= MIN_DISTINCT || /\p{P}$/u.test(text);
  return new RegExp(isDistinct ? own : `(?<=^|[\\s\\p{P}])${own}(?![A-Za-z])`, 'gu');
}

/** A shorter beginning may be anything. */
const MIN_BEGINNING = 4;

/** Without the first words of `text` at the end. */
function withoutBeginning(content: string, text: string): string {
  const least = Math.max(MIN_BEGINNING, Math.ceil(text.length / 2));
  for (let chars = text.length - 1; chars >= least; chars--) {
    if (content.endsWith(text.slice(0, chars))) return content.slice(0, -chars);
  }
  return content;
}

function fixed(): readonly string[] {
  const kinds: readonly FillerKind[] = ['thinking', 'tool', 'long'];
  const languages: readonly Language[] = ['zh', 'en'];
  return kinds.flatMap((kind) => languages.flatMap((language) => fillerTexts(kind, language)));
}
