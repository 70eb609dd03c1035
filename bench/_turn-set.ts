/** Sets of turns by seed, and what a taker makes of them. */
import { MORE_TALK_EN } from './_turn-en-more.ts';
import { TALK_EN } from './_turn-en.ts';
import { hear, type Heard } from './_turn-hearing.ts';
import { MISSED_MS, play, type Taker } from './_turn-play.ts';
import { randomOf, type Random } from './_turn-random.ts';
import type { Domain, Exchange, Language } from './_turn-text.ts';
import { turnOf, type Turn, type World } from './_turn-world.ts';
import { MORE_TALK_ZH } from './_turn-zh-more.ts';
import { TALK_ZH } from './_turn-zh.ts';

export type HeardTurn = { readonly turn: Turn; readonly heard: readonly Heard[] };

export type TalkSet = Readonly<Record<Language, readonly Domain[]>>;
/** The kinds of call that the pause model was tuned on, with other seeds. */
export const KNOWN_TALK: TalkSet = {
  zh: [...TALK_ZH, ...MORE_TALK_ZH],
  en: [...TALK_EN, ...MORE_TALK_EN],
};

/** Templates are types, not tokens: a plain "yes" is said more often than each of the longer answers beside it. */
const PART_WEIGHT = 1.5;
const SLOT_PARTS = 3;
const DICTATED = /\{(?:phone|idcard|ssn|card|code|order|birth|birthShort|address|spelling)\}/g;

function partsOf(template: string): number {
  const marks = template.match(/\/\/?|…/g)?.length ?? 0;
  return marks + SLOT_PARTS * (template.match(DICTATED)?.length ?? 0);
}

/** A call opens once, and then goes on for so many turns. */
const TURNS_AFTER_OPENING = 6;

function drawTurn(domains: readonly Domain[], random: Random): Exchange {
  const [opening, ...others] = random.pick(domains);
  if (opening === undefined) throw new Error('a domain without exchanges');
  const exchanges = random.chance(1 / (1 + TURNS_AFTER_OPENING)) ? [opening] : others;
  const all = exchanges.flatMap(([agent, callers]) =>
    callers.map((caller) => {
      const weight = 1 / (1 + PART_WEIGHT * partsOf(caller)) / callers.length;
      return { exchange: [agent, [caller]] as const, weight };
    }),
  );
  let left = random.next() * all.reduce((sum, { weight }) => sum + weight, 0);
  const drawn = all.find(({ weight }) => (left -= weight) < 0) ?? all.at(-1);
  if (drawn === undefined) throw new Error('a domain that only opens');
  return drawn.exchange;
}

/** `count` turns in each language. */
export function turnsOf(
  talk: TalkSet,
  {
    seed,
    count,
    world,
    hangoverMs,
  }: {
    readonly seed: number;
    readonly count: number;
    readonly world: World;
    readonly hangoverMs: number;
  },
): HeardTurn[] {
  return (['zh', 'en'] as const).flatMap((language) => {
    const random = randomOf(seed * 2 + (language === 'en' ? 1 : 0));
    return Array.from({ length: count }, () => {
      const turn = turnOf(drawTurn(talk[language], random), language, random, world);
      return { turn, heard: hear(turn, world, hangoverMs, random) };
    });
  });
}

export type Curve = {
  readonly falseCutPct: number;
  /** Floors taken too early, the unheard ones included. */
  readonly earlyPct: number;
  readonly missedPct: number;
  /** Of the turns whose end was waited for; a missed one counts with the time until the caller is asked again. */
  readonly meanMs: number;
  readonly medianMs: number;
  readonly p90Ms: number;
  /** Until the floor was taken, the recogniser's time included. */
  readonly floorMeanMs: number;
};

export function measure(turns: readonly HeardTurn[], takerOf: (turn: Turn) => Taker): Curve {
  const delays: number[] = [];
  let cuts = 0;
  let earlies = 0;
  let missed = 0;
  let floorSum = 0;
  for (const { turn, heard } of turns) {
    const { cut, early, delayMs, floorMs } = play(turn, heard, takerOf(turn));
    if (cut) cuts++;
    if (early) earlies++;
    else {
      delays.push(delayMs);
      floorSum += floorMs;
      if (floorMs > MISSED_MS) missed++;
    }
  }
  const sorted = delays.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return {
    falseCutPct: (100 * cuts) / turns.length,
    earlyPct: (100 * earlies) / turns.length,
    missedPct: (100 * missed) / turns.length,
    meanMs: sorted.reduce((sum, ms) => sum + ms, 0) / sorted.length,
    medianMs: at(0.5),
    p90Ms: at(0.9),
    floorMeanMs: floorSum / sorted.length,
  };
}
