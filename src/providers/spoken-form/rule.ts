/** What the rules of both languages are made of: a form of writing, and how it is read where it stands. */

/** Where a match stands. */
export type Place = {
  /** The words right before it, those of the piece before included; at most 40 characters. */
  readonly before: string;
  /** The words right behind it; at most 16 characters. */
  readonly after: string;
};

export type Rule = {
  /** Sticky and of linear cost. Tried where a word, a number or a sign begins. */
  readonly pattern: RegExp;
  /** What is said instead; null: it is something else, and the next rule is tried. */
  readonly read: (match: Groups, place: Place) => string | null;
};

/** Groups of a match by number; what did not take part is the empty text. */
export type Groups = (group: number) => string;

/** The groups of a match by number, without the undefined ones. */
export function groupsOf(match: RegExpExecArray): Groups {
  return (group) => match[group] ?? '';
}

/** Digits without the commas of thousands. */
export function bare(digits: string): string {
  return digits.replaceAll(',', '');
}

/** Sizes of the groups in which so many digits are said: never one digit alone at the end. */
export function groupSizes(count: number): number[] {
  const known: Readonly<Record<number, readonly number[]>> = {
    6: [3, 3],
    7: [3, 4],
    9: [3, 3, 3],
    10: [3, 3, 4],
    11: [3, 4, 4],
    18: [6, 4, 4, 4],
  };
  if (count <= 5) return [count];
  const sizes = known[count];
  if (sizes !== undefined) return [...sizes];
  const fours = Math.floor(count / 4);
  const rest = count % 4;
  const groups = Array.from({ length: fours }, () => 4);
  if (rest === 1) groups[fours - 1] = 5;
  else if (rest > 0) groups.push(rest);
  return groups;
}

/**
 * A number or code in the groups in which it is written, or, written in one, in those in which it is said. Letters stay
 * with the digits behind them.
 */
export function grouped(code: string): string[] {
  const written = code.split(/[^\dA-Za-z]+/).filter((part) => part !== '');
  const isOne = written.length === 1;
  return written.flatMap((part) => {
    if (part.length <= 5 || (isOne && part.length === 6 && /[A-Za-z]/.test(part))) return [part];
    return (part.match(/[A-Za-z]*\d+|[A-Za-z]+/g) ?? []).flatMap(runGroups);
  });
}

/** Letters, digits or both, in this order. */
function runGroups(run: string): string[] {
  const [letters = ''] = /^[A-Za-z]*/.exec(run) ?? [];
  const digits = run.slice(letters.length);
  let at = 0;
  const groups = groupSizes(digits.length).map((size) => digits.slice(at, (at += size)));
  return groups.map((group, i) => (i === 0 ? letters + group : group));
}

export const MONTH_DAYS: readonly number[] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export function isDay(month: number, day: number): boolean {
  return day >= 1 && day <= (MONTH_DAYS[month - 1] ?? 0);
}

/** Whether a number that begins with 1 to 3 digits is written with commas of thousands, as the pattern found it. */
export const NUMBER = '(?:\\d{1,3}(?:,\\d{3})+(?!\\d)|\\d+)';
export const DECIMAL = `${NUMBER}(?:\\.\\d+)?`;
