/** Random answer rules and calls from a seed, dense around the places where matchers err. */
import type { AnswerRule, CallFacts, Conditions } from '#lib/answer-rule.ts';

export const ZONES = [
  'America/New_York',
  'Europe/London',
  'Asia/Shanghai',
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'Africa/Casablanca',
] as const;

/** Changes of clocks in those zones, and the ends of years and months. */
const MOMENTS = [
  '2026-03-08T07:00:00Z',
  '2026-11-01T06:00:00Z',
  '2026-03-29T01:00:00Z',
  '2026-10-25T01:00:00Z',
  '2026-04-04T15:00:00Z',
  '2026-10-03T15:30:00Z',
  '2018-11-04T03:00:00Z',
  '2019-02-17T02:00:00Z',
  '2026-02-15T02:00:00Z',
  '2026-03-22T02:00:00Z',
  '2026-10-01T00:00:00Z',
  '2026-10-10T00:00:00Z',
  '2026-11-20T12:00:00Z',
  '2026-12-31T20:00:00Z',
  '2024-02-29T12:00:00Z',
].map((text) => Date.parse(text));

const APPS = ['企业微信', 'WeCom', 'ＷＥＣＯＭ', ' wecom', '钉钉', 'DingTalk', 'x', ''];
const NUMBERS = [
  ...['+15550100', '+15550101', '0015550102', '+19005550100', '+8613800138000'],
  ...['13800138000', '013800138000', '05715550100', '1001', '1002', '010010', '*98#'],
];
const PREFIXES = ['+1', '+1555', '+1900', '+86', '+86138', '+86571', '1', '10', '*', '+'];
const HOUR_MS = 3_600_000;

type Random = {
  /** 0..below-1 */
  below(limit: number): number;
  chance(part: number): boolean;
  pick<T>(list: readonly T[]): T;
  some<T>(list: readonly T[], most: number): T[];
};

/** mulberry32 */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return {
    below,
    pick,
    chance: (part) => next() < part,
    some: (list, most) => Array.from({ length: 1 + below(most) }, () => pick(list)),
  };
}

export function randomRules(seed: number, count: number): AnswerRule[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, (_, index) => {
    const createdAt = new Date(Date.UTC(2026, 0, 1, 0, 0, random.below(5))).toISOString();
    return {
      id: `rule-${index}`,
      name: `Rule ${index}`,
      enabled: random.chance(0.9),
      priority: 1 + random.below(60),
      conditions: randomConditions(random),
      action: { answer: true },
      createdAt,
      updatedAt: createdAt,
    };
  });
}

export function randomCalls(seed: number, count: number): CallFacts[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => {
    // Minutes and odd seconds around a moment, so that both sides of each edge are met.
    const nearMs = random.pick([0, 1, -1, 60_000, -60_000, 30 * 60_000, HOUR_MS]);
    const farMs = (random.below(97) - 48) * HOUR_MS + random.below(HOUR_MS);
    return {
      callerNumber: random.chance(0.15) ? null : random.pick([...NUMBERS, 'anonymous', 'desk']),
      anonymous: random.chance(0.1),
      callerApp: random.chance(0.3) ? null : random.pick(APPS),
      calledNumber: random.chance(0.1) ? null : random.pick(NUMBERS),
      atMs: random.pick(MOMENTS) + (random.chance(0.3) ? nearMs : farMs),
    };
  });
}

/** At least three conditions, so that calls get past the first rules. */
function randomConditions(random: Random): Conditions {
  const conditions: Record<string, unknown> = {};
  const kinds = ['timeRange', 'dates', 'apps', 'callers', 'calledNumbers'];
  while (Object.keys(conditions).length < 3 || random.chance(0.4)) {
    const kind = random.pick(kinds);
    conditions[kind] = randomCondition(random, kind);
  }
  return conditions as Conditions;
}

function randomCondition(random: Random, kind: string): object {
  const type = random.chance(0.75) ? 'include' : 'exclude';
  switch (kind) {
    case 'timeRange':
      return {
        start: randomTime(random),
        end: random.chance(0.1) ? '24:00' : randomTime(random),
        ...(random.chance(0.6) ? { weekdays: random.some([1, 2, 3, 4, 5, 6, 7], 3) } : {}),
        ...(random.chance(0.4) ? { timezone: random.pick(ZONES) } : {}),
      };
    case 'dates':
      return {
        ...(random.chance(0.6) ? { include: randomDays(random) } : {}),
        ...(random.chance(0.4) ? { exclude: randomDays(random) } : {}),
        ...(random.chance(0.4) ? { holidays: random.pick(['only', 'except']) } : {}),
      };
    case 'apps':
      return {
        type,
        list: random.some(
          APPS.filter((app) => app !== ''),
          2,
        ),
      };
    default:
      return {
        type,
        ...(random.chance(0.5) ? { numbers: random.some(NUMBERS, 3) } : {}),
        ...(random.chance(0.5) ? { prefixes: random.some(PREFIXES, 2) } : {}),
        ...(kind === 'callers' && random.chance(0.4) ? { anonymous: random.chance(0.7) } : {}),
      };
  }
}

/** Whole, half and odd hours. */
function randomTime(random: Random): string {
  const minute = random.pick([0, 0, 30, 59, 1]);
  return `${String(random.below(24)).padStart(2, '0')}:${String(minute).padStart(2, '0')}`;
}

function randomDays(random: Random): (string | [string, string])[] {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  return Array.from({ length: 1 + random.below(3) }, () => {
    const ms = random.pick(MOMENTS) + (random.below(5) - 2) * 24 * HOUR_MS;
    return random.chance(0.5)
      ? day(ms)
      : ([day(ms), day(ms + random.below(40) * 24 * HOUR_MS)] as [string, string]);
  });
}
