/** What Tencent's codes mean for us (providers.md 4.1); of the voice's own only 10001 is known (4.2). */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { brokenMessage, numberIn, textIn, type Json } from '../vendor-json.ts';

const CODES: Readonly<Record<number, ErrorCode>> = {
  4000: 'E_PROVIDER_PARAM',
  4001: 'E_PROVIDER_PARAM',
  4002: 'E_PROVIDER_AUTH',
  4003: 'E_PROVIDER_AUTH',
  4004: 'E_PROVIDER_AUTH',
  4005: 'E_PROVIDER_AUTH',
  4006: 'E_PROVIDER_QUOTA',
  4007: 'E_PROVIDER_PARAM',
  4008: 'E_PROVIDER_IDLE',
  4009: 'E_PROVIDER_SERVER',
  4010: 'E_PROVIDER_PARAM',
  6001: 'E_PROVIDER_AUTH',
  10001: 'E_PROVIDER_AUTH',
};

const ADVICE: Readonly<Record<number, string>> = {
  4002: 'credentials app_id, secret_id or secret_key are refused',
  4003: 'the service is not switched on in the console',
  4004: 'its package is used up',
  4005: 'the account is in arrears',
  6001: 'calls from this region are refused',
  10001: 'credentials app_id, secret_id or secret_key are refused',
};

export const VENDOR = 'tencent';

/** Throws what a message says is wrong. `setting`: whose credentials are to be mended. Errors: E_PROVIDER_*. */
export function assertWell(message: Json, setting: string): void {
  const code = numberIn(message, 'code');
  if (code === null) throw brokenMessage(VENDOR, 'a message without a code');
  if (code !== 0) throw tencentError(code, textIn(message, 'message'), setting);
}

/** Of a refused upgrade: the vendor refuses in its messages, so this is a gateway's word. */
export function refusal(status: number, setting: string): AppError {
  const code =
    status === 401 || status === 403
      ? 'E_PROVIDER_AUTH'
      : status === 429
        ? 'E_PROVIDER_QUOTA'
        : status >= 400 && status < 500
          ? 'E_PROVIDER_PARAM'
          : 'E_PROVIDER_SERVER';
  const keys = `${setting}: credentials app_id, secret_id or secret_key are refused`;
  const said = code === 'E_PROVIDER_AUTH' ? keys : 'the connection was refused';
  return new AppError(code, `tencent: ${said} (${status})`, {
    details: { vendor: VENDOR, status },
  });
}

function tencentError(code: number, message: string, setting: string): AppError {
  const advice = ADVICE[code];
  const said = advice === undefined ? message.slice(0, 160) : `${setting}: ${advice}`;
  return new AppError(CODES[code] ?? 'E_PROVIDER_SERVER', `tencent: ${code} (${said})`, {
    details: { vendor: 'tencent', vendorCode: String(code) },
  });
}
