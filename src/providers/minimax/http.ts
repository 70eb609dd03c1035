/** MiniMax's voice by HTTP (providers.md 6.1): one request for a piece, its sound as server-sent events. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { PieceSession } from '../piece-tts.ts';
import { brokenMessage, numberIn, partOf, readJson, textIn } from '../vendor-json.ts';
import { errorIn, refusal } from './errors.ts';
import { HeardSound } from './heard.ts';
import { VENDOR } from './settings.ts';

export type MinimaxHttp = {
  readonly url: string;
  readonly apiKey: string;
  readonly setting: string;
  readonly clock: Clock;
};

const FIRST_MS = 3_000;
const GAP_MS = 5_000;
const MAX_LINE_CHARS = 32 * 1024 * 1024;
const LAST = 2;

export function httpSession(
  service: MinimaxHttp,
  voice: Readonly<Record<string, unknown>>,
): PieceSession {
  return {
    say: (text, signal) => say(service, { ...voice, ...streamed(text) }, signal),
    // The request ends with its generator.
    done: () => undefined,
    close: () => undefined,
  };
}

function streamed(text: string): object {
  return { text, stream: true, stream_options: { exclude_aggregated_audio: true } };
}

async function* say(
  service: MinimaxHttp,
  body: object,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const { clock, setting } = service;
  const abort = new AbortController();
  const watch = { isLate: false };
  let timer: TimerHandle | undefined;
  const within = (ms: number): void => {
    clock.clearTimer(timer);
    timer = clock.setTimer(() => {
      watch.isLate = true;
      abort.abort();
    }, ms);
  };
  const onAbort = (): void => abort.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  within(FIRST_MS);
  const heard = new HeardSound();
  try {
    const answer = await ask(service, body, abort.signal);
    if (answer.status !== 200) throw refusal(answer.status, setting);
    for await (const line of linesOf(answer)) {
      // Server-sent events, or one JSON object where there is nothing to stream but an error.
      const text = line.startsWith('data:')
        ? line.slice(5).trim()
        : line.startsWith('{')
          ? line
          : '';
      if (text === '') continue;
      const message = readJson(VENDOR, text);
      const error = errorIn(message, setting);
      if (error !== null) throw error;
      const data = partOf(message, 'data');
      const isLast = numberIn(data, 'status') === LAST;
      const sound = heard.take(textIn(data, 'audio'), isLast);
      within(GAP_MS);
      if (sound.length > 0) yield sound;
      if (isLast) return;
    }
    throw brokenMessage(VENDOR, 'the answer broke off');
  } catch (thrown) {
    if (signal.aborted) throw new AppError('E_ABORTED', 'the speech was given up');
    if (watch.isLate) throw new AppError('E_TIMEOUT', `${VENDOR}: the voice did not go on in time`);
    if (thrown instanceof AppError) throw thrown;
    throw brokenMessage(VENDOR, `the request failed (${messageOf(thrown)})`, thrown);
  } finally {
    clock.clearTimer(timer);
    signal.removeEventListener('abort', onAbort);
    abort.abort();
  }
}

function ask({ url, apiKey }: MinimaxHttp, body: object, signal: AbortSignal): Promise<Response> {
  return fetch(url, {
    ...{ method: 'POST', redirect: 'error', signal, body: JSON.stringify(body) },
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
  });
}

/** Characters may be cut between chunks, lines anywhere. Errors: E_PROVIDER_SERVER. */
async function* linesOf(answer: Response): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of answer.body ?? []) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r?\n/);
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARS) throw brokenMessage(VENDOR, 'a line without an end');
    yield* lines;
  }
  if (rest !== '') yield rest;
}
