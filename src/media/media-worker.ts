/** Entry of a media worker thread: sockets, clocks and chains of its calls live here. */
import { parentPort } from 'node:worker_threads';
import { systemClock } from '#lib/clock.ts';
import { MediaHost } from './media-host.ts';
import type { MediaCommand, MediaReply } from './media-protocol.ts';
import { workerFineWait } from './pacer.ts';
import { openRtpSocket, openSocketCount } from './rtp-socket.ts';
import { loadSpeechClassifiers } from './vad.ts';

const port = parentPort;
if (port !== null) {
  const reply = (message: MediaReply): void => port.postMessage(message);
  const host = new MediaHost({
    clock: systemClock,
    wireOriginMs: performance.timeOrigin,
    fine: workerFineWait,
    openSocket: openRtpSocket,
    openSocketCount,
    newClassifier: await loadSpeechClassifiers(),
    reply,
  });
  port.on('message', (command: MediaCommand) => host.handle(command));
  reply({ type: 'ready' });
}
