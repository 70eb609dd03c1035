/**
 * Two thousand short calls, or LEAK_CALLS at LEAK_RATE a second: every socket, port, timer and actor is given back, and
 * memory stays where it was.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { placeCall } from '#src/demo/phone.ts';
import { attach, type Insight, type Inspector } from './tools/inspector.ts';
import { until } from './tools/process.ts';
import { SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';

const NODE = '127.0.0.21';
const INSPECTOR = `${NODE}:9229`;
const CALLS = Number(process.env['LEAK_CALLS'] ?? 2000);
const FIRST = CALLS / 4;
const RATE_PER_S = Number(process.env['LEAK_RATE'] ?? 15);
const TALK_MS = 300;
const LOOKS = 8;
const MAX_GROWTH_BYTES = Math.max(3 * 1024 * 1024, CALLS * 512);
/** Housekeeping that happens to wait at one look and not at another; what leaks with a call in twenty is a hundred. */
const LOOSE_TIMERS = 4;

let folder = '';
let server: Callyard;
let inspector: Inspector;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-leak-'));
  const nodeArgs = [`--inspect=${INSPECTOR}`];
  server = await startServer({ folder, address: NODE, script: SCRIPT, nodeArgs });
  inspector = await attach(INSPECTOR);
});
after(async () => {
  inspector?.close();
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

type State = {
  readonly insight: Insight;
  /** Resident memory of the server's process. */
  readonly rssBytes: number;
  readonly sockets: { readonly udp: number; readonly tcp: number };
  readonly actors: number;
};

test(`${CALLS} calls at ${RATE_PER_S}/s of ${TALK_MS} ms each`, async () => {
  await checkCounting();
  await place('warm-up', 19);
  const before = await settled();
  await place('first', FIRST - 20);
  const atFirst = await settled();
  await place('rest', CALLS - FIRST);
  const atEnd = await settled();

  const ids = await until('all records', 30_000, async () => {
    const found = await server.recordIds();
    return found.length >= CALLS ? found : undefined;
  });
  assert.equal(ids.length, CALLS);
  assert.equal(new Set(ids).size, CALLS);

  const grownBytes =
    atEnd.insight.mainBytes +
    atEnd.insight.workerBytes -
    atFirst.insight.mainBytes -
    atFirst.insight.workerBytes;
  console.log(
    `# heap + external, call ${FIRST} to ${CALLS}: main ${kib(atFirst.insight.mainBytes)} -> ${kib(atEnd.insight.mainBytes)}, workers ${kib(atFirst.insight.workerBytes)} -> ${kib(atEnd.insight.workerBytes)} KiB`,
  );
  console.log(
    `# sockets ${JSON.stringify(before.sockets)} -> ${JSON.stringify(atEnd.sockets)}, actors ${before.actors} -> ${atEnd.actors}, timers ${before.insight.timers.length} -> ${atEnd.insight.timers.length}`,
  );
  const rssPerCall = (atEnd.rssBytes - atFirst.rssBytes) / (CALLS - FIRST);
  console.log(
    `# RSS ${kib(before.rssBytes)} -> ${kib(atFirst.rssBytes)} -> ${kib(atEnd.rssBytes)} KiB, ${Math.round(rssPerCall)} bytes a call from call ${FIRST} on`,
  );
  assert.ok(grownBytes <= MAX_GROWTH_BYTES, `grown by ${kib(grownBytes)} KiB`);
  assert.deepEqual(atEnd.sockets, before.sockets, 'sockets of the process');
  assert.ok(
    before.sockets.udp > 0 && before.sockets.tcp > 0,
    'the socket count sees the listeners',
  );
  assert.equal(atEnd.actors, before.actors, 'live XState actors');
  const shown = `${before.insight.timers.length} -> ${atEnd.insight.timers.length}`;
  assert.ok(
    atEnd.insight.timers.length <= before.insight.timers.length + LOOSE_TIMERS,
    `timers ${shown}:\n${atEnd.insight.timers.join('\n')}`,
  );
  for (const kind of ['UDPWrap', 'TCPServerWrap', 'MessagePort', 'Worker']) {
    const [was, is] = [before, atEnd].map((state) => state.insight.resources.get(kind) ?? 0);
    assert.equal(is, was, `${kind}: ${was} at the start, ${is} at the end`);
  }
});

/** The counts must move with a live call, or "back to start" would prove nothing. */
async function checkCounting(): Promise<void> {
  const idle = openSockets(server.pid);
  const idleTimers = callTimers((await inspector.look()).timers);
  const call = await placeCall({ target: `sip:8001@${NODE}` });
  try {
    await call.hearSpeech(0, 3000);
    assert.ok((await inspector.countObjects('Actor')) > 0, 'no actor seen in a live call');
    const timers = callTimers((await inspector.look()).timers);
    // By what they do: just after a start there are more of others, which come and go.
    const own = timers.filter((source) => !idleTimers.includes(source));
    assert.ok(own.length > 0, 'no timer seen in a live call');
    assert.ok(openSockets(server.pid).udp > idle.udp, 'no RTP socket seen in a live call');
  } finally {
    await call.hangUp();
  }
}

async function place(name: string, calls: number): Promise<void> {
  const xml = uacXml({ talkMs: TALK_MS });
  const timeoutS = Math.ceil(calls / RATE_PER_S) + 60;
  const run = { folder, name, xml, address: '127.0.0.11', mediaPort: 17000, timeoutS };
  const load = { target: `${NODE}:5060`, service: '8001', calls, ratePerS: RATE_PER_S, limit: 100 };
  await using uac = startSippUac(run, load);
  const { code, statistics } = await uac.result();
  assert.equal(code, 0, uac.log().slice(-800));
  assert.equal(statistics.successful, calls);
}

/** Waits out what may rightly linger: transactions (timer J, 32 s), idle HTTP connections. */
async function settled(): Promise<State> {
  await sleep(40_000);
  const insights: Insight[] = [];
  for (let look = 0; look < LOOKS; look++) {
    insights.push(await inspector.look());
    await sleep(1000);
  }
  const actors = await inspector.countObjects('Actor');
  const rssBytes = residentBytes(server.pid);
  return { insight: summaryOf(insights), rssBytes, sockets: openSockets(server.pid), actors };
}

/** Timers without those of the database pool, which has one for each connection that idles, and as many as it likes. */
function callTimers(timers: readonly string[]): string[] {
  return timers.filter((source) => !source.includes('remove idle client'));
}

/** Housekeeping comes and goes between looks: memory and handles at their lowest, timers at their most. */
function summaryOf(insights: readonly Insight[]): Insight {
  const kinds = new Set(insights.flatMap(({ resources }) => [...resources.keys()]));
  const least = (read: (insight: Insight) => number): number => Math.min(...insights.map(read));
  return {
    mainBytes: least((insight) => insight.mainBytes),
    workerBytes: least((insight) => insight.workerBytes),
    timers: insights
      .map(({ timers }) => callTimers(timers))
      .reduce((a, b) => (b.length > a.length ? b : a)),
    resources: new Map(
      [...kinds].map((kind) => [kind, least(({ resources }) => resources.get(kind) ?? 0)]),
    ),
  };
}

/**
 * Open sockets of the process by protocol. TCP counts what concerns calls (SIP and HTTP): the database pool opens and
 * closes connections as it likes, within its own limit.
 */
function openSockets(pid: number): { udp: number; tcp: number } {
  const inodes = new Set(socketInodes(pid));
  const rows = (table: string): string[][] =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
  const ours = (table: string): string[][] => rows(table).filter((row) => inodes.has(row[9] ?? ''));
  const callPorts = [':13C4', ':1F90'];
  const concernsCalls = (row: string[]): boolean =>
    callPorts.some((port) => row[1]?.endsWith(port) || row[2]?.endsWith(port));
  return { udp: ours('udp').length, tcp: ours('tcp').filter(concernsCalls).length };
}

function socketInodes(pid: number): string[] {
  const folderOfFds = `/proc/${pid}/fd`;
  return readdirSync(folderOfFds).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(join(folderOfFds, fd)))?.[1] ?? [];
    } catch (error) {
      // A descriptor closed between listing and reading is not open.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1]) * 1024;
}

function kib(bytes: number): number {
  return Math.round(bytes / 1024);
}
