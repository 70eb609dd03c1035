/** What a recogniser's adapter gives to the sessions that are built on it (streaming-stt.ts, utterance-stt.ts). */
import type { AppError } from '#lib/errors.ts';
import type { Language } from './contract.ts';
import { delay } from '#lib/deadline.ts';
import type { VendorTools } from './vendor.ts';

/** The vendor's side of one connection. */
export type HearingLine = {
  /** One frame of `frameMs` at `rateHz`; a view, valid during the call. */
  send(frame: Int16Array): void;
  /** The detector heard the utterance end: a vendor that can, reads what it has now. */
  flush?(): void;
  /** The vendor has read what it wants to read on this line: more audio needs another one. */
  readonly isOver?: boolean;
  /** Idempotent; nothing is told afterwards. */
  close(): void;
};

export type HearingEvents = {
  /** The sentence so far, whole. */
  partial(text: string): void;
  /** The sentence is over. 0..1, or null where the vendor gives none. */
  final(text: string, confidence: number | null): void;
  /** The line is over. By its code: E_PROVIDER_IDLE is no fault, _AUTH and _PARAM are not worth another try. */
  failed(error: AppError): void;
};

export type LineSettings = {
  readonly vendor: string;
  readonly tools: VendorTools;
  /** What the vendor wants: of the audio, and of each message. */
  readonly rateHz: 8000 | 16000 | 24000;
  readonly frameMs: number;
  /**
   * Resolves when audio may be sent. Errors: AppError E_PROVIDER_*, E_TIMEOUT, E_ABORTED when `signal` aborts; once it
   * has resolved, failures are told by `events.failed`.
   */
  connect(
    call: { readonly callId: string; readonly language: Language },
    events: HearingEvents,
    signal: AbortSignal,
  ): Promise<HearingLine>;
};

/** Silence that a vendor hears when it is tried out; one that does not like it says so within that time. */
const CHECK_MS = 400;

/** For `SttProvider.check`. Errors: those of `connect`, and what the vendor says until then. */
export async function checkLine(settings: LineSettings, signal: AbortSignal): Promise<void> {
  const { tools, rateHz, frameMs } = settings;
  let failure: AppError | null = null;
  const line = await settings.connect(
    { callId: 'probe', language: 'zh' },
    {
      ...{ partial: () => undefined, final: () => undefined },
      failed: (error) => (failure = error),
    },
    signal,
  );
  try {
    const silence = new Int16Array((rateHz / 1000) * frameMs);
    for (let saidMs = 0; saidMs < CHECK_MS; saidMs += frameMs) {
      if (failure === null) line.send(silence);
      await delay(frameMs, signal, tools.clock);
    }
  } finally {
    line.close();
  }
  if (failure !== null) throw failure as AppError;
}
