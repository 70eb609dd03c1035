/** The pool's parts by simulated time: when a provider is asked, how often, who of several, how long it is waited for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { CircuitBreaker } from '#providers/pool/breaker.ts';
import { failureOf, type FailureClass } from '#providers/pool/failures.ts';
import { balanced, Lineup, type Candidate } from '#providers/pool/lineup.ts';
import { PoolMember } from '#providers/pool/member.ts';
import { AdaptiveRate } from '#providers/pool/rate-limit.ts';

test('what each error says of the provider', () => {
  const rows: [ErrorCode, FailureClass][] = [
    ['E_PROVIDER_AUTH', 'auth'],
    ['E_CONFIG', 'auth'],
    ['E_PROVIDER_QUOTA', 'quota'],
    ['E_QUEUE_FULL', 'quota'],
    ['E_PROVIDER_SERVER', 'server'],
    ['E_TIMEOUT', 'server'],
    ['E_UNREACHABLE', 'server'],
    ['E_INTERNAL', 'server'],
    ['E_PROVIDER_IDLE', 'idle'],
    ['E_PROVIDER_PARAM', 'param'],
    ['E_PROVIDER_CONTENT', 'content'],
    ['E_ABORTED', 'aborted'],
  ];
  for (const [code, expected] of rows) assert.equal(failureOf(new AppError(code, 'x')), expected);
  assert.equal(failureOf(new TypeError('a bug in a client')), 'server');
});

type Step = FailureClass | 'ok' | number;

/** Plays `steps` (a number: so many ms pass) and says what the breaker is then, and for how long. */
function breakerAfter(steps: readonly Step[]): string {
  const clock = new SimulatedClock();
  const breaker = new CircuitBreaker(clock, () => 0.5);
  for (const step of steps) {
    if (typeof step === 'number') clock.advance(step);
    else if (step === 'ok') breaker.succeeded();
    else breaker.failed(step);
  }
  return `${breaker.state} ${breaker.waitMs}`;
}

test('the breaker, by class of failure', () => {
  const three: Step[] = ['server', 'server', 'server'];
  const rows: [Step[], string][] = [
    [[], 'closed 0'],
    [['ok', 'ok'], 'closed 0'],
    [['auth'], 'open 300000'],
    [['auth', 299_999], 'open 1'],
    [['auth', 300_000], 'half_open 0'],
    [['auth', 300_000, 'ok'], 'closed 0'],
    [['auth', 300_000, 'auth'], 'open 300000'],
    [['auth', 10, 'ok'], 'open 299990'],
    [['quota'], 'open 500'],
    [['quota', 500], 'half_open 0'],
    [['quota', 500, 'quota'], 'open 1000'],
    [['quota', 500, 'quota', 1_000, 'quota'], 'open 2000'],
    [['quota', 500, 'quota', 1_000, 'quota', 2_000, 'quota'], 'open 2000'],
    [['quota', 500, 'ok', 'quota'], 'open 500'],
    [['server', 'server'], 'closed 0'],
    [three, 'open 5000'],
    [['server', 'server', 'ok', 'server', 'server'], 'closed 0'],
    [['server', 'ok', 'server', 'ok', 'server', 'ok', 'server', 'ok', 'server'], 'open 5000'],
    [[...three, 5_000], 'half_open 0'],
    [[...three, 5_000, 'server'], 'open 10000'],
    [[...three, 5_000, 'server', 10_000, 'server'], 'open 20000'],
    [[...three, 5_000, 'server', 10_000, 'ok', ...three], 'open 5000'],
    [
      [...three, ...Array.from({ length: 6 }, (): Step[] => [60_000, 'server']).flat()],
      'open 60000',
    ],
    [Array.from({ length: 50 }, () => 'param'), 'closed 0'],
    [Array.from({ length: 50 }, () => 'content'), 'closed 0'],
    [Array.from({ length: 50 }, () => 'idle'), 'closed 0'],
    [['server', 'server', 'param', 'server'], 'open 5000'],
  ];
  for (const [steps, expected] of rows)
    assert.equal(breakerAfter(steps), expected, steps.join(' '));
});

test('half-open, one request is the trial; one that nobody ends does not hold the door for ever', () => {
  const clock = new SimulatedClock();
  const breaker = new CircuitBreaker(clock, () => 0.5);
  breaker.failed('quota');
  assert.equal(breaker.tryBegin(), false);
  clock.advance(500);
  assert.equal(breaker.tryBegin(), true);
  assert.equal(breaker.tryBegin(), false, 'the trial is under way');
  breaker.released();
  assert.equal(breaker.tryBegin(), true, 'it was given up: the next one is the trial');
  clock.advance(30_000);
  assert.equal(breaker.tryBegin(), true);
  breaker.succeeded();
  for (let n = 0; n < 5; n++) assert.equal(breaker.tryBegin(), true);
});

test('a vendor’s "later" is spread: calls do not come back all at once', () => {
  const waits = [0, 0.25, 0.5, 0.75, 0.999].map((random) => {
    const breaker = new CircuitBreaker(new SimulatedClock(), () => random);
    breaker.failed('quota');
    return Math.round(breaker.waitMs);
  });
  assert.deepEqual(waits, [375, 438, 500, 563, 625]);
});

/** One window of `requests`, of which `failed` fail, each first result after `latencyMs`. */
function window(
  rate: AdaptiveRate,
  clock: SimulatedClock,
  [requests, failed, latencyMs]: readonly [number, number, number],
): number {
  for (let n = 0; n < requests; n++) {
    clock.advance(5_000 / requests);
    rate.note(n >= failed, n >= failed ? latencyMs : null);
  }
  return Math.round(rate.perS * 1_000) / 1_000;
}

test('the rate: x0.8 below 80 %, x1.2 above 99 %, not while the vendor slows down, within bounds', () => {
  const clock = new SimulatedClock();
  const rate = new AdaptiveRate(clock, { minPerS: 2, maxPerS: 100 });
  const rows: [[number, number, number], number, string][] = [
    [[20, 0, 100], 100, 'the upper bound'],
    [[20, 5, 100], 80, '75 %'],
    [[20, 4, 100], 80, '80 % is not below it'],
    [[20, 5, 100], 64, '75 % again'],
    [[100, 1, 100], 64, '99 % is not above it'],
    [[20, 0, 100], 76.8, '100 %'],
    [[20, 0, 450], 76.8, 'all work, but the first result takes four times as long'],
    [[20, 0, 110], 92.16, 'and no longer'],
    [[9, 9, 100], 92.16, 'too few to judge by'],
  ];
  for (const [counts, expected, why] of rows)
    assert.equal(window(rate, clock, counts), expected, why);
  for (let n = 0; n < 40; n++) window(rate, clock, [20, 20, 100]);
  assert.equal(rate.perS, 2, 'the lower bound');
});

test('the rate is kept: a burst of a second, then one by one', () => {
  const clock = new SimulatedClock();
  const rate = new AdaptiveRate(clock, { minPerS: 1, maxPerS: 4 });
  const taken = (): number => {
    let count = 0;
    while (rate.tryTake()) count++;
    return count;
  };
  assert.equal(taken(), 4);
  assert.equal(rate.waitMs, 250);
  clock.advance(250);
  assert.equal(taken(), 1);
  clock.advance(10_000);
  assert.equal(taken(), 4, 'what was not used is not saved up');
});

function memberOf(vendor: string, clock: SimulatedClock, isRemote = true): PoolMember {
  return new PoolMember({ kind: 'llm', vendor, clock, isRemote, random: () => 0.5 });
}

function candidateOf(member: PoolMember, isLastResort = false): Candidate<string> {
  return { member, provider: member.vendor, hasAgentsVoice: true, isLastResort };
}

test('patience: three times the usual, within bounds; who is always slow is not left', () => {
  const bounds = { minMs: 350, maxMs: 800 };
  const rows: [number[], number][] = [
    [[], 800],
    [[100, 100, 100, 100], 800],
    [[100, 100, 100, 100, 100], 350],
    [[200, 200, 200, 200, 200], 600],
    [[400, 400, 400, 400, 400], 800],
    [[1_000, 1_000, 1_000, 1_000, 1_000], 1_600],
    [[200, 200, 200, 200, 9_000], 600],
  ];
  for (const [times, expected] of rows) {
    const member = memberOf('a', new SimulatedClock());
    for (const ms of times) member.learnFirst(ms);
    assert.equal(member.patienceMs(bounds), expected, times.join(' '));
  }
});

test('who is asked: in order, whoever is in use first, the failed last, the last resort behind all', () => {
  const clock = new SimulatedClock();
  const log = { warn: () => undefined } as never;
  const [a, b, c, local] = ['a', 'b', 'c', 'local'].map((name) =>
    candidateOf(memberOf(name, clock, name !== 'local'), name === 'local'),
  ) as [Candidate<string>, Candidate<string>, Candidate<string>, Candidate<string>];
  const lineup = new Lineup({ candidates: [a, b, c, local], clock, log, keepMs: 60_000 });
  const order = (...failed: Candidate<string>[]): string =>
    lineup
      .available(new Set(failed))
      .map(({ provider }) => provider)
      .join(' ');
  assert.equal(order(), 'a b c local');
  assert.equal(order(a), 'b c a local');
  lineup.use(b);
  assert.equal(order(), 'b a c local');
  a.member.breaker.failed('auth');
  assert.equal(order(), 'b c local');
  lineup.use(local);
  assert.equal(order(), 'b c local', 'nobody stays with the last resort');
  clock.advance(300_000);
  assert.equal(order(), 'a b c local', 'after a while the first is tried again');
  for (const { member } of [a, b, c, local]) member.breaker.failed('auth');
  assert.equal(order(), '');
  assert.equal(lineup.waitMs, 300_000);
});

test('of equals: by weight, or the least busy', () => {
  const clock = new SimulatedClock();
  const of = (vendor: string, weight: number, inFlight = 0) => {
    const member = memberOf(vendor, clock);
    member.inFlight = inFlight;
    return { vendor, weight, member };
  };
  const names = (group: readonly { readonly vendor: string }[]): string =>
    group.map(({ vendor }) => vendor).join('');
  const rows: [number, string][] = [
    [0, 'abc'],
    [0.59, 'abc'],
    [0.61, 'bac'],
    [0.89, 'bac'],
    [0.91, 'cab'],
  ];
  const group = [of('a', 6), of('b', 3), of('c', 1)];
  for (const [first, expected] of rows) {
    const darts = [first, 0, 0];
    assert.equal(names(balanced(group, 'weighted', () => darts.shift() ?? 0)), expected);
  }
  let seed = 7;
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  const firsts = { a: 0, b: 0, c: 0 };
  for (let n = 0; n < 10_000; n++)
    firsts[names(balanced(group, 'weighted', random))[0] as 'a'] += 1;
  assert.ok(
    Math.abs(firsts.a - 6_000) < 200 && Math.abs(firsts.b - 3_000) < 200,
    JSON.stringify(firsts),
  );
  const busy = [of('a', 1, 5), of('b', 1, 2), of('c', 1, 9)];
  assert.equal(names(balanced(busy, 'least_connections', random)), 'bac');
  assert.equal(
    names(balanced([of('a', 0), of('b', 1)], 'weighted', () => 0.5)),
    'ba',
    'weight 0: the last',
  );
});

test('a member: what fails is told and counted, what we give up is not', () => {
  const clock = new SimulatedClock();
  const told: string[] = [];
  const member = new PoolMember({
    ...{ kind: 'tts', vendor: 'v', clock, isRemote: true },
    events: {
      requested: () => void told.push('asked'),
      failed: (_, failure) => void told.push(failure),
      failedOver: () => undefined,
    },
  });
  const begin = () => member.begin() ?? assert.fail('it may be asked');
  const first = begin();
  assert.equal(member.inFlight, 1);
  first.answered();
  first.end();
  first.end();
  assert.equal(member.inFlight, 0);
  begin().failed(new AppError('E_ABORTED', 'x'));
  begin().failed(new AppError('E_PROVIDER_PARAM', 'x'));
  const bad = new AppError('E_PROVIDER_AUTH', 'mend it');
  begin().failed(bad);
  assert.deepEqual(told, ['asked', 'asked', 'asked', 'param', 'asked', 'auth']);
  assert.equal(member.begin(), null);
  assert.equal(member.lastError, bad);
  assert.equal(member.inFlight, 0);
  const here = memberOf('local', clock, false);
  for (let n = 0; n < 9; n++) here.begin()?.failed(new AppError('E_PROVIDER_SERVER', 'x'));
  assert.equal(here.waitMs, 0, 'what runs here is asked all the same');
});
