/** Reading JSON that somebody else wrote: nothing is taken for what it should be. */

export type Json = Readonly<Record<string, unknown>>;

/** Null for anything but a JSON object. */
export function parseObject(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    // Whoever asks says what came instead.
    return null;
  }
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What lies at the end of `path`, or undefined where it breaks off. */
export function pick(value: unknown, ...path: readonly string[]): unknown {
  let at = value;
  for (const key of path) at = isObject(at) ? at[key] : undefined;
  return at;
}

/** Empty for anything but a text. */
export function textAt(value: unknown, ...path: readonly string[]): string {
  const found = pick(value, ...path);
  return typeof found === 'string' ? found : '';
}

/** Null for anything but a finite number. */
export function numberAt(value: unknown, ...path: readonly string[]): number | null {
  const found = pick(value, ...path);
  return typeof found === 'number' && Number.isFinite(found) ? found : null;
}

/** The objects of a list; empty for anything but a list. */
export function objectsAt(value: unknown, ...path: readonly string[]): readonly Json[] {
  const found = pick(value, ...path);
  return Array.isArray(found) ? found.filter(isObject) : [];
}
