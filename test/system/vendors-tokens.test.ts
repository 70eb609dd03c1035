/** Tokens against a strict fake of the vendor: the request itself, its failures, and two nodes on one database. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test, type TestContext } from 'node:test';
import { SimulatedClock, systemClock, type Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import type { Actor } from '#lib/actor.ts';
import { silentLog } from '#lib/log.ts';
import { createTokenSource } from '#providers/aliyun/token.ts';
import { createVendorTokens, type VendorTokens } from '#sessions/vendor-tokens.ts';
import { openPool } from '#store/pool.ts';
import { createSealer } from '#store/sealed.ts';
import { createSpeechConfigs } from '#store/speech-configs.ts';
import { createVendorAccounts } from '#store/vendor-accounts.ts';
import { createTokenRows } from '#store/vendor-tokens.ts';
import { queryRows } from './_database.ts';
import { startFakeAliyun, type FakeAliyun, type Fault } from './_fake-aliyun.ts';
import { atEnd, newDatabase } from './_store.ts';

const KEY = {
  accessKeyId: 'LTAIcanaryid00001',
  accessKeySecret: 'canary-secret-0001',
  region: 'cn-shanghai',
};
/** What no error may hold: secrets, and the signed query. */
const CANARY = /canary|Signature=|SignatureNonce=/;

async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof AppError, inspect(error));
  assert.doesNotMatch(inspect(error, { depth: 10, showHidden: true }), CANARY);
  return error;
}

test('the vendor accepts the request, whatever is in key and secret', async (t) => {
  const vendor = await startFakeAliyun(t);
  const fetchToken = createTokenSource({ metaUrl: vendor.url });
  for (const key of [
    KEY,
    { ...KEY, region: 'ap-southeast-1' },
    { ...KEY, accessKeyId: "a!'()*~+/=&?#%", accessKeySecret: '秘密 &=%' },
  ]) {
    vendor.keys.set(key.accessKeyId, key.accessKeySecret);
    const { token, expiresAtMs } = await fetchToken(key);
    assert.equal(token, vendor.tokens.at(-1));
    assert.ok(Math.abs(expiresAtMs - Date.now() - 3_600_000) < 5_000);
  }
  assert.deepEqual(vendor.refusals, []);
});

test('what can pass is tried twice, a refusal once; no error holds the key or the signed query', async (t) => {
  const vendor = await startFakeAliyun(t);
  vendor.keys.set(KEY.accessKeyId, KEY.accessKeySecret);
  const fetchToken = createTokenSource({ metaUrl: vendor.url });
  const rows: [Fault, string, number, string | undefined][] = [
    ['cut', 'E_PROVIDER_SERVER', 2, undefined],
    ['status-500', 'E_PROVIDER_SERVER', 2, 'InternalError'],
    ['html', 'E_PROVIDER_SERVER', 2, undefined],
    ['redirect', 'E_PROVIDER_SERVER', 2, 'HTTP_302'],
    ['too-long', 'E_PROVIDER_SERVER', 2, undefined],
    ['no-token', 'E_PROVIDER_SERVER', 2, undefined],
    ['expired', 'E_PROVIDER_SERVER', 2, undefined],
    ['milliseconds', 'E_PROVIDER_SERVER', 2, undefined],
    ['quoting', 'E_PROVIDER_AUTH', 1, 'SignatureDoesNotMatch'],
  ];
  for (const [fault, code, requests, vendorCode] of rows) {
    vendor.fault = fault;
    vendor.requests = 0;
    const error = await failureOf(fetchToken(KEY));
    assert.deepEqual([error.code, vendor.requests], [code, requests], fault);
    assert.equal(error.details['vendorCode'], vendorCode, fault);
    assert.equal(error.details['vendor'], 'aliyun');
  }
  vendor.fault = 'ok';
  for (const fault of ['cut', 'status-500'] as const) {
    vendor.next.push(fault);
    assert.match((await fetchToken(KEY)).token, /^vendor-token/);
  }
  const wrong = await failureOf(fetchToken({ ...KEY, accessKeySecret: 'canary-other' }));
  assert.equal(wrong.details['vendorCode'], 'SignatureDoesNotMatch');
  const unknown = await failureOf(fetchToken({ ...KEY, accessKeyId: 'canary-nobody' }));
  assert.equal(unknown.details['vendorCode'], 'InvalidAccessKeyId.NotFound');
  const nowhere = createTokenSource({ metaUrl: 'http://127.0.0.1:9/' });
  assert.equal((await failureOf(nowhere(KEY))).code, 'E_PROVIDER_SERVER');
});

test('a nonce that was used is replaced once', async (t) => {
  const vendor = await startFakeAliyun(t);
  vendor.keys.set(KEY.accessKeyId, KEY.accessKeySecret);
  const nonces = ['a', 'a', 'b', 'b', 'b'];
  const fetchToken = createTokenSource({
    metaUrl: vendor.url,
    nonce: () => nonces.shift() ?? 'c',
  });
  await fetchToken(KEY);
  assert.equal((await fetchToken(KEY)).token, 'vendor-token-2');
  const error = await failureOf(fetchToken(KEY));
  assert.deepEqual(
    [error.code, error.details['vendorCode']],
    ['E_PROVIDER_PARAM', 'SignatureNonceUsed'],
  );
});

test('a vendor that does not answer is given 3 s, twice; whoever waits may give up before', async (t) => {
  const vendor = await startFakeAliyun(t);
  vendor.fault = 'hang';
  const clock = new SimulatedClock();
  const fetchToken = createTokenSource({ metaUrl: vendor.url, clock });
  const failed = failureOf(fetchToken(KEY));
  for (let attempt = 1; attempt <= 2; attempt++) {
    await arrived(vendor, attempt);
    clock.advance(2_999);
    assert.equal(clock.pending, 1);
    clock.advance(1);
  }
  assert.equal((await failed).code, 'E_TIMEOUT');
  assert.equal(clock.pending, 0);
  const giveUp = new AbortController();
  const aborted = failureOf(fetchToken(KEY, giveUp.signal));
  await arrived(vendor, 3);
  giveUp.abort();
  assert.equal((await aborted).code, 'E_ABORTED');
});

async function arrived(vendor: FakeAliyun, requests: number): Promise<void> {
  while (vendor.requests < requests) await new Promise((resolve) => setTimeout(resolve, 5));
}

// ---- On a database ----

type Node = {
  readonly tokens: VendorTokens;
  readonly accounts: ReturnType<typeof createVendorAccounts>;
};

async function makeCluster(t: TestContext) {
  const url = await newDatabase(t);
  const vendor = await startFakeAliyun(t);
  vendor.keys.set(KEY.accessKeyId, KEY.accessKeySecret);
  const sealer = createSealer([Buffer.alloc(32, 7)]);
  const accountId = newId();
  await queryRows(url, 'INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
    accountId,
    `${accountId}@example.test`,
  ]);
  const actor: Actor = {
    ...{ accountId, name: 'test', role: 'admin', agentIds: null, requestId: null, ip: null },
  };
  const node = (clock: Clock = systemClock): Node => {
    const database = openPool({ url, log: silentLog, size: 6 });
    atEnd(t, () => database.close());
    const accounts = createVendorAccounts({ database, sealer, log: silentLog, clock });
    const tokens = createVendorTokens({
      ...{ accounts, clock, log: silentLog },
      vault: createTokenRows({ database, sealer, log: silentLog }),
      fetchToken: createTokenSource({ metaUrl: vendor.url }),
    });
    atEnd(t, () => tokens.close());
    return { tokens, accounts };
  };
  const database = openPool({ url, log: silentLog, size: 2 });
  atEnd(t, () => database.close());
  const speech = createSpeechConfigs({ database, sealer, onChange: () => undefined });
  const save = (token: Parameters<typeof speech.saveAliyun>[2] = null) =>
    speech.saveAliyun(actor, { ...KEY, appKey: 'app', instanceId: null }, token);
  const rows = <T extends object>(text: string): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text));
  return { rows, vendor, accountId, actor, node, speech, save };
}

test('1,000 misses at once on two nodes are exactly one call upstream', async (t) => {
  const { vendor, accountId, node, save } = await makeCluster(t);
  await save();
  vendor.delayMs = 200;
  const [here, there] = [node(), node()];
  const answers = await Promise.all(
    Array.from({ length: 1_000 }, (_, i) =>
      (i % 2 === 0 ? here : there).tokens.forAccount(accountId),
    ),
  );
  assert.equal(vendor.requests, 1);
  assert.deepEqual(new Set(answers.map((answer) => answer?.token)), new Set(['vendor-token-1']));
  assert.equal((await node().tokens.forAccount(accountId))?.token, 'vendor-token-1');
  assert.equal(vendor.requests, 1);
});

test('the token lies sealed in the database; one sealed with another key is fetched anew', async (t) => {
  const { rows, vendor, accountId, node, save } = await makeCluster(t);
  await save();
  await node().tokens.forAccount(accountId);
  const [row] = await rows<{ token: string }>('SELECT token FROM vendor_tokens');
  assert.match(row?.token ?? '', /^cy1\./);
  await rows(`UPDATE vendor_tokens SET token = replace(token, 'cy1.', 'cy1.0')`);
  assert.equal((await node().tokens.forAccount(accountId))?.token, 'vendor-token-2');
  assert.equal(vendor.requests, 2);
});

test('saving drops the former token on every node; a verified one is there at once', async (t) => {
  const { rows, vendor, accountId, node, save, speech, actor } = await makeCluster(t);
  await save();
  const clock = new SimulatedClock(Date.now());
  const other = node(clock);
  assert.equal((await other.tokens.forAccount(accountId))?.token, 'vendor-token-1');
  const now = Date.now();
  await save({ token: 'verified', fetchedAtMs: now, expiresAtMs: now + 3_600_000 });
  assert.equal((await rows('SELECT FROM vendor_tokens')).length, 1);
  clock.advance(1_000); // a node reads the account again after a second
  assert.equal((await other.tokens.forAccount(accountId))?.token, 'verified');
  assert.equal(vendor.requests, 1);
  assert.equal(await speech.endAliyun(actor), true);
  assert.equal(await speech.endAliyun(actor), false);
  clock.advance(1_000);
  assert.equal(await other.tokens.forAccount(accountId), null);
  assert.equal((await rows('SELECT FROM vendor_tokens')).length, 0);
});

test('an account saved while its token is on the way gets its own, and does not wait for it', async (t) => {
  const { rows, vendor, accountId, node, save } = await makeCluster(t);
  const first = await save();
  vendor.next.push('hang');
  const clock = new SimulatedClock(Date.now());
  const late = node(clock).tokens.forAccount(accountId);
  await arrived(vendor, 1);
  const second = await save();
  assert.notEqual(second.id, first.id);
  assert.equal((await node().tokens.forAccount(accountId))?.token, 'vendor-token-1');
  clock.advance(3_000); // the first try is given up, the second is answered
  assert.equal((await late)?.token, 'vendor-token-2');
  const shared = await rows<{ config_id: string; token: string }>(
    'SELECT config_id FROM vendor_tokens',
  );
  assert.deepEqual(shared, [{ config_id: second.id }]);
});

test('two saves at once leave one active row and no conflict', async (t) => {
  const { rows, save } = await makeCluster(t);
  await Promise.all(Array.from({ length: 8 }, () => save()));
  const counts = await rows<{ is_active: boolean; n: number }>(
    'SELECT is_active, count(*)::int AS n FROM aliyun_configs GROUP BY 1 ORDER BY 1',
  );
  assert.deepEqual(counts, [
    { is_active: false, n: 7 },
    { is_active: true, n: 1 },
  ]);
});

test('a refusal is shared: another node does not ask again for 30 s', async (t) => {
  const { vendor, accountId, node, save } = await makeCluster(t);
  await save();
  vendor.keys.clear();
  for (const { tokens } of [node(), node()]) {
    const error = await failureOf(tokens.forAccount(accountId));
    assert.deepEqual(
      [error.code, error.details['vendorCode']],
      ['E_PROVIDER_AUTH', 'InvalidAccessKeyId.NotFound'],
    );
  }
  assert.equal(vendor.requests, 1);
});
