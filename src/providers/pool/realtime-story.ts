/** What was said in a realtime session, as far as the pool sees it: what another session has to know to go on. */
import { evenMarks } from '../marks.ts';
import type { ChatMessage, RealtimeEvent } from '../contract.ts';

type Reply = { readonly generation: number; text: string; samples: number };

/** The latest messages are enough, and models limit what they are told. */
const MAX_MESSAGES = 40;

export class RealtimeStory {
  readonly #before: readonly ChatMessage[];
  readonly #said: ChatMessage[] = [];
  #reply: Reply | null = null;
  /** The caller's last words, when nothing was answered to them to the end. */
  #unanswered: string | null = null;

  constructor(before: readonly ChatMessage[]) {
    this.#before = before;
  }

  /** The reply that is under way; null: the model is silent. */
  get openGeneration(): number | null {
    return this.#reply?.generation ?? null;
  }

  get unanswered(): string | null {
    return this.#unanswered;
  }

  note(event: RealtimeEvent): void {
    switch (event.type) {
      case 'user_transcript':
        if (event.isFinal && event.text !== '') this.asked(event.text);
        return;
      case 'turn_started':
        this.#close();
        this.#reply = { generation: event.generation, text: '', samples: 0 };
        return;
      case 'agent_text':
        if (this.#reply?.generation === event.generation) this.#reply.text += event.text;
        return;
      case 'audio':
        if (this.#reply?.generation === event.generation) this.#reply.samples += event.pcm.length;
        return;
      case 'turn_done':
        if (this.#reply?.generation !== event.generation) return;
        this.#close();
        this.#unanswered = null;
        return;
      case 'speech_started':
      case 'speech_stopped':
      case 'tool_call':
      case 'usage':
      case 'error':
    }
  }

  asked(text: string): void {
    this.#add({ role: 'user', content: text });
    this.#unanswered = text;
  }

  /** The caller heard only so much of a reply, and goes on. */
  interrupted(generation: number, heardMs: number): void {
    if (this.#reply?.generation !== generation) return;
    const { text, samples } = this.#reply;
    const heard = evenMarks(text, samples).findLast(({ ms }) => ms <= heardMs);
    this.#reply.text = text.slice(0, heard?.chars ?? 0);
    this.#close();
    this.#unanswered = null;
  }

  /** For a session that takes over; the words that are to be answered again are not in it. */
  history(): ChatMessage[] {
    const said = [...this.#said];
    const at = said.findLastIndex(({ role }) => role === 'user');
    if (this.#unanswered !== null && at >= 0) said.splice(at);
    return [...this.#before, ...said].slice(-MAX_MESSAGES);
  }

  #close(): void {
    const { text = '' } = this.#reply ?? {};
    if (text !== '') this.#add({ role: 'assistant', content: text });
    this.#reply = null;
  }

  #add(message: ChatMessage): void {
    this.#said.push(message);
    if (this.#said.length > MAX_MESSAGES) this.#said.shift();
  }
}
