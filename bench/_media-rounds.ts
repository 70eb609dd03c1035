/**
 * When the phones of a load send: each every 20 ms, at a place in them of its own that is drawn once. Phones keep no common
 * time; sent together, their packets would be a load that no network brings, and one that pays for the few wakes of
 * whoever serves them.
 */
import { randomOf } from './_turn-random.ts';

const FRAME_MS = 20;
const SEED = 101;
/** The loop looks at its sockets at least this often. */
const MOST_WAIT_MS = 1;

const sleepWord = new Int32Array(new SharedArrayBuffer(4));

/** Calls `speak` for each of `count` phones every 20 ms, until the answer is called. */
export function everyFrame(count: number, speak: (phone: number) => void): () => void {
  const random = randomOf(SEED);
  const places = Array.from({ length: count }, (_, phone) => ({
    phone,
    ms: random.next() * FRAME_MS,
  }));
  places.sort((one, other) => one.ms - other.ms);
  const originMs = performance.now();
  let turn = 0;
  const dueMs = (): number =>
    originMs + Math.floor(turn / count) * FRAME_MS + (places[turn % count]?.ms ?? 0);
  const step = (): void => {
    for (; dueMs() <= performance.now(); turn++) speak(places[turn % count]?.phone ?? 0);
    // Timers of Node know whole milliseconds only.
    Atomics.wait(sleepWord, 0, 0, Math.min(MOST_WAIT_MS, Math.max(0, dueMs() - performance.now())));
    timer = setImmediate(step);
  };
  let timer = setImmediate(step);
  return () => clearImmediate(timer);
}
