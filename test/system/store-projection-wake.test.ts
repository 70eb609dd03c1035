/** What happens on a call is in the database at once, whatever waits there for its five seconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { scriptCall } from '../unit/_store-entries.ts';
import { newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

test('messages that are not due yet keep no event waiting', async (t) => {
  const clock = new SimulatedClock(Date.now());
  const url = await newDatabase(t);
  const store = await newStore(t, { ...storeOptions(newDataDir(t), url), clock });
  const accountId = await store.defaultAccount();
  const call = scriptCall(accountId, (await store.agents.defaultFor(accountId)).id);
  /** How many ms of the clock it takes until the journal is in the database. */
  const writtenMs = async (): Promise<number> => {
    const fromMs = clock.now();
    while (store.projection.lagEvents > 0 && clock.now() - fromMs < 6_000) {
      clock.advance(20);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return clock.now() - fromMs;
  };
  store.journal.append(call.initiated({}));
  store.journal.append(call.answered());
  store.journal.append(call.says('assistant', 'Good day'));
  await writtenMs();
  store.journal.append(call.says('user', 'Hello'));
  await writtenMs();
  // The batch is over: now its messages wait for the rest of the five seconds.
  await new Promise((resolve) => setTimeout(resolve, 100));
  store.journal.append(call.ended());
  const tookMs = await writtenMs();
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
  const done = await store.records.get(accountId, call.id);
  assert.deepEqual([done?.status, done?.messages.length], ['ended', 2]);
});
