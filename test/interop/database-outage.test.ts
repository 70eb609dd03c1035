/** PostgreSQL away for a minute in the middle of a hundred calls: no caller notices, and no record is lost or doubled. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeG711 } from '#src/demo/g711.ts';
import { placeCall } from '#src/demo/phone.ts';
import { startCapture } from './tools/capture.ts';
import type { Datagram } from './tools/pcap.ts';
import { startPostgres, type Postgres } from './tools/postgres.ts';
import { until } from './tools/process.ts';
import { rtpStreams } from './tools/rtp-report.ts';
import { callerAudio, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';
import { concatPcm, silence } from './tools/wav.ts';

const NODE = '127.0.0.21';
const CALLER = '127.0.0.11';
const PORT = 15_433;
const CALLS = 100;
const CALLS_PER_S = 2;
const TALK_MS = 20_000;
const OUTAGE_MS = 60_000;
/** Far above what a refused connection costs, far below the time a client would wait for an answer. */
const FAST_MS = 1_000;
const DRAIN_MS = 10_000;

let folder = '';
let postgres: Postgres;
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-outage-'));
  const audio = concatPcm(
    ...Array.from({ length: 3 }, () => concatPcm(callerAudio(), silence(3000))),
  );
  writeFileSync(join(folder, 'caller.ulaw'), encodeG711('PCMU', audio.subarray(0, TALK_MS * 8)));
  postgres = await startPostgres(folder, PORT);
  server = await startServer({
    ...{ folder, address: NODE, script: SCRIPT },
    env: { DATABASE_URL: postgres.url, CALLYARD_RATE_LIMIT: '1000', CALLYARD_RATE_BURST: '1000' },
  });
});
after(async () => {
  await server?.stop();
  postgres?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test(`the database is away for ${OUTAGE_MS / 1000} s during ${CALLS} calls`, async () => {
  await server.recordIds(); // the suite's key has been seen before the database goes
  const xml = uacXml({ talkMs: TALK_MS, media: { file: 'caller.ulaw', codec: 'PCMU' } });
  const run = { folder, name: 'outage', xml, address: CALLER, mediaPort: 17000, timeoutS: 150 };
  const load = {
    target: `${NODE}:5060`,
    service: '8001',
    calls: CALLS,
    ratePerS: CALLS_PER_S,
    limit: CALLS,
  };
  const filter = `udp and host ${NODE}`;
  await using capture = await startCapture(join(folder, 'outage.pcap'), filter);
  await using uac = startSippUac(run, load);
  await pause(10_000);

  postgres.stop('immediate');
  const awayAtMs = performance.now();
  const answers = await askWhileAway();
  await hangUpWhileAway();
  await pause(OUTAGE_MS - (performance.now() - awayAtMs));
  const { code, statistics } = await uac.result();
  const datagrams = await capture.finish();
  await postgres.start();
  const backAtMs = performance.now();

  assert.equal(code, 0, uac.log().slice(-800));
  assert.deepEqual([statistics.successful, statistics.failed], [CALLS, 0]);
  checkBeat(datagrams);
  for (const { path, status, ms } of answers) {
    assert.equal(status, 503, path);
    assert.ok(ms <= FAST_MS, `${path} answered 503 after ${Math.round(ms)} ms`);
  }
  const ids = await until('all records', DRAIN_MS, async () => {
    const found = await endedIds();
    return found.length === CALLS + 1 ? found : undefined;
  });
  console.log(
    `# ${ids.length} records complete ${Math.round(performance.now() - backAtMs)} ms after the database's return`,
  );
  const slowest = Math.max(...answers.map(({ ms }) => ms));
  console.log(
    `# slowest 503: ${Math.round(slowest)} ms; set up: worst ${Math.max(...statistics.inviteMs)} ms`,
  );
  await checkRecords(ids);
});

/** Every caller's stream from the agent is whole and keeps the beat, as it would with the database there. */
function checkBeat(datagrams: readonly Datagram[]): void {
  const streams = rtpStreams(datagrams).filter(
    ({ source, packets }) =>
      source.startsWith(`${NODE}:`) && packets.length >= (TALK_MS / 20) * 0.9,
  );
  assert.equal(streams.length, CALLS);
  for (const { source, missing, duplicated, reordered, deviation } of streams) {
    assert.deepEqual([missing, duplicated, reordered], [0, 0, 0], source);
    // Half a packet: what every jitter buffer takes without a sound.
    assert.ok(deviation.p99 < 10, `${source}: 99 % within ${deviation.p99} ms of the beat`);
  }
  const worst = Math.max(...streams.map(({ deviation }) => deviation.p99));
  console.log(`# deviation from 20 ms: worst p99 of a stream ${worst.toFixed(2)} ms`);
}

async function askWhileAway(): Promise<{ path: string; status: number; ms: number }[]> {
  const answers = [];
  const paths = [
    '/api/v1/call-records',
    '/api/v1/call-records/statistics',
    '/api/v1/agents',
    '/api/v1/call-answer-rules',
  ];
  for (let round = 0; round < 5; round++) {
    for (const path of paths) {
      const startMs = performance.now();
      const status = await server.get(path).then(
        () => 200,
        (error: unknown) => Number(/\b(\d{3})\b/.exec(String(error))?.[1] ?? 0),
      );
      answers.push({ path, status, ms: performance.now() - startMs });
    }
    await pause(1_000);
  }
  return answers;
}

async function hangUpWhileAway(): Promise<void> {
  const call = await placeCall({ target: `sip:4999@${NODE}` });
  try {
    await call.hearSpeech(0, 3000);
    const { calls } = await server.get<{ calls: { id: string; to: string }[] }>(
      '/v1/phone/calls?live=true&page_size=100',
    );
    const mine = calls.find(({ to }) => to === '4999');
    assert.ok(mine !== undefined, 'the call is not among the live ones');
    const ended = await server.post<{ status: string; hangup_reason: string }>(
      `/v1/phone/calls/${mine.id}/hangup`,
      {},
    );
    assert.deepEqual([ended.status, ended.hangup_reason], ['ended', 'ai']);
  } finally {
    await call.hangUp();
  }
}

async function endedIds(): Promise<string[]> {
  const ids: string[] = [];
  for (
    let cursor: string | null = null, isFirst = true;
    isFirst || cursor !== null;
    isFirst = false
  ) {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`;
    const page: {
      records: { id: string; status: string }[];
      pagination: { next_cursor: string | null };
    } = await server.get(`/api/v1/call-records?page_size=100&status=ended${query}`);
    ids.push(...page.records.map(({ id }) => id));
    cursor = page.pagination.next_cursor;
  }
  return ids;
}

/** Each SIP call has one record, each record one final event and no gap in its events. */
async function checkRecords(ids: readonly string[]): Promise<void> {
  assert.equal(new Set(ids).size, CALLS + 1);
  const sipCalls = new Set<string | null>();
  for (const id of ids) {
    const record = await server.record(id);
    sipCalls.add(record.sip_call_id);
    const { events } = await server.get<{ events: { type: string; seq: number }[] }>(
      `/api/v1/call-records/${id}/events?page_size=100`,
    );
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, at) => at + 1),
      id,
    );
    const finals = events.filter(({ type }) => /^call\.(?:ended|failed|timeout)$/.test(type));
    assert.deepEqual(
      finals.map(({ type }) => type),
      ['call.ended'],
      id,
    );
  }
  assert.equal(sipCalls.size, CALLS + 1);
}
