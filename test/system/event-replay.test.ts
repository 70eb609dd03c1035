/** What `/ws/events` sends again: each event that was journaled since the known one, whatever clocks and database do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HubEvent } from '#api/event-hub.ts';
import { publicEvent } from '#lib/public-event.ts';
import type { AccountEvent, JournalEntry } from '#lib/call-events.ts';
import { newId, newTimedId, timeOfId, type Id } from '#lib/ids.ts';
import { ACCOUNT } from '../unit/_api-fakes.ts';
import { startSocketServer } from './_socket-server.ts';
import { openSocket } from './_ws-client.ts';

function eventAt(second: number): AccountEvent<'trunk.changed'> {
  return {
    ...{ id: newId(), type: 'trunk.changed', account_id: ACCOUNT, call_id: null, seq: null },
    time: new Date(Date.UTC(2026, 0, 1, 10, 0, second)).toISOString(),
    ...{ node: 'node-1', request_id: null },
    data: { trunk_id: newId(), registered: true, error: null },
  };
}

const entryOf = (event: AccountEvent): JournalEntry => ({ event, record: null, recording: null });
const toldOf = (event: AccountEvent): HubEvent => ({ event: publicEvent(event), agentId: null });

test('what was journaled behind the known event comes again, whatever its time says', async (t) => {
  const { url, auth, fakes } = await startSocketServer(t);
  const { hub, log } = fakes.families.ports.events;
  const [known, early, late] = [eventAt(50), eventAt(10), eventAt(51)];
  for (const event of [known, early, late]) hub.publish(entryOf(event));
  Object.assign(log, {
    timeOf: async () => null,
    before: async () => [],
    since: async () => [toldOf(known), toldOf(late)],
  });
  const client = await openSocket(t, `${url}/ws/events?after=${known.id}`, auth);
  await client.frame('trunk.changed', 2);
  await client.settle();
  const got = client.frames.flatMap(({ id }) => (typeof id === 'string' ? id : []));
  assert.deepEqual(new Set(got), new Set([early.id, late.id]));
  assert.equal(got.length, 2, 'each once');
});

test('what is journaled while the database is read is not lost, however much it is', async (t) => {
  const { url, auth, fakes } = await startSocketServer(t);
  const { hub, log } = fakes.families.ports.events;
  const known = eventAt(0);
  const unstored = eventAt(1);
  hub.publish(entryOf(unstored));
  const others = { ...eventAt(2), account_id: newId() };
  const meanwhile = eventAt(3);
  Object.assign(log, {
    timeOf: async () => known.time,
    before: async () => [],
    // A slow answer: by then the others have pushed ours out of what is kept.
    since: async () => {
      for (let i = 0; i < 6_000; i++) hub.publish(entryOf({ ...others, id: newId() }));
      hub.publish(entryOf(meanwhile));
      return [toldOf(known)];
    },
  });
  const client = await openSocket(t, `${url}/ws/events?after=${known.id}`, auth);
  await client.frame('trunk.changed', 2);
  const got = client.frames.flatMap(({ id }) => (typeof id === 'string' ? id : []));
  assert.deepEqual(got, [unstored.id, meanwhile.id]);
});

test('an id can say when it was made', () => {
  const nowMs = Date.UTC(2026, 0, 1, 12, 0, 0, 7);
  const id: Id = newTimedId(nowMs);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(timeOfId(id), nowMs);
  assert.notEqual(newTimedId(nowMs), id);
  assert.equal(timeOfId(newId()), null);
});
