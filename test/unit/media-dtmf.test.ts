/** Telephone events: tables of packets (RFC 4733) and the digits they must give, exactly once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DtmfReceiver } from '#media/dtmf/dtmf-receiver.ts';

type Packet = readonly [event: number, isEnd: boolean, duration: number, timestamp: number];
type Row = { readonly packets: readonly Packet[]; readonly digits: readonly string[] };

/** Packets come 20 ms apart; 200 ms pass after the last. */
function digitsOf(packets: readonly Packet[]): string[] {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit, durationMs) => digits.push(`${digit} ${durationMs}`));
  let nowMs = 0;
  for (const [event, isEnd, duration, timestamp] of packets) {
    nowMs += 20;
    const payload = new DataView(new ArrayBuffer(4));
    payload.setUint8(0, event);
    payload.setUint8(1, (isEnd ? 0x80 : 0) | 10);
    payload.setUint16(2, duration);
    assert.equal(receiver.packet(payload, timestamp, nowMs), true);
    receiver.tick(nowMs);
  }
  for (let i = 0; i < 10; i++) receiver.tick((nowMs += 20));
  assert.equal(receiver.isOpen, false);
  return digits;
}

const TABLE: Record<string, Row> = {
  'a whole event with three end packets': {
    packets: [
      [5, false, 160, 1000],
      [5, false, 320, 1000],
      [5, true, 800, 1000],
      [5, true, 800, 1000],
      [5, true, 800, 1000],
    ],
    digits: ['5 100'],
  },
  'all end packets lost': {
    packets: [
      [11, false, 160, 1000],
      [11, false, 640, 1000],
    ],
    digits: ['# 80'],
  },
  'only one end packet came': { packets: [[10, true, 800, 1000]], digits: ['* 100'] },
  'the same digit twice is two digits': {
    packets: [
      [1, true, 400, 1000],
      [1, true, 400, 3000],
    ],
    digits: ['1 50', '1 50'],
  },
  'ends lost, next event begins': {
    packets: [
      [1, false, 400, 1000],
      [2, false, 160, 3000],
      [2, true, 400, 3000],
    ],
    digits: ['1 50', '2 50'],
  },
  'a reordered packet of the event before is ignored': {
    packets: [
      [1, true, 400, 1000],
      [2, false, 160, 3000],
      [1, false, 320, 1000],
      [2, true, 400, 3000],
    ],
    digits: ['1 50', '2 50'],
  },
  'updates after the end are ignored': {
    packets: [
      [7, true, 400, 1000],
      [7, false, 480, 1000],
    ],
    digits: ['7 50'],
  },
  'a long event in two segments is one digit': {
    packets: [
      [9, false, 0xffff, 1000],
      [9, false, 160, 1000 + 0xffff],
      [9, true, 800, 1000 + 0xffff],
    ],
    digits: ['9 8292'],
  },
  letters: { packets: [[15, true, 400, 1]], digits: ['D 50'] },
  'hook flash and unknown events are no digits': {
    packets: [
      [16, true, 400, 1000],
      [200, true, 400, 2000],
    ],
    digits: [],
  },
  'a long event whose segment lost its last packets is one digit': {
    packets: [
      [9, false, 0xff00, 1000],
      [9, true, 800, 1000 + 0xffff],
    ],
    digits: ['9 8292'],
  },
  'the begin is lost': {
    packets: [
      [4, false, 480, 1000],
      [4, true, 640, 1000],
    ],
    digits: ['4 80'],
  },
  'the same digit twice within 40 ms, all ends lost': {
    packets: [
      [4, false, 160, 1000],
      [4, false, 160, 1320],
    ],
    digits: ['4 20', '4 20'],
  },
  'a sender whose time stamp does not move from key to key': {
    packets: [
      [1, true, 400, 1000],
      [2, false, 160, 1000],
      [2, true, 400, 1000],
    ],
    digits: ['1 50', '2 50'],
  },
  'end packets before the others of their event': {
    packets: [
      [6, true, 800, 1000],
      [6, false, 320, 1000],
      [6, true, 800, 1000],
    ],
    digits: ['6 100'],
  },
  'the time stamp wraps between events': {
    packets: [
      [1, true, 400, 0xffff_ff00],
      [2, true, 400, 800],
    ],
    digits: ['1 50', '2 50'],
  },
};

for (const [name, { packets, digits }] of Object.entries(TABLE)) {
  test(name, () => assert.deepEqual(digitsOf(packets), digits));
}

test('a pause inside an event that is longer than the limit does not tell it twice', () => {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit) => digits.push(digit));
  const payload = new DataView(Uint8Array.from([3, 10, 0, 160]).buffer);
  receiver.packet(payload, 1000, 0);
  receiver.tick(500);
  receiver.packet(payload, 1000, 520);
  receiver.tick(1000);
  assert.deepEqual(digits, ['3']);
});

function payloadOf(event: number, isEnd: boolean, duration: number): DataView {
  const payload = new DataView(new ArrayBuffer(4));
  payload.setUint8(0, event);
  payload.setUint8(1, (isEnd ? 0x80 : 0) | 10);
  payload.setUint16(2, duration);
  return payload;
}

test('lengths are counted by the clock of the codec', () => {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit, durationMs) => digits.push(`${digit} ${durationMs}`));
  receiver.negotiate(48_000);
  receiver.packet(payloadOf(5, false, 960), 1000, 0);
  receiver.packet(payloadOf(5, true, 4800), 1000, 80);
  receiver.negotiate();
  receiver.packet(payloadOf(6, true, 800), 90_000, 200);
  assert.deepEqual(digits, ['5 100', '6 100']);
});

test('audio that goes on ends an event sooner than silence, and not within it', () => {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit) => digits.push(digit));
  receiver.packet(payloadOf(5, false, 160), 1000, 0);
  receiver.audio(20);
  receiver.packet(payloadOf(5, false, 560), 1000, 50);
  receiver.audio(70);
  receiver.audio(100);
  assert.deepEqual(digits, []);
  receiver.audio(120);
  assert.deepEqual(digits, ['5']);
  receiver.packet(payloadOf(5, true, 800), 1000, 130);
  assert.deepEqual(digits, ['5']);
});

test('a long event that was given up and goes on is not told twice', () => {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit) => digits.push(digit));
  receiver.packet(payloadOf(5, false, 0xffff), 1000, 0);
  receiver.tick(500);
  receiver.packet(payloadOf(5, false, 160), 1000 + 0xffff, 520);
  receiver.packet(payloadOf(5, true, 800), 1000 + 0xffff, 600);
  assert.deepEqual(digits, ['5']);
});

test('a clock that was set back is followed, a late packet is not', () => {
  const digits: string[] = [];
  const receiver = new DtmfReceiver((digit) => digits.push(digit));
  receiver.packet(payloadOf(1, true, 800), 50_000, 0);
  receiver.packet(payloadOf(2, true, 800), 40_000, 40);
  receiver.packet(payloadOf(3, true, 800), 9000, 3000);
  assert.deepEqual(digits, ['1', '3']);
});

test('short payloads are malformed', () => {
  const receiver = new DtmfReceiver(() => assert.fail('no digit here'));
  for (const length of [0, 1, 3]) {
    assert.equal(receiver.packet(new DataView(new ArrayBuffer(length)), 1, 0), false);
  }
});
