/** What was asked for from outside and is not over yet, by the number of the utterance that says it. */
import type { Saying } from './speaker.ts';

export type Request = {
  readonly what: Saying | { readonly kind: 'note'; readonly text: string };
  /** Of sound: over and over. */
  readonly repeats?: boolean;
  /** Of words: said by a voice that says what is written, never by a model. */
  readonly isExact?: boolean;
  /** What must be heard whole gives way to nobody. */
  readonly isKept?: boolean;
  /** Once: true when all of it was heard. Called before its message is told. */
  onOver?(isWhole: boolean): void;
};

export class Requests {
  /** Bounded by what may wait for the floor, and the one that has it. */
  readonly #open = new Map<number, Request>();

  add(number: number, request: Request): void {
    this.#open.set(number, request);
  }

  get(number: number): Request | null {
    return this.#open.get(number) ?? null;
  }

  /** Numbers of sounds, playing or waiting. */
  get sounds(): number[] {
    return [...this.#open].flatMap(([number, { what }]) => (what.kind === 'sound' ? number : []));
  }

  /** It is over, or will never be said. Idempotent. */
  over(number: number, isWhole: boolean): void {
    const request = this.#open.get(number);
    this.#open.delete(number);
    request?.onOver?.(isWhole);
  }

  /** Nothing more will be said. */
  close(): void {
    for (const number of this.#open.keys()) this.over(number, false);
  }
}
