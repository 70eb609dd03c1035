/** How a Chinese clause ends: finished, asking, or with more to come. Of text without marks and spaces at its end. */
import type { Shape } from './turn-words-shape.ts';

/** Any of these words at the end, the longest first. */
function endingWith(list: string): RegExp {
  const words = list
    .trim()
    .split(/\s+/)
    .toSorted((a, b) => b.length - a.length);
  return new RegExp(`(?:${words.join('|')})$`, 'u');
}

/** After these more words must follow. */
const UNFINISHED = endingWith(`
  因为 所以 但是 可是 不过 然后 而且 并且 或者 还是说 还有 另外 以及 如果 要是
  假如 虽然 既然 除了 除非 只要 只有 无论 不管 万一 为了 关于 就是 就是说 也就是
  比如 比如说 比方说 例如 包括 其实 主要是 问题是 可能是 那个 这个 那 一个 有个
  有一个 这种 那种 某个 每个 我想 我要 我就 我的 我是 我在 我叫 我姓 我有 我把
  我跟 我和 你的 他的 想要 想问 想问一下 想问问 问一下 想查 帮我 给我 请 请问 麻烦
  麻烦你 麻烦您 是在 是从 是给 跟 和 把 被 从 往 向 由 为 与 及 比 将 让 应该
  大概 可能 好像 差不多 大约 也许 估计 一共 总共 特别 非常 比较 有点 号码是 电话是
  地址是 名字是 名字叫 单号是 卡号是 型号是 时间是 叫 姓 住在 位于 得 要 想 会 能
  应 又 再 刚 都 也 还 更 最 很 太 在 到 的时候 的话 后来 结果 本来 当时 给
  用 是 跟我 和我 他说 她说 我说
`);

/** End like one that is unfinished, and are not. */
const FINISHED_ALL_THE_SAME = endingWith(`
  不要 还要 需要 只要这个 不想 不会 不能 不是 也是 就是这个 都是 没有 都有 还有吗
  不得 觉得 记得 收到 没到 找到 看到 听到 签到 迟到 到了 还没到 不在 都在 没在
  不用 还没有 有的 是的 才能 可能吧 不太会 这里有 就有 以后吧 怎么用 多给 不给
  先不要 刚刚 都要
`);

/** While one thinks, looks something up, or turns to something else. */
const FILLER =
  /(?:[嗯呃唔呣]|^额|(?<![是就要用])(?:那个|这个)|就是|怎么说呢?|哎呀|话说|(?:我|让我|^)(?:先|去|再|得)*(?:想|看|找|查|算|拿|翻)(?:一下|一想|一看|想|看|找|查)|[你您]?(?:等|稍等)(?:一下|一等|等|会儿?|我(?:一下|拿一下|看一下|找一下)?)?|对了|还有(?:个|一个|件)事|还有一点|我问一下|说错了?|念错了?)[啊呀哈哦吧]*$/u;
/** One word with which one only begins: 我, 啊, 然后. */
const BEGINNING =
  /^(?:[我你您他她它这那啊哎诶欸]|我们|你们|他们|咱们?|那边|这边|我家|你们那[儿里]|你们这[儿里边]|你看|您看|我跟你说|我说|不过|然后)$/u;

const QUESTION =
  /(?:[吗嘛么]|(?<!怎么说)呢|吧|什么|多少|几点|几号|几天|多久|多长时间|哪里|哪儿|哪个|哪天|谁|怎么办|怎么样|咋办|为什么|怎么回事|怎么[^，。]{0,8}|多少[^，。]{0,4}|什么[^，。]{0,5}|几[^，。]{1,3}|([^\s])不\1[^，。]{0,6}|能不能[^，。]{2,12}|可不可以[^，。]{2,12}|有没有[^，。]{1,10})[了啊呀呢]?$/u;
const PARTICLE = /[了啦呀啊嘛呗吧哦噢哈咯喽喔哟的过着]$/u;
const CLOSING =
  /(?:谢谢[你您啊了]*|多谢|再见|拜拜|挂了|先这样|就这样|就这些|没有?了|没别的了?|没事了|就这个|就行|就可以了?|就好了?|麻烦[你您]了|辛苦了)[吧啊呀哈哦了]*$/u;
/** A condition or a time: the clause that it belongs to is still to come. */
const CLAUSE = /^(?:.*[，,。])?(?:如果|要是|假如|虽然|因为|既然|除非|万一)[^，,。]{2,14}$/u;

export function shapeZh(tail: string): Shape {
  if (CLOSING.test(tail)) return 'closing';
  if (FILLER.test(tail)) return 'thinking';
  if (BEGINNING.test(tail)) return 'unfinished';
  if (UNFINISHED.test(tail) && !FINISHED_ALL_THE_SAME.test(tail)) return 'unfinished';
  if (QUESTION.test(tail)) return 'asking';
  if (CLAUSE.test(tail)) return 'unfinished';
  return PARTICLE.test(tail) ? 'finished' : 'open';
}

/** Words of assent and of refusal, with what may stand before and after them. Taken out one by one: no backtracking. */
const PARTICLES = '的啊呀呢吧嘞哈哦噢了嘛呗嗯呃欸诶,，。 ';
const AGREES_FIRST =
  /^[嗯哦噢啊欸诶]*(?:对|是|好|行|可以|没错|没问题|有|要|需要|能|会|愿意|同意|方便|确定|确认|成|中|妥|在|来过|看过|接受|都行|都可以|随便)/u;
const AGREES = new RegExp(
  `没错|没问题|可以|需要|愿意|同意|方便|确定|确认|来过|看过|接受|都行|随便|[对是好行有要能会成中妥在都${PARTICLES}]`,
  'gu',
);
const REFUSES_FIRST = /^[嗯哦呃啊]*(?:不|没|算了|别)/u;
const REFUSES = new RegExp(
  `不可以|不需要|不方便|没来过|没看过|没有|不[是要用行对能会]|算了|[不没别${PARTICLES}]`,
  'gu',
);
const GREETS = /^[啊呀诶欸嗯]*(?:(?:喂|你好|您好|哈喽|嗨|早上好|下午好|晚上好|在吗)[啊呀]*)+$/u;

/** Says that he cannot give what he was asked for, or does not want what was offered: the next words tell why. */
const DENIES =
  /^(?!.*(?:没有了|没了|不用了|不要了|不需要了|不买了|没事了|吗$)).*(?:[没不](?:[带记知清找收方有在行是对好想]|太清|大清|能|会|合适|够|合)|忘了|弄丢|丢了)/u;

/** Wants no more: 不用了, 没了, 不需要了谢谢. */
const ENOUGH =
  /^[嗯哦啊]*(?:(?:不用|不要|不需要|没有|没|不|够)[了啦]?|没有别的了?|暂时没有了?|先不用了?)(?:谢谢[你您]?|[啊呀吧哈])*$/u;
export const isEnoughZh = (text: string): boolean => ENOUGH.test(text);
export const deniesZh = (text: string): boolean => DENIES.test(text);
/** As much a yes as the sound of one who thinks. */
export const humsZh = (text: string): boolean => /^[嗯唔呣]+$/u.test(text);
export const agreesZh = (text: string): boolean =>
  AGREES_FIRST.test(text) && text.replace(AGREES, '') === '';
export const refusesZh = (text: string): boolean =>
  REFUSES_FIRST.test(text) && text.replace(REFUSES, '') === '';
export const greetsZh = (text: string): boolean => GREETS.test(text);
