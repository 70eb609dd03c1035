/** Words by which one knows who has answered a call of ours: a voicemail box, a menu, a person (lessons.md 1). */

/** Said by machines alone. */
const MACHINE = [
  /(?:after|at|following|wait for) the (?:tone|beep|signal)/,
  /(?:leave|record) (?:me |us |him |her |them )?(?:a|your)(?: brief| short| detailed| name and)? (?:voice ?)?message/,
  /voice ?mail|mailbox|answering (?:machine|service)/,
  /you(?:'ve| have) reached (?:the )?(?:voice|mail|phone of|cell)/,
  /(?:number|person|customer|subscriber|party|wireless|mobile)[^.]{0,40} (?:is|are) (?:not|un|currently|temporarily|no longer|switched|powered|turned) ?(?:available|avail|able|reachable|off|in service|un)/,
  /call has been forwarded|please try (?:your call )?again later|please record your/,
  /[嘀滴嘟哔]一?声(?:之?后|响)|提示音(?:之?后|结束)|信号音之?后|听到.{0,4}[嘀滴嘟哔]/,
  /(?:请|可以?|帮您)(?:在|给我)?.{0,8}留言|语音(?:信箱|留言|邮箱)|留言(?:信箱|服务)|来电(?:助手|助理|秘书|小?精灵)|智能(?:助理|秘书)/,
  /您?(?:所)?(?:拨打|呼叫)的(?:用户|电话|号码|手机|移动)|暂时无法接(?:通|听)|已关机|已停机|不在服务区|是空号|请稍后再拨/,
];

/** Machines and people say it. */
const PERHAPS_MACHINE = [
  /not available|unavailable|can(?:'|no)t (?:come to|take|answer|get to)|away from|(?:call|get) (?:you )?back/,
  /(?:不|没)(?:方便|能|便)接|无法接|不在|稍后(?:再|回)|回(?:复|电|拨)|主人|机主/,
];

const KEY_EN = '(?:[0-9*#]|zero|one|two|three|four|five|six|seven|eight|nine|star|pound|hash)';
/** A menu to be gone through by keys. */
const MENU = [
  new RegExp(`(?:press|dial|enter|push|hit) (?:the )?(?:number |key )?${KEY_EN}\\b`),
  new RegExp(`(?:press|dial|enter|push|hit) ?[*#]`),
  /(?:following|these|our) (?:menu|options)|(?:main|voice) menu|(?:dial|enter)[^.]{0,20} extension|your call (?:is|may|will)[^.]{0,20} (?:important|record|monitor)/,
  /请?(?:按|拨)(?:数字)?键?\s?[0-9零一二三四五六七八九十*#井星](?!分|点|年|月|天|个)|请(?:直接)?拨(?:打)?分机|(?:输入|拨)[^。]{0,6}(?:分机|井号)|人工(?:服务|台|客服)请/,
];

/** A person offers to talk. */
const PERSON = [
  /how (?:can|may) i (?:help|direct|assist)|who(?:'s| is) (?:this|calling|speaking)|speaking\b|what can i do|what do you want/,
  /请问|哪位|什么事|请讲|你说|您说|(?:你|您)是谁|找谁|有事(?:吗|么)|帮(?:您|你)(?:的|吗)?[?？]/,
];

export type WordsVerdict = 'machine' | 'menu' | 'perhaps machine' | 'person' | null;

/** What the words alone say; null: nothing. */
export function judgeWords(text: string): WordsVerdict {
  const words = text.toLowerCase().replaceAll('’', "'").replaceAll(/\s+/g, ' ');
  const has = (patterns: readonly RegExp[]): boolean => patterns.some((each) => each.test(words));
  const isMenu = has(MENU);
  // "Press 2 to leave a message" is a menu; "after the tone ... or press 1 for more options" is a voicemail box.
  if (isMenu && !MACHINE_AFTER_TONE.test(words)) return 'menu';
  if (has(MACHINE)) return 'machine';
  if (has(PERSON)) return 'person';
  return has(PERHAPS_MACHINE) ? 'perhaps machine' : null;
}

const MACHINE_AFTER_TONE =
  /the (?:tone|beep)|[嘀滴嘟哔]一?声|提示音|voice ?mail|mailbox|语音信箱|(?:拨打|呼叫)的(?:用户|电话|号码|手机)/;
