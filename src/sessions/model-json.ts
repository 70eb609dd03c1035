/** JSON that a language model wrote: whatever stands around it goes, and what is no object is nothing. */

const MAX_CHARS = 40_000;

/** The object in `text`; null when there is none, or it cannot be read. */
export function readModelJson(text: string): Record<string, unknown> | null {
  const from = text.indexOf('{');
  const to = text.lastIndexOf('}');
  if (from < 0 || to < from || text.length > MAX_CHARS) return null;
  try {
    const value: unknown = JSON.parse(text.slice(from, to + 1));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null; // a model's slip is expected: the caller has rules to fall back on
  }
}

/** A piece of text a model gave, fit to be stored and shown: one line, no control characters. */
export function plainLine(value: unknown, maxChars: number): string | null {
  if (typeof value !== 'string') return null;
  const line = value
    .toWellFormed()
    .replace(/[\s\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return line === '' || line.length > maxChars ? null : line;
}

/** All of a list, or null when one entry is not a line of text, or there are more than `maxItems`. */
export function plainLines(value: unknown, maxItems: number, maxChars: number): string[] | null {
  if (!Array.isArray(value) || value.length > maxItems) return null;
  const lines = value.map((each) => plainLine(each, maxChars));
  return lines.every((line) => line !== null) ? lines : null;
}
