/** An agent with every default filled in: what the store reads and a call works with. */
import type { Id } from './ids.ts';

/** An agent as a call copies it at its start (contract 2.3; fields of later versions are ignored here). */
export type AgentConfig = {
  readonly id: Id;
  readonly accountId: Id;
  readonly name: string;
  readonly systemPrompt: string;
  /** Null: the built-in bilingual greeting. */
  readonly greeting: string | null;
  readonly language: 'zh' | 'en';
  readonly vendors: {
    readonly stt: string | null;
    readonly llm: string | null;
    readonly tts: string | null;
  };
  /** The account at the vendor that the agent names (`config_id`); null: whichever there is. */
  readonly vendorConfigs?: {
    readonly stt: Id | null;
    readonly llm: Id | null;
    readonly tts: Id | null;
  };
  readonly llm: {
    readonly model: string | null;
    readonly temperature: number | null;
    readonly maxTokens: number | null;
  };
  readonly voice: string | null;
  readonly turn: {
    readonly endpointMinMs: number;
    readonly bargeIn: boolean;
    readonly bargeInConfirmMs: number;
    readonly falseBargeInMs: number;
  };
  readonly silence: {
    readonly promptAfterS: number;
    readonly prompts: number;
    readonly promptText: string | null;
    readonly hangupAfterS: number;
  };
  /** Functions that the client on the call's socket answers (no `url`); see contract 2.4. */
  readonly functions: readonly AgentFunction[];
  readonly maxDurationS: number;
  readonly maxHistory: number;
  /** Null: the installation's default decides. */
  readonly recording: boolean | null;
  readonly variables: Readonly<Record<string, string>>;
  /** A summary is made after the end of the call. */
  readonly autoSummary: boolean;
  /** `metadata.mask_at_rest`: what is said is masked before it is stored (contract 7.3). */
  readonly maskAtRest: boolean;
};

export type AgentFunction = {
  readonly name: string;
  readonly description: string;
  /** A JSON Schema. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
};
