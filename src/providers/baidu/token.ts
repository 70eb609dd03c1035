/** Baidu's access token (providers.md 5.2): good for 30 days, fetched once for all who wait, renewed when it is refused. */
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { numberIn, readJson, textIn } from '../vendor-json.ts';

export type BaiduTokens = {
  /** `refused`: the vendor did not take this one. Errors: E_PROVIDER_AUTH, E_PROVIDER_SERVER, E_TIMEOUT. */
  get(refused?: string): Promise<string>;
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
    get(refused) {
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
      return fetching;
    },
  };
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
    const body = readJson('baidu', (await answer.text()).slice(0, MAX_ANSWER_BYTES));
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

function failed(
  code: 'E_PROVIDER_AUTH' | 'E_PROVIDER_SERVER' | 'E_TIMEOUT',
  what: string,
): AppError {
  return new AppError(code, `baidu: ${what}`, { details: { vendor: 'baidu' } });
}
