/** A media worker dies under a call of the whole server: the call ends and is kept, the others do not notice. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { silentLog } from '#lib/log.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { atEnd, until } from './_store.ts';

type CallRecord = {
  readonly id: string;
  readonly status: string;
  readonly outcome: string;
  readonly ended_by: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly duration_seconds: number;
  readonly recording_status: string;
  readonly recording: { readonly duration_ms: number; readonly url: string } | null;
};

/** Starts the server with two media workers, and has them by Node's own word: no other thread may use so much memory. */
async function twoWorkers(t: TestContext): Promise<{ server: TestApp; media: Worker[] }> {
  const media: Worker[] = [];
  const onWorker = (message: unknown): void => {
    const { worker } = message as { worker: Worker };
    if (worker.resourceLimits?.maxOldGenerationSizeMb === 512) media.push(worker);
  };
  subscribe('worker_threads', onWorker);
  t.after(() => unsubscribe('worker_threads', onWorker));
  const env = { CALLYARD_MEDIA_WORKERS: '2' };
  const server = await startTestApp(t, env, { log: silentLog });
  assert.equal(media.length, 2);
  return { server, media };
}

async function dial(t: TestContext, { target }: TestApp): Promise<PhoneCall> {
  const phone = await placeCall({ target });
  atEnd(t, () => phone.hangUp());
  return phone;
}

const list = async (server: TestApp): Promise<readonly CallRecord[]> =>
  (await server.get<{ records: CallRecord[] }>('/api/v1/call-records')).data.records;

/** The record of the call that is over, once its recording is done with. */
async function recordOfDead(server: TestApp): Promise<CallRecord> {
  const isOver = ({ status }: CallRecord): boolean => ['ended', 'failed'].includes(status);
  const found = await eventually(
    async () => (await list(server)).find(isOver),
    (record) => record !== undefined,
  );
  const path = `/api/v1/call-records/${found?.id ?? 'none'}`;
  const whole = await eventually(
    () => server.get<CallRecord>(path),
    ({ data }) => data.recording_status !== 'active',
  );
  return whole.data;
}

test('a worker dies under a call: it ends, is kept whole, and nobody else notices', async (t) => {
  const { server, media } = await twoWorkers(t);
  const phones = [await dial(t, server), await dial(t, server)];
  await Promise.all(phones.map((phone) => phone.hearSpeech(0, 5000)));
  // Sealed chunks of two seconds: only whole ones outlive the worker.
  await sleep(2600);
  await media[0]?.terminate();
  await until(() => phones.some(({ sip }) => sip.isOver), 'the call is hung up');
  const dead = phones.filter(({ sip }) => sip.isOver);
  const [alive] = phones.filter(({ sip }) => !sip.isOver);
  assert.ok(dead.length === 1 && alive !== undefined, 'the calls were on different workers');

  const record = await recordOfDead(server);
  const { status, outcome, ended_by, recording_status } = record;
  assert.deepEqual(
    { status, outcome, ended_by, recording_status },
    { status: 'ended', outcome: 'internal_error', ended_by: 'system', recording_status: 'ready' },
  );
  const [said, ...more] = record.messages;
  assert.deepEqual([said?.role, more], ['assistant', []]);
  const words = said?.content ?? '';
  assert.ok(words.length > 10 && SCRIPT.greeting.startsWith(words), `what was heard: ${words}`);
  assert.ok(record.duration_seconds >= 2, `${record.duration_seconds}`);
  const wav = await fetch(server.app.httpUrl + (record.recording?.url ?? ''), {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  const bytes = Buffer.from(await wav.arrayBuffer());
  assert.deepEqual([wav.status, bytes.toString('latin1', 0, 4)], [200, 'RIFF']);
  assert.ok((record.recording?.duration_ms ?? 0) >= 2000, `${record.recording?.duration_ms}`);
  const right = Array.from({ length: 16_000 }, (_, i) => bytes.readInt16LE(44 + i * 4 + 2));
  assert.ok(
    right.some((sample) => Math.abs(sample) > 1000),
    'the agent is heard in it',
  );

  const { received } = alive;
  for (const [i, { sequence }] of received.entries()) {
    assert.equal(sequence, ((received[0]?.sequence ?? 0) + i) & 0xffff, 'without a gap');
  }
  const heardBefore = received.length;
  await until(() => received.length > heardBefore + 20, 'the other call goes on');
  assert.equal(alive.sip.isOver, false);

  const next = [await dial(t, server), await dial(t, server)];
  await Promise.all(next.map((phone) => phone.hearSpeech(0, 5000)));
  assert.equal(media.length, 3, 'another worker is in the place of the dead one');
});
