/**
 * CPU of the media chain alone, without sockets: so many calls on a simulated clock, each hears a packet every 20 ms and
 * says it back, as in _media-echo.ts. Prints us per packet; run it under --cpu-prof to see where they go.
 * Arguments: calls (default 100), seconds of call time (default 20).
 */
import { SimulatedClock } from '#lib/clock.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import { buildChain } from '#media/media-chain.ts';
import { Pacer } from '#media/pacer.ts';
import type { DatagramListener, RtpTransport } from '#media/rtp/rtp-socket.ts';
import type { MediaEvent } from '#media/types.ts';
import { UtteranceMarks } from '#media/playout/utterance-marks.ts';
import { loadSpeechClassifiers } from '#media/speech/vad.ts';

const CALLS = Number(process.argv[2] ?? 100);
const SECONDS = Number(process.argv[3] ?? 20);
const IS_COLD = process.argv[4] === 'cold';
const COLD_STEP_MS = 5;
const WARM_UP_S = 4;
/** No whole number: those of a real clock are none either, and cost more. */
const STEP_MS = 1 + 1 / 8192;
/** One loud second and one quiet one. */
const WINDOW_S = 2;
const ADDRESS = '127.0.0.1';
const FIRST_PORT = 4000;

/** A network that only counts. */
class CountingTransport implements RtpTransport {
  readonly sendErrors = 0;
  sent = 0;
  hear: DatagramListener = () => undefined;

  onDatagram(listener: DatagramListener): void {
    this.hear = listener;
  }

  send(): void {
    this.sent++;
  }

  aimAt(): void {}
  connect(): void {}
  disconnect(): void {}
  onRtcp(): void {}
  routeRtcp(): void {}
  sendRtcp(): void {}
  close(): void {}
}

const clock = new SimulatedClock();
const pacer = new Pacer({ clock });
const newClassifier = await loadSpeechClassifiers();
const spare = rtpPacket(0);
const sleepWord = new Int32Array(new SharedArrayBuffer(4));
const calls = Array.from({ length: CALLS }, (_, i) => openCall(i));

run(WARM_UP_S);
const sentBefore = sentCount();
const windows = Array.from({ length: SECONDS / WINDOW_S }, () => costOf(WINDOW_S)).toSorted(
  (a, b) => a - b,
);
const sent = (sentCount() - sentBefore) / (CALLS * SECONDS * 50);
const [least = 0, middle = 0] = [windows[0], windows[windows.length >> 1]];
// Beside other work caches are cold and clocks slow: the least is what compares from run to run.
console.log(`us per packet: least ${least.toFixed(2)}, median ${middle.toFixed(2)}`);
console.log(`(${CALLS} calls, ${sent.toFixed(3)} packets sent per packet heard)`);
process.exit(0);

function openCall(index: number) {
  const transport = new CountingTransport();
  const ring = SampleRing.create(8000);
  const marks = UtteranceMarks.create();
  marks.begin(1);
  const chain = buildChain({
    ...{ clock, wireOriginMs: 0, transport, pacer, marks, record: null, cname: 'bench' },
    ...{ classifier: newClassifier(), callerRing: ring, playoutRing: ring },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
    ...{ emit: refuse, tellRoom: () => undefined },
  });
  chain.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
    ...{ remoteAddress: ADDRESS, remotePort: FIRST_PORT + index, send: true, receive: true },
  });
  return { transport, packet: rtpPacket(index), port: FIRST_PORT + index };
}

/** CPU per packet over so many seconds of call time, less that of making the packets. */
function costOf(seconds: number): number {
  const before = cpuUs();
  run(seconds);
  const between = cpuUs();
  for (let i = 0; i < CALLS * seconds * 50; i++) advance(spare);
  const makingUs = cpuUs() - between;
  return (between - before - makingUs) / (CALLS * seconds * 50);
}

/** A chain that has failed costs nothing, and would look very good. */
function refuse(event: MediaEvent): void {
  if (event.type === 'media.failed') throw new Error(event.message);
}

function run(seconds: number): void {
  const startMs = performance.now();
  for (let ms = 0; ms < seconds * 1000; ms++) {
    if (IS_COLD && ms % COLD_STEP_MS === 0) {
      Atomics.wait(sleepWord, 0, 0, Math.max(0, startMs + ms - performance.now()));
    }
    for (let i = ms % 20; i < CALLS; i += 20) {
      const call = calls[i];
      if (call === undefined) continue;
      advance(call.packet);
      call.transport.hear(call.packet, ADDRESS, call.port);
    }
    clock.advance(STEP_MS);
  }
}

function sentCount(): number {
  return calls.reduce((sum, { transport }) => sum + transport.sent, 0);
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function rtpPacket(ssrc: number): Buffer {
  const packet = Buffer.alloc(172);
  packet[0] = 0x80;
  packet.writeUInt32BE(ssrc + 1, 8);
  return packet;
}

/** As in _media-load.ts: mu-law codes that are loud for a second and quiet for one. */
function advance(packet: Buffer): void {
  const sequence = (packet.readUInt16BE(2) + 1) & 0xffff;
  packet.writeUInt16BE(sequence, 2);
  packet.writeUInt32BE((packet.readUInt32BE(4) + 160) >>> 0, 4);
  const isLoud = sequence % 100 < 50;
  for (let i = 12; i < 172; i++) packet[i] = isLoud ? (i * 37 + sequence * 11) & 0xff : 0xff;
}
