/** Digits on the wire: RFC 4733 events byte by byte, tones by their frequencies, the agent standing still meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DigitQueue } from '#media/dtmf/digit-queue.ts';
import { DtmfReceiver } from '#media/dtmf/dtmf-receiver.ts';
import type { DtmfJob } from '#media/dtmf/dtmf-sender.ts';
import { DTMF_DIGITS, dtmfFrequencies, renderTone } from '#media/dtmf/dtmf-tones.ts';
import { G711 } from '#lib/g711.ts';
import { AUDIO, testChain, type SentPacket, type TestChain } from './_media.ts';

const FRAME = 160;
const JOB: DtmfJob = { request: 1, digits: '5', mode: 'rfc4733', toneMs: 100, gapMs: 100 };
const ALL_HZ = [697, 770, 852, 941, 1209, 1336, 1477, 1633];

function started(audio = AUDIO): TestChain {
  const call = testChain();
  call.chain.start(audio);
  return call;
}

/** Event packets relative to the first: sequence, timestamp, marker, payload in hex. */
function eventsOf(packets: readonly SentPacket[]): string[] {
  const first = packets.find(({ payloadType }) => payloadType === 101);
  return packets
    .filter(({ payloadType }) => payloadType === 101)
    .map(({ sequence, timestamp, marker, payload }) => {
      const seq = (sequence - (first?.sequence ?? 0)) & 0xffff;
      const time = (timestamp - (first?.timestamp ?? 0)) >>> 0;
      return `${seq} ${time} ${marker ? 'M' : '-'} ${Buffer.from(payload).toString('hex')}`;
    });
}

/** Share of the power of `pcm` at `hz` (Goertzel): 1 for a sine of just that. */
function shareAt(pcm: Int16Array, hz: number): number {
  const step = 2 * Math.cos((2 * Math.PI * hz) / 8000);
  let [before, now, energy] = [0, 0, 1];
  for (const x of pcm) {
    [before, now] = [now, x + step * now - before];
    energy += x * x;
  }
  const power = now * now + before * before - step * now * before;
  return (2 * power) / (pcm.length * energy);
}

const heard = (packets: readonly SentPacket[]): Int16Array => {
  const pcm = new Int16Array(packets.length * FRAME);
  for (const [i, { payload, payloadType }] of packets.entries()) {
    if (payloadType !== 0) continue;
    for (let k = 0; k < FRAME; k++) pcm[i * FRAME + k] = G711.PCMU.decode[payload[k] ?? 0] ?? 0;
  }
  return pcm;
};

test('one event of 100 ms: the golden bytes', async () => {
  const call = started();
  call.clock.advance(200);
  call.chain.output.sendDtmf(JOB);
  call.clock.advance(500);
  assert.deepEqual(eventsOf(call.transport.sent), [
    '0 0 M 050a00a0',
    '1 0 - 050a0140',
    '2 0 - 050a01e0',
    '3 0 - 050a0280',
    '4 0 - 058a0320',
    '5 0 - 058a0320',
    '6 0 - 058a0320',
  ]);
  assert.deepEqual(call.sentDigits, [1]);
  await call.chain.close();
});

test('lengths that are no whole frames, the shortest and the longest event', async () => {
  const rows: [toneMs: number, gapMs: number, packets: number, last: number][] = [
    [70, 40, 6, 560],
    [40, 40, 4, 320],
    [50, 100, 5, 400],
    [8000, 40, 402, 64_000],
  ];
  for (const [toneMs, gapMs, packets, last] of rows) {
    const call = started();
    call.chain.output.sendDtmf({ ...JOB, toneMs, gapMs });
    call.clock.advance(toneMs + gapMs + 200);
    const events = call.transport.sent.filter(({ payloadType }) => payloadType === 101);
    assert.equal(events.length, packets, `${toneMs} ms`);
    for (const { payload } of events.slice(-3)) {
      assert.deepEqual([payload[1], ((payload[2] ?? 0) << 8) | (payload[3] ?? 0)], [0x8a, last]);
    }
    assert.deepEqual(call.sentDigits, [1]);
    await call.chain.close();
  }
});

test('all sixteen digits and a pause: one packet per frame, numbers without gaps, read back once each', async () => {
  const call = started();
  call.chain.output.sendDtmf({ ...JOB, digits: '0123456789w*#ABCD' });
  call.clock.advance(16 * 200 + 500 + 200);
  const { sent } = call.transport;
  const digits: string[] = [];
  const at: number[] = [];
  const receiver = new DtmfReceiver((digit, durationMs) => digits.push(`${digit} ${durationMs}`));
  for (const [i, packet] of sent.entries()) {
    const before = sent[i - 1];
    if (before !== undefined) {
      assert.equal(packet.sequence, (before.sequence + 1) & 0xffff);
      assert.ok(Math.abs(packet.atMs - before.atMs - 20) < 0.001);
    }
    if (packet.payloadType === 101) {
      const { payload, timestamp, marker } = packet;
      const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
      receiver.packet(view, timestamp, packet.atMs);
      if (marker) at.push(i);
      // The clock of the audio goes on: an event bears the time of its first packet.
      const first = sent[at.at(-1) ?? 0];
      assert.equal(timestamp, ((sent[0]?.timestamp ?? 0) + (at.at(-1) ?? 0) * FRAME) >>> 0);
      assert.equal(timestamp, first?.timestamp);
    } else assert.equal(packet.timestamp, ((sent[0]?.timestamp ?? 0) + i * FRAME) >>> 0);
  }
  assert.deepEqual(
    digits,
    Array.from('0123456789*#ABCD', (digit) => `${digit} 100`),
  );
  const steps = at.slice(1).map((place, i) => place - (at[i] ?? 0));
  assert.deepEqual(steps, [...Array(9).fill(10), 35, ...Array(5).fill(10)]);
  await call.chain.close();
});

test('the agent stands still while digits are sent and goes on from the same sample', async () => {
  for (const mode of ['rfc4733', 'inband'] as const) {
    const call = started();
    call.writer.begin(1);
    const written = call.writer.write(1, new Int16Array(8000).fill(6000));
    call.writer.end(1);
    await written;
    call.clock.advance(300);
    call.chain.output.sendDtmf({ ...JOB, mode, digits: '12' });
    call.clock.advance(1300);
    const done = call.events.find((event) => event.type === 'playout.done');
    assert.equal(done?.type === 'playout.done' && done.heardMs, 1000);
    assert.ok(done && done.atMs >= 1400, `${mode}: done at ${done?.atMs} ms`);
    const pcm = heard(call.transport.sent);
    const loud = pcm.filter((x) => Math.abs(x - 6000) < 200).length;
    // In tones some samples happen to be as loud as the agent.
    if (mode === 'rfc4733') assert.ok(Math.abs(loud - 8000) <= 40, `${loud} of 8000 samples`);
    assert.equal(
      call.events.filter(({ type }) => type === 'playout.paused').length,
      0,
      'no event tells of it',
    );
    await call.chain.close();
  }
});

test('tones: the two frequencies of Q.23 and nothing else, at their level, without a click', () => {
  const pairs = new Set<string>();
  for (const digit of DTMF_DIGITS) {
    const pcm = new Int16Array(800 + FRAME);
    for (let at = 0; at < pcm.length; at += FRAME)
      renderTone(pcm.subarray(at, at + FRAME), digit, at, 800);
    const tone = pcm.subarray(0, 800);
    const [low, high] = dtmfFrequencies(digit);
    pairs.add(`${low} ${high}`);
    const shares = new Map(ALL_HZ.map((hz) => [hz, shareAt(tone, hz)]));
    const [lowShare, highShare] = [shares.get(low) ?? 0, shares.get(high) ?? 0];
    assert.ok(lowShare > 0.3 && highShare > 0.5, `${digit}: ${lowShare} ${highShare}`);
    assert.ok(lowShare + highShare > 0.9, `${digit}: ${lowShare + highShare}`);
    const twistDb = 10 * Math.log10(highShare / lowShare);
    assert.ok(Math.abs(twistDb - 2) < 0.4, `${digit}: the upper one is ${twistDb} dB louder`);
    for (const [hz, share] of shares) {
      if (hz !== low && hz !== high) assert.ok(share < 0.01, `${digit} at ${hz} Hz: ${share}`);
    }
    const middle = tone.subarray(40, 760);
    const rms = Math.sqrt(middle.reduce((sum, x) => sum + x * x, 0) / middle.length);
    const dBm0 = 20 * Math.log10((rms * Math.SQRT2) / 32_767) + 3.14;
    assert.ok(Math.abs(dBm0 + 5.9) < 0.5, `${digit}: ${dBm0} dBm0`);
    assert.ok(Math.abs(tone[0] ?? 9) < 2 && Math.abs(tone[799] ?? 9) < 2);
    // Rounded off: a twentieth of the way up after 1 ms.
    assert.ok(
      tone.subarray(0, 8).every((x) => Math.abs(x) < 1600),
      `${digit}: it begins hard`,
    );
    assert.ok(pcm.subarray(800).every((x) => x === 0));
  }
  assert.equal(pairs.size, 16);
  assert.deepEqual(dtmfFrequencies('1'), [697, 1209]);
  assert.deepEqual(dtmfFrequencies('#'), [941, 1477]);
  assert.deepEqual(dtmfFrequencies('D'), [941, 1633]);
  assert.throws(() => dtmfFrequencies('w'), RangeError);
});

test('in-band digits on the wire and, the same, in the recording', async () => {
  const call = started();
  call.clock.advance(100);
  call.chain.output.sendDtmf({ ...JOB, mode: 'inband', digits: '1w9' });
  call.clock.advance(1200);
  assert.equal(eventsOf(call.transport.sent).length, 0);
  await call.chain.close();
  for (const [where, pcm] of [
    ['wire', heard(call.transport.sent)],
    ['recording', call.disk.channel(1)],
  ] as const) {
    const first = pcm.findIndex((x) => Math.abs(x) > 100);
    const second = first + 0.7 * 8000;
    assert.ok(shareAt(pcm.subarray(first, first + 780), 697) > 0.3, where);
    assert.ok(shareAt(pcm.subarray(first, first + 780), 1209) > 0.5, where);
    const gap = pcm.subarray(first + 810, second - 10);
    assert.ok(
      gap.every((x) => Math.abs(x) < 10),
      `${where}: silence between them`,
    );
    assert.ok(shareAt(pcm.subarray(second, second + 780), 852) > 0.3, where);
    assert.ok(shareAt(pcm.subarray(second, second + 780), 1477) > 0.5, where);
  }
});

test('the type is theirs; without events the digits become tones; while nothing may be sent they wait', async () => {
  const theirs = started({ ...AUDIO, dtmfPayloadType: 101, dtmfSendPayloadType: 96 });
  theirs.chain.output.sendDtmf(JOB);
  theirs.clock.advance(400);
  const types = new Set(theirs.transport.sent.map(({ payloadType }) => payloadType));
  assert.deepEqual(types, new Set([0, 96]));
  await theirs.chain.close();

  const none = started({ ...AUDIO, dtmfPayloadType: null });
  none.chain.output.sendDtmf(JOB);
  none.clock.advance(400);
  const pcm = heard(none.transport.sent);
  const first = pcm.findIndex((x) => Math.abs(x) > 100);
  assert.ok(shareAt(pcm.subarray(first, first + 780), 770) > 0.3);
  assert.deepEqual(none.sentDigits, [1]);
  await none.chain.close();

  const held = started({ ...AUDIO, send: false });
  held.chain.output.sendDtmf(JOB);
  held.clock.advance(1000);
  assert.deepEqual([held.transport.sent.length, held.sentDigits], [0, []]);
  held.chain.start(AUDIO);
  held.clock.advance(400);
  assert.equal(eventsOf(held.transport.sent).length, 7);
  assert.deepEqual(held.sentDigits, [1]);
  await held.chain.close();
});

test('an event cut off by a hold is not sent a second time', async () => {
  const call = started();
  call.chain.output.sendDtmf({ ...JOB, digits: '12' });
  call.clock.advance(80);
  assert.ok(eventsOf(call.transport.sent).length >= 2);
  call.chain.start({ ...AUDIO, send: false });
  call.clock.advance(500);
  call.chain.start(AUDIO);
  call.clock.advance(500);
  const marked = call.transport.sent.filter((p) => p.payloadType === 101 && p.marker);
  assert.deepEqual(
    marked.map(({ payload }) => payload[0]),
    [1, 2],
  );
  assert.deepEqual(call.sentDigits, [1]);
  await call.chain.close();
});

test('the queue: what is refused, how much waits, who is told', async () => {
  const jobs: DtmfJob[] = [];
  const queue = new DigitQueue((job) => jobs.push(job));
  const tones = { mode: 'inband', toneMs: 100, gapMs: 100 } as const;
  const rows: [string, Partial<{ mode: 'rfc4733'; toneMs: number; gapMs: number }>, string][] = [
    ['', {}, 'E_REQUEST'],
    ['12x', {}, 'E_REQUEST'],
    ['a', {}, 'E_REQUEST'],
    ['1\n', {}, 'E_REQUEST'],
    ['1', { toneMs: 39 }, 'E_REQUEST'],
    ['1', { gapMs: 8001 }, 'E_REQUEST'],
    ['1', { toneMs: Number.NaN }, 'E_REQUEST'],
    ['1', { mode: 'rfc4733' }, 'E_DTMF'],
    ['1'.repeat(129), {}, 'E_QUEUE_FULL'],
  ];
  for (const [digits, options, code] of rows) {
    await assert.rejects(queue.add(digits, { ...tones, ...options }), { code }, digits);
  }
  assert.equal(jobs.length, 0);
  const first = queue.add('1'.repeat(64), tones);
  const second = queue.add('2'.repeat(64), tones);
  await assert.rejects(queue.add('3', tones), { code: 'E_QUEUE_FULL' });
  queue.sent(jobs[0]?.request ?? 0);
  await first;
  queue.negotiate(AUDIO);
  assert.equal(queue.takesEvents, true);
  const third = queue.add('4', { ...tones, mode: 'rfc4733' });
  assert.equal(jobs.length, 3);
  const gone = Promise.all(
    [second, third].map((one) => assert.rejects(one, { code: 'E_ABORTED' })),
  );
  queue.close();
  await gone;
  await assert.rejects(queue.add('5', tones), { code: 'E_ABORTED' });
  queue.negotiate({ ...AUDIO, dtmfSendPayloadType: null });
  assert.equal(queue.takesEvents, false);
});
