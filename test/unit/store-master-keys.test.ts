/** Master keys: rewrapping, the files of a rotation, and the list of everything that is sealed. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  beginRotation,
  loadMasterKeys,
  refuseRotationOfSetKey,
  retireOldKeys,
} from '#store/master-keys.ts';
import { SEALED_COLUMNS } from '#store/rewrap.ts';
import { createSealer, keyIdOf } from '#store/sealed.ts';
import { readSources } from './_sources.ts';

const PLACE = { table: 't', column: 'c', accountId: 'a', rowId: 'r' };
const [OLD, NEW, OTHER] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [
  Buffer,
  Buffer,
  Buffer,
];

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'callyard-keys-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('a rewrapped value has the new key id and the same text, bound to the same place', () => {
  const old = createSealer([OLD]).seal('secret', PLACE);
  const both = createSealer([NEW, OLD]);
  const fresh = both.rewrap(old, PLACE);
  assert.ok(fresh !== null);
  assert.ok(fresh.startsWith(`cy1.${keyIdOf(NEW)}.`));
  assert.deepEqual(
    fresh.split('.').slice(3),
    old.split('.').slice(3),
    'only the data key is wrapped anew',
  );
  assert.equal(createSealer([NEW]).open(fresh, PLACE), 'secret');
  assert.throws(() => createSealer([OLD]).open(fresh, PLACE), { code: 'E_CONFIG' });
  assert.throws(() => createSealer([NEW]).open(fresh, { ...PLACE, rowId: 'x' }), {
    code: 'E_DATABASE',
  });
  assert.equal(both.rewrap(fresh, PLACE), null);
  assert.deepEqual([both.keyId, both.oldKeyIds], [keyIdOf(NEW), [keyIdOf(OLD)]]);
});

test('what cannot be rewrapped is refused and stays', () => {
  const both = createSealer([NEW, OLD]);
  const sealed = createSealer([OLD]).seal('secret', PLACE);
  const other = createSealer([OTHER]).seal('secret', PLACE);
  const parts = sealed.split('.');
  const rows: [string, typeof PLACE, string][] = [
    [other, PLACE, 'E_CONFIG'],
    [sealed, { ...PLACE, accountId: 'x' }, 'E_DATABASE'],
    [parts.with(2, 'AAAA').join('.'), PLACE, 'E_DATABASE'],
    [parts.slice(0, 4).join('.'), PLACE, 'E_DATABASE'],
    [parts.with(0, 'cy2').join('.'), PLACE, 'E_DATABASE'],
  ];
  for (const [text, place, code] of rows) assert.throws(() => both.rewrap(text, place), { code });
});

test('a rotation keeps the former key beside the new one, and puts it aside in the end', async (t) => {
  const dataDir = folder(t);
  const settings = { dataDir, masterKey: undefined };
  const [first] = await loadMasterKeys(settings);
  assert.deepEqual(await beginRotation(dataDir), { isResumed: false });
  const during = await loadMasterKeys(settings);
  assert.equal(during.length, 2);
  assert.ok(during[1]?.equals(first) === true && !during[0].equals(first));
  assert.deepEqual(await beginRotation(dataDir), { isResumed: true });
  assert.deepEqual(await loadMasterKeys(settings), during, 'no third key');
  const retired = await retireOldKeys(dataDir);
  assert.equal(retired, join(dataDir, `master.key.retired-${keyIdOf(first)}`));
  assert.deepEqual(await loadMasterKeys(settings), [during[0]]);
  assert.equal(readFileSync(retired, 'utf8').trim(), first.toString('base64'));
  assert.equal(await retireOldKeys(dataDir), null);
  for (const file of readdirSync(dataDir)) {
    assert.equal(statSync(join(dataDir, file)).mode & 0o777, 0o600, file);
  }
});

test('a rotation that was cut between the two files loses no key', async (t) => {
  const dataDir = folder(t);
  const settings = { dataDir, masterKey: undefined };
  const [first] = await loadMasterKeys(settings);
  writeFileSync(join(dataDir, 'master.key.old'), `${first.toString('base64')}\n`, { mode: 0o600 });
  assert.deepEqual(await beginRotation(dataDir), { isResumed: false });
  const [fresh, ...old] = await loadMasterKeys(settings);
  assert.deepEqual(old, [first]);
  assert.ok(!fresh.equals(first));
});

test('former keys from the settings', async (t) => {
  const dataDir = folder(t);
  const file = join(dataDir, 'former');
  writeFileSync(file, OTHER.toString('base64'));
  const masterKey = NEW.toString('base64');
  const oldMasterKeys = `${OLD.toString('base64')}, file:${file}`;
  assert.deepEqual(await loadMasterKeys({ dataDir, masterKey, oldMasterKeys }), [NEW, OLD, OTHER]);
  for (const wrong of ['x', 'file:/nonexistent', OLD.subarray(1).toString('base64')]) {
    const settings = { dataDir, masterKey, oldMasterKeys: wrong };
    await assert.rejects(loadMasterKeys(settings), (error: Error) => {
      assert.match(error.message, /CALLYARD_MASTER_KEY_OLD/);
      return !error.message.includes(masterKey);
    });
  }
  assert.throws(() => refuseRotationOfSetKey({ dataDir, masterKey }), { code: 'E_CONFIG' });
  refuseRotationOfSetKey({ dataDir, masterKey, oldMasterKeys });
  refuseRotationOfSetKey({ dataDir, masterKey: undefined });
});

test('every place that seals is in the list of what is rewrapped', async () => {
  const listed = SEALED_COLUMNS.map(({ table, column }) => `${table}.${column}`);
  const place = /table: '(\w+)',?[^{}]{0,40}?column: '(\w+)'/g;
  const found = new Set<string>();
  for (const [path, text] of await readSources()) {
    if (!path.startsWith('src/') || path === 'src/store/rewrap.ts') continue;
    for (const [, table, column] of text.matchAll(place)) found.add(`${table}.${column}`);
  }
  // Its two columns are sealed by name.
  found.add('volcengine_configs.access_token').add('volcengine_configs.secret_key');
  assert.ok(found.size >= 6, [...found].join());
  for (const name of found) assert.ok(listed.includes(name), `${name} would not be rewrapped`);
});
