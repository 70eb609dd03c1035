/** What the speech proxies (contract 2.2) need of the vendor's client, stated here and plugged in by speech-proxies.ts. */
import type { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';

/** Times are milliseconds of the audio that was sent; null where the vendor gives none. */
export type HeardSentence = {
  readonly index: number;
  readonly text: string;
  readonly beginMs: number | null;
  readonly endMs: number | null;
  /** 0 to 1. */
  readonly confidence: number | null;
};

export type ListeningOptions = {
  readonly rateHz: 8000 | 16000;
  readonly hasPartials: boolean;
  readonly hasPunctuation: boolean;
  onPartial(sentence: Pick<HeardSentence, 'index' | 'text' | 'beginMs'>): void;
  onFinal(sentence: HeardSentence): void;
  /** Once; nothing comes behind it. */
  onFailed(error: AppError): void;
};

export type Listening = {
  /** s16le of 20 to 200 ms; the last piece may be shorter. False when it is over, or takes less than it is sent. */
  send(bytes: Uint8Array): boolean;
  /** Resolves behind the last sentence. Errors: E_PROVIDER_*, E_TIMEOUT. */
  stop(): Promise<void>;
  /** Idempotent. */
  close(): void;
};

export type SpeakingOptions = {
  readonly voice: string;
  readonly format: 'pcm' | 'wav' | 'mp3';
  readonly rateHz: 8000 | 16000 | 24000;
  /** Null: the voice's own. */
  readonly volume: number | null;
  readonly speechRate: number | null;
  readonly pitchRate: number | null;
  readonly texts: AsyncIterable<string>;
  /** Each text is complete, and said as it is. */
  readonly isWhole: boolean;
};

/** Errors of all: E_CONFIG without an account; E_PROVIDER_*, E_TIMEOUT, E_ABORTED, E_DATABASE*. */
export type AliyunSpeech = {
  hasAccount(accountId: Id): Promise<boolean>;
  /** Sentences as one text, in Chinese without spaces between them. */
  joined(sentences: readonly string[]): string;
  /** Resolves when audio may be sent. */
  listen(accountId: Id, options: ListeningOptions, signal: AbortSignal): Promise<Listening>;
  /** The sound as the vendor makes it. Leaving it, or aborting `signal`, gives up at once. */
  speak(accountId: Id, options: SpeakingOptions, signal: AbortSignal): AsyncGenerator<Uint8Array>;
};
