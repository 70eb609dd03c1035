/** How much of a skill a sentence speaks of, in Chinese and English: the routing of squads without a language model. */
import { affirmedWords, isDenying, isRefusedBehind } from './squad-denial.ts';

/** A unit of a skill with the weight it has within it. */
export type Unit = { readonly text: string; readonly weight: number };

/** A skill made ready to be looked for. */
export type Phrase = {
  readonly text: string;
  readonly units: readonly Unit[];
  /** General words alone, which many sentences hold. */
  readonly isGeneral: boolean;
  /** Its units alone do not tell whether it is spoken of. */
  readonly isLiteral: boolean;
  /** It speaks of a refusal itself. */
  readonly isDenying: boolean;
};

/** A sentence made ready to be looked in. */
export type Words = {
  readonly plain: string;
  readonly stems: readonly string[];
  /** Of `stems`, what is not refused. */
  readonly affirmed: readonly string[];
  /** Words written in capitals among others that are not. */
  readonly capitals: ReadonlySet<string>;
};

/** Words that say nothing of the subject. */
const STOP = new Set(
  (
    'a an the and or but of to in on at for from with by about into is am are was were be been do does did have has had ' +
    'i me my mine we us our you your he she it its they them this that these those there here what when where which who ' +
    'how why can could will would shall should may might must not no yes if then so as just also please want wants wanted ' +
    'need needs like get got let hello hi hey thanks thank ok okay one some any all more very really ask asks asked asking ' +
    'say says tell tells talk speak user users caller callers customer customers client someone person something whenever'
  ).split(' '),
);
/** The longest first where one ends another. */
const SUFFIXES = [
  'ations',
  'ation',
  'ments',
  'ment',
  'ingly',
  'ings',
  'ing',
  'edly',
  'ies',
  'ed',
  'es',
  's',
];
/** Words that many skills share: they say little. */
const GENERIC = new Set([
  ...'support service help issue problem question inquiry enquiry request information info matter general'
    .split(' ')
    .map(stemOf),
  ...'查询 咨询 问题 服务 办理 处理 客服 支持 业务 相关 帮助 时候 情况 客户 用户 来电 需要 想要 询问 提到'.split(
    ' ',
  ),
]);
const GENERIC_WEIGHT = 0.25;
const GENERAL_SHARE = 0.5;
/** Departments whose names are words that say nothing in small letters. */
const CAPITALS = new Set(['IT']);
/** Shorter stems are compared whole: `car` is no `card`. */
const MIN_PREFIX = 5;
const MAX_PREFIX_GAP = 3;
/** Single characters that hold words together and belong to none. */
const PARTICLES =
  '的了我你您他她它们要请问想帮吗呢吧啊和与或在是有被把给对这那一个不就都也还又时当会能可';
const HAN_RUN = /\p{Script=Han}+/gu;
const LATIN_WORD = /[\p{Script=Latin}\p{N}]+(?:['’][\p{Script=Latin}]+)?/gu;

let segmenter: Intl.Segmenter | undefined;

/** The plain form that sentences and skills are compared in. */
export function plainOf(text: string): string {
  return tidied(text).toLowerCase();
}

function tidied(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();
}

export function wordsOf(text: string): Words {
  const plain = plainOf(text);
  const affirmed = stemsIn(affirmedWords(plain));
  return { plain, affirmed, stems: stemsOf(plain), capitals: new Set(capitalsIn(text)) };
}

export function phraseOf(text: string): Phrase {
  const plain = plainOf(text);
  const units = [...new Set([...capitalsIn(text), ...stemsOf(plain), ...segmentsOf(plain)])];
  const isGeneral = units.length > 0 && units.every((unit) => GENERIC.has(unit));
  const hasCapitals = units.length > 1 && units.some((unit) => CAPITALS.has(unit));
  return {
    ...{ text: plain, isGeneral, isLiteral: units.length === 0 || isGeneral || hasCapitals },
    units: units.map((unit) => ({ text: unit, weight: GENERIC.has(unit) ? GENERIC_WEIGHT : 1 })),
    isDenying: isDenying(plain),
  };
}

/** None where everything is written in capitals: they tell nothing then. */
function capitalsIn(text: string): string[] {
  const words = tidied(text).match(LATIN_WORD) ?? [];
  if (words.length > 1 && words.every((word) => word === word.toUpperCase())) return [];
  return words.filter((word) => CAPITALS.has(word));
}

/** The parts of a condition in plain words (`refunds, invoices or 发票`), each a phrase of its own. */
export function phrasesOf(condition: string): Phrase[] {
  return condition
    .split(/[,;/|，；、。.\n]|\bor\b|\band\b|或者|或|以及|和/iu)
    .map(phraseOf)
    .filter(({ units }) => units.length > 0);
}

/** Whether `words` hold the unit, and do not refuse it: a Chinese one as it stands, an English one by its stem. */
function holds(words: Words, unit: string, isDenying: boolean): boolean {
  if (CAPITALS.has(unit)) return words.capitals.has(unit);
  if (/\p{Script=Han}/u.test(unit)) return holdsHan(words.plain, unit, isDenying);
  return (isDenying ? words.stems : words.affirmed).some((stem) => isSameStem(stem, unit));
}

function holdsHan(plain: string, unit: string, isDenying: boolean): boolean {
  for (let at = plain.indexOf(unit); at !== -1; at = plain.indexOf(unit, at + 1)) {
    if (isDenying || !isRefusedBehind(plain.slice(0, at))) return true;
  }
  return false;
}

/**
 * The share of the phrase that the words speak of, 0..1. `weightOf` may lower a unit's weight further, such as one that
 * every member has. The whole phrase, as it is written, is 1.
 */
export function coverageOf(
  phrase: Phrase,
  words: Words,
  weightOf: (unit: Unit) => number = ({ weight }) => weight,
): number {
  const { text, units, isGeneral, isLiteral, isDenying: denies } = phrase;
  if (isLiteral && isWithin(text, words.plain)) return 1;
  let all = 0;
  let found = 0;
  for (const unit of units) {
    const weight = weightOf(unit);
    all += weight;
    if (holds(words, unit.text, denies)) found += weight;
  }
  if (all === 0) return 0;
  return (found / all) * (isGeneral ? GENERAL_SHARE : 1);
}

/** Whether a text stands in another, as words of its own where words are set apart. */
function isWithin(text: string, plain: string): boolean {
  if (text === '') return false;
  const isWordAt = (at: number, of: string): boolean =>
    /[\p{Script=Latin}\p{N}]/u.test(of.charAt(at));
  const [startsWord, endsWord] = [isWordAt(0, text), isWordAt(text.length - 1, text)];
  for (let at = plain.indexOf(text); at !== -1; at = plain.indexOf(text, at + 1)) {
    const isCut =
      (startsWord && isWordAt(at - 1, plain)) || (endsWord && isWordAt(at + text.length, plain));
    if (!isCut) return true;
  }
  return false;
}

function stemsOf(plain: string): string[] {
  return stemsIn(plain.match(LATIN_WORD) ?? []);
}

function stemsIn(words: readonly string[]): string[] {
  const isStop = (word: string): boolean =>
    STOP.has(word.replace(/['’]\p{L}+$/u, '')) || /n['’]t$/u.test(word);
  return words.filter((word) => !isStop(word)).map(stemOf);
}

/** Words of two characters and more; of what the dictionary leaves in single characters, their pairs. */
function segmentsOf(plain: string): string[] {
  segmenter ??= new Intl.Segmenter('zh', { granularity: 'word' });
  const found: string[] = [];
  for (const [run] of plain.matchAll(HAN_RUN)) {
    let singles = '';
    for (const { segment } of segmenter.segment(run)) {
      if (segment.length === 1 && !PARTICLES.includes(segment)) {
        singles += segment;
        continue;
      }
      found.push(...pairsOf(singles));
      singles = '';
      if (segment.length > 1) found.push(segment);
    }
    found.push(...pairsOf(singles));
  }
  return found;
}

function pairsOf(run: string): string[] {
  if (run.length < 2) return [];
  return Array.from({ length: run.length - 1 }, (_, at) => run.slice(at, at + 2));
}

function isSameStem(a: string, b: string): boolean {
  if (a === b) return true;
  const [short, long] = a.length <= b.length ? [a, b] : [b, a];
  const isPrefix = short.length >= MIN_PREFIX && long.startsWith(short);
  return isPrefix && long.length - short.length <= MAX_PREFIX_GAP;
}

/** A short way of Porter's: enough that `billing`, `billed` and `bills` are one. */
export function stemOf(word: string): string {
  let stem = word.replace(/['’](?:s|re|ve|ll|d|m|t)$/u, '');
  if (/\p{N}/u.test(stem) || stem.length <= 3) return stem;
  const suffix = SUFFIXES.find((each) => stem.endsWith(each) && stem.length - each.length >= 3);
  if (suffix !== undefined && !(suffix === 's' && /(?:ss|us|is)$/u.test(stem))) {
    stem = stem.slice(0, -suffix.length);
  }
  if (/([bdfgklmnprt])\1$/u.test(stem) && !/(?:ll|ss)$/u.test(stem)) stem = stem.slice(0, -1);
  return stem.length > 3 ? stem.replace(/[eyi]$/u, '') : stem;
}
