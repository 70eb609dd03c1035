/**
 * The four contracts between conversation and vendors. A provider is made once per account setting and opens sessions
 * per call; sessions are owned by the call and closing is idempotent. PCM is 16-bit mono at 8 kHz unless said.
 */

import type { PriceTable } from '#lib/prices.ts';

export type Language = 'zh' | 'en';

/** A caller utterance as audio, for vendors (and the built-in agent) that work on sound. */
export type UtteranceAudio = {
  readonly pcm: Int16Array;
  readonly startMs: number;
  readonly endMs: number;
};

// ---- Speech to text ----

export type SttEvent =
  | { readonly type: 'partial'; readonly text: string }
  /** `text` may be empty: an utterance was heard and not read. Times are call time, null when the vendor gives none. */
  | {
      readonly type: 'final';
      readonly text: string;
      readonly confidence: number | null;
      readonly startMs: number | null;
      readonly endMs: number | null;
      readonly language: Language | null;
    }
  /** `isFatal`: the session hears nothing any more; utterances not read yet will not be. */
  | { readonly type: 'error'; readonly error: Error; readonly isFatal?: boolean };

export type SttSession = {
  /** Caller audio in order, any chunk size; the buffer may be reused after the call returns. */
  push(pcm: Int16Array): void;
  /** The detector's word that speech began (call time). */
  speechStarted(startMs: number): void;
  /**
   * The detector's word that the utterance is over: a `final` for it must follow within the vendor's deadline.
   * `audio` is the utterance itself, with 200 ms before it.
   */
  speechStopped(audio: UtteranceAudio): void;
  close(): void;
};

export type SttProvider = {
  readonly vendor: string;
  /** Whose words came last, where others stand in; absent: `vendor`. */
  servedBy?(): string;
  /** Gives back what is kept open between calls. Idempotent. */
  close?(): void;
  /** A call has begun: what saves time at the first word is made ready. Returns at once, never throws. */
  warm?(): void;
  /** True when `final` events carry text; false for `local`, which hears but does not read. */
  readonly reads: boolean;
  /** Connects, lets the vendor hear a moment of silence, and leaves. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED, E_CONFIG. */
  check?(signal: AbortSignal): Promise<void>;
  open(options: {
    readonly callId: string;
    readonly language: Language;
    onEvent(event: SttEvent): void;
  }): SttSession;
};

// ---- Language model ----

export type ChatMessage = {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  /** Of a `tool` message: the result, as JSON. */
  readonly content: string;
  /** What an assistant wanted done, in this very round of the reply. */
  readonly toolCalls?: readonly ToolCall[];
  /** Of a `tool` message: the call that it answers. */
  readonly toolCallId?: string;
};

/** A function that the model may ask for. `parameters` is a JSON Schema. */
export type ToolSpec = {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
};

export type ToolCall = {
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
};

/** What the caller just did: spoke, or pressed keys; or what the agent was told behind his back. */
export type TurnInput =
  | { readonly kind: 'speech'; readonly text: string; readonly audio: UtteranceAudio | null }
  | { readonly kind: 'dtmf'; readonly digits: string }
  /** A private note to act on now; the last message (`system`) is the same. */
  | { readonly kind: 'note'; readonly text: string };

export type ReplyRequest = {
  readonly callId: string;
  readonly language: Language;
  /** System prompt first, then the conversation as it was heard, the latest user message last. */
  readonly messages: readonly ChatMessage[];
  readonly input: TurnInput;
  /** Absent or empty: there is nothing to ask for. */
  readonly tools?: readonly ToolSpec[];
  /** Per-call memory of the provider (the built-in agent keeps its menu state here). */
  readonly state: Map<string, unknown>;
};

/** A piece of a reply, in speaking order. */
export type ReplyPart =
  | { readonly type: 'text'; readonly text: string; readonly language?: Language }
  /** Ready sound to be played as it is; `text` is what the transcript shows for it. */
  | { readonly type: 'audio'; readonly pcm: Int16Array; readonly text: string }
  /** From here on the conversation is in this language. */
  | { readonly type: 'language'; readonly language: Language }
  /** To be carried out, and the model asked again with the result. Comes after all words of the reply. */
  | { readonly type: 'tool_call'; readonly call: ToolCall }
  /** Hang up after everything before this has been heard. */
  | { readonly type: 'end_call' };

export type LlmUsage = { readonly inputTokens: number; readonly outputTokens: number };

/** One question with one answer, outside a conversation: a summary, an analysis. */
export type CompletionRequest = {
  readonly system: string;
  readonly user: string;
  /** 0-2. */
  readonly temperature: number;
  readonly maxTokens: number;
};

export type Completion = {
  readonly text: string;
  /** The model's name as it was asked for. */
  readonly model: string;
  readonly usage: LlmUsage | null;
};

export type LlmProvider = {
  readonly vendor: string;
  /** As `SttProvider.servedBy`. */
  servedBy?(): string;
  close?(): void;
  /** As `SttProvider.warm`. */
  warm?(): void;
  /** First words of a call whose agent has no greeting of its own; null or absent: the installation's prompt. */
  greeting?(language: Language): string | null;
  /**
   * Yields parts as they come. Aborting `signal` stops the stream at once, with E_ABORTED.
   * Errors: AppError E_PROVIDER_*, E_TIMEOUT, E_ABORTED.
   */
  reply(
    request: ReplyRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ReplyPart, LlmUsage | undefined>;
  /**
   * The whole answer at once. Absent where there is no language model behind (`local`). It has no deadline of its own:
   * `signal` is the caller's. Errors: as `reply`.
   */
  readonly complete?: (request: CompletionRequest, signal: AbortSignal) => Promise<Completion>;
};

// ---- Text to speech ----

/** After `ms` of this utterance's audio, the first `chars` UTF-16 units of its text have been spoken. */
export type WordMark = { readonly chars: number; readonly ms: number };

export type TtsChunk = {
  readonly pcm: Int16Array;
  readonly marks: readonly WordMark[];
  /** Vendor whose sound it is, where others stand in; `kept`: of a phrase made before. Absent: the provider's own. */
  readonly by?: string;
  /** It is not the voice that was meant, but one that stands in. */
  readonly isStandIn?: boolean;
};

export type TtsRequest = {
  readonly text: string;
  readonly language: Language;
  readonly voice?: string;
  /** `always`: said in many calls, its sound is worth keeping; `never`: it is not; absent: once it is said again. */
  readonly keep?: 'always' | 'never';
};

export type TtsProvider = {
  readonly vendor: string;
  close?(): void;
  /** As `SttProvider.warm`. */
  warm?(): void;
  /**
   * Yields 8 kHz PCM as it is made (a view: read it only), with word marks counted from the utterance's start, rising;
   * a mark may come in a later chunk than its audio. A text with nothing to say in it yields nothing.
   * Errors: AppError E_PROVIDER_*, E_TIMEOUT, E_QUEUE_FULL, and E_ABORTED once `signal` aborts.
   */
  speak(request: TtsRequest, signal: AbortSignal): AsyncGenerator<TtsChunk, void>;
};

// ---- Realtime (speech to speech) ----

/**
 * `generation` numbers the model's replies, rising from 1: what belongs to one that was interrupted is not told any more.
 * Every event comes from the vendor's socket, never from inside a call of the session's functions.
 */
export type RealtimeEvent =
  /** The model has begun to hear the caller: what it was saying is void if it says so by `interrupt`. */
  | { readonly type: 'speech_started' }
  | { readonly type: 'speech_stopped' }
  /** What the caller said; partial texts are whole, not pieces. */
  | { readonly type: 'user_transcript'; readonly text: string; readonly isFinal: boolean }
  | { readonly type: 'turn_started'; readonly generation: number }
  /** 8 kHz; faster than real time. */
  | { readonly type: 'audio'; readonly pcm: Int16Array; readonly generation: number }
  /** The next words of the reply. */
  | { readonly type: 'agent_text'; readonly text: string; readonly generation: number }
  | { readonly type: 'tool_call'; readonly call: ToolCall; readonly generation: number }
  | { readonly type: 'turn_done'; readonly generation: number }
  | { readonly type: 'usage'; readonly usage: LlmUsage }
  /** `isFatal`: the session is over, and can be opened anew. */
  | { readonly type: 'error'; readonly error: Error; readonly isFatal: boolean };

export type RealtimeSession = {
  /** Caller audio in order, 8 kHz, any chunk size; the buffer may be reused after the call returns. */
  push(pcm: Int16Array): void;
  /** The model says this, word for word where the vendor can, as its next reply. */
  say(text: string): void;
  /** As if the caller had said it; answered at once. */
  text(text: string): void;
  /** Answers a `tool_call`; `content` is JSON. The model goes on when all calls of its reply are answered. */
  toolResult(id: string, content: string): void;
  /** The caller heard only `heardMs` of generation `generation`; everything after is void, also at the vendor. */
  interrupt(generation: number, heardMs: number): void;
  /** Idempotent. */
  close(): void;
};

export type RealtimeProvider = {
  readonly vendor: string;
  /** Whether the model may ask for tools. */
  readonly hasTools: boolean;
  close?(): void;
  /** As `SttProvider.warm`. */
  warm?(): void;
  /**
   * Resolves when the model listens. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED, E_CONFIG. `history`: what was said
   * before, for a session that takes over from another. `codec`: of the call's line; a vendor that speaks G.711 then gets
   * and gives the very bytes of the line.
   */
  open(
    options: {
      readonly callId: string;
      readonly language: Language;
      readonly instructions: string;
      readonly tools: readonly ToolSpec[];
      readonly history: readonly ChatMessage[];
      readonly codec: 'PCMA' | 'PCMU' | 'L16';
      onEvent(event: RealtimeEvent): void;
    },
    signal: AbortSignal,
  ): Promise<RealtimeSession>;
};

/** The providers of one call. */
export type ProviderSet = {
  readonly stt: SttProvider;
  readonly llm: LlmProvider;
  readonly tts: TtsProvider;
  /** Instead of the three above, where the agent's mode is realtime; else null. */
  readonly realtime?: RealtimeProvider | null;
  /** The same providers, with a tap on every single vendor behind them. Absent: they are single vendors themselves. */
  readonly tapped?: (tap: ProviderTap) => ProviderSet;
};

export type ProviderKind = 'stt' | 'llm' | 'tts' | 'realtime';

/** Whose work it is: one vendor, on one account, at what prices (null: not known). */
export type ProviderName = {
  readonly vendor: string;
  readonly prices: PriceTable | null;
};

/** Stands between a vendor and whoever asks it: counts, measures. What it gives back does the same work. */
export type ProviderTap = {
  stt(provider: SttProvider, name: ProviderName): SttProvider;
  llm(provider: LlmProvider, name: ProviderName): LlmProvider;
  tts(provider: TtsProvider, name: ProviderName): TtsProvider;
  realtime(provider: RealtimeProvider, name: ProviderName): RealtimeProvider;
};

/** `set` with `tap` on every single vendor in it. */
export function tapped(set: ProviderSet, tap: ProviderTap): ProviderSet {
  if (set.tapped !== undefined) return set.tapped(tap);
  const nameOf = ({ vendor }: { readonly vendor: string }) => ({ vendor, prices: null });
  const { stt, llm, tts, realtime } = set;
  return {
    stt: tap.stt(stt, nameOf(stt)),
    llm: tap.llm(llm, nameOf(llm)),
    tts: tap.tts(tts, nameOf(tts)),
    ...(realtime === undefined
      ? {}
      : { realtime: realtime && tap.realtime(realtime, nameOf(realtime)) }),
  };
}

/** Fixed words that every installation can say in both languages, synthesised once and cached. */
export type PromptName =
  | 'greeting'
  | 'still_there'
  | 'goodbye_silence'
  | 'limit_warning'
  | 'goodbye_limit'
  | 'apology'
  | 'withheld';
