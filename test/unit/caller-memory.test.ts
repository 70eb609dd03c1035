/** Whose calls are remembered: those of a number, never those of everybody who hides theirs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCallerMemory } from '#store/caller-memory.ts';
import type { Database } from '#store/pool.ts';

test('callers without a number of their own are not remembered as one', async () => {
  const row = { start_time: new Date(0), summary: 'Ordered tea.' };
  const database = { withSystem: async () => [row] } as unknown as Database;
  const memory = createCallerMemory({ database, countryCode: async () => '1' });
  const recall = (number: string) =>
    memory.recall({ accountId: 'a', agentId: 'b', number, calls: 3 });
  for (const number of ['unknown', 'Restricted', 'private', 'asterisk', '0', '000000', '+', ''])
    assert.deepEqual(await recall(number), [], number);
  for (const number of ['+15550100', '1001'])
    assert.equal((await recall(number)).length, 1, number);
});
