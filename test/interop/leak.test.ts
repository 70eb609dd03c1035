/** Two thousand short calls: every socket, port, timer and actor is given back, and memory stays where it was. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { attach, type Insight, type Inspector } from './tools/inspector.ts';
import { until } from './tools/process.ts';
import { SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';

const NODE = '127.0.0.21';
const INSPECTOR = `${NODE}:9229`;
const CALLS = 2000;
const FIRST = 500;
const RATE_PER_S = 10;
const TALK_MS = 300;
const MAX_GROWTH_BYTES = 3 * 1024 * 1024;

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

type State = { readonly insight: Insight; readonly sockets: number; readonly actors: number };

test(`${CALLS} calls at ${RATE_PER_S}/s of ${TALK_MS} ms each`, async () => {
  await place('warm-up', 20);
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
    `# sockets ${before.sockets} -> ${atEnd.sockets}, actors ${before.actors} -> ${atEnd.actors}, resources ${JSON.stringify([...atEnd.insight.resources])}`,
  );
  assert.ok(grownBytes <= MAX_GROWTH_BYTES, `grown by ${kib(grownBytes)} KiB`);
  assert.equal(atEnd.sockets, before.sockets, 'sockets of the process');
  assert.equal(atEnd.actors, before.actors, 'live XState actors');
  for (const kind of ['Timeout', 'UDPSocketWrap', 'TCPServerWrap', 'MessagePort', 'Worker']) {
    const [was, is] = [before, atEnd].map((state) => state.insight.resources.get(kind) ?? 0);
    assert.equal(is, was, `${kind}: ${was} at the start, ${is} at the end`);
  }
});

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
  return {
    insight: await inspector.look(),
    sockets: udpSockets(server.pid),
    actors: await inspector.countObjects('Actor'),
  };
}

/** Open sockets of the process, those of the database pool and of the suite's own connections included. */
function udpSockets(pid: number): number {
  const folderOfFds = `/proc/${pid}/fd`;
  const targets = readdirSync(folderOfFds).flatMap((fd) => {
    try {
      return [readlinkSync(join(folderOfFds, fd))];
    } catch (error) {
      // A descriptor closed between listing and reading is not open.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
  return targets.filter((target) => target.startsWith('socket:')).length;
}

function kib(bytes: number): number {
  return Math.round(bytes / 1024);
}
