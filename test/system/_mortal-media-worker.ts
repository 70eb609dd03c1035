/**
 * A media worker that dies when told to: `{ die: 'throw' | 'exit' | 'memory' | 'loop' }`, and collects its garbage when
 * told `{ collect: true }`. Otherwise the real one.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort } from 'node:worker_threads';
import '#media/media-worker.ts';

export type Death = 'throw' | 'exit' | 'memory' | 'loop';

const WAYS: Record<Death, () => void> = {
  throw: () => {
    throw new Error('killed by a test');
  },
  exit: () => process.exit(7),
  memory: () => {
    const held: number[][] = [];
    for (;;) held.push(new Array<number>(1_000_000).fill(held.length + 0.5));
  },
  loop: () => {
    for (;;);
  },
};

// Once: each new context would itself be what is weighed.
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: object) => void;

/** All there is, and pages that are only kept for later go back to the system. */
const collect = (): void => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });

type Order = { readonly die?: Death; readonly collect?: true };

parentPort?.on('message', (message: Order) => {
  if (message.die !== undefined) WAYS[message.die]();
  if (message.collect === true) collect();
});
