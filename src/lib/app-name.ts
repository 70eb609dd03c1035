/** Names of the apps that calls come from, as rules and bindings compare them (contract section 5). */

/** NFKC, trimmed, case folded: upper case first folds what has no capital of its own (`ß`, `ẞ` and `ss` are one). */
export function foldApp(name: string): string {
  return name.normalize('NFKC').trim().toLowerCase().toUpperCase().toLowerCase().normalize('NFKC');
}
