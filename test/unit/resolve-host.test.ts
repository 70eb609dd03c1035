/** Names as this machine resolves them: few threads, and no host may take all of them. */
import assert from 'node:assert/strict';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { resolveBySystem } from '#lib/resolve-host.ts';

type Done = (error: Error | null, found: dns.LookupAddress[]) => void;

test('by the system: one lookup per host at a time, so one dead name leaves a thread to the others', async (t) => {
  const asked: { host: string; done: Done }[] = [];
  t.mock.method(dns, 'lookup', (host: string, _options: object, done: Done) => {
    asked.push({ host, done });
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const { signal } = new AbortController();
  const here = [{ address: '127.0.0.1', family: 4 }];
  const dead = Array.from({ length: 4 }, () => resolveBySystem('dead.example.net', signal));
  const alive = [
    resolveBySystem('a.example.net', signal),
    resolveBySystem('b.example.net', signal),
  ];
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const hosts = (): string[] => asked.map(({ host }) => host);
  await turn();
  assert.deepEqual(hosts(), ['dead.example.net', 'a.example.net']);
  asked[1]?.done(null, here);
  await turn();
  assert.deepEqual(hosts().slice(2), ['b.example.net']);
  asked[2]?.done(null, here);
  assert.deepEqual(await Promise.all(alive), [here, here]);
  asked[0]?.done(Object.assign(new Error('no'), { code: 'EAI_AGAIN' }), []);
  for (const each of dead) await assert.rejects(each, { code: 'EAI_AGAIN' });
  // What is known is not kept: the next answer may be another.
  const again = resolveBySystem('dead.example.net', signal);
  await turn();
  asked[3]?.done(null, here);
  assert.deepEqual(await again, here);
});

test('by the system: one that was given up while it waited does not ask', async (t) => {
  const asked: { host: string; done: Done }[] = [];
  t.mock.method(dns, 'lookup', (host: string, _options: object, done: Done) => {
    asked.push({ host, done });
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const giveUp = new AbortController();
  const { signal } = new AbortController();
  const busy = ['a', 'b'].map((name) => resolveBySystem(`${name}.example.net`, signal));
  const late = resolveBySystem('c.example.net', giveUp.signal);
  giveUp.abort();
  for (const { done } of asked) done(null, []);
  assert.deepEqual(await Promise.all([...busy, late]), [[], [], []]);
  assert.equal(asked.length, 2);
});
