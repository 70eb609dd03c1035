/**
 * What somebody speaks of in order to refuse it (`I don't want a refund`, 不要退款). Only the plain forms: to say that
 * something was not done (`I was not refunded`, 没收到退款) is to speak of it.
 */

const NOT = /^(?:not|never|dont|(?:do|does|did|is|was|would|am|are|wo)n['’]t|don['’]?t)$/u;
const BETWEEN = new Set(['really', 'actually', 'even', 'just']);
const WISHES = new Set(
  'want wants wanted need needs needed mean meant like asking calling looking about'.split(' '),
);
/** Between a wish and its object; a pronoun is an object of its own. */
const FILLERS = new Set(
  'a an the any some to for about my our your another more get have'.split(' '),
);
/** `technical support` is refused as one. */
const OBJECT_WORDS = 2;

const LATIN_WORD = /[\p{Script=Latin}\p{N}]+(?:['’][\p{Script=Latin}]+)?/gu;
/** In front of its object; `要不要` and `是不是` ask. */
const NOT_HAN =
  /(?:(?<!要)不要|(?<!想)不想要?|(?<!需)不需要?|(?<!用)不用|(?<!是)不是(?:要|想|来)?)(?:再|给我|任何)?$/u;
const NOT_HAN_CHARS = 8;
const ASKS_HAN = /(\p{Script=Han})[不没]\1|有没有/gu;
const ANY_NOT = /\b(?:no|not|never|without|cannot|dont|\p{L}+n['’]t)\b|[不没别未]/u;

/** The words of a plain sentence, less those that are refused. */
export function affirmedWords(plain: string): string[] {
  const affirmed: string[] = [];
  let state: 'plain' | 'not' | 'refused' = 'plain';
  let left = 0;
  let endedAt = 0;
  for (const { 0: word, index } of plain.matchAll(LATIN_WORD)) {
    const isNext = plain.slice(endedAt, index).trim() === '';
    endedAt = index + word.length;
    if (!isNext) state = 'plain';
    if (state === 'refused' && left === OBJECT_WORDS && FILLERS.has(word)) continue;
    if (state === 'refused' && left > 0 && !isLink(word)) {
      left--;
      continue;
    }
    if (state === 'not' && BETWEEN.has(word)) continue;
    if (state === 'not' && WISHES.has(word)) {
      [state, left] = ['refused', OBJECT_WORDS];
      continue;
    }
    state = NOT.test(word) ? 'not' : 'plain';
    affirmed.push(word);
  }
  return affirmed;
}

/** Where an object ends: another sentence begins without a comma. */
function isLink(word: string): boolean {
  return LINKS.has(word) || FILLERS.has(word);
}
const LINKS = new Set(
  'i you he she it we they this that these those but and or so because please with from in on at'.split(
    ' ',
  ),
);

/** Whether the Chinese words before an object refuse it. */
export function isRefusedBehind(before: string): boolean {
  return NOT_HAN.test(before.slice(-NOT_HAN_CHARS));
}

/** Anything is said not to be so: what is meant may be the opposite of what is spoken of. */
export function isDenying(plain: string): boolean {
  return ANY_NOT.test(plain.replaceAll(ASKS_HAN, ' '));
}
