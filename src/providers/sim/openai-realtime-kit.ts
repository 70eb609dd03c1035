/** What the simulated realtime vendors that speak OpenAI's JSON events share: their words, their audio, their script. */
import { decodeG711, encodeG711, G711, type G711Codec } from '#lib/g711.ts';
import type { Clock } from '#lib/clock.ts';
import type { Json } from '../realtime-json.ts';
import { bytesOf, samplesOf } from '../rates.ts';
import type { FaultPlan, VendorServer } from './vendor-server.ts';

/** What the simulated model is asked. */
export type SimQuestion = {
  /** What the caller said or wrote last; empty when nobody said anything. */
  readonly said: string;
  /** Of the response, else of the session. */
  readonly instructions: string;
  /** The last item of the conversation, when it is a function's result. */
  readonly toolResult: string | null;
  readonly tools: readonly string[];
};

export type SimAnswer = {
  readonly text: string;
  readonly calls?: readonly { readonly name: string; readonly arguments: Json }[];
};

export type RealtimeSimOptions = {
  readonly key: string;
  readonly clock: Clock;
  /** Utterance id -> words. */
  readonly words: Readonly<Record<string, string>>;
  answer(question: SimQuestion): SimAnswer;
  readonly faults: FaultPlan;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** One delta of 100 ms of sound this often. Default 5: twenty times real time. */
  readonly everyMs?: number;
  /** Default 60 min. */
  readonly limitMs?: number;
};

export type SeenEvent = {
  /** Which connection, from 1. */
  readonly connection: number;
  readonly event: Json;
};

export type RealtimeSim = {
  readonly server: VendorServer;
  /** What the client did that the vendor forbids. */
  readonly violations: readonly string[];
  /** Everything the clients sent, audio left out, and how much audio each connection took. */
  readonly seen: readonly SeenEvent[];
  readonly heardMs: readonly number[];
  close(): Promise<void>;
};

export type AudioFormat = {
  readonly rateHz: number;
  /** Null: bytes that are no audio of this format. */
  decode(bytes: Buffer): Int16Array | null;
  encode(pcm: Int16Array): Buffer;
};

export function pcmFormat(rateHz: number): AudioFormat {
  return {
    rateHz,
    decode: (bytes) => (bytes.length % 2 === 0 ? samplesOf(bytes) : null),
    encode: (pcm) => Buffer.from(bytesOf(pcm)),
  };
}

export function g711Format(codec: G711Codec): AudioFormat {
  return {
    rateHz: 8000,
    decode(bytes) {
      const pcm = new Int16Array(bytes.length);
      decodeG711(G711[codec], new DataView(bytes.buffer, bytes.byteOffset, bytes.length), pcm);
      return pcm;
    },
    encode(pcm) {
      const codes = Buffer.alloc(pcm.length);
      encodeG711(G711[codec], pcm, codes);
      return codes;
    },
  };
}

/** Null for what is not base64 to the letter. */
export function base64Of(text: unknown): Buffer | null {
  if (typeof text !== 'string' || text === '') return null;
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  return Buffer.from(text, 'base64');
}

/** As the vendor words a refusal. */
export type Refusal = {
  readonly code: string;
  readonly message: string;
  readonly param?: string;
  /** `invalid_request_error` unless said. */
  readonly type?: string;
};

/** One vendor's dialect: the names of what it sends, and what it lets a client say. */
export type RealtimeVendor = {
  readonly names: {
    readonly audioDelta: string;
    readonly audioDone: string;
    readonly transcriptDelta: string;
    readonly transcriptDone: string;
    /** An item's beginning and end in the conversation; null: not told. */
    readonly itemAdded: string;
    readonly itemDone: string | null;
  };
  readonly clientTypes: ReadonlySet<string>;
  readonly sessionDefaults: Json;
  /** `hasSpoken`: the model has given sound already. */
  checkSession(update: Json, current: Json, hasSpoken: boolean): Refusal | null;
  checkItem(item: Json): Refusal | null;
  /** Shortest and longest audio of one append. */
  readonly appendMs: readonly [number, number];
  inputFormat(session: Json): AudioFormat;
  outputFormat(session: Json): AudioFormat;
  turnDetection(session: Json): Json | null;
  hasTranscription(session: Json): boolean;
};

export const MAX_APPEND_BYTES = 15 * 1024 * 1024;
/** Of sound in one delta. */
export const DELTA_MS = 100;
export const SESSION_LIMIT_MS = 60 * 60_000;
