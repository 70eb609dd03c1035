/** Entry of a media worker thread: sockets, clocks and chains of its calls live here. */
import { access } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#lib/clock.ts';
import { MediaHost } from './media-host.ts';
import { createOpusThread } from './recording/opus-thread.ts';
import type { MediaCommand, MediaReply, MediaWorkerData } from './media-protocol.ts';
import { workerFineWait } from './pacer.ts';
import { loadOpus } from './codec/opus-codec.ts';
import { openRtpSocket, openSocketCount } from './rtp/rtp-socket.ts';
import { SileroThread } from './speech/silero-thread.ts';
import { goFirst } from './thread-priority.ts';
import { loadSpeechClassifiers } from './speech/vad.ts';
import { startPulse, WorkerPulse } from './worker-pulse.ts';

const port = parentPort;
if (port !== null) {
  await loadOpus();
  const reply = (message: MediaReply): void => port.postMessage(message);
  const { pulse, vad = 'fvad', mayBeRealtime = true } = workerData as MediaWorkerData;
  const newDetector = await loadSpeechClassifiers();
  const onFailed = (message: string): void => reply({ type: 'silero.failed', message });
  const silero = vad === 'fvad' ? null : new SileroThread({ ...vad, clock: systemClock, onFailed });
  const host = new MediaHost({
    clock: systemClock,
    wireOriginMs: performance.timeOrigin,
    fine: workerFineWait,
    openSocket: openRtpSocket,
    openSocketCount,
    newClassifier: () => silero?.classifier(newDetector()) ?? newDetector(),
    silero,
    openEncoder: createOpusThread().open,
    reply,
  });
  port.on('message', (command: MediaCommand) => host.handle(command));
  startPulse({
    pulse: WorkerPulse.attach(pulse),
    clock: systemClock,
    cpuMs: () => {
      const { user, system } = process.threadCpuUsage();
      return (user + system) / 1000;
    },
    sessions: () => host.size,
  });
  // The pool for files is made by the first who needs it, and inherits from him: not what is for this thread only.
  await access(process.execPath);
  reply({ type: 'ready', standing: await goFirst(mayBeRealtime) });
}
