/** An agent with every default filled in: what the store reads and a call works with. */
import type { Id } from './ids.ts';

/** A vendor that an agent asks for. */
export type VendorWish = {
  readonly vendor: string | null;
  /** The account at the vendor that the agent names; null: whichever there is. */
  readonly configId: Id | null;
  /** As the vendor has them: model, voice, resource; they win over those of the account. */
  readonly options: Readonly<Record<string, unknown>>;
};

/** The first is the one wished for; the others are tried in this order when it does not work. */
export type VendorWishes = readonly VendorWish[];

/** An agent as a call copies it at its start (contract 2.3). */
export type AgentConfig = {
  readonly id: Id;
  readonly accountId: Id;
  readonly name: string;
  readonly systemPrompt: string;
  /** Null: the built-in bilingual greeting. */
  readonly greeting: string | null;
  readonly language: 'zh' | 'en';
  /** `realtime`: one speech-to-speech model instead of recogniser, language model and voice. Default `cascade`. */
  readonly mode?: 'cascade' | 'realtime';
  readonly vendors: {
    readonly stt: string | null;
    readonly llm: string | null;
    readonly tts: string | null;
    readonly realtime?: string | null;
  };
  /** The account at the vendor that the agent names (`config_id`); null: whichever there is. */
  readonly vendorConfigs?: {
    readonly stt: Id | null;
    readonly llm: Id | null;
    readonly tts: Id | null;
    readonly realtime?: Id | null;
  };
  /** Options of the agent's own vendors, as the vendors have them. */
  readonly vendorOptions?: {
    readonly [K in 'stt' | 'llm' | 'tts' | 'realtime']: Readonly<Record<string, unknown>>;
  };
  /** Vendors to go to, in this order, when the first does not work. */
  readonly fallbacks?: { readonly [K in 'stt' | 'llm' | 'tts' | 'realtime']: VendorWishes };
  readonly llm: {
    readonly model: string | null;
    readonly temperature: number | null;
    readonly maxTokens: number | null;
  };
  readonly voice: string | null;
  /** 0.5..2 and 0..2, 1 is the voice's own; null: not said. `realtimeVoice`: of the speech-to-speech model. */
  readonly speech?: {
    readonly speed: number | null;
    readonly volume: number | null;
    readonly realtimeVoice: string | null;
  };
  readonly turn: {
    readonly endpointMinMs: number;
    /** The longest silence that is waited for more words. Default 3000. */
    readonly endpointMaxMs?: number;
    readonly bargeIn: boolean;
    readonly bargeInConfirmMs: number;
    readonly falseBargeInMs: number;
    /** 0: waits long for more words; 1: answers as soon as it may be right. Default 0.5. */
    readonly responsiveness?: number;
    /** 0: only plain words interrupt; 1: any speech does. Default 0.5. */
    readonly interruptionSensitivity?: number;
  };
  readonly silence: {
    readonly promptAfterS: number;
    readonly prompts: number;
    readonly promptText: string | null;
    readonly hangupAfterS: number;
  };
  /** Functions that the model may ask for; without `url` the client on the call's socket answers (contract 2.4). */
  readonly functions: readonly AgentFunction[];
  /** What else the model may use. */
  readonly tools?: {
    readonly builtins: readonly BuiltinTool[];
    readonly mcpServers: readonly McpServer[];
  };
  /** What is said while a function takes its time; null texts: the installation's prompts. */
  readonly filler?: {
    readonly afterMs: number;
    readonly longAfterMs: number;
    readonly text: string | null;
    readonly longText: string | null;
  };
  /** Said instead of a reply that the vendor's moderation withheld; null: the installation's prompt. */
  readonly fallbackPhrase?: string | null;
  /** Remembers a caller by number: so many of the latest calls are told to the model. 0: nothing is. */
  readonly memoryCalls?: number;
  /** What is done when a machine answers a call of ours. */
  readonly voicemail?: {
    readonly action: VoicemailAction;
    readonly message: string | null;
  };
  /** Heard behind the voice all call long: a built-in sound, `file:name` or a URL; null: nothing is. */
  readonly background?: string | null;
  readonly sounds?: AgentSounds;
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

/** How an agent sounds beside its words. Decibels are relative: 0 leaves a sound as it is. */
export type AgentSounds = {
  readonly voiceGainDb: number;
  readonly backgroundGainDb: number;
  /** How much quieter the background is while the agent speaks, and whether also while the caller does. */
  readonly duckDb: number;
  readonly ducksForCaller: boolean;
  /** `file:name` or a URL; null: the built-in tune. */
  readonly holdMusic: string | null;
  /** Somebody is heard typing while a tool is at work. */
  readonly typing: boolean;
  /** A beep before a notice of recording. */
  readonly noticeBeep: boolean;
};

export type AgentFunction = {
  readonly name: string;
  readonly description: string;
  /** A JSON Schema. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
  /** Asked over HTTP; null or absent: the client on the call answers. */
  readonly url?: string | null;
};

export const BUILTIN_TOOLS = [
  'end_call',
  'transfer_call',
  'send_dtmf',
  'collect_dtmf',
  'play_audio',
  'hand_off',
  'note',
] as const;
export type BuiltinTool = (typeof BUILTIN_TOOLS)[number];

/** A server of tools (Model Context Protocol, streamable HTTP). */
export type McpServer = {
  /** In front of its tools' names. */
  readonly name: string;
  readonly url: string;
};

export const VOICEMAIL_ACTIONS = ['hang_up', 'message', 'continue'] as const;
export type VoicemailAction = (typeof VOICEMAIL_ACTIONS)[number];
