/** From what a language model writes to what a voice can say: no markdown, no emoji, no control characters. */

const EMOJI =
  /\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|[\u{E0020}-\u{E007F}]|\p{Join_Control}|\p{Variation_Selector}|\u20e3/gu;
// oxlint-disable-next-line no-control-regex -- control characters are what it is about
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200c\u2060\ufeff\ufffd]|\p{Cs}/gu;

/** Replacements in order; each is safe on a sentence cut out of a longer text. */
const MARKDOWN: readonly (readonly [RegExp, string])[] = [
  [/!?\[([^\]\n]*)\]\([^)\n]*\)/g, '$1'],
  [/^\s*```[a-z0-9]*\s*$/gim, ''],
  [/`+|~~|__+/g, ''],
  [/^\s*(?:-{3,}|={3,})\s*$/gm, ''],
  [/^\s*\|?[\s:|-]{3,}\|\s*$/gm, ''],
  [/^\s*#{1,6}\s+/gm, ''],
  [/^\s*>\s?/gm, ''],
  [/^\s*[-*+•]\s+/gm, ''],
  [/(?<![\p{L}\p{N}])_([^_\n]+)_(?![\p{L}\p{N}])/gu, '$1'],
  [/\s*\|\s*/g, ' '],
];

const HAN = /\p{Script=Han}/u;

export function isHan(char: string): boolean {
  return HAN.test(char);
}

/** `text` as it can be spoken, on one line and trimmed. Empty when nothing in it can. */
export function speakable(text: string): string {
  let plain = text.replace(CONTROL, '').replace(EMOJI, '');
  for (const [pattern, instead] of MARKDOWN) plain = plain.replace(pattern, instead);
  plain = plain.replace(/\*+/g, (stars, at: number) => (isEmphasis(plain, at, stars) ? '' : stars));
  plain = plain.replace(/\s+/g, ' ').trim();
  return /[\p{L}\p{N}]/u.test(plain) ? plain : '';
}

/** Not 3 * 4, 10*20, 138****0000, nor the key of a telephone that is to be pressed. */
function isEmphasis(text: string, at: number, stars: string): boolean {
  const before = text.slice(Math.max(0, at - 10), at);
  const after = text.slice(at + stars.length);
  if (/\d$/.test(before) && /^\d/.test(after)) return false;
  if (stars.length > 1) return true;
  if (/\s$/.test(before) && /^\s/.test(after)) return false;
  return !/(?:[按拨]|press|dial|press the)\s?["“'「]?$/i.test(before) || after.includes('*');
}

/** How much there is to say: Chinese characters plus words and numbers of other scripts. */
export function unitsOf(text: string): number {
  return text.match(/\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{N}'’])+/gu)?.length ?? 0;
}

/** Speakable pieces as one text: a space between them where both sides are written with spaces. */
export function joinPieces(pieces: readonly string[]): string {
  let joined = '';
  for (const piece of pieces) {
    const last = joined.at(-1);
    const first = piece.at(0);
    const tight = last === undefined || first === undefined || isWide(last) || isWide(first);
    joined += tight ? piece : ` ${piece}`;
  }
  return joined;
}

/** Chinese characters and full-width punctuation stand without spaces. */
function isWide(char: string): boolean {
  return /[\p{Script=Han}\u3000-\u303f\uff00-\uffef“”‘’…—]/u.test(char);
}
