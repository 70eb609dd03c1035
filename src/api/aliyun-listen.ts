/** A recording read by Aliyun (contract 2.2, `POST /api/v1/aliyun/asr`), sent as fast as the vendor takes it. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { loadStreamResampling, type StreamResampling } from '#lib/stream-resampler.ts';
import type { AliyunSpeech, HeardSentence } from './aliyun-speech-port.ts';
import type { Speech } from './audio-body.ts';

/** The vendor's own sample of a client sends 1.6 times as fast as one speaks. */
const SPEED = 1.6;
const BURST_MS = 1_000;
const FRAME_MS = 100;

export type Reading = {
  readonly accountId: Id;
  readonly speech: Speech;
  readonly hasPunctuation: boolean;
};

type Part = { readonly aliyunSpeech: AliyunSpeech; readonly clock: Clock };

export type SpeechReader = (reading: Reading, signal: AbortSignal) => Promise<HeardSentence[]>;

/** Errors of what it makes: those of the port. */
export function speechReader(part: Part): SpeechReader {
  let resampling: Promise<StreamResampling> | undefined;
  return async ({ speech, ...reading }, signal) => {
    const { pcm, sampleRate: rateHz } = speech;
    if (rateHz === 8000 || rateHz === 16000) {
      return read(part, { ...reading, pcm, rateHz }, signal);
    }
    resampling ??= loadStreamResampling();
    const fit = { pcm: converted(await resampling, pcm, rateHz), rateHz: 16_000 as const };
    return read(part, { ...reading, ...fit }, signal);
  };
}

type Fit = Omit<Reading, 'speech'> & { readonly pcm: Int16Array; readonly rateHz: 8000 | 16000 };

async function read(
  part: Part,
  { accountId, pcm, rateHz, hasPunctuation }: Fit,
  signal: AbortSignal,
): Promise<HeardSentence[]> {
  const heard: HeardSentence[] = [];
  const failure: { error?: AppError } = {};
  const options = {
    ...{ rateHz, hasPartials: false, hasPunctuation },
    onPartial: () => undefined,
    onFinal: (sentence: HeardSentence) => void heard.push(sentence),
    onFailed: (error: AppError) => (failure.error = error),
  };
  const listening = await part.aliyunSpeech.listen(accountId, options, signal);
  try {
    await feed(part.clock, pcm, rateHz, (bytes) => listening.send(bytes), signal);
    if (failure.error !== undefined) throw failure.error;
    await unlessGone(listening.stop(), signal);
    return heard;
  } catch (error) {
    if (hasNoSpeech(error)) return heard;
    throw error;
  } finally {
    listening.close();
  }
}

/** Nobody waits for the last sentence of a client that has left. Errors: E_ABORTED. */
async function unlessGone(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: gone, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new AppError('E_ABORTED', 'the client has left'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([work, gone]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function feed(
  clock: Clock,
  pcm: Int16Array,
  rateHz: number,
  send: (bytes: Uint8Array) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const step = (rateHz * FRAME_MS) / 1000;
  const startMs = clock.now();
  for (let at = 0; at < pcm.length; at += step) {
    const aheadMs = (at * 1000) / rateHz - (clock.now() - startMs) * SPEED - BURST_MS;
    if (aheadMs > 0) await delay(aheadMs / SPEED, signal, clock);
    const frame = pcm.subarray(at, at + step);
    // Samples are little-endian wherever Node runs.
    if (!send(new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength))) return;
  }
}

/** The vendor takes 8 and 16 kHz; a recording at another rate becomes one of 16. */
function converted(resampling: StreamResampling, pcm: Int16Array, fromHz: number): Int16Array {
  const resampler = resampling.open(fromHz, 16_000);
  try {
    return resampler.convert(pcm);
  } finally {
    resampler.close();
  }
}

/** The vendor's word for a recording in which nobody speaks: an answer, not a failure. */
function hasNoSpeech(error: unknown): boolean {
  return error instanceof AppError && error.details['vendorCode'] === '40270002';
}
