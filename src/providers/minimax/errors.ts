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
  2049: 'E_PROVIDER_AUTH',
};

/** The error in a message's `base_resp`; null: all is well. */
export function errorIn(message: Json, setting: string): AppError | null {
  const base = partOf(message, 'base_resp');
  const number = numberIn(base, 'status_code') ?? 0;
  if (number === 0) return null;
  const code = CODES[number] ?? 'E_PROVIDER_SERVER';
  const isKey = number === 1004 || number === 2049;
  const advice = `${setting}: credentials.api_key is refused; a key works on the host of its own region only`;
  const said = isKey ? advice : textIn(base, 'status_msg').slice(0, 160);
  return new AppError(code, `minimax: ${number} (${said})`, {
    details: { vendor: 'minimax', vendorCode: String(number) },
  });
}
