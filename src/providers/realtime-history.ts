/** What was said on a call with a realtime model, as heard, to be told to the connection that takes over. Bounded. */
import type { ChatMessage, ToolCall } from './contract.ts';
import { heardText } from './heard-text.ts';

type Entry =
  | { readonly kind: 'given'; readonly message: ChatMessage }
  | { readonly kind: 'user'; readonly key: string; text: string }
  | { readonly kind: 'agent'; readonly generation: number; text: string; calls: ToolCall[] }
  | { readonly kind: 'result'; readonly id: string; readonly content: string };

/** Told as they are; what came before is told in short. */
const WHOLE_ENTRIES = 40;
const MAX_ENTRIES = 80;
const MAX_SHORT_CHARS = 4_000;
const MAX_LINE_CHARS = 200;

export class SpokenHistory {
  readonly #entries: Entry[];
  /** What is no longer kept word for word, oldest first. */
  #short = '';

  constructor(before: readonly ChatMessage[]) {
    this.#entries = before
      .filter(({ role, content }) => role !== 'system' || content !== '')
      .map((message) => ({ kind: 'given', message }));
    this.#condense();
  }

  /** The caller has spoken; his words may come later, or never. */
  userTook(key: string): void {
    this.#add({ kind: 'user', key, text: '' });
  }

  userSaid(key: string, text: string): void {
    const known = this.#entries.findLast((entry) => entry.kind === 'user' && entry.key === key);
    if (known?.kind === 'user') known.text = text;
    else this.#add({ kind: 'user', key, text });
  }

  agentBegan(generation: number): void {
    this.#add({ kind: 'agent', generation, text: '', calls: [] });
  }

  agentSaid(generation: number, text: string): void {
    const entry = this.#agent(generation);
    if (entry !== undefined) entry.text += text;
  }

  agentAsked(generation: number, calls: readonly ToolCall[]): void {
    this.#agent(generation)?.calls.push(...calls);
  }

  /** Of `madeMs` of sound only `heardMs` were heard. */
  cut(generation: number, heardMs: number, madeMs: number): void {
    const entry = this.#agent(generation);
    if (entry === undefined) return;
    entry.text = heardText({ text: entry.text, marks: [], heardMs, totalMs: madeMs });
  }

  toolResult(id: string, content: string): void {
    this.#add({ kind: 'result', id, content });
  }

  /** Oldest first; a system message in short, where there is more than is told word for word. */
  messages(): readonly ChatMessage[] {
    const recent = this.#entries.flatMap(messagesOf);
    if (this.#short === '') return recent;
    const content = `Earlier in this call, in short:\n${this.#short}`;
    return [{ role: 'system', content }, ...recent];
  }

  #agent(generation: number): Extract<Entry, { kind: 'agent' }> | undefined {
    const found = this.#entries.findLast(
      (entry) => entry.kind === 'agent' && entry.generation === generation,
    );
    return found?.kind === 'agent' ? found : undefined;
  }

  #add(entry: Entry): void {
    this.#entries.push(entry);
    if (this.#entries.length > MAX_ENTRIES) this.#condense();
  }

  /** Never between a function's call and its result: a vendor refuses a result without a call. */
  #condense(): void {
    let count = Math.max(0, this.#entries.length - WHOLE_ENTRIES);
    while (count > 0 && count < this.#entries.length && isResult(this.#entries[count])) count++;
    const lines = this.#entries
      .splice(0, count)
      .flatMap(messagesOf)
      .filter(({ role, content }) => role !== 'tool' && content !== '')
      .map(({ role, content }) => `${role}: ${content.slice(0, MAX_LINE_CHARS)}`);
    this.#short = [this.#short, ...lines].filter(Boolean).join('\n').slice(-MAX_SHORT_CHARS);
  }
}

function isResult(entry: Entry | undefined): boolean {
  return entry?.kind === 'result' || (entry?.kind === 'given' && entry.message.role === 'tool');
}

function messagesOf(entry: Entry): readonly ChatMessage[] {
  if (entry.kind === 'given') return [entry.message];
  if (entry.kind === 'user') {
    return entry.text === '' ? [] : [{ role: 'user', content: entry.text }];
  }
  if (entry.kind === 'result') {
    return [{ role: 'tool', toolCallId: entry.id, content: entry.content }];
  }
  const { text, calls } = entry;
  if (text === '' && calls.length === 0) return [];
  const toolCalls = calls.length === 0 ? {} : { toolCalls: calls };
  return [{ role: 'assistant', content: text, ...toolCalls }];
}
