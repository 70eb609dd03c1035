/** Entry of a Silero thread: one model for all calls of a media worker. It ends with that worker. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '#lib/errors.ts';
import { loadOnnxRuntime, openSileroModel } from './silero-model.ts';
import { SileroSlots, type SileroMemory } from './silero-slots.ts';
import { goWithOthers } from '../thread-priority.ts';

/** Also without work the thread looks at its memory this often. */
const IDLE_MS = 1000;

if (parentPort !== null) {
  // Not that of the media worker which started it: no packet waits for this thread.
  goWithOthers();
  // Waiting for shared memory does not keep a thread alive; a listener does.
  parentPort.on('message', () => undefined);
  const data = workerData as { memory: SileroMemory; model: string; runtime: string };
  const slots = new SileroSlots(data.memory);
  try {
    const model = await openSileroModel(loadOnnxRuntime(data.runtime), data.model);
    slots.state = 'ready';
    parentPort.postMessage({ type: 'ready' });
    for (;;) {
      const { bell } = slots;
      if ((await model.judge(slots)) === 0) await slots.changed(bell, IDLE_MS);
    }
  } catch (error) {
    slots.state = 'failed';
    parentPort.postMessage({ type: 'failed', message: messageOf(error) });
    parentPort.close();
  }
}
