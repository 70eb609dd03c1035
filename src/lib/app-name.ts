/** Names of the apps that calls come from, as rules and bindings compare them (contract section 5). */

/** Width of `call_records.caller_app`. */
const MAX_APP_CHARS = 50;

/** The name of an app as a call keeps it: one line of at most 50 characters; empty when nothing is left. */
export function cutApp(name: string): string {
  const line = name.replaceAll(/\p{Cc}/gu, '').trim();
  return Array.from(line).slice(0, MAX_APP_CHARS).join('').trim();
}

/** Cut as calls are, then NFKC, trimmed, case folded: upper case first folds what has no capital of its own (`ß`, `ẞ` and `ss` are one). */
export function foldApp(name: string): string {
  const plain = cutApp(name).normalize('NFKC').trim();
  return plain.toLowerCase().toUpperCase().toLowerCase().normalize('NFKC');
}
