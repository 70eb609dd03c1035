/** The process that _media-echo.ts loads: `raw` or `chain`, first port, the phones' ports. Answers with its CPU time. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { systemClock } from '#lib/clock.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import { buildChain } from '#media/media-chain.ts';
import type { MediaEvent } from '#media/types.ts';
import { Pacer, workerFineWait } from '#media/pacer.ts';
import { openRtpSocket } from '#media/rtp/rtp-socket.ts';
import { UtteranceMarks } from '#media/playout/utterance-marks.ts';
import { loadSpeechClassifiers } from '#media/speech/vad.ts';

const [mode, firstPort, phonePorts = ''] = process.argv.slice(2);
const phones = phonePorts.split(',').map(Number);

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.(user + system);
});
process.on('disconnect', () => process.exit(0));

if (mode === 'raw') await rawEchoes();
else await chainEchoes();
process.send?.(0);

async function rawEchoes(): Promise<void> {
  for (const [i, phone] of phones.entries()) {
    const socket = createSocket('udp4');
    socket.bind(Number(firstPort) + 2 * i, '127.0.0.1');
    await once(socket, 'listening');
    socket.connect(phone, '127.0.0.1');
    await once(socket, 'connect');
    socket.on('message', (bytes) => socket.send(bytes));
  }
}

/** A chain that has failed costs nothing, and would look very good. */
function refuse(event: MediaEvent): void {
  if (event.type === 'media.failed') throw new Error(event.message);
}

async function chainEchoes(): Promise<void> {
  const newClassifier = await loadSpeechClassifiers();
  const pacer = new Pacer({ clock: systemClock, fine: workerFineWait });
  for (const [i, phone] of phones.entries()) {
    // What the caller says is what the agent plays: one ring, written and read by the chain.
    const ring = SampleRing.create(8000);
    const marks = UtteranceMarks.create();
    marks.begin(1);
    const chain = buildChain({
      clock: systemClock,
      wireOriginMs: 0,
      transport: await openRtpSocket('127.0.0.1', Number(firstPort) + 2 * i),
      pacer,
      classifier: newClassifier(),
      callerRing: ring,
      playoutRing: ring,
      marks,
      record: null,
      firstRtpTimeoutMs: 30_000,
      rtpTimeoutMs: 15_000,
      cname: 'bench',
      emit: refuse,
      tellRoom: () => undefined,
    });
    chain.start({
      codec: 'PCMU',
      payloadType: 0,
      receivePayloadType: 0,
      dtmfPayloadType: 101,
      remoteAddress: '127.0.0.1',
      remotePort: phone,
      send: true,
      receive: true,
    });
  }
}
