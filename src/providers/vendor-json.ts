/** Messages of vendors as JSON: read with care, broken ones told in one way. */
import { AppError } from '#lib/errors.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Errors: E_PROVIDER_SERVER. */
export function readJson(vendor: string, text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  } catch (cause) {
    throw brokenMessage(vendor, 'a message is no JSON', cause);
  }
  throw brokenMessage(vendor, 'a message is no object');
}

export function brokenMessage(vendor: string, what: string, cause?: unknown): AppError {
  return new AppError('E_PROVIDER_SERVER', `${vendor}: ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { vendor },
  });
}

/** An object inside a message; empty when there is none. */
export function partOf(message: Json, name: string): Json {
  const value = message[name];
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

export function textIn(message: Json, name: string): string {
  const value = message[name];
  return typeof value === 'string' ? value : '';
}

/** Vendors write numbers as texts, too; null for anything else. */
export function numberIn(message: Json, name: string): number | null {
  const value = message[name];
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d{1,12}$/.test(value) ? Number(value) : null;
}

/** Whether bytes that should be sound are a JSON object. */
export function isJson(data: Buffer): boolean {
  if (data[0] !== 0x7b || data.at(-1) !== 0x7d) return false;
  try {
    JSON.parse(data.toString('utf8'));
    return true;
  } catch {
    return false; // sound may begin with any byte
  }
}
