/** What the tools of a call are made of: who carries them out, and what the call lends them. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { ProviderSet, ToolSpec } from '#providers/contract.ts';
import type { ControlResult } from '../call-control-types.ts';
import type { CallStory } from '../story.ts';
import type { ToolAnswer, ToolManner } from '../tool-box.ts';

/** A tool that is to be carried out, with arguments that fit its schema. */
export type ToolTask = {
  /** Of this effect alone, the same at every attempt: nobody carries it out twice. */
  readonly id: Id;
  /** As its own source knows it. */
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly agent: AgentConfig;
  /** Aborted when the reply that asked is given up: whoever only waits for the caller stops, nobody else. */
  readonly wait: AbortSignal;
};

/** `onTaken`: called once somebody acts on the effect; not for a reply that was given up. */
export type ToolResult = string | (ToolAnswer & { readonly onTaken?: () => void });

/** A tool as it is offered, with whoever carries it out. Errors of `run` are told to the model by their message. */
export type Tool = ToolSpec & {
  readonly manner?: (given: Readonly<Record<string, unknown>>) => ToolManner;
  run(task: ToolTask): Promise<ToolResult>;
};

/** What others add to a call's tools. `offered` never rejects. */
export type ToolSource = {
  offered(agent: AgentConfig): readonly Tool[] | Promise<readonly Tool[]>;
  /** Idempotent. */
  close?(): void;
};

/** Sound by URL, decoded to 8 kHz. Errors: AppError whose message tells the model what is wrong. */
export type LoadSound = (
  accountId: Id,
  url: string,
) => Promise<{ readonly pcm: Int16Array; readonly title: string; readonly release: () => void }>;

/** What tools need of the process, plugged in by the composition root. */
export type ToolPorts = {
  readonly http: HttpTools;
  /** Servers of tools. */
  readonly mcp: (call: ToolCaller) => ToolSource;
  readonly loadSound: LoadSound;
  readonly agents: {
    byId(accountId: Id, agentId: Id): Promise<AgentConfig | null>;
    byName(accountId: Id, name: string): Promise<AgentConfig | null>;
  };
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
};

/** The call a tool is asked from. */
export type ToolCaller = {
  readonly story: ToolStory;
  readonly clock: Clock;
  readonly log: Log;
};

export type ToolStory = Pick<
  CallStory,
  | 'callId'
  | 'accountId'
  | 'agentId'
  | 'feed'
  | 'message'
  | 'callTimeMs'
  | 'snapshot'
  | 'messages'
  | 'handedOver'
  | 'maskFromNow'
  | 'isOver'
  | 'usage'
>;

/** Functions with a URL. */
export type HttpTools = {
  /** The secrets are read ahead of the first request. Never rejects. */
  warmUp(accountId: Id): void;
  /** The answer as JSON for the model, refusals included. Errors: AppError whose message is for the model. */
  call(request: HttpToolRequest): Promise<string>;
};

export type HttpToolRequest = {
  readonly url: string;
  /** Idempotency key. */
  readonly id: Id;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly agent: Pick<AgentConfig, 'id' | 'accountId' | 'name'>;
  readonly call: ReturnType<CallStory['snapshot']>;
  /** In all, retries included. */
  readonly timeoutMs: number;
};

/** Sends keys down the line. */
export type SendKeys = (digits: string) => Promise<ControlResult<{ readonly sent: string }>>;
