/** What went wrong at a realtime vendor, in the retry classes of providers.md 0.5. */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { parseObject, textAt, type Json } from './realtime-json.ts';

/** The first that fits the vendor's code, then its type. */
const CLASSES: readonly (readonly [RegExp, ErrorCode])[] = [
  [
    /api_?key|auth|unauthorized|arrear|access_?denied|billing|account|permission/i,
    'E_PROVIDER_AUTH',
  ],
  [/content_?filter|content_policy|data_?inspection|moderation|sensitive/i, 'E_PROVIDER_CONTENT'],
  [/rate_?limit|quota|throttl|concurren|too_?many/i, 'E_PROVIDER_QUOTA'],
  // A session that has reached its limit is followed by another, and nobody is to blame.
  [/idle|inactiv|session_?expired/i, 'E_PROVIDER_IDLE'],
  [/expired|server|internal|unavailable|overloaded|timeout/i, 'E_PROVIDER_SERVER'],
  [/invalid|unknown|missing|unsupported|not_?found|parameter|cannot/i, 'E_PROVIDER_PARAM'],
];

const MAX_MESSAGE_CHARS = 200;

export type VendorError = {
  readonly error: AppError;
  /** The session is of no more use. */
  readonly isFatal: boolean;
};

/** Of an `error` event. What the vendor says about a key is left out: it quotes it. */
export function errorOf(vendor: string, setting: string, event: Json): VendorError {
  const vendorCode = textAt(event, 'error', 'code') || textAt(event, 'code');
  const type = textAt(event, 'error', 'type');
  const code = classOf(vendorCode, type);
  const said = textAt(event, 'error', 'message') || textAt(event, 'message');
  const isAuth = code === 'E_PROVIDER_AUTH';
  const text = isAuth
    ? `${setting}: ${vendor} realtime does not accept credentials.api_key (${vendorCode})`
    : `${vendor} realtime: ${said.replace(/\s+/g, ' ').slice(0, MAX_MESSAGE_CHARS)}`;
  const error = new AppError(code, text, { details: { vendorCode: vendorCode || type } });
  const isFatal = isAuth || code === 'E_PROVIDER_IDLE' || vendorCode === 'server_error';
  return { error, isFatal };
}

/** Of a response.done; null: the reply is whole, or was cancelled. */
export function responseError(vendor: string, event: Json): AppError | null {
  const status = textAt(event, 'response', 'status');
  const reason = textAt(event, 'response', 'status_details', 'reason');
  const details = { vendorCode: reason };
  if (status === 'incomplete' && reason === 'content_filter') {
    const text = `${vendor} realtime: the reply was withheld`;
    return new AppError('E_PROVIDER_CONTENT', text, { details });
  }
  if (status !== 'failed') return null;
  const code = textAt(event, 'response', 'status_details', 'error', 'code');
  const type = textAt(event, 'response', 'status_details', 'error', 'type');
  const text = `${vendor} realtime: the reply failed (${code || type || 'no reason given'})`;
  return new AppError(classOf(code, type), text, { details: { vendorCode: code || type } });
}

/** Of a refused upgrade. */
export function refusalOf(setting: string, what: string, status: number, body: string): AppError {
  const parsed = parseObject(body);
  const vendorCode = textAt(parsed, 'error', 'code') || textAt(parsed, 'code') || String(status);
  const details = { status, vendorCode };
  if ([401, 402, 403].includes(status)) {
    const text = `${setting}: ${what} does not accept credentials.api_key (${status}, ${vendorCode})`;
    return new AppError('E_PROVIDER_AUTH', text, { details });
  }
  const text = `${what}: refused with ${status} (${vendorCode})`;
  if (status === 429) return new AppError('E_PROVIDER_QUOTA', text, { details });
  if (status >= 400 && status < 500) return new AppError('E_PROVIDER_PARAM', text, { details });
  return new AppError('E_PROVIDER_SERVER', text, { details });
}

function classOf(code: string, type: string): ErrorCode {
  for (const named of [code, type]) {
    const found = named === '' ? undefined : CLASSES.find(([pattern]) => pattern.test(named))?.[1];
    if (found !== undefined) return found;
  }
  return 'E_PROVIDER_SERVER';
}
