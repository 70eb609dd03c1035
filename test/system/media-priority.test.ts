/** A media worker stands before the rest of its process, or goes on as it was where the system refuses. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { silentLog, type Log } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';

type Thread = { readonly nice: number; readonly priority: number; readonly policy: number };
const SCHED_RR = 2;

/** All threads of this process (proc(5): fields 19, 40 and 41 of stat). */
function threads(): Thread[] {
  const folder = '/proc/self/task';
  return readdirSync(folder).map((thread) => {
    const stat = readFileSync(`${folder}/${thread}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [nice = 0, priority = 0, policy = 0] = [16, 37, 38].map((at) => Number(fields[at]));
    return { nice, priority, policy };
  });
}

const isLinux = process.platform === 'linux';
const PRIORITY = new URL('../../src/media/thread-priority.ts', import.meta.url);

/** What a thread of this process is granted here, and what one that it starts then has. */
async function granted(mayBeRealtime: boolean): Promise<string> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     import('${PRIORITY.href}').then(({ goFirst }) => goFirst(${mayBeRealtime}))
       .then((standing) => parentPort.postMessage(standing));`,
    { eval: true },
  );
  return await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** What the workers of an engine say of themselves. */
async function toldBy(t: TestContext, mayBeRealtime: boolean): Promise<unknown[]> {
  const told: unknown[] = [];
  const info: Log['info'] = (name, fields) => {
    if (name === 'media.worker.ready') told.push(fields?.['standing']);
  };
  const rtpPorts = { first: 24_120, last: 24_139 };
  const log = { ...silentLog, info };
  const engine = createMediaEngine({ rtpPorts, log, workers: 2, mayBeRealtime });
  t.after(() => engine.close());
  await engine.ready();
  return told;
}

test('the thread of each worker goes first, if any may', { skip: !isLinux }, async (t) => {
  const before = threads();
  assert.ok(before.every(({ nice, policy }) => nice === before[0]?.nice && policy !== SCHED_RR));
  const standing = await granted(true);
  const told = await toldBy(t, true);
  assert.deepEqual(told, [standing, standing]);
  const first = threads().filter(({ policy }) => policy === SCHED_RR);
  assert.deepEqual(
    first.map(({ priority }) => priority),
    standing === 'realtime' ? [1, 1] : [],
  );
});

test('no class of its own for those who do not want it', { skip: !isLinux }, async (t) => {
  const mine = threads()[0]?.nice ?? 0;
  const standing = await granted(false);
  assert.notEqual(standing, 'realtime');
  const told = await toldBy(t, false);
  assert.deepEqual(told, [standing, standing]);
  assert.ok(threads().every(({ policy }) => policy !== SCHED_RR));
  const raised = threads().filter(({ nice }) => nice === mine - 10);
  assert.equal(raised.length, standing === 'raised' ? 2 : 0);
});
