/** What iFlytek's codes mean for us (providers.md 3.6). */
import { AppError, type ErrorCode } from '#lib/errors.ts';

const CODES: readonly (readonly [readonly number[], ErrorCode])[] = [
  [[10005, 10105, 10110, 10313, 11200, 11201], 'E_PROVIDER_AUTH'],
  [[10106, 10107, 10109, 10139, 10160, 10161, 10163], 'E_PROVIDER_PARAM'],
  [[10114, 10165, 10200], 'E_PROVIDER_IDLE'],
  [[10800, 11202, 11203], 'E_PROVIDER_QUOTA'],
  [[10013, 10014, 10019], 'E_PROVIDER_CONTENT'],
];

export function iflytekError(number: number, said: string, setting: string): AppError {
  const code = CODES.find(([numbers]) => numbers.includes(number))?.[1] ?? 'E_PROVIDER_SERVER';
  const daily =
    number === 11201
      ? 'the limit of the day is reached'
      : 'credentials app_id, api_key or api_secret are refused';
  const what = code === 'E_PROVIDER_AUTH' ? `${setting}: ${daily}` : said.slice(0, 160);
  return new AppError(code, `iflytek: ${number} (${what})`, {
    details: { vendor: 'iflytek', vendorCode: String(number) },
  });
}

/** The reason of a refused handshake is in its body. */
export function refusal(status: number, body: string, setting: string): AppError {
  const details = { vendor: 'iflytek', status };
  if (status === 401 || status === 403) {
    const clock = /skew|date|expire/i.test(body) ? '; is the clock of this machine right?' : '';
    const what = `iflytek: ${setting}: credentials api_key or api_secret are refused (${status})${clock}`;
    return new AppError('E_PROVIDER_AUTH', what, { details });
  }
  const code =
    status === 429 ? 'E_PROVIDER_QUOTA' : status < 500 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
  return new AppError(code, `iflytek: the connection was refused with ${status}`, { details });
}
