/** What went wrong at a language model, in the retry classes every provider shares. */
import OpenAI from 'openai';
import { AppError, messageOf, type ErrorCode } from '#lib/errors.ts';
import { codeOfNumber } from './answer-body.ts';

/** Vendors' own codes that say more than the HTTP status; the first that fits. */
const BY_CODE: readonly (readonly [RegExp, ErrorCode])[] = [
  [
    /content_?filter|content_policy|data_inspection|moderation|sensitive|^1301$/i,
    'E_PROVIDER_CONTENT',
  ],
  [/invalid_api_key|arrear|insufficient_(user_)?balance|^1113$/i, 'E_PROVIDER_AUTH'],
  [/rate_limit|insufficient_quota|throttl|^130[235]$/i, 'E_PROVIDER_QUOTA'],
];

const MAX_MESSAGE_CHARS = 300;
const RETRY_WAIT_MS = 100;
const QUOTA_WAIT_MS = 500;

/**
 * `thrown` by the client library as an AppError. The vendor may quote the key in its message: it is cut out. `setting`:
 * where a key that is refused is to be mended.
 */
export function classify(thrown: unknown, secret: string, setting = ''): AppError {
  if (thrown instanceof AppError) return thrown;
  const raw = messageOf(thrown);
  const isApi = thrown instanceof OpenAI.APIError;
  const code = isApi ? codeOf(thrown) : 'E_PROVIDER_SERVER';
  const isKey = code === 'E_PROVIDER_AUTH' && setting !== '';
  const whose = isKey
    ? `language model: credentials.api_key of ${setting} was refused: `
    : 'language model: ';
  const message = redact(whose + raw, secret).slice(0, MAX_MESSAGE_CHARS);
  const status = isApi ? thrown.status : undefined;
  return new AppError(code, message, {
    // A cause that quotes the key would bring it into the log.
    ...(secret !== '' && raw.includes(secret) ? {} : { cause: thrown }),
    details: { ...(status === undefined ? {} : { status }) },
  });
}

/** How long to wait before the second try. Null: this class of error is not worth one. */
export function retryWaitMs(error: AppError, random: () => number = Math.random): number | null {
  if (error.code === 'E_PROVIDER_QUOTA') return QUOTA_WAIT_MS * (0.8 + 0.4 * random());
  const isPassing = error.code === 'E_PROVIDER_SERVER' || error.code === 'E_PROVIDER_IDLE';
  return isPassing ? RETRY_WAIT_MS : null;
}

function codeOf(error: InstanceType<typeof OpenAI.APIError>): ErrorCode {
  const named = `${error.code ?? error.type ?? ''}`;
  const known = BY_CODE.find(([pattern]) => pattern.test(named))?.[1];
  if (known !== undefined) return known;
  if (/^-?\d+$/.test(named)) return codeOfNumber(named);
  const { status } = error;
  if (status === undefined) return 'E_PROVIDER_SERVER';
  if (status === 401 || status === 402 || status === 403) return 'E_PROVIDER_AUTH';
  if (status === 408) return 'E_PROVIDER_IDLE';
  if (status === 429) return 'E_PROVIDER_QUOTA';
  if (status === 409 || status >= 500) return 'E_PROVIDER_SERVER';
  return 'E_PROVIDER_PARAM';
}

function redact(text: string, secret: string): string {
  return (secret.length < 6 ? text : text.replaceAll(secret, '***')).replace(/\s+/g, ' ');
}
