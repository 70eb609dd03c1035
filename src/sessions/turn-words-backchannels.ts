/**
 * Words that mean "I am listening" and words that mean "stop talking", in Chinese and English. Matched against text that
 * `bareWords` made: lower case, no punctuation, one space between words.
 */

/** A list in a line or two. */
function wordsOf(list: string): readonly string[] {
  return list.split(',').map((word) => word.trim());
}

/** Said to show that one listens. One may follow another, in both languages: 嗯嗯对对, "yeah yeah okay". */
const BACKCHANNELS_ZH = wordsOf(`
  嗯哼, 嗯, 唔, 呣, 哦, 噢, 喔, 啊, 呃, 额, 诶, 欸, 哎, 哈, 对的, 对呀, 对啊, 对哦, 对, 没错, 是的, 是啊, 是呀, 是哦, 是,
  这样啊, 这样, 这样子, 是这样, 是这样啊, 好的呢, 好的呀, 好的啊, 好的, 好吧, 好嘞, 好呀, 好啊, 好哦, 好, 行吧, 行啊, 行, 可以的, 可以,
  没问题, 没事, 知道了, 知道, 明白了, 明白, 了解了, 了解, 懂了, 清楚了, 清楚, 收到, 那行, 那好, 那就好, 挺好, 挺好的, 那挺好, 不错, 我在听,
  在听, 你说, 您说, 原来如此
`);

const BACKCHANNELS_EN = wordsOf(`
  uh huh, uhhuh, mm hmm, mmhmm, mhm, mm, mmm, hmm+, hm, uh, um, er, ah+, oh+, aha, yeah, yea,
  yes, yep, yup, ya, ok, okay, kay, right, alright, all right, sure, sure thing, i see,
  got it, gotcha, i got it, i understand, understood, makes sense, that makes sense,
  of course, fine, cool, great, good, sounds good, true, exactly, indeed, really, wow,
  interesting, go on, i know, no problem, perfect, fair enough, fair, nice, awesome
`);

/** The first says all of what was said, or begins it: whoever says this wants the floor. */
const INTERRUPTIONS_ZH = wordsOf(`
  等等, 等一下, 等一等, 稍等, 慢着, 停, 打住, 先别, 别说了, 不要说了, 闭嘴, 且慢, 不是, 不对, 不用, 不要, 不行, 不需要, 没有, 错了,
  你听我说, 听我说, 我说, 我问, 打断, 行了, 好了好了, 可以了, 够了, 算了, 喂, 什么, 啥, 转人工, 人工
`);

const INTERRUPTIONS_EN = wordsOf(`
  wait, stop, hold on, hang on, hold up, one moment, one second, one sec, just a second,
  just a moment, just a minute, no, nope, not, excuse me, sorry, pardon, what, enough,
  shut up, be quiet, quiet, listen, actually, but, let me, never mind, nevermind,
  that's wrong, that's not, wrong, cancel, agent, operator, human, hello, hey, can i
`);

/** Begin with an interruption word and are none. */
const HARMLESS = wordsOf(`
  没有问题, 不用谢, 不要紧, no problem, no worries, not bad, sorry go on
`);

const either = (words: readonly string[]): string =>
  words.toSorted((a, b) => b.length - a.length).join('|');

/** One of them, and the space after it; the longest wins. */
const BACKCHANNEL = new RegExp(
  `(?:(?:${either(BACKCHANNELS_ZH)})|(?:${either(BACKCHANNELS_EN)})(?![a-z'])) ?`,
  'uy',
);
const BEGINNINGS = [...BACKCHANNELS_ZH, ...BACKCHANNELS_EN];
/** One character, unless it asks something or is a number; or small words of English. */
const NOTHING =
  /^(?:(?![谁啥哪几停喂零一二两三四五六七八九十])\p{Script=Han}|(?:(?:the|a|an|and|of|to|it|i|in|is|that|so|you)(?: |$))+)$/u;
const INTERRUPTION = new RegExp(
  `^(?:(?:${either(BACKCHANNELS_ZH)}|(?:${either(BACKCHANNELS_EN)})(?![a-z']))? ?)?` +
    `(?:(?:${either(INTERRUPTIONS_ZH)})|(?:${either(INTERRUPTIONS_EN)})(?![a-z']))`,
  'u',
);
const HARMLESS_START = new RegExp(`^(?:${either(HARMLESS)})`, 'u');

/** Longer texts are no backchannel: nobody listens that loudly. */
const MAX_LENGTH = 48;

/** Lower case, full-width forms made plain, every mark between words one space. */
export function bareWords(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/’/g, "'")
    .replace(/[^\p{L}\p{N}']+/gu, ' ')
    .trim();
}

/** Of bare words: nothing but backchannels. */
export function isListening(bare: string): boolean {
  return bare !== '' && bare.length <= MAX_LENGTH && afterBackchannels(bare) === '';
}

/** What follows the backchannels at the beginning. Without backtracking: 好啊 could be read in two ways. */
function afterBackchannels(bare: string): string {
  let at = 0;
  for (;;) {
    BACKCHANNEL.lastIndex = at;
    if (!BACKCHANNEL.test(bare)) return bare.slice(at);
    at = BACKCHANNEL.lastIndex;
  }
}

/** Of bare words that are still being read: backchannels so far, the last of which may not be read whole. */
export function isListeningSoFar(bare: string): boolean {
  if (bare === '' || bare.length > MAX_LENGTH) return false;
  const rest = afterBackchannels(bare);
  return rest === '' || BEGINNINGS.some((whole) => whole.startsWith(rest));
}

/** Of bare words: nothing but words that mean nothing by themselves, as a recogniser reads them into noise. */
export function isNothing(bare: string): boolean {
  return NOTHING.test(bare);
}

/** Of bare words: begins as one does who wants the other to stop, if need be after one backchannel ("okay wait"). */
export function isStopping(bare: string): boolean {
  return INTERRUPTION.test(bare) && !HARMLESS_START.test(bare);
}
