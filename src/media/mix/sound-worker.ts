/** One built-in background, made beside the main thread: its name in `workerData`, the sound as the only message. */
import { parentPort, workerData } from 'node:worker_threads';
import { BACKGROUND_NAMES, backgroundSound } from './built-in-sounds.ts';

const name = BACKGROUND_NAMES.find((each) => each === workerData);
if (name === undefined) throw new Error('there is no background of that name');
parentPort?.postMessage(backgroundSound(name));
