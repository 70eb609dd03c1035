/** What the codes of Aliyun NLS mean for us (providers.md 1.3), and how they are told without a secret. */
import { AppError, type ErrorCode } from '#lib/errors.ts';

export const NLS_OK = 20_000_000;
export const TOKEN_REFUSED = 40_000_001;

/** Whom an error names, and what none may hold. */
export type NlsOwner = {
  /** `the speech account "Aliyun"`: whose setting is to be mended. */
  readonly setting: string;
  readonly secrets: readonly string[];
};

const CODES: Readonly<Record<number, ErrorCode>> = {
  40_000_001: 'E_PROVIDER_AUTH',
  40_000_004: 'E_PROVIDER_IDLE',
  40_000_005: 'E_PROVIDER_QUOTA',
  40_000_010: 'E_PROVIDER_AUTH',
  40_010_003: 'E_PROVIDER_SERVER',
  40_010_004: 'E_PROVIDER_SERVER',
  40_020_105: 'E_PROVIDER_AUTH',
  40_020_106: 'E_PROVIDER_AUTH',
  40_270_002: 'E_PROVIDER_IDLE',
  40_270_003: 'E_PROVIDER_IDLE',
  41_040_201: 'E_PROVIDER_IDLE',
};

/** What to mend; `%` stands for the setting. */
const ADVICE: Readonly<Record<number, string>> = {
  40_000_001: 'access_key_id or access_key_secret of %: the token made with them is refused',
  40_000_010: '%: the free trial of its project has ended',
  40_020_105: 'app_key of %: there is no such project',
  40_020_106: 'app_key of %: its project belongs to another Aliyun account than the access key',
};

export function nlsError(status: number, statusText: string, owner: NlsOwner): AppError {
  const advice = ADVICE[status]?.replace('%', owner.setting);
  const said = advice ?? withoutSecrets(statusText, owner.secrets);
  return new AppError(codeOf(status), `aliyun: ${status}${said === '' ? '' : ` (${said})`}`, {
    details: { vendor: 'aliyun', vendorCode: String(status) },
  });
}

/** A handshake that was refused; the vendor's body may quote the token. */
export function handshakeError(status: number, owner: NlsOwner): AppError {
  const isAuth = status === 401 || status === 403;
  const code = isAuth
    ? 'E_PROVIDER_AUTH'
    : status === 429
      ? 'E_PROVIDER_QUOTA'
      : handshakeCode(status);
  const what = isAuth ? `; ${ADVICE[TOKEN_REFUSED]?.replace('%', owner.setting)}` : '';
  return new AppError(code, `aliyun: the gateway refused the connection with ${status}${what}`, {
    details: { vendor: 'aliyun', vendorCode: `HTTP_${status}`, status },
  });
}

/** Whether another token may help. */
export function isTokenRefused(error: unknown): boolean {
  if (!(error instanceof AppError) || error.code !== 'E_PROVIDER_AUTH') return false;
  const { vendorCode } = error.details;
  return [String(TOKEN_REFUSED), 'HTTP_401', 'HTTP_403'].includes(String(vendorCode));
}

/** `details.vendor` on errors that come from the connection or a deadline. */
export function asVendor(error: AppError): AppError {
  if ('vendor' in error.details) return error;
  const details = { vendor: 'aliyun', ...error.details };
  return new AppError(error.code, error.message, { cause: error.cause, details });
}

export function vendorError(code: ErrorCode, text: string): AppError {
  return new AppError(code, `aliyun: ${text}`, { details: { vendor: 'aliyun' } });
}

function handshakeCode(status: number): ErrorCode {
  return status >= 400 && status < 500 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
}

function codeOf(status: number): ErrorCode {
  const known = CODES[status];
  if (known !== undefined) return known;
  return status >= 40_000_000 && status < 50_000_000 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
}

const MAX_SAID = 160;

function withoutSecrets(text: string, secrets: readonly string[]): string {
  const plain = secrets.reduce((left, secret) => left.replaceAll(secret, '***'), text);
  return plain.replace(/[^\x20-\x7e\p{L}\p{N}\p{P}]/gu, ' ').slice(0, MAX_SAID);
}
