/**
 * Who has answered a call of ours: a person, a voicemail box, a menu, a fax, or nobody who speaks. Pure: it reads no
 * clock; every event carries call time in ms, and every deadline is an absolute one. Sources: lessons.md 1.
 */
import type { AmdCause, AmdResult } from '#lib/call-events.ts';
import { judgeWords } from './amd-words.ts';

export type AmdEvent =
  | { readonly type: 'speech.started'; readonly startMs: number }
  | { readonly type: 'speech.stopped'; readonly startMs: number; readonly endMs: number }
  /** `isFinal`: they will not change any more, and what was said until now is read. */
  | { readonly type: 'words'; readonly text: string; readonly isFinal: boolean }
  | {
      readonly type: 'tone';
      readonly hz: number;
      readonly startMs: number;
      readonly endMs: number;
      readonly isOver: boolean;
    }
  | { readonly type: 'time' };

export type AmdVerdict =
  /** A later one takes the place of the one before. */
  | { readonly type: 'result'; readonly result: AmdResult; readonly cause: AmdCause }
  /** Of a machine: whoever has something to say to it may begin. */
  | { readonly type: 'ready'; readonly cause: 'beep' | 'silence' | 'limit' };

export const AMD_TIMES = {
  /** A person says no more than this at first, */
  shortMs: 2_500,
  /** and then waits. */
  personSilenceMs: 500,
  machineSilenceMs: 1_500,
  /** Nobody speaks so long without a pause but a machine. */
  monologueMs: 6_000,
  /** How long words may take to be read before they are done without. */
  wordsMs: 2_000,
  noSpeechMs: 8_000,
  limitMs: 20_000,
  /** No beep after this much silence: there is none. */
  readySilenceMs: 3_000,
  readyLimitMs: 30_000,
  /** What tells a beep from a tone in the middle of something. */
  beepSilenceMs: 400,
} as const;
const T = AMD_TIMES;

const MAX_BEEP_MS = 2_500;
/** Before any word: ringing by a switchboard that has answered sounds for a second. */
const MAX_FIRST_BEEP_MS = 900;
/** After a person's words: later it is somebody's recorder that beeps. */
const BEEP_AFTER_MS = 2_000;
const MAX_WORDS = 600;

type Beep = { readonly endMs: number; readonly silenceMs: number };

export class AnswerClassifier {
  readonly #reads: boolean;
  #result: AmdResult | null = null;
  #resultMs = 0;
  #isReady = false;
  /** Since when somebody speaks; null: nobody does. */
  #since: number | null = null;
  #spokenMs = 0;
  /** Of speech or of a tone; null: nothing was heard yet. */
  #lastEndMs: number | null = null;
  #unread = 0;
  #words = '';
  #partial = '';
  #beep: Beep | null = null;

  /** `reads`: words will come. */
  constructor({ reads }: { readonly reads: boolean }) {
    this.#reads = reads;
  }

  get result(): AmdResult | null {
    return this.#result;
  }

  /** What was said, as far as it is read. */
  get heard(): string {
    return `${this.#words} ${this.#partial}`.trim();
  }

  /** Nothing will change any more, whatever is heard; at `nowMs`. */
  isOver(nowMs: number): boolean {
    if (this.#result === 'machine') return this.#isReady;
    if (this.#result === 'fax' || this.#result === 'ivr') return true;
    return this.#result !== null && nowMs >= T.limitMs;
  }

  take(event: AmdEvent, nowMs: number): AmdVerdict[] {
    if (this.isOver(nowMs)) return [];
    const before = this.#result;
    const wasReady = this.#isReady;
    const cause = this.#note(event, nowMs) ?? this.#judge(nowMs);
    if (cause !== null) this.#resultMs = nowMs;
    const verdicts: AmdVerdict[] = [];
    if (cause !== null && this.#result !== null && this.#result !== before)
      verdicts.push({ type: 'result', result: this.#result, cause });
    const ready = wasReady || this.#result !== 'machine' ? null : this.#readiness(nowMs);
    if (ready !== null) {
      this.#isReady = true;
      verdicts.push({ type: 'ready', cause: ready });
    }
    return verdicts;
  }

  /** Why it is decided by this event alone; null: it is not. */
  #note(event: AmdEvent, nowMs: number): AmdCause | null {
    switch (event.type) {
      case 'speech.started':
        this.#since ??= event.startMs;
        if (this.#beep !== null && event.startMs > this.#beep.endMs) this.#beep = null;
        return null;
      case 'speech.stopped':
        this.#since = null;
        this.#unread++;
        this.#spokenMs += Math.max(0, event.endMs - event.startMs);
        this.#lastEndMs = Math.max(event.endMs, this.#lastEndMs ?? 0);
        return null;
      case 'words':
        return this.#noteWords(event.text, event.isFinal, nowMs);
      case 'tone':
        return this.#noteTone(event, nowMs);
      case 'time':
        return null;
    }
  }

  #noteWords(text: string, isFinal: boolean, nowMs: number): AmdCause | null {
    this.#partial = isFinal ? '' : text;
    if (isFinal) {
      this.#unread = Math.max(0, this.#unread - 1);
      this.#words = `${this.#words} ${text}`.trim().slice(-MAX_WORDS);
    }
    const verdict = judgeWords(this.heard);
    if (verdict === 'menu') return this.#decide('ivr', 'words', nowMs);
    return verdict === 'machine' ? this.#decide('machine', 'words', nowMs) : null;
  }

  #noteTone(tone: AmdEvent & { readonly type: 'tone' }, nowMs: number): AmdCause | null {
    const { hz, startMs, endMs, isOver } = tone;
    const lastedMs = endMs - startMs;
    const hasSpoken = this.#spokenMs > 0 || this.#since !== null;
    const isCed = Math.abs(hz - 2_100) <= 30 && lastedMs >= 1_000;
    const isCng = Math.abs(hz - 1_100) <= 30 && isOver && lastedMs >= 400 && lastedMs <= 800;
    if (isCed || (isCng && this.#result === null && !this.#hasWords))
      return this.#decide('fax', 'tone', nowMs);
    if (!isOver || hz > 2_000 || lastedMs > MAX_BEEP_MS) return null;
    if (this.#result !== 'machine') {
      const first = !hasSpoken && lastedMs > MAX_FIRST_BEEP_MS;
      const late = this.#result !== null && startMs - (this.#lastEndMs ?? 0) > BEEP_AFTER_MS;
      if (first || late) return null;
    }
    const silenceMs = this.#result === 'human' ? 1_000 : T.beepSilenceMs;
    this.#beep = { endMs, silenceMs };
    return null;
  }

  get #hasWords(): boolean {
    return this.heard !== '' || this.#spokenMs > T.monologueMs;
  }

  /** Why it is decided by the time that has passed. */
  #judge(nowMs: number): AmdCause | null {
    const beep = this.#beep;
    if (beep !== null && nowMs >= beep.endMs + beep.silenceMs && this.#result !== 'machine')
      return this.#decide('machine', 'beep', nowMs);
    if (this.#result !== null || beep !== null) return null;
    const spokenMs = this.#spokenMs + (this.#since === null ? 0 : nowMs - this.#since);
    if (spokenMs === 0)
      return nowMs >= T.noSpeechMs ? this.#decide('no_speech', 'silence', nowMs) : null;
    if (spokenMs >= T.monologueMs) return this.#decide('machine', 'long_greeting', nowMs);
    if (nowMs >= T.limitMs) return this.#decideByLength(spokenMs, 'limit', nowMs);
    return this.#since === null ? this.#judgeSilence(spokenMs, nowMs) : null;
  }

  #judgeSilence(spokenMs: number, nowMs: number): AmdCause | null {
    const silenceMs = nowMs - (this.#lastEndMs ?? 0);
    if (this.#reads && this.#unread > 0 && silenceMs < T.wordsMs) return null;
    const said = judgeWords(this.heard);
    const isShort = spokenMs <= T.shortMs;
    if (said === 'person' || (isShort && said === null))
      return silenceMs >= T.personSilenceMs ? this.#decide('human', 'short_greeting', nowMs) : null;
    if (silenceMs < T.machineSilenceMs) return null;
    return this.#decideByLength(spokenMs, isShort ? 'short_greeting' : 'long_greeting', nowMs);
  }

  #decideByLength(spokenMs: number, cause: AmdCause, nowMs: number): AmdCause | null {
    return this.#decide(spokenMs > T.shortMs ? 'machine' : 'human', cause, nowMs);
  }

  /** Null when it stays as it was decided before. */
  #decide(result: AmdResult, cause: AmdCause, nowMs: number): AmdCause | null {
    if (this.#result === result) return null;
    const mayChange =
      this.#result === null ||
      (this.#result === 'machine'
        ? result === 'ivr' && !this.#isReady
        : nowMs < T.limitMs && result !== 'human');
    if (!mayChange) return null;
    this.#result = result;
    return cause;
  }

  #readiness(nowMs: number): 'beep' | 'silence' | 'limit' | null {
    const beep = this.#beep;
    if (beep !== null && nowMs >= beep.endMs + T.beepSilenceMs) return 'beep';
    if (nowMs >= this.#resultMs + T.readyLimitMs) return 'limit';
    if (this.#since !== null || beep !== null) return null;
    const quietSince = Math.max(this.#lastEndMs ?? 0, this.#resultMs - T.machineSilenceMs);
    return nowMs >= quietSince + T.readySilenceMs ? 'silence' : null;
  }
}
