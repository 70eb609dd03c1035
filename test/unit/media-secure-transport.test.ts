/** SRTP between socket and chain: nothing before it is decided, nothing plain after it was agreed, change of keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SrtpKey, SrtpKeys, SrtpSuite } from '#lib/srtp-params.ts';
import type { DatagramListener, RtpTransport } from '#media/rtp/rtp-socket.ts';
import { SecureTransport } from '#media/srtp/secure-transport.ts';
import { SUITE_FACTS } from '#media/srtp/srtp-keys.ts';
import { SrtpOpener, SrtpSealer } from '#media/srtp/srtp.ts';

function keyOf(seed: number, suite: SrtpSuite = 'AES_CM_128_HMAC_SHA1_80'): SrtpKey {
  const { keyBytes, saltBytes } = SUITE_FACTS[suite];
  const fill = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => seed + i);
  return { suite, key: fill(keyBytes), salt: fill(saltBytes) };
}

const keys = (send: number, receive: number): SrtpKeys => ({
  send: keyOf(send),
  receive: keyOf(receive),
});

function rtp(sequence: number, ssrc = 7): Uint8Array {
  const bytes = new Uint8Array(172).fill(0x55);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x8000);
  view.setUint16(2, sequence & 0xffff);
  view.setUint32(4, sequence * 160);
  view.setUint32(8, ssrc);
  return bytes;
}

function rtcp(ssrc = 7): Uint8Array {
  const bytes = new Uint8Array(28).fill(1);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x80c80006);
  view.setUint32(4, ssrc);
  return bytes;
}

class Wire implements RtpTransport {
  readonly sent: Uint8Array[] = [];
  readonly sentRtcp: Uint8Array[] = [];
  readonly calls: string[] = [];
  readonly sendErrors = 3;
  deliver: DatagramListener = () => undefined;
  deliverRtcp: DatagramListener = () => undefined;
  onDatagram(listener: DatagramListener): void {
    this.deliver = listener;
  }
  onRtcp(listener: DatagramListener): void {
    this.deliverRtcp = listener;
  }
  routeRtcp(isMuxed: boolean, port: number | null): void {
    this.calls.push(`route ${isMuxed} ${port}`);
  }
  aimAt(address: string, port: number): void {
    this.calls.push(`aim ${address} ${port}`);
  }
  connect(address: string, port: number): void {
    this.calls.push(`connect ${address} ${port}`);
  }
  disconnect(): void {
    this.calls.push('disconnect');
  }
  send(bytes: Uint8Array): void {
    this.sent.push(bytes.slice());
  }
  sendRtcp(bytes: Uint8Array): void {
    this.sentRtcp.push(bytes.slice());
  }
  close(): void {
    this.calls.push('close');
  }
}

function open() {
  const wire = new Wire();
  const transport = new SecureTransport(wire);
  const heard: Uint8Array[] = [];
  const heardRtcp: Uint8Array[] = [];
  transport.onDatagram((bytes) => heard.push(bytes));
  transport.onRtcp((bytes) => heardRtcp.push(bytes));
  const give = (bytes: Uint8Array): void => wire.deliver(bytes.slice(), '192.0.2.9', 4000);
  return { wire, transport, heard, heardRtcp, give };
}

function sealed(sealer: SrtpSealer, plain: Uint8Array, kind: 'rtp' | 'rtcp' = 'rtp'): Uint8Array {
  const room = new Uint8Array(400);
  room.set(plain);
  return room.slice(0, sealer[kind](room, plain.length));
}

test('before it is decided nothing passes; plain calls pass through as they are', () => {
  const { wire, transport, heard, give } = open();
  transport.send(rtp(1));
  transport.sendRtcp(rtcp());
  give(rtp(1));
  assert.deepEqual([wire.sent.length, wire.sentRtcp.length, heard.length], [0, 0, 0]);
  transport.secure(null);
  const packet = rtp(2);
  transport.send(packet);
  transport.sendRtcp(rtcp());
  give(rtp(3));
  wire.deliverRtcp(rtcp(), '192.0.2.9', 4001);
  assert.deepEqual(wire.sent, [packet]);
  assert.deepEqual(heard, [rtp(3)]);
  transport.aimAt('192.0.2.9', 1);
  transport.connect('192.0.2.9', 2);
  transport.routeRtcp(true, 9);
  transport.disconnect();
  transport.close();
  assert.deepEqual(wire.calls, [
    ...['aim 192.0.2.9 1', 'connect 192.0.2.9 2', 'route true 9', 'disconnect', 'close'],
  ]);
  assert.equal(transport.sendErrors, 3);
  assert.equal(transport.isSecure, false);
});

test('a call that becomes secure, and plain again, hears what belongs to its state', () => {
  const { transport, heard, give } = open();
  const theirs = new SrtpSealer(keyOf(2));
  transport.secure(null);
  give(rtp(1));
  transport.secure(keys(1, 2));
  give(rtp(2));
  give(sealed(theirs, rtp(3)));
  transport.secure(null);
  give(rtp(4));
  assert.deepEqual(heard, [rtp(1), rtp(3), rtp(4)]);
  assert.equal(transport.counters.forged, 1);
});

test('once agreed: authentic packets in, encrypted ones out, all else counted and dropped', () => {
  const { wire, transport, heard, heardRtcp, give } = open();
  transport.secure(keys(1, 2));
  const theirs = new SrtpSealer(keyOf(2));
  const ours = new SrtpOpener(keyOf(1));
  const own = rtp(10, 99);
  transport.send(own);
  assert.deepEqual(own, rtp(10, 99), 'the sender may use its buffer again');
  const [out = new Uint8Array()] = wire.sent;
  assert.notDeepEqual(out.subarray(12, 172), rtp(10, 99).subarray(12));
  assert.equal(ours.rtp(out), 172);
  assert.deepEqual(out.subarray(0, 172), own);
  transport.sendRtcp(rtcp(99));
  const [report = new Uint8Array()] = wire.sentRtcp;
  assert.equal(ours.rtcp(report), 28);

  const first = sealed(theirs, rtp(1));
  give(first);
  give(first);
  give(rtp(2));
  give(sealed(new SrtpSealer(keyOf(3)), rtp(2)));
  give(new Uint8Array(5));
  give(sealed(theirs, rtp(2)));
  assert.deepEqual(heard, [rtp(1), rtp(2)]);
  wire.deliverRtcp(rtcp(), '192.0.2.9', 4001);
  wire.deliverRtcp(sealed(theirs, rtcp(), 'rtcp'), '192.0.2.9', 4001);
  assert.deepEqual(heardRtcp, [rtcp()]);
  transport.send(new Uint8Array(4));
  transport.send(rtp(10, 99));
  transport.send(new Uint8Array(3000));
  assert.equal(wire.sent.length, 1, 'what cannot be encrypted does not leave');
  const { forged, replayed, unreadable, unsent } = transport.counters;
  assert.deepEqual([forged + unreadable, replayed, unsent], [4, 1, 3]);
});

test('the same keys again change nothing; new ones take over while old packets are still under way', () => {
  const { wire, transport, heard, give } = open();
  transport.secure(keys(1, 2));
  const before = new SrtpSealer(keyOf(2));
  give(sealed(before, rtp(1)));
  transport.secure(keys(1, 2));
  const repeated = sealed(before, rtp(2));
  give(repeated);
  give(repeated);
  assert.equal(heard.length, 2, 'the replay window goes on');
  transport.secure(keys(5, 6));
  give(sealed(before, rtp(3)));
  const after = new SrtpSealer(keyOf(6), before);
  give(sealed(after, rtp(4)));
  give(sealed(before, rtp(5)));
  give(sealed(after, rtp(6)));
  assert.deepEqual(
    heard.map((bytes) => bytes[3]),
    [1, 2, 3, 4, 6],
    'the old key is forgotten with the first packet under the new one',
  );
  transport.send(rtp(70, 99));
  assert.equal(new SrtpOpener(keyOf(5)).rtp(wire.sent.at(-1) as Uint8Array), 172);
});

test('plain, encrypted and plain again, as offer and answer say', () => {
  const { wire, transport, heard, give } = open();
  transport.secure(null);
  give(rtp(1));
  transport.secure(keys(1, 2));
  give(rtp(2));
  transport.send(rtp(5, 99));
  assert.equal(wire.sent.at(-1)?.length, 182);
  transport.secure(null);
  give(rtp(3));
  transport.send(rtp(6, 99));
  assert.equal(wire.sent.at(-1)?.length, 172);
  assert.deepEqual(heard, [rtp(1), rtp(3)]);
});

test('a packet held back stays what it was: each lies in its own datagram', () => {
  const { transport, heard, give } = open();
  transport.secure(keys(1, 2));
  const sealer = new SrtpSealer(keyOf(2));
  for (let i = 0; i < 5; i++) give(sealed(sealer, rtp(i)));
  assert.deepEqual(
    heard,
    [0, 1, 2, 3, 4].map((i) => rtp(i)),
  );
});
