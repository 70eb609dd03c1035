/** A media worker stands before the rest of its process, or goes on as it was where the system refuses. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { test } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import { setThreadPriority } from '#media/thread-priority.ts';

/** Nice values of all threads of this process (proc(5): field 19 of stat). */
function niceValues(): number[] {
  const folder = '/proc/self/task';
  return readdirSync(folder).map((thread) => {
    const stat = readFileSync(`${folder}/${thread}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
}

const isLinux = process.platform === 'linux';

test('one thread of each worker goes first, if any may', { skip: !isLinux }, async (t) => {
  const mine = getPriority();
  const inFront = (): number => niceValues().filter((nice) => nice < mine).length;
  assert.equal(inFront(), 0);
  const mayRaise = setThreadPriority('timed');
  assert.equal(inFront(), mayRaise ? 1 : 0);
  assert.equal(getPriority(), mayRaise ? mine - 10 : mine);
  // Back by the value itself: this thread is the one that others go by.
  if (mayRaise) setPriority(mine);
  assert.equal(inFront(), 0);
  const rtpPorts = { first: 24_120, last: 24_139 };
  const engine = createMediaEngine({ rtpPorts, log: silentLog, workers: 2 });
  t.after(() => engine.close());
  await engine.ready();
  assert.equal(inFront(), mayRaise ? 2 : 0);
});
