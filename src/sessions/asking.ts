/** What others than caller and agent want to be said in a conversation: words, sound, a private note (contract 2.7). */
import type { Request, Requests } from './requests.ts';
import type { CallStory } from './story.ts';
import { MAX_WAITING, type FloorTask, type TurnContext, type TurnEvent } from './turn-types.ts';

type Untimed<T> = T extends unknown ? Omit<T, 'at'> : never;

export type AskingOptions = {
  readonly story: CallStory;
  readonly requests: Requests;
  /** What the turn machine knows; null when nothing will be said any more. */
  readonly turn: () => TurnContext | null;
  /** False while the notice before the conversation is said. */
  readonly isOpen: () => boolean;
  /** Where whoever is told something answers at once: takes what he need not answer. Absent: he reads it in the record. */
  readonly keepNote?: (text: string) => void;
  readonly send: (event: Untimed<Extract<TurnEvent, { type: 'ask' | 'unask' }>>) => void;
};

export class Asking {
  readonly #options: AskingOptions;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** Whether the agent can be told something without taking a turn on it. */
  get takesNotes(): boolean {
    return this.#options.keepNote === undefined;
  }

  /**
   * Says `text` after what is being said, or with `urgent` instead of it. Its turn; null when too much waits already or
   * nothing will be said any more. With `onOver` nothing cuts it short; `isExact`: not one word may be another.
   */
  say(
    text: string,
    how: { readonly urgent: boolean; readonly interruptible: boolean; readonly isExact?: boolean },
    onOver?: Request['onOver'],
  ): number | null {
    const kept = onOver === undefined ? {} : { isKept: true, onOver };
    const { isExact = false } = how;
    const request = { what: { kind: 'words', text } as const, isExact, ...kept };
    return this.#ask(request, { kind: 'asked', interruptible: how.interruptible }, how.urgent);
  }

  /** Plays `pcm` after what is being said, instead of any sound played or to be played before. False: as `say`'s null. */
  play(
    sound: { readonly pcm: Int16Array; readonly title: string },
    how: { readonly repeats: boolean; readonly interruptible: boolean },
    onOver: () => void,
  ): boolean {
    const { requests, send } = this.#options;
    const current = this.#options.turn()?.utterance ?? null;
    const before = requests.sounds;
    for (const utterance of before.filter((each) => each !== current)) {
      send({ type: 'unask', utterance });
      requests.over(utterance, false);
    }
    const request = { what: { kind: 'sound', ...sound } as const, repeats: how.repeats, onOver };
    const task = { kind: 'asked', interruptible: how.interruptible } as const;
    return this.#ask(request, task, current !== null && before.includes(current)) !== null;
  }

  /** A private note into the agent's context; with `respond` the agent takes a turn on it. False: as `say`'s null. */
  note(text: string, respond: boolean): boolean {
    const { story } = this.#options;
    const turn = this.#options.turn();
    if (turn === null || (respond && turn.waiting.length >= MAX_WAITING)) return false;
    story.message({ role: 'system', content: text }, story.callTimeMs());
    if (!respond) {
      this.#options.keepNote?.(text);
      return true;
    }
    const task = { kind: 'reply', input: { kind: 'note' } } as const;
    return this.#ask({ what: { kind: 'note', text } }, task, false) !== null;
  }

  #ask(request: Request, task: FloorTask, wantsFloor: boolean): number | null {
    const { requests, send } = this.#options;
    const turn = this.#options.turn();
    if (turn === null) return null;
    const isKept = requests.get(turn.utterance)?.isKept === true || !this.#options.isOpen();
    const urgent = wantsFloor && !isKept;
    if (!urgent && turn.waiting.length >= MAX_WAITING) return null;
    const number = turn.lastNumber + 1;
    requests.add(number, request);
    send({ type: 'ask', task, urgent });
    return number;
  }
}
