/**
 * A call's line to its realtime model: opened once, opened anew with what was said when the model is lost or another agent
 * goes on. Generations go on rising over all of its sessions; what an earlier session still tells is not told any more.
 */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type {
  ChatMessage,
  Language,
  RealtimeEvent,
  RealtimeProvider,
  RealtimeSession,
  ToolSpec,
} from '#providers/contract.ts';

/** Who speaks, and what he is told. */
export type LinkRole = {
  readonly provider: RealtimeProvider;
  readonly language: Language;
  /** The conversation as it was heard, system prompt first. */
  readonly history: () => readonly ChatMessage[];
  /** Never rejects. */
  readonly tools: () => Promise<readonly ToolSpec[]>;
};

export type RealtimeLinkOptions = {
  readonly callId: string;
  readonly codec: 'PCMA' | 'PCMU' | 'L16';
  readonly clock: Clock;
};

/** For all vendors that stand in for each other. */
const OPEN_MS = 8_000;
/** Events of a session that nobody listens to yet. */
const MAX_EARLY = 256;

export class RealtimeLink {
  readonly #options: RealtimeLinkOptions;
  #session: RealtimeSession | null = null;
  #abort: AbortController | null = null;
  /** Which session is listened to. */
  #number = 0;
  #offset = 0;
  #lastGeneration = 0;
  #early: RealtimeEvent[] = [];
  #listener: ((event: RealtimeEvent) => void) | null = null;
  #isClosed = false;

  constructor(options: RealtimeLinkOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#session !== null;
  }

  /** One listener. What came before it is told to it now. */
  onEvent(listener: (event: RealtimeEvent) => void): void {
    this.#listener = listener;
    for (const event of this.#early.splice(0)) listener(event);
  }

  /**
   * Opens a session instead of the one there is. Errors: those of `RealtimeProvider.open`; E_TIMEOUT; E_ABORTED when it
   * was closed, or opened once more, meanwhile.
   */
  async open(role: LinkRole): Promise<void> {
    this.#leave();
    if (this.#isClosed) throw givenUp();
    const number = ++this.#number;
    const abort = new AbortController();
    this.#abort = abort;
    this.#offset = this.#lastGeneration;
    const { clock } = this.#options;
    const opening = this.#connect(role, number, abort.signal);
    try {
      const session = await withDeadline(opening, OPEN_MS, 'opening the realtime model', clock);
      if (this.#number !== number) throw givenUp();
      this.#session = session;
    } catch (error) {
      abort.abort();
      // One that comes all the same is not wanted.
      void opening.then(
        (late) => late.close(),
        () => undefined, // told already, or given up
      );
      throw error;
    }
  }

  async #connect(role: LinkRole, number: number, signal: AbortSignal): Promise<RealtimeSession> {
    const { callId, codec } = this.#options;
    const { provider, language } = role;
    const tools = provider.hasTools ? await role.tools() : [];
    const [first, ...rest] = role.history();
    const isPrompt = first?.role === 'system';
    const session = await provider.open(
      {
        ...{ callId, language, codec, tools },
        instructions: isPrompt ? first.content : '',
        history: isPrompt || first === undefined ? rest : [first, ...rest],
        onEvent: (event) => this.#on(number, event),
      },
      signal,
    );
    return session;
  }

  #on(number: number, event: RealtimeEvent): void {
    if (number !== this.#number || this.#isClosed) return;
    const told =
      this.#offset > 0 && 'generation' in event
        ? { ...event, generation: event.generation + this.#offset }
        : event;
    if ('generation' in told)
      this.#lastGeneration = Math.max(this.#lastGeneration, told.generation);
    if (told.type === 'error' && told.isFatal) this.#session = null;
    if (this.#listener !== null) this.#listener(told);
    else if (this.#early.length < MAX_EARLY) this.#early.push(told);
  }

  push(pcm: Int16Array): void {
    this.#session?.push(pcm);
  }

  say(text: string): void {
    this.#session?.say(text);
  }

  text(text: string): void {
    this.#session?.text(text);
  }

  toolResult(id: string, content: string): void {
    this.#session?.toolResult(id, content);
  }

  interrupt(generation: number, heardMs: number): void {
    // One of an earlier session is over at its vendor.
    const own = generation - this.#offset;
    if (own > 0) this.#session?.interrupt(own, heardMs);
  }

  /** Nothing is told afterwards. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#leave();
  }

  #leave(): void {
    this.#number += 1;
    this.#abort?.abort();
    this.#abort = null;
    this.#session?.close();
    this.#session = null;
    this.#early = [];
  }
}

function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the realtime model was given up');
}
