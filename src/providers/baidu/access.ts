/** How Baidu lets a client in: by a token made of key and secret, else by the key itself (providers.md 5.1, 5.2). */
import { AppError } from '#lib/errors.ts';
import { credential, urlOption, type VendorSettings, type VendorTools } from '../vendor.ts';
import { createBaiduTokens } from './token.ts';

export const VENDOR = 'baidu';
const URL_TOKEN = 'https://aip.baidubce.com/oauth/2.0/token';

/** What a handshake carries. */
export type Pass = {
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
};

export type BaiduAccess = {
  /** Opens with a pass; a token that is refused is renewed once. Errors: those of `open` and of the token service. */
  enter<T>(open: (pass: Pass) => Promise<T>, signal: AbortSignal): Promise<T>;
};

/** Errors: E_CONFIG. */
export function createBaiduAccess(settings: VendorSettings, tools: VendorTools): BaiduAccess {
  // Who renews the token elsewhere gives it here.
  const given = settings.credentials['access_token'] ?? '';
  if (given !== '') return { enter: (open) => open(passOf(given)) };
  const apiKey = credential(settings, 'api_key');
  // Newer keys are shown as they are; older ones come with a secret, for which there is a token.
  const secretKey = settings.credentials['secret_key'] ?? '';
  if (secretKey === '') {
    const pass = { query: {}, headers: { authorization: `Bearer ${apiKey}` } };
    return { enter: (open) => open(pass) };
  }
  const url = urlOption(settings, 'token_url', URL_TOKEN, ['https', 'http']);
  const { setting } = settings;
  const tokens = createBaiduTokens({ url, apiKey, secretKey, setting, clock: tools.clock });
  return {
    async enter(open, signal) {
      const token = await tokens.get(null, signal);
      try {
        return await open(passOf(token));
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'E_PROVIDER_AUTH')) throw error;
        return open(passOf(await tokens.get(token, signal)));
      }
    },
  };
}

function passOf(token: string): Pass {
  return { query: { access_token: token }, headers: {} };
}

/** The reason of a refused handshake is in its body (providers.md 12.5). */
export function refusal(status: number, body: string, setting: string): AppError {
  const vendorCode = /"(?:code|error_code|err_no)"\s*:\s*"?(-?\d+)/.exec(body)?.[1];
  const details = { vendor: VENDOR, status, ...(vendorCode === undefined ? {} : { vendorCode }) };
  const known = `${status}${vendorCode === undefined ? '' : `, code ${vendorCode}`}`;
  const isToken = vendorCode === '110' || vendorCode === '111';
  if (status === 401 || status === 403 || isToken) {
    const what = `${setting}: credentials api_key or secret_key are refused (${known})`;
    return new AppError('E_PROVIDER_AUTH', `${VENDOR}: ${what}`, { details });
  }
  const isQuota = status === 429 || vendorCode === '276001';
  const code = isQuota
    ? 'E_PROVIDER_QUOTA'
    : status < 500
      ? 'E_PROVIDER_PARAM'
      : 'E_PROVIDER_SERVER';
  return new AppError(code, `${VENDOR}: the connection was refused (${known})`, { details });
}
