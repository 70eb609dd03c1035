/** What the agent asked for, so far as its last words tell: it says how long the answer may be. */

export type Asked =
  /** Nothing was asked, or nothing that tells something. */
  | 'nothing'
  /** Yes or no. */
  | 'confirmation'
  /** Whether he wants anything more. */
  | 'more'
  /** What the matter is: the answer may be a story. */
  | 'story'
  | 'phone'
  | 'identity'
  | 'card'
  | 'code'
  /** Some other number: of an order, a parcel, a policy. */
  | 'number'
  | 'birth'
  | 'address'
  | 'name'
  /** Two things at once. */
  | 'several'
  /** A short answer of another kind. */
  | 'question';

/** In this order: the first that fits. Of the last sentences of the agent, in lower case. */
const SIGNS: readonly (readonly [Asked, RegExp])[] = [
  [
    'code',
    /验证码|校验码|动态码|口令|密码|(?:security|verification|confirmation|access|one[- ]time) code|passcode|\bpin\b|\botp\b|后四位|尾号(?:是多少|几)|last (?:four|4)/,
  ],
  ['identity', /身份证|证件号|社保号|social security|\bssn\b/],
  [
    'card',
    /(?:银行|信用|储蓄|借记)?卡号|账号|card number|account number|number on (?:the|your) card/,
  ],
  [
    'birth',
    /出生(?:日期|年月)|生日|哪年(?:出生|生)|date of birth|birth ?da(?:te|y)|when were you born/,
  ],
  [
    'address',
    /地址|住在?(?:哪里|哪儿|什么地方|哪$)|送到哪|address|where do you live|where should (?:we|i|it)/,
  ],
  [
    'number',
    /(?:运单|快递|订单|单|工单|保单|合同|会员|学|编|型|车牌|航班|流水|户|序列)号|(?:order|tracking|policy|account|member(?:ship)?|reference|claim|booking|ticket|serial|student|flight|case|meter|customer|plate|invoice|model)(?: id)? ?(?:number|code|id)\b/,
  ],
  [
    'phone',
    /电话|手机|号码|联系方式|phone|number to (?:reach|call)|call you back|contact number|your number|mobile/,
  ],
  ['name', /名字|姓名|贵姓|怎么称呼|叫什么|\bname\b|who am i (?:speaking|talking)/],
  [
    'story',
    /帮(?:到|助|忙|您|你)|什么(?:需要|问题|事|原因|情况|业务|症状|服务)|(?:咨询|办理|反映|需要|投诉)(?:些|点)?什么|请讲|请说$|描述|说一下|讲一下|哪里不舒服|哪儿不舒服|怎么了|怎么回事|需求|业务|(?:can|may) (?:i|we) (?:help|do for|assist|direct)|like to report|your call|help you|describe|tell me (?:about|what|more)|what (?:happened|seems|is (?:the|wrong)|was the|brings|are you calling)|what's (?:the (?:problem|issue|matter|reason)|wrong|going on)|calling about|problem|reason|explain/,
  ],
];

const CONFIRMATION_ZH =
  /(?:吗|吧|是不是|对不对|好不好|行不行|可不可以|能不能|可以么|方便么|没有)[呢呀啊]?$/;
/** Asks for something by a word of its own, though it ends like a question of yes or no. */
const OPEN_ZH = /什么|哪|多少|几|怎么|谁|还是/;
const CONFIRMATION_EN =
  /^(?:so |and |ok(?:ay)? |then )*(?:is|are|was|were|do|does|did|have|has|had|can|could|will|would|should|shall|may)\b|(?:,? (?:right|correct|okay|ok|yes|is that (?:right|correct|okay|ok|fine)|does that work))$/;
const MORE =
  /有(?:什么|没有)[^,，。]{0,8}吗$|还(?:需要|要|有)(?:点|些)?(?:什么|别的|其他|其它|问题)|anything (?:else|more)|^(?:so |and )?any\b|something else|any (?:other|more) questions/;
const CHOICE_EN = /\bor\b/;

/** The end of what the agent says is what counts, and an answer is never about more than its last sentences. */
const TAIL = 160;

/** `agentText`: what the agent said last; null: nothing. */
export function askedOf(agentText: string | null): Asked {
  if (agentText === null) return 'nothing';
  const tail = agentText.slice(-TAIL).normalize('NFKC').toLowerCase().replaceAll('’', "'").trim();
  const sentences = tail.split(/(?<=[?!。])\s*|(?<=[.](?!\d))\s+/u).filter((part) => part !== '');
  const last = sentences.at(-1) ?? '';
  const bare = last.replace(/[\p{P}\s]+$/u, '');
  const isQuestion = /\?$/.test(last) || CONFIRMATION_ZH.test(bare);
  if (isQuestion && MORE.test(bare)) return 'more';
  // "Is that your phone number?" asks for no number.
  if (isQuestion && (isConfirmation(bare) || isTag(bare)))
    return isHelp(bare) ? 'story' : 'confirmation';
  if (asksTwice(last)) return 'several';
  const both = sentences.slice(-2).join(' ');
  for (const text of [last, both])
    for (const [asked, sign] of SIGNS) if (sign.test(text)) return asked;
  return isQuestion ? 'question' : 'nothing';
}

function isConfirmation(bare: string): boolean {
  if (/\p{Script=Han}/u.test(bare)) return CONFIRMATION_ZH.test(bare) && !OPEN_ZH.test(bare);
  const clause = bare.split(/[,;:] (?=(?:is|are|do|does|can|will|would|have)\b)/).at(-1) ?? bare;
  return (CONFIRMATION_EN.test(clause) || CONFIRMATION_EN.test(bare)) && !asksForData(clause);
}

/** "Can I have your tracking number": polite for "give me". */
function asksForData(clause: string): boolean {
  return (
    /^(?:so |and |ok(?:ay)? )*(?:can|could|may|will|would) (?:i|you|we)\b.*\b(?:have|get|give|tell|read|spell|say|provide|confirm|describe|explain|take)\b/.test(
      clause,
    ) || CHOICE_EN.test(clause)
  );
}

const QUESTION_WORD =
  /什么|哪[里儿个天位种]|多少|几[位个点号天]|怎么|谁|\b(?:what|which|when|where|who|how (?:many|much|old|long|often))\b/g;

function asksTwice(sentence: string): boolean {
  return /[,，、]|\band\b/.test(sentence) && (sentence.match(QUESTION_WORD)?.length ?? 0) >= 2;
}

/** 发到您手机上? A statement said as a question: what it names is not asked for, unless it ends with that. */
function isTag(bare: string): boolean {
  if (!/\p{Script=Han}/u.test(bare) || OPEN_ZH.test(bare) || bare.length < 8) return false;
  return !SIGNS.some(([, sign]) => sign.test(bare.slice(-6)));
}

const isHelp = (bare: string): boolean =>
  /(?:help|assist|do for) you|帮(?:到|助|上)?[您你]的?吗?$/.test(bare);

/** Numbers of figures that make it complete, the usual first. Null: nobody can tell. */
export function lengthsOf(asked: Asked, digits: string, agentText: string | null): number[] | null {
  const said = saidLength(agentText);
  if (said !== null) return [said];
  if (asked === 'code') return [6, 4];
  if (asked === 'identity') return agentText !== null && /social|ssn/i.test(agentText) ? [9] : [18];
  if (asked === 'phone') return phoneLengths(digits, agentText);
  if (asked !== 'card') return null;
  if (/^3[47]/.test(digits)) return [15];
  return digits.startsWith('62') ? [19, 16] : [16];
}

const COUNTS: Readonly<Record<string, number>> = {
  ...{ 三: 3, 四: 4, 五: 5, 六: 6, 七: 7, 八: 8, 九: 9, 十: 10, 十一: 11, 十八: 18 },
  ...{ three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9, ten: 10 },
};

/** "the six-digit code", 后四位: the agent itself says how many. */
function saidLength(agentText: string | null): number | null {
  const found =
    /(\d{1,2}|十[一八]?|[三四五六七八九])位|(\d{1,2}|three|four|five|six|seven|eight|nine|ten)[- ]digit|last (four|4)\b/i.exec(
      agentText?.slice(-TAIL) ?? '',
    );
  const word = (found?.[1] ?? found?.[2] ?? found?.[3])?.toLowerCase();
  if (word === undefined) return null;
  return COUNTS[word] ?? (Number(word) || null);
}

function phoneLengths(digits: string, agentText: string | null): number[] {
  const isChinese = agentText === null || /\p{Script=Han}/u.test(agentText);
  if (/^1[3-9]/.test(digits) && isChinese) return [11];
  if (digits.startsWith('1')) return [11];
  if (digits.startsWith('0')) return [11, 12];
  if (digits.startsWith('86')) return [13];
  return /^[48]00/.test(digits) || !isChinese ? [10] : [8, 7, 11];
}
