/** The ring of web calls between two real threads: whatever the writer drops under the reader's hands, nothing is torn. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { LossyRing } from '#media/lossy-ring.ts';

const LIMIT = 1000;
const SAMPLES = 2_000_000;
const WRAP = 32_768;

/** Writes 0, 1, 2 … in bursts of up to the limit, as fast as it can. */
const WRITER = `
  const { workerData, parentPort } = require('node:worker_threads');
  void import(workerData.module).then(({ LossyRing }) => {
    const ring = LossyRing.attach(workerData.buffer, ${LIMIT});
    let next = 0;
    while (next < ${SAMPLES}) {
      const count = 1 + ((next * 7919) % ${LIMIT});
      ring.write(Int16Array.from({ length: count }, (_, i) => (next + i) % ${WRAP}));
      next += count;
    }
    parentPort.postMessage(next);
  });
`;

test('what is read is whole, and what was written is read, dropped or waiting', async () => {
  const ring = LossyRing.create(LIMIT);
  const worker = new Worker(WRITER, {
    eval: true,
    workerData: {
      buffer: ring.buffer,
      module: import.meta.resolve('#media/lossy-ring.ts'),
    },
  });
  const finished = once(worker, 'message');
  let isOver = false;
  void finished.then(() => (isOver = true));
  const chunk = new Int16Array(160);
  let read = 0;
  for (let last = -1; !isOver || ring.available > 0;) {
    const count = ring.read(chunk);
    for (let i = 1; i < count; i++)
      assert.equal(chunk[i], ((chunk[i - 1] as number) + 1) % WRAP, `after ${read + i} samples`);
    read += count;
    if (read === last || count === 0) await nextTurn();
    else if (read % 100 === 0) await nextTurn();
    last = read;
  }
  const [written] = (await finished) as [number];
  assert.equal(ring.written, written);
  assert.equal(read + ring.dropped, written);
  assert.ok(ring.dropped > 0, 'the writer was faster');
  await worker.terminate();
});
