/** Names and terms that recognition should prefer. */
import { AppError } from '#lib/errors.ts';
import type { VendorSettings } from '../vendor.ts';

const MAX_WORDS = 100;

/** `options.hot_words`, a list of texts. Errors: E_CONFIG. */
export function hotWordsOf({ setting, options }: VendorSettings): readonly string[] {
  const value = options['hot_words'];
  if (value === undefined || value === null) return [];
  const isList = Array.isArray(value) && value.length <= MAX_WORDS;
  if (isList && value.every((each): each is string => typeof each === 'string')) {
    return value.map((each) => each.trim()).filter(Boolean);
  }
  throw new AppError(
    'E_CONFIG',
    `${setting}: options.hot_words must be a list of at most ${MAX_WORDS} texts`,
  );
}
