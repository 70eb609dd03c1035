/** Small parts of the store that need no server: sealing, keys, agent rows, errors, the stale cache. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { agentOf } from '#store/agent-config.ts';
import { candidateNumbers } from '#store/agent-choice.ts';
import { generateKey, hashOf, KEY_FORMAT, prefixOf } from '#store/api-keys.ts';
import { createSealer, keyIdOf } from '#store/sealed.ts';
import { loadMasterKey } from '#store/secret-files.ts';
import { isRefusedData, isServerAway, redactUrl, toDatabaseError } from '#store/sql-errors.ts';
import { StaleCache } from '#store/stale-cache.ts';

const PLACE = { table: 'sip_configs', column: 'password', accountId: 'a', rowId: 'r' };

test('a sealed value opens in its own place only', () => {
  const [key, other] = [randomBytes(32), randomBytes(32)];
  const sealer = createSealer([key]);
  for (const text of ['', 'secret', '密码 with. dots', 'x'.repeat(10_000)]) {
    const sealed = sealer.seal(text, PLACE);
    assert.match(sealed, new RegExp(`^cy1\\.${keyIdOf(key)}\\.[\\w-]+\\.[\\w-]+\\.[\\w-]+$`));
    assert.equal(sealer.open(sealed, PLACE), text);
    assert.notEqual(sealer.seal(text, PLACE), sealed);
  }
  const sealed = sealer.seal('secret', PLACE);
  for (const change of [{ table: 't' }, { column: 'c' }, { accountId: 'b' }, { rowId: 's' }]) {
    assert.throws(() => sealer.open(sealed, { ...PLACE, ...change }), { code: 'E_DATABASE' });
  }
  for (let at = 0; at < sealed.length; at += 5) {
    const wrong = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
    assert.throws(() => sealer.open(wrong, PLACE), AppError, `position ${at}`);
  }
  assert.throws(() => createSealer([other]).open(sealed, PLACE), { code: 'E_CONFIG' });
  assert.equal(createSealer([other, key]).open(sealed, PLACE), 'secret');
});

test('the master key: generated once, read from a file, refused when it is no key', async (t) => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'callyard-keys-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const made = await loadMasterKey(undefined, dataDir);
  assert.deepEqual(await loadMasterKey(undefined, dataDir), made);
  assert.equal(statSync(path.join(dataDir, 'master.key')).mode & 0o777, 0o600);
  const text = randomBytes(32).toString('base64');
  const file = path.join(dataDir, 'given');
  writeFileSync(file, `${text}\n`);
  assert.deepEqual(await loadMasterKey(text, dataDir), Buffer.from(text, 'base64'));
  assert.deepEqual(await loadMasterKey(`file:${file}`, dataDir), Buffer.from(text, 'base64'));
  for (const wrong of ['', 'short', randomBytes(16).toString('base64'), 'file:/nonexistent/key']) {
    await assert.rejects(loadMasterKey(wrong, dataDir), { code: 'E_CONFIG' });
  }
});

test('generated API keys have the form of the contract', () => {
  const keys = Array.from({ length: 200 }, generateKey);
  for (const key of keys) assert.match(key, KEY_FORMAT);
  assert.equal(new Set(keys.map(prefixOf)).size, keys.length);
  assert.equal(hashOf('cy_').length, 32);
});

test('an agent row gets every default, and nonsense in it is passed over', () => {
  const row = { id: 'i', user_id: 'u', name: 'Ann', config: {}, account_language: 'zh-CN' };
  const plain = agentOf(row);
  assert.deepEqual(
    [
      plain.language,
      plain.greeting,
      plain.maxDurationS,
      plain.turn.endpointMinMs,
      plain.silence.hangupAfterS,
    ],
    ['zh', null, 3_600, 200, 30],
  );
  assert.deepEqual(agentOf({ ...row, config: null }), plain);
  const nonsense = {
    max_duration_s: 'long',
    turn: [],
    silence: { prompts: -1 },
    llm: 7,
    variables: { a: 1 },
  };
  assert.deepEqual(agentOf({ ...row, config: nonsense }), plain);
  const full = agentOf({
    ...row,
    config: {
      ...{
        system_prompt: 'Be kind.',
        greeting: 'Hello',
        language: 'en-GB',
        max_duration_s: 60,
        recording: false,
      },
      ...{
        llm: { vendor: 'openai', model: 'm', temperature: 0 },
        tts: { vendor: 'local', voice: 'v' },
      },
      ...{ turn: { barge_in: false }, silence: { prompts: 0 }, variables: { name: 'Li' } },
    },
  });
  assert.deepEqual(full.vendors, { stt: null, llm: 'openai', tts: 'local', realtime: null });
  assert.deepEqual([full.language, full.turn.bargeIn, full.silence.prompts], ['en', false, 0]);
  assert.deepEqual([full.llm.temperature, full.voice, full.recording], [0, 'v', false]);
  assert.deepEqual(full.variables, { name: 'Li' });
});

test('a dialled number is looked for in every form it may be stored in', () => {
  const rows: [string, string | null, string[]][] = [
    ['1001', '86', ['1001', '+1001']],
    [
      ...['02155550100', '86'],
      ['+862155550100', '02155550100', '2155550100', '+02155550100'],
    ] as unknown as [string, string, string[]],
    ['+862155550100', '86', ['+862155550100', '2155550100', '02155550100']],
    ['+1 (555) 010-0', null, ['+15550100']],
    ['alice', null, []],
  ];
  for (const [called, country, expected] of rows) {
    assert.deepEqual(candidateNumbers(called, country), expected, called);
  }
});

test('query errors: away, refused, or ours', () => {
  const rows: [Record<string, string>, boolean, boolean][] = [
    [{ code: 'ECONNREFUSED' }, true, false],
    [{ code: '57P01' }, true, false],
    [{ code: '53300' }, true, false],
    [{ message: 'timeout exceeded when trying to connect' }, true, false],
    [{ message: 'Connection terminated unexpectedly' }, true, false],
    [{ code: '23503' }, false, true],
    [{ code: '22P02' }, false, true],
    [{ code: '42P01' }, false, false],
    [{ code: '57014' }, false, false],
  ];
  for (const [fields, isAway, isRefused] of rows) {
    const error = Object.assign(new Error(fields['message'] ?? 'failed'), fields);
    for (const form of [error, toDatabaseError(error)]) {
      assert.deepEqual(
        [isServerAway(form), isRefusedData(form)],
        [isAway, isRefused],
        JSON.stringify(fields),
      );
    }
  }
  assert.equal(
    redactUrl('postgresql://ann:hush@db.test:5433/calls?sslmode=x'),
    'postgresql://ann@db.test:5433/calls',
  );
  assert.doesNotMatch(redactUrl('not a url with hush'), /hush/);
});

test('the cache serves the past while the database is away, and only then', async () => {
  const clock = new SimulatedClock();
  const cache = new StaleCache<number>({
    name: 'numbers',
    log: silentLog,
    clock,
    freshMs: 1_000,
    staleMs: 60_000,
  });
  const away = (): Promise<number> =>
    Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away'));
  await assert.rejects(cache.get('a', away), { code: 'E_DATABASE_UNREACHABLE' });
  assert.equal(await cache.get('a', async () => 1), 1);
  assert.equal(await cache.get('a', async () => 2), 1, 'fresh');
  clock.advance(1_500);
  assert.equal(await cache.get('a', away), 1, 'stale');
  const slow = cache.get('a', () => new Promise(() => undefined));
  clock.advance(400);
  assert.equal(await slow, 1, 'no call waits for a slow database');
  const other = new StaleCache<number>({ name: 'n', log: silentLog, clock, freshMs: 0 });
  other.set('b', 1);
  await assert.rejects(
    other.get('b', () => Promise.reject(new AppError('E_DATABASE', 'syntax'))),
    { code: 'E_DATABASE' },
  );
  assert.equal(await other.get('b', async () => 3), 3);
  clock.advance(120_000);
  cache.set('c', 1);
  clock.advance(120_000);
  await assert.rejects(cache.get('c', away), { code: 'E_DATABASE_UNREACHABLE' });
});

test('what is forgotten during a read is not brought back by it', async () => {
  const cache = new StaleCache<number>({
    ...{ name: 'n', log: silentLog, clock: new SimulatedClock(), freshMs: 1_000 },
  });
  const first = Promise.withResolvers<number>();
  const slow = cache.get('a', () => first.promise);
  cache.delete('a');
  assert.equal(await cache.get('a', async () => 2), 2);
  first.resolve(1);
  assert.equal(await slow, 1);
  assert.equal(cache.peek('a'), 2);
});
