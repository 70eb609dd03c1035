/** What iFlytek's codes mean for us (providers.md 3.6; the classes are a guess, and so are all codes of five or six digits above 26000). */
import { AppError, type ErrorCode } from '#lib/errors.ts';

const CODES: readonly (readonly [readonly number[], ErrorCode])[] = [
  [[10005, 10010, 10105, 10110, 10313, 11200, 11201], 'E_PROVIDER_AUTH'],
  [[35001, 35004, 35010, 35017, 100002, 100013, 100016, 100020], 'E_PROVIDER_AUTH'],
  [[10009, 10043, 10106, 10107, 10109, 10139, 10160, 10161, 10163], 'E_PROVIDER_PARAM'],
  [[10019, 10114, 10165, 10200, 26005, 37005], 'E_PROVIDER_IDLE'],
  [[10800, 11202, 11203, 35002, 35006, 35022, 37002], 'E_PROVIDER_QUOTA'],
  [[10013, 10014], 'E_PROVIDER_CONTENT'],
];

/** More difference than this makes the vendor refuse (providers.md 3.1). */
const MAX_SKEW_S = 300;

export function iflytekError(number: number, said: string, setting: string): AppError {
  const code = CODES.find(([numbers]) => numbers.includes(number))?.[1] ?? 'E_PROVIDER_SERVER';
  const daily =
    number === 11201
      ? 'the limit of the day is reached'
      : 'credentials app_id, api_key or api_secret are refused, or the service is not granted to them';
  const what = code === 'E_PROVIDER_AUTH' ? `${setting}: ${daily}` : said.slice(0, 160);
  return new AppError(code, `iflytek: ${number} (${what})`, {
    details: { vendor: 'iflytek', vendorCode: String(number) },
  });
}

/** The reason of a refused handshake is in its body, the vendor's time in its `date`. `nowMs`: unix. */
export function refusal(
  answer: { readonly status: number; readonly body: string; readonly date: string | undefined },
  setting: string,
  nowMs: number,
): AppError {
  const { status, body, date } = answer;
  const details = { vendor: 'iflytek', vendorCode: `HTTP_${status}`, status };
  if (status === 401 || status === 403) {
    const clock = clockHint(body, date, nowMs);
    const what = `iflytek: ${setting}: credentials api_key or api_secret are refused (${status})${clock}`;
    return new AppError('E_PROVIDER_AUTH', what, { details });
  }
  const code =
    status === 429 ? 'E_PROVIDER_QUOTA' : status < 500 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
  return new AppError(code, `iflytek: the connection was refused with ${status}`, { details });
}

function clockHint(body: string, date: string | undefined, nowMs: number): string {
  const skewS = Math.round((nowMs - Date.parse(date ?? '')) / 1000);
  if (Math.abs(skewS) > MAX_SKEW_S) {
    const way = skewS > 0 ? 'ahead of' : 'behind';
    return `; the clock of this machine is ${Math.abs(skewS)} s ${way} the vendor's`;
  }
  const isKnown = !Number.isNaN(skewS);
  return !isKnown && /skew|date|expire|utc/i.test(body)
    ? '; is the clock of this machine right?'
    : '';
}
