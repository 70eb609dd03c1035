/** What a model thinks aloud: never spoken, but some want it back along with the tools they asked for (providers.md 9). */
import type OpenAI from 'openai';
import type { ChatMessage, ToolCall } from '../contract.ts';

const MAX_CHARS = 32 * 1024;
/** Rounds of one call whose thoughts are kept. */
const MAX_KEPT = 16;
const KEY = 'openai.reasoning';

export class Reasoning {
  readonly #kept: Map<string, string>;
  readonly #replays: boolean;
  #text = '';

  /** `state`: the call's. `replays`: the vendor wants it. */
  constructor(state: Map<string, unknown>, replays: boolean) {
    this.#replays = replays;
    const known = state.get(KEY);
    this.#kept = known instanceof Map ? (known as Map<string, string>) : new Map<string, string>();
    if (replays) state.set(KEY, this.#kept);
  }

  /** Something was thought in this reply. */
  get isAny(): boolean {
    return this.#text !== '';
  }

  begin(): void {
    this.#text = '';
  }

  push(delta: unknown): void {
    if (typeof delta === 'string' && this.#text.length < MAX_CHARS) this.#text += delta;
  }

  /** The reply asked for these: its thoughts go with them. */
  keep(calls: readonly ToolCall[]): void {
    const id = calls[0]?.id;
    if (!this.#replays || id === undefined || this.#text === '') return;
    this.#kept.set(id, this.#text);
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }

  /** `param`, with the thoughts of `message` if there are any. */
  with(
    { toolCalls }: ChatMessage,
    param: OpenAI.ChatCompletionMessageParam,
  ): OpenAI.ChatCompletionMessageParam {
    const thought = this.#kept.get(toolCalls?.[0]?.id ?? '');
    return thought === undefined ? param : { ...param, ...{ reasoning_content: thought } };
  }
}
