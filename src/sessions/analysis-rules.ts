/** Call analysis without a model (contract 2.6 row 9): word lists and patterns, the same for the same call always. */
import type { Language } from '#providers/contract.ts';
import { bestFacts, cutAtSentence, factsIn } from './extractive.ts';
import { isKeys, sentencesOf, type Speech } from './transcript.ts';

export type Sentiment = {
  readonly label: 'positive' | 'neutral' | 'negative';
  /** -1..1. */
  readonly score: number;
};

/** What words alone can tell of a call. */
export type RuleAnalysis = {
  readonly intent: string;
  readonly sentiment: Sentiment;
  readonly keyPoints: readonly string[];
  readonly customerNeeds: readonly string[];
  readonly nextActions: readonly string[];
};

const MAX_POINTS = 5;
const POINT_CHARS = 80;

export function analyseByRules(speeches: readonly Speech[], language: Language): RuleAnalysis {
  const words = speeches.filter(({ text }) => !isKeys(text));
  const caller = words.filter(({ side }) => side === 'caller');
  const agent = words.filter(({ side }) => side !== 'caller');
  return {
    intent: intentOf(caller, language),
    sentiment: sentimentOf(caller.map(({ text }) => text)),
    keyPoints: shortened(bestFacts(factsIn(words), MAX_POINTS).map(({ text }) => text)),
    customerNeeds: shortened(sentencesWith(caller, NEED)),
    nextActions: shortened(sentencesWith(agent, ACTION)),
  };
}

// ---- Intent ----

type Intent = { readonly zh: string; readonly en: string; readonly words: RegExp };

/** The more specific first: it wins among equals. */
const INTENTS: readonly Intent[] = [
  {
    zh: '投诉',
    en: 'complaint',
    words:
      /投诉|举报|曝光|差评|消费者协会|12315|\b(?:complain(?:t|ing)?|unacceptable|file a report)\b/giu,
  },
  {
    zh: '退款退货',
    en: 'refund or return',
    words:
      /退款|退货|退钱|退费|换货|\b(?:refund|money back|return (?:it|this|the|my)|exchange)\b/giu,
  },
  {
    zh: '取消',
    en: 'cancellation',
    words:
      /取消|退订|注销|解约|\b(?:cancel(?:led|lation|ling)?|unsubscribe|terminate (?:my|the))\b/giu,
  },
  {
    zh: '拒绝来电',
    en: 'do not call',
    words:
      /别再打|不要再打|不需要|没兴趣|不感兴趣|\b(?:not interested|stop calling|do(?:n['’]t| not) call)\b/giu,
  },
  {
    zh: '预约',
    en: 'appointment',
    words:
      /预约|预订|改约|改期|挂号|\b(?:appointment|book(?:ing)?|schedule|reschedule|reservation)\b/giu,
  },
  {
    zh: '账单与付款',
    en: 'billing and payment',
    words:
      /账单|付款|扣费|缴费|还款|发票|欠费|\b(?:bill(?:ing)?|invoice|payment|charged?|overdue|receipt)\b/giu,
  },
  {
    zh: '物流查询',
    en: 'delivery',
    words:
      /快递|物流|发货|配送|到货|包裹|\b(?:deliver(?:y|ed)?|shipping|shipment|parcel|package|tracking)\b/giu,
  },
  {
    zh: '技术支持',
    en: 'technical support',
    words:
      /故障|坏了|报错|打不开|登录不|连不上|维修|死机|\b(?:broken|error|does(?:n['’]t| not) work|not working|crash(?:es|ed)?|log ?in|repair|technical)\b/giu,
  },
  {
    zh: '价格咨询',
    en: 'price inquiry',
    words: /多少钱|价格|费用|报价|优惠|折扣|\b(?:prices?|how much|costs?|quote|discount)\b/giu,
  },
  {
    zh: '购买',
    en: 'purchase',
    words: /购买|下单|订购|办理|开通|\b(?:buy|purchase|order|sign up|subscribe)\b/giu,
  },
  {
    zh: '业务咨询',
    en: 'inquiry',
    words:
      /咨询|请问|想了解|想问|怎么|\b(?:question|inquir[ey]|information|ask about|wonder(?:ing)?|how do)\b/giu,
  },
];

function intentOf(caller: readonly Speech[], language: Language): string {
  const text = caller.map((speech) => speech.text).join('\n');
  let best: { readonly name: string; readonly count: number } | null = null;
  for (const intent of INTENTS) {
    const count = text.match(intent.words)?.length ?? 0;
    if (count > (best?.count ?? 0)) best = { name: intent[language], count };
  }
  return best?.name ?? (language === 'zh' ? '其他' : 'other');
}

// ---- Sentiment ----

/** Longer phrases stand before the words in them: `不满意` is no `满意`. */
const NEGATIVE =
  /不满意?|不高兴|不开心|不好用|不行|不方便|不耐烦|生气|愤怒|恼火|气死|失望|糟糕|太差|很差|差劲|垃圾|骗(?:人|子|我)|欺骗|投诉|麻烦死|烦死|讨厌|难用|离谱|过分|坑人|后悔|受不了|不负责任|没人管|\b(?:angry|upset|annoy(?:ed|ing)|frustrat(?:ed|ing)|disappoint(?:ed|ing)|terrible|awful|horrible|worst|useless|ridiculous|unacceptable|bad|poor|rude|scam|hate|never again|unhappy|waste of (?:time|money))\b/giu;
const POSITIVE =
  /不错|没问题|满意|高兴|开心|谢谢|感谢|多谢|太好了|很好|挺好|真好|非常好|好极了|喜欢|棒|专业|耐心|给力|赞|方便|放心|\b(?:great|good|excellent|perfect|wonderful|amazing|awesome|thanks?|thank you|happy|glad|pleased|satisfied|helpful|appreciate|love|nice|fantastic)\b/giu;
const NOT_BEFORE =
  /(?:不|没|没有|不太|不是很|不够|未|别)(?:那么|怎么|很|太|是)?$|\b(?:not|never|no|isn['’]t|wasn['’]t|aren['’]t|don['’]t|didn['’]t|hardly|nothing)\s+(?:\w+\s+)?$/iu;
const NEUTRAL_BELOW = 0.2;
/** So that one word does not decide a whole call. */
const DOUBT = 1;

/** By the caller's words: a word behind a denial counts for the other side. */
export function sentimentOf(texts: readonly string[]): Sentiment {
  let positive = 0;
  let negative = 0;
  for (const text of texts) {
    const rest = text.replace(NEGATIVE, (word: string, at: number) => {
      if (NOT_BEFORE.test(text.slice(Math.max(0, at - 20), at))) positive += 0.5;
      else negative++;
      return '#'.repeat(word.length);
    });
    for (const match of rest.matchAll(POSITIVE)) {
      const isDenied = NOT_BEFORE.test(rest.slice(Math.max(0, match.index - 20), match.index));
      if (isDenied) negative++;
      else positive++;
    }
  }
  const score = round2((positive - negative) / (positive + negative + DOUBT));
  if (Math.abs(score) < NEUTRAL_BELOW) return { label: 'neutral', score };
  return { label: score > 0 ? 'positive' : 'negative', score };
}

// ---- Sentences of a kind ----

const NEED =
  /我(?:们)?(?:想|要|需要|希望|打算|得)|能不能|可不可以|能否|可以帮|帮我|麻烦(?:你|您)|请(?:你|您|帮)|\b(?:i (?:want|need|would like|am looking for|wish|have to)|i['’](?:d like|m looking for)|we (?:want|need)|(?:can|could|would|will) you|please)\b/iu;
const ACTION =
  /(?:我|我们|这边|客服|专员|工程师)(?:会|将|马上|稍后|帮您|给您|为您|替您|来)|稍后|尽快|(?:今|明|后)天(?:会|将|给您|联系)|回访|回电|(?:请|麻烦)(?:您|你)(?:稍后|尽快|先|到|将|把|携带|准备)|\b(?:(?:i|we|someone|a colleague)(?:['’]ll| will| am going to| are going to)|let me|you(?:['’]ll| will) receive|please (?:bring|send|check|call|wait|prepare|visit))\b/iu;

function sentencesWith(speeches: readonly Speech[], pattern: RegExp): string[] {
  return speeches.flatMap(({ text }) => sentencesOf(text).filter((each) => pattern.test(each)));
}

function shortened(sentences: readonly string[]): string[] {
  const short = sentences.map((text) => cutAtSentence(text, POINT_CHARS));
  return [...new Set(short)].slice(0, MAX_POINTS);
}

function round2(value: number): number {
  const rounded = Math.round(value * 100) / 100;
  return rounded === 0 ? 0 : rounded;
}
