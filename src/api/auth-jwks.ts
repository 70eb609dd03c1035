/** The public keys of an outside issuer (contract 1.2): cached 10 min, asked for again once when a `kid` is unknown. */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { Problem } from './problem.ts';

const FRESH_MS = 10 * 60_000;
/** With the issuer away its last keys serve on, but not for ever: it may have withdrawn one. */
const STALE_MS = 60 * 60_000;
/** Tokens with made-up key ids must not become requests to the issuer. */
const COOL_DOWN_MS = 30_000;
/** While there is no key at all, everybody waits. */
const FIRST_RETRY_MS = 5_000;
const FETCH_TIMEOUT_MS = 4_000;
const MAX_BYTES = 256 * 1024;

export type JwksOptions = {
  readonly url: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The document's text. Replaced in tests. */
  readonly fetchText?: (url: string) => Promise<string>;
};

type Held = { readonly find: JWTVerifyGetKey; readonly atMs: number };

/** Errors while verifying: those of jose; UNAVAILABLE when the issuer was never reached. */
export function createJwks(options: JwksOptions): JWTVerifyGetKey {
  const { url, clock, log, fetchText = readText } = options;
  let held: Held | null = null;
  let triedMs = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | null = null;

  const load = async (): Promise<void> => {
    triedMs = clock.now();
    try {
      const text = await fetchText(url);
      held = { find: createLocalJWKSet(JSON.parse(text) as JSONWebKeySet), atMs: clock.now() };
    } catch (error) {
      log.warn('jwks.notLoaded', { url, error });
    }
  };
  /** One request at a time, and none soon after another. */
  const refresh = (): Promise<void> => {
    const pauseMs = held === null ? FIRST_RETRY_MS : COOL_DOWN_MS;
    if (loading === null && clock.now() - triedMs >= pauseMs) {
      loading = load().finally(() => {
        loading = null;
      });
    }
    return loading ?? Promise.resolve();
  };
  const usable = (): JWTVerifyGetKey | null =>
    held !== null && clock.now() - held.atMs < STALE_MS ? held.find : null;

  return async (header, token) => {
    if (held === null || clock.now() - held.atMs >= FRESH_MS) await refresh();
    const find = usable();
    if (find === null) throw new Problem('UNAVAILABLE');
    try {
      return await find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await refresh();
      return (usable() ?? find)(header, token);
    }
  };
}

/** Errors: whatever fetch rejects with; an answer that is no success, or too large. */
async function readText(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`the issuer answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error('the key set is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
