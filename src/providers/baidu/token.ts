/** Baidu's access token (providers.md 5.2): good for 30 days, fetched once for all who wait, renewed when it is refused. */
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { numberIn, readJson, textIn } from '../vendor-json.ts';

export type BaiduTokens = {
  /**
   * `refused`: the vendor did not take this one; null: any will do. Errors: E_PROVIDER_AUTH, E_PROVIDER_SERVER,
   * E_TIMEOUT; E_ABORTED when `signal` aborts, while others go on waiting.
   */
  get(refused: string | null, signal: AbortSignal): Promise<string>;
};

export type BaiduTokensOptions = {
  readonly url: string;
  readonly apiKey: string;
  readonly secretKey: string;
  readonly setting: string;
  readonly clock: Clock;
};

const TIMEOUT_MS = 3_000;
const MAX_ANSWER_BYTES = 16 * 1024;
/** Renewed so long before its end. */
const SPARE_MS = 86_400_000;

export function createBaiduTokens(options: BaiduTokensOptions): BaiduTokens {
  const { clock } = options;
  let known: { readonly token: string; readonly untilMs: number } | null = null;
  let fetching: Promise<string> | null = null;
  return {
    get(refused, signal) {
      if (known !== null && known.token !== refused && clock.wallMs() < known.untilMs) {
        return Promise.resolve(known.token);
      }
      fetching ??= fetchToken(options)
        .then(({ token, lifeMs }) => {
          known = { token, untilMs: clock.wallMs() + Math.max(60_000, lifeMs - SPARE_MS) };
          return token;
        })
        .finally(() => {
          fetching = null;
        });
      return orAborted(fetching, signal);
    },
  };
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(new AppError('E_ABORTED', 'baidu: given up'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function fetchToken(
  options: BaiduTokensOptions,
): Promise<{ readonly token: string; readonly lifeMs: number }> {
  const { url, apiKey, secretKey, setting, clock } = options;
  const query = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: apiKey,
    client_secret: secretKey,
  });
  const abort = new AbortController();
  const timer = clock.setTimer(() => abort.abort(), TIMEOUT_MS);
  try {
    const answer = await fetch(`${url}?${query.toString()}`, {
      ...{ method: 'POST', redirect: 'error', signal: abort.signal },
    });
    const body = readJson('baidu', await readSome(answer));
    const token = textIn(body, 'access_token');
    if (token !== '') return { token, lifeMs: (numberIn(body, 'expires_in') ?? 2_592_000) * 1000 };
    if (answer.status >= 500)
      throw failed('E_PROVIDER_SERVER', `the token service answers ${answer.status}`);
    throw failed('E_PROVIDER_AUTH', `${setting}: credentials api_key or secret_key are refused`);
  } catch (thrown) {
    if (abort.signal.aborted) throw failed('E_TIMEOUT', `no token within ${TIMEOUT_MS} ms`);
    // What the network says may quote the address, which holds the secret.
    if (thrown instanceof AppError) throw thrown;
    throw failed(
      'E_PROVIDER_SERVER',
      `the token service cannot be reached (${toAppError(thrown).name})`,
    );
  } finally {
    clock.clearTimer(timer);
  }
}

async function readSome(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function failed(
  code: 'E_PROVIDER_AUTH' | 'E_PROVIDER_SERVER' | 'E_TIMEOUT',
  what: string,
): AppError {
  return new AppError(code, `baidu: ${what}`, { details: { vendor: 'baidu' } });
}
