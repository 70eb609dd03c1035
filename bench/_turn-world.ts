/**
 * When the words of a turn are said, and how long its pauses are. Pauses are log-normal with a long tail, as published
 * corpora of spontaneous speech have them; their medians here are our own choice, stated below and in docs/turn-taking.md.
 */
import type { Random } from './_turn-random.ts';
import { tokensOf, type Exchange, type Gap, type Language, type Token } from './_turn-text.ts';

/** What the bench may be wrong about. */
export type World = {
  /** Times every pause within a turn. */
  readonly pauseFactor: number;
  /** How often the recogniser ends a finished piece with a mark. */
  readonly punctuation: number;
};
export const PLAIN_WORLD: World = { pauseFactor: 1, punctuation: 0.7 };

export type Word = Token & { readonly startMs: number; readonly endMs: number };

export type Turn = {
  readonly language: Language;
  readonly agentText: string;
  readonly words: readonly Word[];
  /** The caller's last sound. Nothing after it is his. */
  readonly endMs: number;
};

/** Probability of a pause, median in ms, sigma of the logarithm, shortest and longest. */
type PauseLaw = readonly [
  chance: number,
  medianMs: number,
  sigma: number,
  least: number,
  most: number,
];

const PAUSES: Readonly<Record<Exclude<Gap, 'none'>, PauseLaw>> = {
  phrase: [0.3, 260, 0.55, 80, 1500],
  sentence: [0.8, 380, 0.55, 100, 2500],
  think: [1, 560, 0.6, 150, 3000],
  group: [0.8, 400, 0.5, 120, 2500],
};
/** Anywhere else: the caller searches for a word. */
const SEARCH_CHANCE: Readonly<Record<Language, number>> = { zh: 0.012, en: 0.022 };
const FILLERS: Readonly<Record<Language, readonly string[]>> = {
  zh: ['嗯', '呃', '那个', '就是', '啊', '这个', '哎呀', '怎么说呢', '我看看'],
  en: ['um', 'uh', 'er', 'like', 'you know', "let's see", 'well', 'I mean', 'so'],
};
const OPENING_FILLER = 0.07;

export function turnOf(
  [agentText, callers]: Exchange,
  language: Language,
  random: Random,
  world: World,
): Turn {
  const tokens = withFillers(tokensOf(random.pick(callers), language, random), language, random);
  return timed(tokens, { language, agentText }, random, world);
}

/** The template as it stands, without the fillers of one who searches for words. */
export function sayAs(
  template: string,
  heading: Pick<Turn, 'language' | 'agentText'>,
  random: Random,
  world: World,
): Turn {
  return timed(tokensOf(template, heading.language, random), heading, random, world);
}

function timed(
  tokens: readonly Token[],
  { language, agentText }: Pick<Turn, 'language' | 'agentText'>,
  random: Random,
  world: World,
): Turn {
  // One caller is slower than the next, in words and in pauses.
  const tempo = random.logNormal(1, 0.18);
  const words: Word[] = [];
  let atMs = 0;
  for (const [index, token] of tokens.entries()) {
    if (index > 0) atMs += pauseMs(token.gap, tempo * world.pauseFactor, random);
    const startMs = atMs;
    atMs += lengthMs(token, language, random) * tempo;
    words.push({ ...token, startMs, endMs: atMs });
  }
  return { language, agentText, words, endMs: atMs };
}

function pauseMs(gap: Gap, factor: number, random: Random): number {
  if (gap === 'none') return 0;
  const [chance, medianMs, sigma, least, most] = PAUSES[gap];
  if (!random.chance(chance)) return 0;
  return factor * Math.min(most, Math.max(least, random.logNormal(medianMs, sigma)));
}

function withFillers(tokens: readonly Token[], language: Language, random: Random): Token[] {
  const filler = (gap: Gap): Token => {
    const spoken = random.pick(FILLERS[language]);
    return { spoken, written: spoken, gap, isDigit: false };
  };
  return tokens.flatMap((token, index): Token[] => {
    if (index === 0)
      return random.chance(OPENING_FILLER) ? [filler('none'), { ...token, gap: 'think' }] : [token];
    if (token.gap === 'none' && !token.isDigit && random.chance(SEARCH_CHANCE[language]))
      return random.chance(0.45)
        ? [filler(random.chance(0.3) ? 'phrase' : 'none'), { ...token, gap: 'think' }]
        : [{ ...token, gap: 'think' }];
    if (token.gap === 'think' && random.chance(0.3)) return [filler('none'), token];
    return [token];
  });
}

function lengthMs({ spoken, isDigit }: Token, language: Language, random: Random): number {
  if (isDigit) return random.between(210, 330);
  if (language === 'zh' && /\p{Script=Han}/u.test(spoken))
    return spoken.length * random.between(160, 250);
  return 90 + spoken.length * random.between(40, 65);
}
