/**
 * What the machine itself allows while the lateness of packets is measured: a thread that does nothing but wait on a word
 * until the next 5 ms, and keeps how late it woke. Told anything, it answers with the 99th percentile in ms since then.
 */
import { parentPort } from 'node:worker_threads';

const SLOT_MS = 5;
/** Messages are looked for this often. */
const SLICE = 40;

const word = new Int32Array(new SharedArrayBuffer(4));
let late: number[] = [];
parentPort?.on('message', () => {
  parentPort?.postMessage(late.toSorted((a, b) => a - b)[Math.floor(late.length * 0.99)] ?? 0);
  late = [];
});

const originMs = performance.now();
let slot = 0;
const watch = (): void => {
  for (let i = 0; i < SLICE; i++) {
    slot = Math.max(slot + 1, Math.floor((performance.now() - originMs) / SLOT_MS) + 1);
    const dueMs = originMs + slot * SLOT_MS;
    Atomics.wait(word, 0, 0, dueMs - performance.now());
    late.push(performance.now() - dueMs);
  }
  setImmediate(watch);
};
watch();
