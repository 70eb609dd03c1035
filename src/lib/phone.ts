/** Telephone numbers as the HTTP contract has them (1.1): one normal form, one form for comparison. */

const SEPARATORS = /[ \-().]/g;
const NUMBER = /^\+?[0-9*#]{2,32}$/;
const PREFIX = /^\+?[0-9*#]{0,32}$/;

/** Longest text that may still be a number once its separators are gone. */
export const PHONE_MAX_CHARS = 64;

/** Up to this many digits are an extension or a short code and never get a country code. */
const SHORT_CODE_DIGITS = 6;

/** The normal form (`+15550100`, `1001`, `*98#`), or null when `text` is no number. */
export function normalizePhone(text: string): string | null {
  const bare = bareOf(text);
  return bare !== null && NUMBER.test(bare) ? bare : null;
}

/**
 * The normal form of the beginning of a number, for prefix filters; null when no number begins like this.
 * A leading space is a `+` that a query string turned into a space.
 */
export function normalizePhonePrefix(text: string): string | null {
  const bare = bareOf(text.replace(/^ (?=[0-9])/, '+'));
  return bare !== null && PREFIX.test(bare) ? bare : null;
}

/**
 * The form in which two normal numbers are compared: a national number gets the account's country code after one
 * leading 0 is dropped. Without a country code, and for service codes (`*`, `#`), the number stays as it is.
 */
export function comparablePhone(normal: string, countryCode: string | null): string {
  const code = countryCode?.replace(/^\+/, '') ?? '';
  if (code === '' || !/^[0-9]+$/.test(normal)) return normal;
  if (normal.length <= SHORT_CODE_DIGITS) return normal;
  return `+${code}${normal.replace(/^0/, '')}`;
}

/** Every normal form in which one and the same number may have been written down: international and national. */
export function phoneForms(normal: string, countryCode: string | null): string[] {
  const code = countryCode?.replace(/^\+/, '') ?? '';
  const comparable = comparablePhone(normal, countryCode);
  const national =
    code !== '' && comparable.startsWith(`+${code}`) ? comparable.slice(code.length + 1) : '';
  // So short a remainder would be an extension, and extensions are somebody else's numbers.
  if (national.length <= SHORT_CODE_DIGITS) return [...new Set([normal, comparable])];
  return [...new Set([normal, comparable, national, `0${national}`])];
}

/** Every form in which the beginning of a number may have been written down, of a normal prefix (`0571`, `+86571`). */
export function phonePrefixForms(prefix: string, countryCode: string | null): string[] {
  const code = countryCode?.replace(/^\+/, '') ?? '';
  const isNational = code !== '' && /^[0-9]+$/.test(prefix);
  return isNational ? [prefix, `+${code}${prefix.replace(/^0/, '')}`] : [prefix];
}

function bareOf(text: string): string | null {
  if (text.length > PHONE_MAX_CHARS) return null;
  return text.replace(SEPARATORS, '').replace(/^00/, '+');
}
