/**
 * Twenty thousand short calls (SHORT_CALLS says how many) through the media engine, and a tenth as many through the whole
 * server: memory does not grow with them, and every port, socket, timer and session is given back. What is alive on the
 * heaps tells a leak to a few bytes; resident memory has the allocator's steps in it, which come ever more seldom.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Worker } from 'node:worker_threads';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine, type LocalMediaEngine } from '#media/media-client.ts';
import { placeCall } from '#src/demo/phone.ts';
import { attach } from '../interop/tools/inspector.ts';
import { SCRIPT } from '../interop/tools/script.ts';
import { startServer } from '../interop/tools/server.ts';
import { RtpPhone, tone } from '../system/_rtp-phone.ts';
import { slopeOf, type Sample } from './_memory-slope.ts';

const CALLS = Number(process.env['SHORT_CALLS'] ?? 20_000);
const AT_ONCE = 40;
const SAMPLES = 40;
/** Until then pools fill and code is compiled. */
const WARM_UP_SHARE = 0.5;
const MAX_BYTES_PER_CALL = 512;
/** Of what is alive after a collection: one small object kept for each call is more than this. */
const MAX_ALIVE_PER_CALL = 64;
const NODE = '127.0.0.23';
const INSPECTOR = `${NODE}:9229`;
const SERVER_SAMPLES = 20;
/** SIP remembers a transaction for 32 s (RFC 3261 17.2): only after twice that is as much forgotten as comes. */
const LINGER_MS = 70_000;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: object) => void;

/** All there is; and pages that a heap only keeps for later go back to the system, or RSS would tell of these. */
const collect = (): void => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });

type Limit = { readonly what: string; readonly bytes?: number; readonly warmUpShare?: number };

/** The slope itself has to be within the limit, and known well enough to say so. */
function check(
  samples: readonly Sample[],
  { what, bytes: limit = MAX_BYTES_PER_CALL, warmUpShare = WARM_UP_SHARE }: Limit,
): void {
  const settled = samples.filter(
    ({ calls }) => calls >= warmUpShare * (samples.at(-1)?.calls ?? 0),
  );
  const { slope, error } = slopeOf(settled);
  const kib = (bytes = 0): string => (bytes / 1024).toFixed(0);
  const figures = `${slope.toFixed(0)} bytes per call (+-${error.toFixed(0)}), ${kib(settled[0]?.bytes)} -> ${kib(settled.at(-1)?.bytes)} KiB`;
  console.log(`# ${what}: ${figures}`);
  assert.ok(slope <= limit, `${what}: ${figures}`);
  assert.ok(error <= limit / 2, `too few calls to tell; ${what}: ${figures}`);
}

test(`${CALLS} short calls through the engine`, async (t) => {
  const rtpPorts = { first: 24_400, last: 24_400 + 8 * AT_ONCE - 1 };
  const workers: Worker[] = [];
  const onWorker = (message: unknown): number =>
    workers.push((message as { worker: Worker }).worker);
  subscribe('worker_threads', onWorker);
  const workerEntry = new URL('../system/_mortal-media-worker.ts', import.meta.url);
  const engine = createMediaEngine({ rtpPorts, log: silentLog, workers: 2, workerEntry });
  unsubscribe('worker_threads', onWorker);
  t.after(() => engine.close());
  await engine.ready();
  const phones = await Promise.all(Array.from({ length: AT_ONCE }, () => RtpPhone.open()));
  t.after(() => phones.forEach((phone) => phone.close()));
  const resident: Sample[] = [];
  const alive: Sample[] = [];
  const each = Math.ceil(CALLS / SAMPLES);
  let sent = 0;
  for (let done = 0; done < CALLS; done += each) {
    let left = each;
    await Promise.all(
      phones.map(async (phone) => {
        while (left-- > 0) {
          const packets = await shortCall(engine, phone);
          sent += packets;
        }
      }),
    );
    const calls = done + each;
    alive.push({ calls, bytes: await aliveBytes(workers) });
    resident.push({ calls, bytes: process.memoryUsage.rss() });
  }
  assert.ok(sent > CALLS, `${sent} packets were sent`);
  assert.deepEqual(await engine.census(), { sessions: 0, sockets: 0, timers: 0 });
  assert.equal(engine.leasedPorts, 0);
  assert.deepEqual(engine.workers, { up: 2, total: 2, deaths: 0 });
  check(alive, { what: 'alive in the engine', bytes: MAX_ALIVE_PER_CALL });
  check(resident, { what: 'RSS of the engine' });
});

/** Of all threads, on their heaps and outside: the least of several looks, as a thread may collect after one. */
async function aliveBytes(workers: readonly Worker[]): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 4; look++) {
    collect();
    for (const worker of workers) worker.postMessage({ collect: true });
    await sleep(100);
    const { heapUsed, external } = process.memoryUsage();
    let bytes = heapUsed + external;
    for (const heap of await Promise.all(workers.map((worker) => worker.getHeapStatistics()))) {
      bytes += heap.used_heap_size + heap.external_memory;
    }
    least = Math.min(least, bytes);
  }
  return least;
}

/** Opened, talked both ways for three packets, closed; returns how many were sent to the phone. */
async function shortCall(engine: LocalMediaEngine, phone: RtpPhone): Promise<number> {
  const session = await engine.open({
    ...{ callId: 'short', localAddress: '127.0.0.1', recordingPath: null },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
  });
  session.onEvent(() => undefined);
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
    ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  });
  session.beginUtterance(1);
  const written = session.write(1, tone(440, 60));
  session.endUtterance(1);
  await phone.play(tone(300, 60), session.localPort);
  await written;
  const { stats } = await session.close();
  phone.heard.length = 0;
  phone.sentAtMs.length = 0;
  return stats.packetsSent;
}

test(`${CALLS / 10} short calls through the whole server`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-short-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { CALLYARD_RECORDING: 'off', CALLYARD_LOG_LEVEL: 'warn' };
  const nodeArgs = [`--inspect=${INSPECTOR}`];
  const options = { folder, address: NODE, script: SCRIPT, env, nodeArgs };
  await using server = await startServer(options);
  const inspector = await attach(INSPECTOR);
  // Before the server: a process that is looked into does not end.
  using _closing = { [Symbol.dispose]: () => inspector.close() };
  const target = `sip:8001@${NODE}:5060`;
  const samples: Sample[] = [];
  const each = Math.ceil(CALLS / 10 / SERVER_SAMPLES);
  const dial = async (calls: number): Promise<void> => {
    let left = calls;
    const caller = async (): Promise<void> => {
      while (left-- > 0) {
        const phone = await placeCall({ target, codecs: ['PCMU'] });
        await sleep(100);
        await phone.hangUp();
      }
    };
    await Promise.all(Array.from({ length: 8 }, caller));
  };
  await dial(20);
  await sleep(3000);
  const before = socketsOf(server.pid);
  const steadyMs = performance.now() + LINGER_MS;
  while (performance.now() < steadyMs) await dial(40);
  for (let done = 0; done < CALLS / 10; done += each) {
    await dial(each);
    await inspector.look();
    samples.push({ calls: done + each, bytes: rssOf(server.pid) });
  }
  await sleep(5000);
  assert.equal(socketsOf(server.pid), before, 'UDP sockets of the server');
  check(samples, { what: 'RSS of the server', warmUpShare: 0 });
});

function rssOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

/** Open UDP sockets of a process. */
function socketsOf(pid: number): number {
  const udp = ['udp', 'udp6']
    .map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8'))
    .join('');
  const inodes = new Set(
    [...udp.matchAll(/^\s*\d+:.*$/gm)].map(([line]) => line.trim().split(/\s+/)[9]),
  );
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return inodes.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? '');
    } catch {
      // Closed since the folder was read.
      return false;
    }
  }).length;
}
