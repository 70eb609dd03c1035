/** A summary without a model (contract 7.2): three points quoted from the call, the same for the same call always. */
import type { Message } from '#lib/call-events.ts';
import type { Language } from '#providers/contract.ts';
import { isKeys, sentencesOf, sentenceSpans, speechesOf, type Speech } from './transcript.ts';

export type PointLabels = {
  readonly demands: string;
  readonly key: string;
  readonly result: string;
  readonly missing: string;
  readonly colon: string;
};

/** The three points in both languages; the model is asked for the same words. */
export const POINTS: { readonly [L in Language]: PointLabels } = {
  zh: {
    demands: '主要诉求',
    key: '关键信息',
    result: '处理结果',
    missing: '未提及',
    colon: '：',
  },
  en: {
    demands: 'Main demands',
    key: 'Key information',
    result: 'Final result',
    missing: 'not stated',
    colon: ': ',
  },
};

const POINT_CHARS = 80;
const DEMAND_CHARS = 6;
const KEY_SENTENCES = 2;

/** The summary of a call; `messages` are masked here. */
export function extractiveSummary(messages: readonly Message[], language: Language): string {
  const speeches = speechesOf(messages).filter(({ text }) => !isKeys(text));
  const { demands, key, result } = pointsOf(speeches, language);
  const { missing, colon, ...labels } = POINTS[language];
  return [
    `${labels.demands}${colon}${demands ?? missing}`,
    `${labels.key}${colon}${key ?? missing}`,
    `${labels.result}${colon}${result ?? missing}`,
  ].join('\n');
}

type Points = { readonly [K in 'demands' | 'key' | 'result']: string | null };

function pointsOf(speeches: readonly Speech[], language: Language): Points {
  const demand = speeches.find(
    ({ side, text }) => side === 'caller' && Array.from(text).length >= DEMAND_CHARS,
  );
  const last = speeches.findLast(({ side }) => side !== 'caller');
  const demands = demand === undefined ? null : cutAtSentence(demand.text, POINT_CHARS);
  const result = last === undefined ? null : cutAtSentence(last.text, POINT_CHARS);
  const used = [demands, result].flatMap((text) => (text === null ? [] : sentencesOf(text)));
  return { demands, key: keyOf(factsIn(speeches), new Set(used), language), result };
}

/** A sentence and how much of a fact is in it. */
export type Fact = { readonly text: string; readonly score: number; readonly speech: Speech };

/** Sentences with digits, dates or amounts in them, in the order of the call. */
export function factsIn(speeches: readonly Speech[]): Fact[] {
  return speeches.flatMap((speech) =>
    sentencesOf(speech.text).flatMap((text) => {
      const score = factScore(text);
      return score === 0 ? [] : [{ text, score, speech }];
    }),
  );
}

/** The sentences that say most, as they were said: the earlier first among equals. */
export function bestFacts(facts: readonly Fact[], count: number): Fact[] {
  const best = new Set(facts.toSorted((a, b) => b.score - a.score).slice(0, count));
  return facts.filter((fact) => best.has(fact));
}

function keyOf(
  facts: readonly Fact[],
  used: ReadonlySet<string>,
  language: Language,
): string | null {
  const seen = new Set(used);
  const fresh = facts.filter(({ text }) => !seen.has(text) && seen.add(text));
  const best = bestFacts(fresh, KEY_SENTENCES);
  if (best.length === 0) return null;
  const text = best.map((fact) => fact.text).join(language === 'zh' ? '' : ' ');
  return cutAtSentence(text, POINT_CHARS);
}

const NUMERAL = '零〇一二两三四五六七八九十百千万亿';
const ANY_NUMERAL = `[0-9０-９${NUMERAL}]`;
/** From its first digit alone: tried from each in turn, a long row of digits would take its length squared. */
const NUMBER = `(?<!${ANY_NUMERAL})${ANY_NUMERAL}+`;
/** Dates, times of day and amounts of money, in digits and in words. */
const DATES_AND_AMOUNTS: readonly RegExp[] = [
  new RegExp(`${NUMBER}\\s*(?:年|月|日|号|点|分钟|小时|天|周|星期)`, 'gu'),
  new RegExp(`${NUMBER}\\s*(?:元|块|角|美元|人民币|折|%|％|个点)|[¥￥$€£]\\s*[0-9]`, 'gu'),
  /(?:今|明|后|昨|前)天|(?:上|下|这|本)(?:个?月|周|星期)|(?:星期|周)[一二三四五六日天]/gu,
  /\b(?:jan(?:uary)?|feb(?:ruary)?|march|april|june|july|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b/giu,
  /\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:today|tomorrow|yesterday|tonight|next week|next month)\b/giu,
  /\b[0-9]+(?:\.[0-9]+)?\s*(?:dollars?|euros?|pounds?|yuan|percent|am|pm|days?|weeks?|months?|years?|o'clock)\b/giu,
];
const DATE_OR_AMOUNT_SCORE = 3;

function factScore(text: string): number {
  // A masked digit was one.
  let score = text.match(/[0-9０-９*]/g)?.length ?? 0;
  for (const pattern of DATES_AND_AMOUNTS) {
    score += DATE_OR_AMOUNT_SCORE * (text.match(pattern)?.length ?? 0);
  }
  return score;
}

const CLAUSE_END = /[，,、：:\s]/u;

/**
 * At most `limit` characters: as many whole sentences as fit; where not even the first does, to its last comma or space
 * that fits, with an ellipsis that counts.
 */
export function cutAtSentence(text: string, limit: number): string {
  const characters = Array.from(text);
  if (characters.length <= limit) return text;
  let kept = '';
  for (const { end } of sentenceSpans(text)) {
    const part = text.slice(0, end);
    if (Array.from(part).length > limit) break;
    kept = part;
  }
  return kept === '' ? `${cutInside(characters.slice(0, limit - 1))}…` : kept.trim();
}

/** Not in the first half: a comma there would cost too much. */
function cutInside(characters: readonly string[]): string {
  const end = characters.findLastIndex((character) => CLAUSE_END.test(character));
  return characters.slice(0, end > characters.length / 2 ? end : undefined).join('');
}
