/** What MiniMax's codes mean for us (providers.md 6.4; the vendor's page wins over its command-line tool). */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { numberIn, partOf, textIn, type Json } from '../vendor-json.ts';

const CODES: Readonly<Record<number, ErrorCode>> = {
  1000: 'E_PROVIDER_SERVER',
  1001: 'E_PROVIDER_SERVER',
  1002: 'E_PROVIDER_QUOTA',
  1004: 'E_PROVIDER_AUTH',
  1008: 'E_PROVIDER_AUTH',
  1013: 'E_PROVIDER_SERVER',
  1024: 'E_PROVIDER_SERVER',
  1026: 'E_PROVIDER_CONTENT',
  1027: 'E_PROVIDER_CONTENT',
  1039: 'E_PROVIDER_QUOTA',
  1042: 'E_PROVIDER_PARAM',
  2013: 'E_PROVIDER_PARAM',
  // Of the two-way socket: a piece too long, and too many waiting.
  2204: 'E_PROVIDER_PARAM',
  2205: 'E_PROVIDER_QUOTA',
  2049: 'E_PROVIDER_AUTH',
};

/** The error in a message's `base_resp`; null: all is well. */
export function errorIn(message: Json, setting: string): AppError | null {
  const base = partOf(message, 'base_resp');
  const number = numberIn(base, 'status_code') ?? 0;
  if (number === 0) return null;
  const code = CODES[number] ?? 'E_PROVIDER_SERVER';
  const advice = adviceFor(number, setting);
  const said = advice ?? textIn(base, 'status_msg').slice(0, 160);
  return new AppError(code, `minimax: ${number} (${said})`, {
    details: { vendor: 'minimax', vendorCode: String(number) },
  });
}

/** Of a refused upgrade or request. */
export function refusal(status: number, setting: string): AppError {
  const details = { vendor: 'minimax', status };
  if (status === 401 || status === 403) {
    const what = `${adviceFor(1004, setting)} (${status})`;
    return new AppError('E_PROVIDER_AUTH', `minimax: ${what}`, { details });
  }
  const code =
    status === 429
      ? 'E_PROVIDER_QUOTA'
      : status >= 400 && status < 500
        ? 'E_PROVIDER_PARAM'
        : 'E_PROVIDER_SERVER';
  return new AppError(code, `minimax: the connection was refused (${status})`, { details });
}

function adviceFor(number: number, setting: string): string | null {
  if (number === 1008) return `${setting}: the account has no balance`;
  if (number !== 1004 && number !== 2049) return null;
  return `${setting}: credentials.api_key is refused; a key works on the host of its own region only`;
}
