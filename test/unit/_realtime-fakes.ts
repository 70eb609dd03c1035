/** A realtime model that says what a test has it say, and keeps what it was told; and a call with it. */
import { SAMPLE_RATE_HZ } from '#media/types.ts';
import type {
  LlmProvider,
  RealtimeEvent,
  RealtimeProvider,
  RealtimeSession,
  ToolSpec,
  ChatMessage,
} from '#providers/contract.ts';
import { runCall, type CallSetup } from '#sessions/call.ts';
import type { CallTools } from '#sessions/tools/call-tools.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { AGENT, createRig, settle, type Rig } from './_fakes.ts';

export type Opened = {
  readonly instructions: string;
  readonly tools: readonly ToolSpec[];
  readonly history: readonly ChatMessage[];
  readonly codec: string;
};

export class FakeModel {
  readonly vendor = 'fake-realtime';
  readonly opened: Opened[] = [];
  /** What the call said to it, in order. */
  readonly told: string[] = [];
  onPush: (pcm: Int16Array) => void = () => undefined;
  #tell: (event: RealtimeEvent) => void = () => undefined;
  #generation = 0;
  /** How the next sessions open; empty: at once. */
  readonly openings: (() => Promise<void>)[] = [];

  get provider(): RealtimeProvider {
    return {
      ...{ vendor: this.vendor, hasTools: true },
      open: async (options) => {
        const { instructions, tools, history, codec } = options;
        this.opened.push({ instructions, tools, history, codec });
        await this.openings.shift()?.();
        this.#generation = 0;
        this.#tell = (event) => options.onEvent(event);
        return this.#session;
      },
    };
  }

  get #session(): RealtimeSession {
    const told = (what: string) => void this.told.push(what);
    return {
      push: (pcm) => {
        this.onPush(pcm);
      },
      say: (text) => told(`say ${text}`),
      text: (text) => told(`text ${text}`),
      toolResult: (id, content) => told(`result ${id} ${content}`),
      interrupt: (generation, heardMs) => told(`interrupt ${generation} ${heardMs}`),
      close: () => told('close'),
    };
  }

  tell(event: RealtimeEvent): void {
    this.#tell(event);
  }

  /** Begins a reply: 200 ms for each of `words`, all at once; ends it unless `goesOn`. */
  async says(words: string, how: { goesOn?: boolean } = {}): Promise<number> {
    const generation = ++this.#generation;
    this.tell({ type: 'turn_started', generation });
    for (const word of words === '' ? [] : words.split(/(?<= )/)) {
      this.tell({ type: 'agent_text', text: word, generation });
      const pcm = new Int16Array(SAMPLE_RATE_HZ / 5);
      this.tell({ type: 'audio', pcm, generation });
    }
    if (how.goesOn !== true) this.tell({ type: 'turn_done', generation });
    await settle();
    return generation;
  }

  /** Begins a reply that wants a function. */
  async wants(name: string, given: Record<string, unknown> = {}, words = ''): Promise<string> {
    const generation = words === '' ? ++this.#generation : await this.says(words, { goesOn: true });
    if (words === '') this.tell({ type: 'turn_started', generation });
    const id = `call-${generation}`;
    this.tell({ type: 'tool_call', call: { id, name, arguments: given }, generation });
    this.tell({ type: 'turn_done', generation });
    await settle();
    return id;
  }

  /** The caller has said this, as the model hears it. */
  async hears(text: string | null): Promise<void> {
    this.tell({ type: 'speech_started' });
    this.tell({ type: 'speech_stopped' });
    if (text !== null) this.tell({ type: 'user_transcript', text, isFinal: true });
    await settle();
  }
}

export type RealtimeRig = Rig & {
  readonly model: FakeModel;
  readonly call: ReturnType<typeof runCall>;
};

export async function realtimeCall(
  options: {
    readonly agent?: Partial<AgentConfig>;
    readonly model?: FakeModel;
    readonly notice?: string;
    readonly llm?: LlmProvider;
    readonly tools?: (rig: Rig) => CallTools;
  } = {},
): Promise<RealtimeRig> {
  const model = options.model ?? new FakeModel();
  const { llm } = options;
  const rig = createRig({
    ...(llm === undefined ? {} : { llm }),
    agent: { ...AGENT, mode: 'realtime', ...options.agent },
  });
  const setup: CallSetup = {
    ...rig.setup,
    ...(options.tools === undefined ? {} : { tools: options.tools(rig) }),
    ...(options.notice === undefined ? {} : { notice: options.notice }),
    providers: () => ({ ...rig.setup.providers(), realtime: model.provider }),
  };
  const call = runCall(rig.deps, setup);
  await settle();
  return { ...rig, model, call };
}

/** Lets the clock come to `ms`, in steps. */
export async function until(rig: Rig, ms: number): Promise<void> {
  while (rig.clock.now() < ms) {
    rig.clock.advance(Math.min(20, ms - rig.clock.now()));
    await settle();
  }
}

const wire = (ms: number): number => performance.timeOrigin + ms;

/** What the call's own detector says. */
export const begins = (rig: Rig, startMs: number): void =>
  rig.media.emit({ type: 'speech.started', atMs: startMs + 60, startMs, wireMs: wire(startMs) });
export const ends = (rig: Rig, startMs: number, endMs: number): void =>
  rig.media.emit({
    ...{ type: 'speech.stopped', atMs: endMs + 200, startMs, endMs, wireMs: wire(endMs) },
  });

export function messages(rig: Rig): string[] {
  return rig.setup.story.messages.map(
    ({ role, content, interrupted }) =>
      `${role}: ${content}${interrupted === true ? ' (cut)' : ''}`,
  );
}
