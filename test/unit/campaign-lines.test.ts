/** What campaigns leave to everybody else: lines of the account and of the node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallRefusal } from '#sessions/call-service-types.ts';
import { ACCOUNT, createService, type ServiceOptions } from './_call-service.ts';

const TO = { accountId: ACCOUNT, to: '+15550100' };
const CAMPAIGN = '00000000-0000-4000-8000-00000000ca4e';

test('a campaign leaves lines of the account and of the node for everybody else', async () => {
  const rows: [limits: ServiceOptions, lines: number, CallRefusal['code']][] = [
    [{ settings: { maxConcurrentCalls: 5 } }, 4, 'CONCURRENCY_LIMIT'],
    [{ settings: { maxConcurrentCalls: 11 }, changes: { maxCalls: 100 } }, 9, 'CONCURRENCY_LIMIT'],
    [{ changes: { maxCalls: 5 } }, 4, 'OVERLOADED'],
    // Where there is one line only, nothing can be kept.
    [{ settings: { maxConcurrentCalls: 1 } }, 1, 'CONCURRENCY_LIMIT'],
  ];
  for (const [options, lines, code] of rows) {
    const { calls } = createService({ ...options, dial: () => new Promise(() => undefined) });
    const campaign = { ...TO, campaignId: CAMPAIGN };
    for (let line = 0; line < lines; line++) assert.ok((await calls.place(campaign)).ok, code);
    const refused = await calls.place(campaign);
    assert.equal(refused.ok ? 'ok' : refused.refusal.code, code, `${lines} lines`);
    assert.equal((await calls.place(TO)).ok, lines > 1, 'a single call still goes out');
  }
});
