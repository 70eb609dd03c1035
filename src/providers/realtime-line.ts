/** What a speech-to-speech vendor's adapter gives to the sessions that are built on it (realtime-session.ts). */
import type { AppError } from '#lib/errors.ts';
import type { ChatMessage, Language, LlmUsage, ToolCall, ToolSpec } from './contract.ts';
import type { VendorTools } from './vendor.ts';

/** One connection's worth of a call. */
export type LineCall = {
  readonly callId: string;
  readonly language: Language;
  readonly instructions: string;
  readonly tools: readonly ToolSpec[];
  /** All that was said before this connection. */
  readonly history: readonly ChatMessage[];
  readonly codec: 'PCMA' | 'PCMU' | 'L16';
};

/** The vendor's side of one connection. All of it is heard by the model in the order of the calls. */
export type RealtimeLine = {
  /** Caller audio, 8 kHz; a view, valid during the call. */
  push(pcm: Int16Array): void;
  /** Asked for one at a time, when no reply is under way: each makes the vendor begin one. */
  say(text: string): void;
  text(text: string): void;
  /** `goesOn`: what was being said broke off with the last connection. */
  answer(goesOn: boolean): void;
  /** The model is not asked to go on by it. */
  toolResult(id: string, content: string): void;
  /** The caller heard `heardMs` of this reply; what is still being made of it is not wanted. */
  interrupt(reply: string, heardMs: number): void;
  readonly isOpen: boolean;
  /** When opened: how long the vendor says it lasts. Null: it does not say. */
  readonly lastsMs: number | null;
  /** Idempotent; nothing is told afterwards. */
  close(): void;
};

/** `reply`: the vendor's own id of a reply, one of this connection. */
export type LineEvents = {
  speechStarted(): void;
  speechStopped(): void;
  /** All audio sent so far is in the conversation, as utterance `key`; its answer comes by itself, or is to be asked for. */
  took(key: string, answer: 'comes' | 'ask' | 'none'): void;
  userText(key: string, text: string, isFinal: boolean): void;
  replyStarted(reply: string): void;
  /** 8 kHz, the receiver's own. */
  audio(reply: string, pcm: Int16Array): void;
  agentText(reply: string, text: string): void;
  /** `error`: why it ended early; null: it is whole, or was cancelled. */
  replyDone(reply: string, calls: readonly ToolCall[], error: AppError | null): void;
  usage(usage: LlmUsage): void;
  /** The vendor was busy with a reply of its own: what was asked for last is to be asked again. */
  busy(): void;
  /** What was asked for last will not come. */
  declined(error: AppError): void;
  /** Something went wrong, and the line goes on. */
  fault(error: AppError): void;
  /** The line is over. E_PROVIDER_IDLE is no fault; _AUTH and _PARAM are not worth another try. */
  failed(error: AppError): void;
};

export type RealtimeSettings = {
  readonly vendor: string;
  readonly hasTools: boolean;
  readonly tools: VendorTools;
  /** A reply that was asked for begins within, and goes on within. Defaults 8000 and 5000. */
  readonly replyMs?: number;
  readonly stallMs?: number;
  /** How long the vendor lets a session last; null: for ever. */
  readonly limitMs: number | null;
  /**
   * Resolves when the model listens. Errors: AppError E_PROVIDER_*, E_TIMEOUT, E_ABORTED when `signal` aborts; once it
   * has resolved, failures are told by `events.failed`.
   */
  connect(call: LineCall, events: LineEvents, signal: AbortSignal): Promise<RealtimeLine>;
};
