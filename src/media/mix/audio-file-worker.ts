/** One sound file, decoded beside the main thread: the file in `workerData`, the result as the only message. */
import { parentPort, workerData } from 'node:worker_threads';
import { decodeAudioFile } from './audio-file-decode.ts';

const result = await decodeAudioFile(workerData as Uint8Array);
parentPort?.postMessage(result, result.ok ? [result.pcm.buffer as ArrayBuffer] : []);
