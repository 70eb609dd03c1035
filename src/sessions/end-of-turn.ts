/**
 * How long the caller's silence must last before the agent takes the floor. Pure: the turn machine asks again whenever
 * one of the facts changes, and waits until the silence is as long as the latest answer. Costs a few microseconds.
 */
import { askedOf, type Asked } from './end-of-turn-asked.ts';
import { formOfNumber } from './end-of-turn-numbers.ts';
import { agreesEn, deniesEn, greetsEn, isEnoughEn, refusesEn, shapeEn } from './turn-words-en.ts';
import type { Shape } from './turn-words-shape.ts';
import {
  agreesZh,
  deniesZh,
  greetsZh,
  humsZh,
  isEnoughZh,
  refusesZh,
  shapeZh,
} from './turn-words-zh.ts';

export type PauseFacts = {
  readonly language: 'zh' | 'en';
  /** Everything the caller has said in this turn so far, finals and the latest partial; empty: nothing was read. */
  readonly text: string;
  /** Whether the recogniser reads at all; if not, only the length of speech tells something. */
  readonly reads: boolean;
  /** All utterances of the turn were read; false: `text` may still change. */
  readonly isFinal: boolean;
  /** Sum of the caller's speech in this turn. */
  readonly speechMs: number;
  /** What the agent said last; null: nothing. A question for a number makes long pauses likely. */
  readonly lastAgentText: string | null;
  /** Of a semantic model, if one is plugged in: how likely the turn is over, 0..1; null: unknown. */
  readonly likelihood: number | null;
};

export type PauseDials = {
  /** Never less, never more than this much silence. */
  readonly minMs: number;
  readonly maxMs: number;
  /** 0: waits long for more words; 1: answers as soon as it may be right. */
  readonly responsiveness: number;
};

/** Judges whether a turn is over by what was said: a plugged-in model. Null: no opinion (too late, failed). */
export type EndOfTurnModel = {
  /** 0..1 within 100 ms; aborting `signal` gives up. */
  likelihood(
    facts: Pick<PauseFacts, 'language' | 'text' | 'lastAgentText'>,
    signal: AbortSignal,
  ): Promise<number | null>;
};

/** What the turn so far looks like, from "over" to "in the middle of it". */
export type TurnForm =
  /** Took leave, or gave the last figure of a number. */
  | 'closed'
  /** A plain yes or no to a question of that kind. */
  | 'answered'
  | 'refused'
  | 'asked'
  /** A few words that may be all that was wanted. */
  | 'brief'
  | 'finished'
  /** Nothing tells. */
  | 'plain'
  /** Finished by grammar, but more is to be expected: a reason, a second answer, the number itself. */
  | 'parts'
  | 'story'
  | 'thinking'
  | 'unfinished'
  /** Figures of a number whose length nobody knows. */
  | 'dictating'
  /** Figures are missing. */
  | 'short';

/** Silence at a responsiveness of 0.5. Tuned on seeds 1-5 of bench/turns (docs/turn-taking.md). */
export const WAIT_MS: Readonly<Record<TurnForm, number>> = {
  closed: 200,
  answered: 200,
  asked: 200,
  refused: 370,
  brief: 240,
  finished: 260,
  plain: 640,
  parts: 740,
  story: 620,
  thinking: 2800,
  unfinished: 1500,
  dictating: 1150,
  short: 1500,
};

/** Without words to judge by. */
const BLIND_MS = 500;
/** Of the rules' opinion, against a semantic model's. Of a number the rules know more. */
const RULES_SHARE = 0.35;
const RULES_SHARE_NUMBERS = 0.8;

/** Silence in ms since the last speech, within the dials. */
export function endOfTurnMs(
  facts: PauseFacts,
  { minMs, maxMs, responsiveness }: PauseDials,
): number {
  // Halved at 1, doubled at 0.
  const pace = 2 ** (1 - 2 * Math.min(1, Math.max(0, responsiveness)));
  const ms = Math.round(waitMs(facts) * pace);
  return Math.min(maxMs, Math.max(minMs, ms));
}

function waitMs(facts: PauseFacts): number {
  if (!facts.reads) return BLIND_MS;
  const form = turnFormOf(facts);
  const rules = WAIT_MS[form];
  return facts.likelihood === null ? rules : withModel(rules, form, facts.likelihood);
}

/** Between the two opinions, on a scale of ratios: 200 and 800 meet at 400. */
function withModel(rulesMs: number, form: TurnForm, likelihood: number): number {
  const isNumber = form === 'short' || form === 'dictating';
  const share = isNumber ? RULES_SHARE_NUMBERS : RULES_SHARE;
  const modelMs = WAIT_MS.closed * (WAIT_MS.short / WAIT_MS.closed) ** (1 - likelihood);
  return rulesMs ** share * modelMs ** (1 - share);
}

/** An answer in one go: characters, words. */
const BRIEF_ZH = 6;
const BRIEF_EN = 3;
/** One clause, when a recogniser writes no marks. */
const CLAUSE_ZH = 9;
const CLAUSE_EN = 8;
/** Something that "yes" is no answer to: it is still to come. */
const EXPECTS: ReadonlySet<Asked> = new Set([
  ...(['phone', 'identity', 'card', 'code', 'number', 'birth', 'address', 'name'] as const),
]);

/** Of this much of the text the end is looked at. */
const TAIL = 120;

export function turnFormOf(facts: PauseFacts): TurnForm {
  const read = plainOf(facts.text.slice(-TAIL));
  const tail = read.replace(/[\p{P}\s]+$/u, '');
  // Marks at the end of what is still being read are guesses that come and go.
  const text = facts.isFinal ? read : tail;
  if (tail === '') return 'plain';
  const asked = askedOf(facts.lastAgentText);
  const number = formOfNumber(tail, asked, facts.lastAgentText);
  if (number !== null) return number;
  const short = formOfShort(tail, asked, /[,、]$/.test(text)) ?? formOfEcho(tail, asked, facts);
  if (short !== null) return short;
  const isChinese = /\p{Script=Han}/u.test(tail);
  // Grammar looks at the last clause; a recogniser's full stop tells little, its comma and question mark more.
  const clause = tail.slice(lastMark(tail) + 1).trim() || tail;
  const said = isChinese ? clause.replaceAll(' ', '') : clause;
  const shape = isChinese ? shapeZh(said) : shapeEn(said);
  if (shape === 'thinking' || (shape === 'unfinished' && !/\?$/.test(text))) return shape;
  const denies = isChinese
    ? said.length <= CLAUSE_ZH && deniesZh(said)
    : said.split(' ').length <= CLAUSE_EN && deniesEn(said);
  const isBrief = isChinese
    ? said.length <= BRIEF_ZH && tail.length <= BRIEF_ZH
    : tail.split(' ').length <= BRIEF_EN;
  return formOfShape(shape, { text, denies, isBrief }, asked);
}

function plainOf(text: string): string {
  return text.normalize('NFKC').toLowerCase().replaceAll('’', "'").trim();
}

function lastMark(text: string): number {
  for (let at = text.length - 1; at >= 0; at--) if ('.,!?;。、'.includes(text[at] ?? '')) return at;
  return -1;
}

/** One or two words that are an answer, or a greeting. */
function formOfShort(tail: string, asked: Asked, isComma: boolean): TurnForm | null {
  const bare = tail.replace(/[^\p{L}\p{N}']+/gu, ' ').trim();
  const isChinese = /\p{Script=Han}/u.test(tail);
  const said = isChinese ? bare.replaceAll(' ', '') : bare;
  if (isChinese && humsZh(said) && !EXPECTS.has(asked))
    return asked === 'confirmation' ? 'parts' : asked === 'nothing' ? 'plain' : null;
  const agrees = isChinese ? agreesZh(said) : agreesEn(said);
  const refuses = isChinese ? refusesZh(said) : refusesEn(said);
  const isEnough = isChinese ? isEnoughZh(said) : isEnoughEn(said);
  if (asked === 'more' && (isEnough || agrees || refuses))
    return isEnough || refuses ? 'closed' : 'parts';
  if (isEnough && said.length > SHORTEST) return 'answered';
  if (agrees || refuses) {
    // A bare "no" is often followed by its reason.
    if (asked === 'confirmation') return agrees && !isComma ? 'answered' : 'refused';
    if (agrees && EXPECTS.has(asked)) return 'unfinished';
    return asked === 'nothing' ? 'finished' : 'plain';
  }
  if (!(isChinese ? greetsZh(said) : greetsEn(said))) return null;
  // Who was greeted with a question, answers the greeting first.
  return asked === 'nothing' ? 'finished' : 'parts';
}

/** Chinese says yes with the verb of the question: 方便吗? 方便. A repeated number is a question of its own. */
function formOfEcho(tail: string, asked: Asked, { lastAgentText }: PauseFacts): TurnForm | null {
  if (asked !== 'confirmation' || lastAgentText === null || !/^\p{Script=Han}+$/u.test(tail))
    return null;
  const verb = tail.replace(/^[嗯哦啊很挺都]+|[的了啊呀吧哈]+$/gu, '');
  if (verb === '' || /[零一二两三四五六七八九十百千万点号]/.test(verb)) return null;
  if (lastAgentText.slice(-TAIL).includes(verb)) return 'answered';
  return /^[不没]/.test(verb) && lastAgentText.includes(verb.slice(1)) ? 'refused' : null;
}

/** 不, 没, "no": refusals that say no more than that. */
const SHORTEST = 2;

/** Instead of saying it again. */
const SAME =
  /原来|之前|以前|上次|一样|这个号|同一个|same|usual|calling from|on file|you (?:already )?have/;

/** Not the name, but whose it will be. */
const FOR_WHOM = /^[嗯呃啊]*(?:给|替|帮|为)|\bfor my\b/;

/** Asked for figures, he says something else: that they are known, or what they are of. */
function formOfDetour(text: string, isBrief: boolean): TurnForm {
  if (SAME.test(text)) return 'finished';
  return isBrief ? 'unfinished' : 'parts';
}

type Said = { readonly text: string; readonly denies: boolean; readonly isBrief: boolean };

function formOfShape(shape: Shape, { text, denies, isBrief }: Said, asked: Asked): TurnForm {
  const isComma = /[,、]$/.test(text);
  if (shape === 'closing') return isComma ? 'finished' : 'closed';
  if (shape === 'asking' || /\?$/.test(text)) return isComma ? 'plain' : 'asked';
  if (asked === 'story') return 'story';
  if (denies) return EXPECTS.has(asked) || asked === 'confirmation' ? 'parts' : 'plain';
  if (asked === 'name') return FOR_WHOM.test(text) || isComma ? 'parts' : 'brief';
  if (EXPECTS.has(asked)) return formOfDetour(text, isBrief);
  if (isComma) return 'parts';
  if (asked === 'several') return 'plain';
  if (isBrief && (asked === 'question' || asked === 'more')) return 'brief';
  if (isBrief && asked === 'confirmation') return 'plain';
  return shape === 'finished' ? 'finished' : 'plain';
}
