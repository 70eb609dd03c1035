/** What a failed query means: the server is away, the row is at fault, or we are. */
import { AppError, messageOf, systemCodeOf, type ErrorCode } from '#lib/errors.ts';

/** SQLSTATE of an error of ours or of pg's, or undefined (`23505` = unique violation). */
export function sqlStateOf(thrown: unknown): string | undefined {
  const error = thrown instanceof AppError ? thrown.cause : thrown;
  const code = systemCodeOf(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** 08 connection, 57P0x shutdown, 53 out of resources, 25006 read-only: another try later may work. */
const AWAY_STATE = /^(?:08|57P0|53)|^25006$/;
const AWAY_SYSTEM =
  /^(?:ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT)$/;
const AWAY_TEXT =
  /connection terminated|timeout exceeded when trying to connect|not queryable|query read timeout|connection timeout/i;

/** True when the server cannot be reached or is stopping, so that the same query may work later. */
export function isServerAway(thrown: unknown): boolean {
  if (thrown instanceof AppError) {
    return thrown.code === 'E_DATABASE_UNREACHABLE' || thrown.code === 'E_TIMEOUT';
  }
  const state = sqlStateOf(thrown);
  if (state !== undefined) return AWAY_STATE.test(state);
  return AWAY_SYSTEM.test(systemCodeOf(thrown) ?? '') || AWAY_TEXT.test(messageOf(thrown));
}

/** True when the data themselves are refused: class 22 (bad value), 23 (constraint), 54 (too big). No retry will help. */
export function isRefusedData(thrown: unknown): boolean {
  return /^(?:2[23]|54)/.test(sqlStateOf(thrown) ?? '');
}

/** Login, missing database or table, missing right, lock, deadlock, deadline, disk: it would meet any other data too. */
const NOT_THE_DATA = /^(?:28|3D|3F|40|42|58)|^(?:55P03|57014)$/;

/** True when the server answered with an error that may lie in these data alone. A few more tries tell. */
export function isSuspectData(thrown: unknown): boolean {
  const state = sqlStateOf(thrown);
  return state !== undefined && !AWAY_STATE.test(state) && !NOT_THE_DATA.test(state);
}

/** Any query error as an AppError; the message holds no values, which pg keeps in `detail`. */
export function toDatabaseError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const state = sqlStateOf(thrown);
  const code = codeOf(thrown, state);
  return new AppError(code, messageOf(thrown), {
    cause: thrown,
    ...(state === undefined ? {} : { details: { sqlState: state } }),
  });
}

/** 23505 unique violation, 23503 a row that is named and does not exist (or is still named). */
function codeOf(thrown: unknown, state: string | undefined): ErrorCode {
  if (isServerAway(thrown)) return 'E_DATABASE_UNREACHABLE';
  if (state === '23505') return 'E_CONFLICT';
  return state === '23503' ? 'E_REFERENCE' : 'E_DATABASE';
}

/** A connection URL without its password, for messages and logs. */
export function redactUrl(url: string): string {
  if (!URL.canParse(url)) return 'DATABASE_URL (not a URL)';
  const parsed = new URL(url);
  const user = parsed.username === '' ? '' : `${parsed.username}@`;
  return `${parsed.protocol}//${user}${parsed.host}${parsed.pathname}`;
}
