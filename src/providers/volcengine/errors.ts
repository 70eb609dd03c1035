/** The vendor's codes and words as our errors (providers.md 0.5, 7.3 to 7.5). */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { Service } from './account.ts';
import { textOf, type VolcFrame } from './frame.ts';

const IDLE: readonly number[] = [45000003, 45000081, 52000042];
const BUSY: readonly number[] = [429, 55000031];
const FORBIDDEN: readonly number[] = [401, 402, 403];
export const OK = 20000000;

/** The same code may mean several things; the vendor's words tell which. First match wins. */
const BY_TEXT: readonly (readonly [RegExp, ErrorCode])[] = [
  [/quota|concurren|rate.?limit|too many|\b[qt]pm\b/i, 'E_PROVIDER_QUOTA'],
  [
    /not granted|unauthori[sz]ed|authenticat|permission|arrear|overdue|load grant|invalid (?:access|api|app|auth|token)/i,
    'E_PROVIDER_AUTH',
  ],
  [/audit|risky|sensitive/i, 'E_PROVIDER_CONTENT'],
  [/yaml|InvalidSpeaker|mismatch|extra is null|is required/i, 'E_PROVIDER_PARAM'],
];

/** `code`: of an error frame, a payload or an answer over HTTP; null when there was none. */
export function failureOf(service: Service, code: number | null, text: string): AppError {
  const kind = kindOf(code, text);
  const said = clean(service, text);
  const what = `${service.what}: ${said === '' ? 'it failed without a reason' : said}`;
  const message =
    kind === 'E_PROVIDER_AUTH'
      ? `${what}; mend ${service.keys} (or the right to ${service.resource})`
      : what;
  return new AppError(kind, code === null ? message : `${message} (${code})`, {
    details: { vendorCode: code },
  });
}

/** Of an error frame, 51, 153 or 599, whatever shape the vendor gave it. */
export function failureOfFrame(service: Service, frame: VolcFrame): AppError {
  const { code, text } = reasonOf(frame);
  return failureOf(service, code, text);
}

/** Of a session that ended: null when it ended well. */
export function badEndOf(service: Service, frame: VolcFrame): AppError | null {
  const { code, text } = reasonOf(frame);
  return code === null || code === OK || code === 0 ? null : failureOf(service, code, text);
}

/** Of a refused upgrade; the body is JSON of several shapes, or none. */
export function refusalOf(
  service: Service,
  status: number,
  body: string,
  logId: string | null,
): AppError {
  const { code, text } = reasonIn(parsed(body) ?? {}, body);
  const isPlain = FORBIDDEN.includes(status) || BUSY.includes(status) || status >= 500;
  const kind = isPlain ? status : (code ?? status);
  const error = failureOf(service, kind, text === '' ? `refused with HTTP ${status}` : text);
  const details = { ...error.details, vendorCode: code ?? status, status, logId };
  return new AppError(error.code, error.message, { details });
}

function kindOf(code: number | null, text: string): ErrorCode {
  if (code !== null && FORBIDDEN.includes(code)) return 'E_PROVIDER_AUTH';
  if (code !== null && BUSY.includes(code)) return 'E_PROVIDER_QUOTA';
  if (code !== null && IDLE.includes(code)) return 'E_PROVIDER_IDLE';
  for (const [pattern, kind] of BY_TEXT) if (pattern.test(text)) return kind;
  if (code === null) return 'E_PROVIDER_SERVER';
  const isClients = String(code).startsWith('4');
  return isClients ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
}

function reasonOf(frame: VolcFrame): { code: number | null; text: string } {
  const plain = textOf(frame);
  const found = reasonIn(parsed(plain) ?? {}, plain);
  return { ...found, code: frame.errorCode ?? found.code };
}

function reasonIn(
  json: Readonly<Record<string, unknown>>,
  plain: string,
): { code: number | null; text: string } {
  const inner = json['header'];
  const from = isRecord(inner) ? { ...json, ...inner } : json;
  const code = Number(from['status_code'] ?? from['code'] ?? Number.NaN);
  const text = from['message'] ?? from['error'] ?? from['err_msg'];
  const isEmpty = Object.keys(from).length === 0;
  return {
    code: Number.isInteger(code) ? code : null,
    text: typeof text === 'string' ? text : isEmpty && plain !== '{}' ? plain : '',
  };
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : null;
  } catch {
    // Errors come as plain text too; then the text is the reason.
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function clean({ secrets }: Service, text: string): string {
  let plain = text
    .replace(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, 1000);
  for (const secret of secrets) plain = plain.replaceAll(secret, '***');
  return plain.slice(0, 200);
}
