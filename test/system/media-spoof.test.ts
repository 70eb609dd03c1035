/**
 * Strangers who know everything about a call but its source: they send at ten times the rate, with the phone's SSRC and
 * the numbers it is about to use, before the phone speaks and while it does, RTP and RTCP. Nobody hears them, and not one
 * byte goes to them.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEvent } from '#media/types.ts';
import { concat, find, RtpPhone, sweep } from './_rtp-phone.ts';

const SSRC = 0x1122_3344;
const FIRST_SEQUENCE = 1000;
const FIRST_TIMESTAMP = 50_000;
/** Ten times the rate of a phone. */
const EVERY_MS = 2;

/** RTP and RTCP from a pair of ports, as like the phone's own as a stranger can make it. */
class Stranger {
  bytesHeard = 0;
  sent = 0;
  readonly #sockets: Socket[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #rtp = Buffer.alloc(172);
  readonly #startMs = performance.now();

  static async open(t: TestContext, address: string, toPort: number): Promise<Stranger> {
    const sockets = [createSocket('udp4'), createSocket('udp4')];
    for (const socket of sockets) {
      socket.bind(0, address);
      await once(socket, 'listening');
    }
    const stranger = new Stranger(sockets, toPort);
    t.after(() => stranger.close());
    return stranger;
  }

  private constructor(sockets: Socket[], toPort: number) {
    this.#sockets = sockets;
    for (const socket of sockets) {
      socket.on('message', (bytes) => (this.bytesHeard += bytes.length));
      // "Port unreachable": the call is over.
      socket.on('error', () => undefined);
    }
    this.#rtp[0] = 0x80;
    this.#rtp.writeUInt32BE(SSRC, 8);
    for (let i = 12; i < 172; i++) this.#rtp[i] = (i * 73) & 0x7f;
    this.#send(toPort);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  #send(toPort: number): void {
    const frames = Math.floor((performance.now() - this.#startMs) / EVERY_MS);
    while (this.sent < frames) {
      // What the phone sends now, has sent, and is going to send.
      const number = (this.sent % 40) - 20 + Math.floor(this.sent / 10);
      this.#rtp.writeUInt16BE((FIRST_SEQUENCE + number) & 0xffff, 2);
      this.#rtp.writeUInt32BE((FIRST_TIMESTAMP + number * 160) >>> 0, 4);
      this.#sockets[0]?.send(this.#rtp, toPort, '127.0.0.1');
      this.#sockets[1]?.send(receiverReport(), toPort + 1, '127.0.0.1');
      this.#sockets[1]?.send(receiverReport(), toPort, '127.0.0.1');
      this.sent++;
    }
    this.#timer = setTimeout(() => this.#send(toPort), EVERY_MS);
  }
}

/** An empty receiver report and a BYE in the phone's name. */
function receiverReport(): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(0x80c9_0001, 0);
  bytes.writeUInt32BE(SSRC, 4);
  bytes.writeUInt32BE(0x81cb_0001, 8);
  bytes.writeUInt32BE(SSRC, 12);
  return bytes;
}

describe('strangers', { concurrency: 2 }, () => {
  test('strangers at ten times the rate, before the phone speaks and after', async (t) => {
    const engine = createMediaEngine({ rtpPorts: { first: 24_200, last: 24_219 }, log: silentLog });
    t.after(() => engine.close());
    const phone = await RtpPhone.open('127.0.0.1', SSRC);
    t.after(() => phone.close());
    const session = await engine.open({
      ...{ callId: 'spoofed', localAddress: '127.0.0.1', recordingPath: null },
      ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
    });
    const events: MediaEvent[] = [];
    session.onEvent((event) => events.push(event));
    session.start({
      ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
      ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
    });
    const toPort = session.localPort;
    // The same host and another one.
    const strangers = [
      await Stranger.open(t, '127.0.0.1', toPort),
      await Stranger.open(t, '127.0.0.9', toPort),
    ];
    await sleep(300);
    const said = sweep(400, 2500, 2400);
    await phone.play(concat(said, new Int16Array(3200)), toPort);
    await sleep(200);
    const heard: number[] = [];
    const chunk = new Int16Array(1600);
    for (let n = session.readCaller(chunk); n > 0; n = session.readCaller(chunk)) {
      heard.push(...chunk.subarray(0, n));
    }
    const sentByStrangers = strangers.map(({ sent }) => sent);
    const { stats } = await session.close();
    await sleep(100);
    assert.ok(Math.min(...sentByStrangers) > 1200, sentByStrangers.join(', '));
    assert.deepEqual(
      strangers.map(({ bytesHeard }) => bytesHeard),
      [0, 0],
      'nothing goes to a stranger',
    );
    assert.ok(stats.packetsReceived <= phone.sentAtMs.length, 'no packet of theirs was taken');
    assert.ok(stats.packetsReceived >= phone.sentAtMs.length - 1);
    assert.equal(events.filter(({ type }) => type === 'media.latched').length, 1);
    assert.ok(stats.foreignDropped > 0, 'those that came before the latch');
    assert.ok((stats.rtcpReceived ?? 0) === 0, 'no RTCP of theirs was believed');
    const { correlation } = find(said, Int16Array.from(heard));
    assert.ok(correlation >= 0.98, `the phone is heard: ${correlation}`);
    assert.ok(phone.heard.length > 100, 'and hears');
  });

  test('a stranger who was quicker than a silent phone is put out when the phone speaks', async (t) => {
    const engine = createMediaEngine({ rtpPorts: { first: 24_220, last: 24_239 }, log: silentLog });
    t.after(() => engine.close());
    const phone = await RtpPhone.open('127.0.0.1', SSRC);
    t.after(() => phone.close());
    const session = await engine.open({
      ...{ callId: 'late', localAddress: '127.0.0.1', recordingPath: null },
      ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
    });
    session.start({
      ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
      ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
    });
    const other = await RtpPhone.open('127.0.0.9', 0x6666_6666);
    t.after(() => other.close());
    await other.play(new Int16Array(160 * 50), session.localPort);
    assert.ok(other.heard.length > 0, 'it was taken for a phone behind a NAT');
    const said = sweep(400, 2500, 1500);
    const playing = phone.play(concat(said, new Int16Array(1600)), session.localPort);
    await sleep(300);
    const before = other.heard.length;
    await other.play(new Int16Array(160 * 50), session.localPort);
    await playing;
    const { stats } = await session.close();
    assert.equal(other.heard.length, before, 'nothing more goes to it');
    assert.ok(stats.packetsReceived <= phone.sentAtMs.length + 51, `${stats.packetsReceived}`);
    assert.ok(phone.heard.length > 60, 'the phone hears');
  });
});
