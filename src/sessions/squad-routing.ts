/**
 * Who of a squad answers (contract 2.4), by the words alone: pure, the same for the same conversation always. A language
 * model's word is held against the same rules by `settle`.
 */
import type { Id } from '#lib/ids.ts';
import { isDenying } from './squad-denial.ts';
import {
  coverageOf,
  phraseOf,
  phrasesOf,
  wordsOf,
  type Phrase,
  type Unit,
  type Words,
} from './squad-words.ts';

export type RoutedMember = {
  readonly agentId: Id;
  readonly role: 'primary' | 'secondary' | 'specialist';
  readonly skills: readonly string[];
  /** The lower one wins a tie. */
  readonly priority: number;
};

export type RoutedTransfer = {
  readonly from: Id;
  readonly to: Id;
  readonly when: string;
  readonly notice: string | null;
};

export type RoutedSquad = {
  readonly members: readonly RoutedMember[];
  readonly transfers: readonly RoutedTransfer[];
};

export type RoutingInput = {
  /** What the other side has just said. */
  readonly input: string;
  /** What it said before, the oldest first. */
  readonly before: readonly string[];
  /** Who is speaking with it now. */
  readonly currentId: Id;
};

export type Route = {
  readonly agentId: Id;
  /** The skill that was met, in its own words; `general` when none was. */
  readonly intent: string;
  /** 0..1 with two decimals. */
  readonly confidence: number;
};

/** Below it nobody is sure enough, and the primary member answers. */
export const MIN_CONFIDENCE = 0.5;
export const GENERAL = 'general';
/** One skill that is met in full is not certainty. */
const SURE = 0.9;
/** Half of a skill is just enough. */
const CURVE = 0.75;
/** The subject stays while nothing else is said, with less and less confidence. */
const FADE = 0.95;
const LOOK_BACK = 10;
/** Words as clear as this need no second opinion. */
const CLEAR = 0.75;

/** Confidence of a member: `1 - product(1 - 0.9 * coverage^0.75)` over its skills. */
type Score = { readonly confidence: number; readonly intent: string };

/** Members in the order that decides ties. */
export function inOrder<M extends RoutedMember>(members: readonly M[]): M[] {
  return members.toSorted(
    (a, b) =>
      a.priority - b.priority || (a.agentId < b.agentId ? -1 : a.agentId > b.agentId ? 1 : 0),
  );
}

/** The primary member; a squad has exactly one. */
export function primaryOf<M extends RoutedMember>(members: readonly M[]): M {
  return members.find(({ role }) => role === 'primary') ?? (members[0] as M);
}

/**
 * Whom `currentId` may hand over to, itself included: everybody, unless transfers are given for it; then those alone.
 */
export function reachable<M extends RoutedMember>(
  squad: { readonly members: readonly M[]; readonly transfers: readonly RoutedTransfer[] },
  currentId: Id,
): M[] {
  const rules = squad.transfers.filter(({ from }) => from === currentId);
  if (rules.length === 0) return [...squad.members];
  const targets = new Set([currentId, ...rules.map(({ to }) => to)]);
  return squad.members.filter(({ agentId }) => targets.has(agentId));
}

export function routeByWords(
  squad: RoutedSquad,
  { input, before, currentId }: RoutingInput,
): Route {
  const scorer = scorerOf(squad, currentId);
  const best = bestOf(scorer, wordsOf(input));
  if (best.confidence >= MIN_CONFIDENCE) return settle(squad, currentId, best);
  // Nothing of any skill was clearly said: the subject is what it was.
  const past = before.slice(-LOOK_BACK).toReversed();
  for (const [age, text] of past.entries()) {
    const { confidence, intent } = scorer.score(currentId, wordsOf(text));
    if (confidence < MIN_CONFIDENCE) continue;
    const faded = Math.max(MIN_CONFIDENCE, confidence * FADE ** (age + 1));
    return { agentId: currentId, intent, confidence: rounded(faded) };
  }
  const isPrimary = primaryOf(squad.members).agentId === currentId;
  if (isPrimary || best.confidence > 0) return settle(squad, currentId, best);
  return { agentId: currentId, intent: GENERAL, confidence: MIN_CONFIDENCE };
}

/** Whether the input by itself leaves no doubt: one member alone is meant, and nothing is said not to be so. */
export function isClear(
  squad: RoutedSquad,
  { input, currentId }: Pick<RoutingInput, 'input' | 'currentId'>,
): boolean {
  const words = wordsOf(input);
  if (isDenying(words.plain)) return false;
  const scorer = scorerOf(squad, currentId);
  const scores = scorer.members.map(({ agentId }) => scorer.score(agentId, words).confidence);
  const likely = scores.filter((confidence) => confidence >= MIN_CONFIDENCE);
  return likely.length === 1 && Math.max(...likely) >= CLEAR;
}

/** A choice, held against the rules: not sure enough is the primary's, and who may not be reached is not. */
export function settle(squad: RoutedSquad, currentId: Id, choice: Route): Route {
  const allowed = new Set(reachable(squad, currentId).map(({ agentId }) => agentId));
  const confidence = rounded(choice.confidence);
  const wanted = confidence < MIN_CONFIDENCE ? primaryOf(squad.members).agentId : choice.agentId;
  return { ...choice, confidence, agentId: allowed.has(wanted) ? wanted : currentId };
}

/** What is said when `from` hands over to `to`; null leaves it to the language. */
export function noticeOf(
  squad: RoutedSquad,
  route: { from: Id; to: Id },
  said: string,
): string | null {
  const rules = squad.transfers.filter(({ from, to }) => from === route.from && to === route.to);
  const words = wordsOf(said);
  const fits = ({ when }: RoutedTransfer): number =>
    Math.max(0, ...phrasesOf(when).map((phrase) => coverageOf(phrase, words)));
  return rules.toSorted((a, b) => fits(b) - fits(a))[0]?.notice ?? null;
}

type Scorer = {
  /** Members that may answer, in the order that decides ties. */
  readonly members: readonly RoutedMember[];
  score(agentId: Id, words: Words): Score;
};

/** What is looked for, made ready once: a squad of a conversation does not change. */
type Prepared = {
  readonly skills: ReadonlyMap<Id, readonly Phrase[]>;
  /** By present agent, then by target. */
  readonly conditions: ReadonlyMap<Id, ReadonlyMap<Id, readonly Phrase[]>>;
  /** How many members have a unit among their skills. */
  readonly owners: ReadonlyMap<string, number>;
};

const preparedSquads = new WeakMap<RoutedSquad, Prepared>();

function preparedOf(squad: RoutedSquad): Prepared {
  const known = preparedSquads.get(squad);
  if (known !== undefined) return known;
  const skills = new Map(
    squad.members.map((member) => [member.agentId, member.skills.map(phraseOf)]),
  );
  const conditions = new Map<Id, Map<Id, Phrase[]>>();
  for (const { from, to, when } of squad.transfers) {
    const targets = conditions.get(from) ?? new Map<Id, Phrase[]>();
    conditions.set(from, targets.set(to, [...(targets.get(to) ?? []), ...phrasesOf(when)]));
  }
  const owners = new Map<string, number>();
  for (const phrases of skills.values()) {
    const units = new Set(phrases.flatMap(({ units: all }) => all.map(({ text }) => text)));
    for (const unit of units) owners.set(unit, (owners.get(unit) ?? 0) + 1);
  }
  const prepared = { skills, conditions, owners };
  preparedSquads.set(squad, prepared);
  return prepared;
}

function scorerOf(squad: RoutedSquad, currentId: Id): Scorer {
  const { skills, conditions, owners } = preparedOf(squad);
  // A word that several members have tells less of any of them.
  const weightOf = ({ text, weight }: Unit): number => weight / (owners.get(text) ?? 1);
  const score = (agentId: Id, words: Words): Score => {
    const texts = squad.members.find((member) => member.agentId === agentId)?.skills ?? [];
    let doubt = 1;
    let best = { coverage: 0, intent: GENERAL };
    const take = (phrase: Phrase, intent: string): void => {
      const coverage = coverageOf(phrase, words, weightOf);
      doubt *= 1 - SURE * coverage ** CURVE;
      if (coverage > best.coverage) best = { coverage, intent };
    };
    for (const [at, phrase] of (skills.get(agentId) ?? []).entries()) take(phrase, texts[at] ?? '');
    for (const phrase of conditions.get(currentId)?.get(agentId) ?? []) take(phrase, phrase.text);
    return { confidence: rounded(1 - doubt), intent: best.intent };
  };
  return { members: inOrder(reachable(squad, currentId)), score };
}

/** The highest confidence; the first in order among equals. */
function bestOf(scorer: Scorer, words: Words): Route {
  let best: Route | null = null;
  for (const { agentId } of scorer.members) {
    const found = { agentId, ...scorer.score(agentId, words) };
    if (best === null || found.confidence > best.confidence) best = found;
  }
  return best ?? { agentId: '', intent: GENERAL, confidence: 0 };
}

function rounded(confidence: number): number {
  return Math.round(Math.min(1, Math.max(0, confidence)) * 100) / 100;
}
