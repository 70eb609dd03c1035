/** JSON bodies read strictly (contract 1.5): UTF-8, one object, bounded depth, no key twice. */
import { Problem } from './problem.ts';

export const MAX_JSON_DEPTH = 32;

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The object in `body`; an empty body is `{}`. Errors: INVALID_JSON. */
export function parseJsonObject(body: Uint8Array): object {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    const text = decoder.decode(body);
    refuseDepthAndDuplicates(text);
    value = JSON.parse(text);
  } catch (error) {
    throw error instanceof Problem ? error : new Problem('INVALID_JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Problem('INVALID_JSON');
  }
  return value;
}

/**
 * One pass over the text before it is parsed: depth must be refused before anything recursive sees it, and a duplicate
 * key is gone once JSON.parse has run. Text that is not JSON may pass; JSON.parse refuses it next.
 */
function refuseDepthAndDuplicates(text: string): void {
  /** Keys of the objects that are open, null for an array. */
  const open: (Set<string> | null)[] = [];
  let isKeyNext = false;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x7b: // {
      case 0x5b: // [
        isKeyNext = text.charCodeAt(at) === 0x7b;
        open.push(isKeyNext ? new Set() : null);
        if (open.length > MAX_JSON_DEPTH) throw new Problem('INVALID_JSON');
        break;
      case 0x7d: // }
      case 0x5d: // ]
        open.pop();
        isKeyNext = false;
        break;
      case 0x2c: // ,
        isKeyNext = (open.at(-1) ?? null) !== null;
        break;
      case 0x22: {
        const end = endOfString(text, at);
        if (isKeyNext) noteKey(open.at(-1), text.slice(at, end + 1));
        isKeyNext = false;
        at = end;
        break;
      }
    }
  }
}

function noteKey(keys: Set<string> | null | undefined, literal: string): void {
  const key = literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1);
  if (keys?.has(key)) throw new Problem('INVALID_JSON');
  keys?.add(key);
}

/** Index of the quote that closes the string opened at `start`; the end of the text when none does. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at;
    at += code === 0x5c ? 2 : 1;
  }
  return text.length;
}
