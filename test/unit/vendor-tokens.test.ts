/** The token service on a simulated clock: one upstream call, renewal in time, outages that nobody notices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock, type Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import {
  createVendorTokens,
  type SharedToken,
  type TokenAccount,
  type TokenVault,
  type VendorTokens,
} from '#sessions/vendor-tokens.ts';

const LIFE_MS = 3_600_000;
const MINUTE_MS = 60_000;
const NONE: SharedToken = {
  ...{ token: null, fetchedAtMs: null, expiresAtMs: null },
  ...{ refusedAtMs: null, refusedCode: null },
};

type World = {
  readonly clock: SimulatedClock;
  readonly rows: Map<string, SharedToken>;
  account: TokenAccount | null;
  /** Times of the upstream calls, milliseconds from the start. */
  readonly asked: number[];
  fault: AppError | null;
  lifeMs: number;
  /** Of the wall clock, against the steady one. */
  stepMs: number;
  vaultFault: AppError | null;
  databaseFault: AppError | null;
  /** Runs between the vendor's answer and its being stored. */
  onFetched: (() => void) | null;
  node(random?: () => number): VendorTokens;
};

const away = new AppError('E_DATABASE_UNREACHABLE', 'away');
const down = new AppError('E_PROVIDER_SERVER', 'aliyun: cannot be reached', {
  details: { vendor: 'aliyun' },
});
const refused = new AppError('E_PROVIDER_AUTH', 'aliyun: refused', {
  details: { vendor: 'aliyun', vendorCode: 'InvalidAccessKeyId.NotFound' },
});

function accountOf(id: string): TokenAccount {
  return {
    ...{ id, accountId: 'account', accessKeyId: 'key-id', accessKeySecret: 'secret' },
    ...{ appKey: 'app', region: 'cn-shanghai' },
  };
}

function makeWorld(): World {
  const clock = new SimulatedClock();
  const startMs = clock.wallMs();
  const locked = new Set<string>();
  const guard = (): void => {
    if (world.databaseFault !== null) throw world.databaseFault;
  };
  const vaultGuard = (): void => {
    guard();
    if (world.vaultFault !== null) throw world.vaultFault;
  };
  const steppedClock: Clock = {
    now: () => clock.now(),
    wallMs: () => clock.wallMs() + world.stepMs,
    setTimer: (run, ms) => clock.setTimer(run, ms),
    clearTimer: (timer) => clock.clearTimer(timer),
  };
  const vault: TokenVault = {
    async read({ id }) {
      vaultGuard();
      return world.rows.get(id) ?? NONE;
    },
    async exclusively({ id }, work) {
      vaultGuard();
      if (locked.has(id)) return null;
      locked.add(id);
      try {
        const current = world.rows.get(id) ?? NONE;
        const next = await work(current);
        vaultGuard();
        world.rows.set(id, next);
        return next;
      } finally {
        locked.delete(id);
      }
    },
  };
  const world: World = {
    ...{ clock, rows: new Map(), account: accountOf('a'), asked: [] },
    ...{ fault: null, databaseFault: null, vaultFault: null, onFetched: null },
    ...{ lifeMs: LIFE_MS, stepMs: 0 },
    node: (random = () => 0.5) =>
      createVendorTokens({
        ...{ vault, log: silentLog, clock: steppedClock, random },
        accounts: {
          async aliyun() {
            guard();
            return world.account;
          },
        },
        async fetchToken() {
          world.asked.push(clock.wallMs() - startMs);
          await settle();
          if (world.fault !== null) throw world.fault;
          world.onFetched?.();
          const expiresAtMs = steppedClock.wallMs() + world.lifeMs;
          return { token: `token-${world.asked.length}`, expiresAtMs };
        },
      }),
  };
  return world;
}

/** Lets everything that waits for nothing but promises happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves time on in steps that let timers and what they start take turns. */
async function pass(clock: SimulatedClock, ms: number, stepMs = MINUTE_MS): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(stepMs, left));
    await settle();
  }
}

async function tokenOf(tokens: VendorTokens): Promise<string | null> {
  return (await tokens.forAccount('account'))?.token ?? null;
}

test('1,000 misses at once are one call upstream, on one node and on two', async () => {
  const world = makeWorld();
  const [here, there] = [world.node(), world.node()];
  const asked = Array.from({ length: 1_000 }, (_, i) => tokenOf(i % 2 === 0 ? here : there));
  const answered = Promise.all(asked);
  await pass(world.clock, 1_000, 100);
  assert.deepEqual(new Set(await answered), new Set(['token-1']));
  assert.equal(world.asked.length, 1);
  here.close();
  there.close();
  assert.equal(world.clock.pending, 0);
});

test('a token is renewed after 80 % of its life, spread over 75 to 85 %, without any request', async () => {
  for (const [random, share] of [
    [0, 0.75],
    [0.5, 0.8],
    [1, 0.85],
  ] as const) {
    const world = makeWorld();
    const tokens = world.node(() => random);
    assert.equal(await tokenOf(tokens), 'token-1');
    world.clock.advance(LIFE_MS * share - 1_000);
    await settle();
    assert.equal(world.asked.length, 1);
    await pass(world.clock, 2_000, 1_000);
    assert.deepEqual(world.asked, [0, LIFE_MS * share]);
    assert.equal(await tokenOf(tokens), 'token-2');
    tokens.close();
  }
});

test('of two nodes one renews and the other takes over what it got', async () => {
  const world = makeWorld();
  const [early, late] = [world.node(() => 0), world.node(() => 1)];
  await tokenOf(early);
  await tokenOf(late);
  await pass(world.clock, LIFE_MS * 0.9);
  assert.deepEqual(world.asked, [0, LIFE_MS * 0.75]);
  assert.equal(await tokenOf(late), 'token-2');
  early.close();
  late.close();
});

test('an outage of 10 minutes inside the life of a token is invisible', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  await pass(world.clock, LIFE_MS * 0.79);
  world.fault = down;
  for (let minute = 0; minute < 10; minute++) {
    await pass(world.clock, MINUTE_MS);
    assert.equal(await tokenOf(tokens), 'token-1');
  }
  assert.ok(world.asked.length > 2, 'it was tried again meanwhile');
  world.fault = null;
  await pass(world.clock, 2 * MINUTE_MS);
  assert.notEqual(await tokenOf(tokens), 'token-1');
  tokens.close();
});

test('a token is served until 30 s before its end, then the failure is told', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.fault = down;
  await pass(world.clock, LIFE_MS - 31_000);
  assert.equal(await tokenOf(tokens), 'token-1');
  await pass(world.clock, 2_000, 1_000);
  await assert.rejects(tokenOf(tokens), { code: 'E_PROVIDER_SERVER' });
  world.fault = null;
  assert.match((await tokenOf(tokens)) ?? '', /^token-/);
  tokens.close();
});

test('a renewal that keeps failing is given up in the end', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.fault = down;
  await pass(world.clock, LIFE_MS + 20 * MINUTE_MS);
  assert.equal(world.clock.pending, 0);
  tokens.close();
});

test('a refused key is not tried again for 30 s, on no node', async () => {
  const world = makeWorld();
  world.fault = refused;
  const [here, there] = [world.node(), world.node()];
  for (const tokens of [here, here, there, there, here]) {
    await assert.rejects(tokenOf(tokens), (error) => {
      assert.ok(error instanceof AppError && error.code === 'E_PROVIDER_AUTH');
      assert.equal(error.details['vendorCode'], 'InvalidAccessKeyId.NotFound');
      return true;
    });
  }
  assert.equal(world.asked.length, 1);
  await pass(world.clock, 29_000, 1_000);
  await assert.rejects(tokenOf(here), { code: 'E_PROVIDER_AUTH' });
  assert.equal(world.asked.length, 1);
  world.fault = null;
  await pass(world.clock, 1_500, 500);
  assert.equal(await tokenOf(here), 'token-2');
  assert.equal(await tokenOf(there), 'token-2');
  assert.equal(world.asked.length, 2);
  here.close();
  there.close();
});

test('a key that is refused later does not take the good token away, also from a node that starts then', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.fault = refused;
  await pass(world.clock, LIFE_MS * 0.8 + 1_000, 1_000);
  assert.equal(world.asked.length, 2);
  assert.equal(await tokenOf(tokens), 'token-1');
  const fresh = world.node();
  assert.equal(await tokenOf(fresh), 'token-1');
  await pass(world.clock, 5 * MINUTE_MS, 1_000);
  assert.ok(world.asked.length <= 8, `${world.asked.length} calls with a refused key`);
  assert.equal(await tokenOf(tokens), 'token-1');
  tokens.close();
  fresh.close();
});

test('while the database is away a token in memory is served, and renewed without the others', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.databaseFault = away;
  await pass(world.clock, LIFE_MS * 0.7);
  assert.equal(await tokenOf(tokens), 'token-1');
  await pass(world.clock, LIFE_MS * 2);
  assert.deepEqual([await tokenOf(tokens), world.asked.length], ['token-4', 4], 'once a life');
  await assert.rejects(world.node().forAccount('account'), { code: 'E_DATABASE_UNREACHABLE' });
  world.databaseFault = null;
  await pass(world.clock, LIFE_MS * 0.7);
  assert.equal(await tokenOf(tokens), 'token-5');
  assert.equal(world.rows.get('a')?.token, 'token-5', 'the others have it again');
  tokens.close();
});

test('the first token of a known account needs no database either; a refusal is kept here', async () => {
  const world = makeWorld();
  const tokens = world.node();
  world.vaultFault = away;
  world.fault = refused;
  for (let i = 0; i < 3; i++) {
    await assert.rejects(tokenOf(tokens), { code: 'E_PROVIDER_AUTH' });
  }
  assert.equal(world.asked.length, 1);
  world.fault = null;
  await pass(world.clock, 31_000, 1_000);
  const all = await Promise.all(Array.from({ length: 100 }, () => tokenOf(tokens)));
  assert.deepEqual(new Set(all), new Set(['token-2']));
  tokens.close();
});

test('what was shared before the database went away does not replace what was fetched since', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.vaultFault = away;
  await pass(world.clock, LIFE_MS * 0.81);
  assert.equal(await tokenOf(tokens), 'token-2');
  world.vaultFault = null;
  const expiresAtMs = ((await tokens.forAccount('account'))?.expiresAtMs ?? 0) - LIFE_MS * 0.1;
  world.rows.set('a', { ...NONE, token: 'old', fetchedAtMs: expiresAtMs - LIFE_MS, expiresAtMs });
  const seen = new Set<string | null>();
  for (let i = 0; i < 60; i++) {
    await pass(world.clock, LIFE_MS * 0.014, LIFE_MS * 0.014);
    seen.add(await tokenOf(tokens));
  }
  assert.deepEqual([...seen], ['token-2', 'token-3']);
  tokens.close();
});

test('a token that is about to end is none: it is not kept, nor fetched every second', async () => {
  const world = makeWorld();
  const tokens = world.node();
  world.lifeMs = 20_000;
  await assert.rejects(tokenOf(tokens), { code: 'E_PROVIDER_SERVER' });
  await pass(world.clock, 10 * MINUTE_MS);
  assert.deepEqual([world.asked.length, world.clock.pending], [1, 0]);
  world.lifeMs = LIFE_MS;
  assert.equal(await tokenOf(tokens), 'token-2');
  tokens.close();
});

test('a clock that steps back and forth takes no good token away for good', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.stepMs = -2 * LIFE_MS;
  await pass(world.clock, MINUTE_MS);
  assert.equal(await tokenOf(tokens), 'token-1');
  world.stepMs = 2 * LIFE_MS;
  await pass(world.clock, MINUTE_MS);
  assert.equal(await tokenOf(tokens), 'token-2', 'by this clock the first has ended');
  tokens.close();
});

test('a token that could not be shared any more is used all the same', async () => {
  const world = makeWorld();
  const tokens = world.node();
  world.onFetched = () => {
    world.databaseFault = away;
  };
  assert.equal(await tokenOf(tokens), 'token-1');
  assert.equal(world.rows.size, 0);
  tokens.close();
});

test('a saved account begins anew; the former one is asked for nothing more', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.account = accountOf('b');
  assert.equal(await tokenOf(tokens), 'token-2');
  assert.equal(world.clock.pending, 1);
  world.account = null;
  assert.equal(await tokens.forAccount('account'), null);
  assert.equal(world.clock.pending, 0);
  await pass(world.clock, 2 * LIFE_MS);
  assert.equal(world.asked.length, 2);
  tokens.close();
});

test('an account that is ended elsewhere is not renewed', async () => {
  const world = makeWorld();
  const tokens = world.node();
  await tokenOf(tokens);
  world.account = null;
  await pass(world.clock, LIFE_MS);
  assert.equal(world.asked.length, 1);
  assert.equal(world.clock.pending, 0);
  tokens.close();
});

test('a token that the gateway refused is renewed once, by one call, and not while it is quite new', async () => {
  const world = makeWorld();
  const [here, there] = [world.node(), world.node()];
  await pass(world.clock, 0);
  assert.equal(await tokenOf(here), 'token-1');
  assert.equal(await tokenOf(there), 'token-1');
  const again = async (tokens: VendorTokens, refusedToken: string): Promise<string | undefined> =>
    (await tokens.forAccount('account', refusedToken))?.token;
  assert.equal(await again(here, 'token-1'), 'token-1', 'fetched this very moment');
  await pass(world.clock, 31_000, 1_000);
  assert.equal(await again(here, 'another'), 'token-1');
  const asked = Promise.all(
    Array.from({ length: 100 }, (_, i) => again(i % 2 === 0 ? here : there, 'token-1')),
  );
  await pass(world.clock, 1_000, 100);
  assert.deepEqual(new Set(await asked), new Set(['token-2']));
  assert.equal(world.asked.length, 2);
  here.close();
  there.close();
});
