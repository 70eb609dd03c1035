/** Entry of the worker thread: runs the engine off the main thread, takes orders and sends logs by message. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#lib/clock.ts';
import type { Log, LogFields } from '#lib/log.ts';
import { createEngine } from './engine.ts';
import type { Engine } from './engine.ts';
import { plainError, plainFields } from './engine-messages.ts';
import type { FromWorker, LogLevelName, ToWorker, WorkerOptions } from './engine-messages.ts';

function post(message: FromWorker): void {
  parentPort?.postMessage(message);
}

/** Lines per second below `error`: a flood of bad packets must not become a flood of messages. */
const MAX_LINES_PER_S = 200;

let lines = 0;
let dropped = 0;
let countedFromMs = systemClock.now();

/** True when one more line may go out now. */
function mayLog(): boolean {
  const nowMs = systemClock.now();
  if (nowMs - countedFromMs >= 1000) {
    if (dropped > 0) {
      post({ type: 'log', level: 'warn', event: 'log.dropped', fields: { count: dropped } });
    }
    [countedFromMs, lines, dropped] = [nowMs, 0, 0];
  }
  if (lines >= MAX_LINES_PER_S) dropped++;
  else lines++;
  return dropped === 0;
}

/** Fields go over as they are: the parent's log decides about levels and personal data. */
function logToParent(base: LogFields): Log {
  const at =
    (level: LogLevelName): Log['info'] =>
    (event, fields) => {
      if (level !== 'error' && !mayLog()) return;
      post({ type: 'log', level, event, fields: plainFields({ ...base, ...fields }) });
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => logToParent({ ...base, ...fields }),
  };
}

async function obey(engine: Engine, order: ToWorker): Promise<void> {
  switch (order.type) {
    case 'census':
      post({ type: 'census', id: order.id, census: engine.census() });
      break;
    case 'overload':
      engine.setOverload(order.retryAfterS);
      break;
    case 'close':
      await engine.close();
      post({ type: 'closed' });
      // Nothing keeps the thread alive from here on.
      parentPort?.close();
      break;
  }
}

async function run(options: WorkerOptions): Promise<void> {
  try {
    const engine = await createEngine({ ...options, log: logToParent({}) });
    parentPort?.on('message', (order: ToWorker) => {
      obey(engine, order).catch((error: unknown) => {
        post({
          type: 'log',
          level: 'error',
          event: 'engine.failed',
          fields: plainFields({ error }),
        });
      });
    });
    post({ type: 'ready', listening: engine.listening, controlPort: engine.controlPort });
  } catch (error) {
    post({ type: 'failed', error: plainError(error) });
  }
}

await run(workerData as WorkerOptions);
