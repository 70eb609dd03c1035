/** What arrives, of every codec: in disorder, with losses, in any length, changing in the middle, and hostile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { CallCodecs } from '#media/codec/call-codecs.ts';
import { newEncoder, type PayloadEncoder } from '#media/codec/codecs.ts';
import { createOpusEncoder } from '#media/codec/opus-codec.ts';
import { RtpReceiver } from '#media/rtp/rtp-receiver.ts';
import type { Codec, NegotiatedAudio } from '#media/types.ts';
import { AUDIO, FakeTransport, PHONE, rtp, testChain, type TestChain } from './_media.ts';
import { recorded, seeded } from './_noises.ts';

const TYPES: Record<Codec, number> = { PCMU: 0, PCMA: 8, G722: 9, L16: 97, opus: 111 };
const CODECS = Object.keys(TYPES) as Codec[];
const TYPE_G722 = { payloadType: 9 };
const NOTHING = new Uint8Array(0);
const WISHES = { useInbandFec: false, useDtx: false, maxAverageBitrate: null };

const SPOKEN = recorded('about-en');
const START = SPOKEN.findIndex((x) => Math.abs(x) > 2000);
const voice = (ms: number): Int16Array => SPOKEN.slice(START, START + ms * 8);

const terms = (codec: Codec, more: Partial<NegotiatedAudio> = {}): NegotiatedAudio => ({
  ...AUDIO,
  codec,
  payloadType: TYPES[codec],
  receivePayloadType: TYPES[codec],
  ...more,
});

async function encoderOf(codec: Codec, useInbandFec = false): Promise<PayloadEncoder> {
  return codec === 'opus' ? createOpusEncoder({ ...WISHES, useInbandFec }) : newEncoder(codec);
}

type Sent = { sequence: number; timestamp: number; payload: Uint8Array; payloadType: number };

/** Packets of `ms` of a voice. */
async function packetsOf(codec: Codec, pcm: Int16Array, ms = 20, fec = false): Promise<Sent[]> {
  const encoder = await encoderOf(codec, fec);
  const into = new Uint8Array(2000);
  const length = ms * 8;
  const packets: Sent[] = [];
  for (let at = 0; at + length <= pcm.length; at += length) {
    const bytes = encoder.encode(pcm.slice(at, at + length), length, into);
    packets.push({
      sequence: 65_530 + at / length,
      timestamp: 4_294_960_000 + (at * encoder.clockHz) / 8000,
      payload: into.slice(0, bytes),
      payloadType: TYPES[codec],
    });
  }
  encoder.free();
  return packets;
}

type Heard = {
  sequence: number;
  time: number;
  pcm: Int16Array;
  isNew: boolean;
  follows: boolean;
  recovered: boolean;
  /** Number of the lost packet that it was; -1: it is made up. */
  restored?: number;
};

/** A receiver with nothing behind it; `patience` is that of a jitter buffer. */
async function receiver(audio: NegotiatedAudio, patience = 60) {
  const clock = new SimulatedClock();
  const heard: Heard[] = [];
  const noise: { level: number; time: number }[] = [];
  const restarts: boolean[] = [];
  const codecs = new CallCodecs();
  const one = new RtpReceiver(new FakeTransport(clock), {
    decoded: ({ sequence, pcm, length, time, isNew, follows }) =>
      heard.push({ sequence, time, pcm: pcm.slice(0, length), isNew, follows, recovered: false }),
    recovered: (pcm, length, time, _arrivalMs, restored) =>
      heard.push({
        sequence: restored,
        time,
        pcm: pcm.slice(0, length),
        isNew: false,
        follows: false,
        recovered: true,
        restored,
      }),
    patienceMs: () => patience,
    comfortNoise: (payload, time) => noise.push({ level: payload.getUint8(0), time }),
    telephoneEvent: () => true,
    restarted: (isSeamless) => restarts.push(isSeamless),
    latched: () => undefined,
    advance: () => undefined,
  });
  const agree = async (next: NegotiatedAudio): Promise<void> => {
    await codecs.prepare(next);
    one.negotiate(next, codecs);
  };
  await agree(audio);
  const take = (packet: Sent & { ssrc?: number }, atMs: number): void =>
    one.datagram(rtp(packet), PHONE.address, PHONE.port, atMs);
  return { one, heard, noise, restarts, take, agree, free: () => codecs.free() };
}

/** The signal, by the times of its parts, from the earliest on. */
function signalOf(heard: readonly Heard[]): Int16Array {
  const from = Math.min(...heard.map(({ time }) => time));
  const end = Math.max(...heard.map(({ time, pcm }) => time + pcm.length));
  const whole = new Int16Array(end - from);
  for (const { time, pcm } of heard) whole.set(pcm, time - from);
  return whole;
}

function correlation(a: Int16Array, b: Int16Array): number {
  let [ab, aa, bb] = [0, 1, 1];
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

/** How packets come: indices in order of arrival, one each 20 ms. */
const ORDERS: readonly [name: string, arrange: (indices: number[]) => number[]][] = [
  ['neighbours swapped', (all) => all.map((i) => (i % 5 === 3 ? i + 1 : i % 5 === 4 ? i - 1 : i))],
  [
    'one two places late',
    (all) => all.map((i) => (i % 8 === 3 ? i + 1 : i % 8 === 4 ? i + 1 : i % 8 === 5 ? i - 2 : i)),
  ],
  ['every packet twice', (all) => all.flatMap((i) => [i, i])],
];

for (const codec of CODECS) {
  test(`${codec}: disorder changes nothing of what is heard`, async () => {
    const packets = await packetsOf(codec, voice(800));
    const all = packets.map((_, i) => i);
    const straight = await receiver(terms(codec));
    for (const i of all) straight.take(packets[i] as Sent, i * 20);
    assert.equal(straight.heard.length, packets.length);
    assert.ok(straight.heard.slice(1).every(({ follows }) => follows));
    const wanted = signalOf(straight.heard);
    for (const [name, arrange] of ORDERS) {
      const line = await receiver(terms(codec));
      const order = arrange(all).map((i) => Math.min(i, all.length - 1));
      for (const [n, i] of order.entries()) {
        line.take(packets[i] as Sent, (n * 20 * all.length) / order.length);
        line.one.tick((n * 20 * all.length) / order.length + 10);
      }
      line.one.tick(10_000);
      assert.deepEqual(signalOf(line.heard), wanted, name);
      assert.equal(line.one.sequence.lost, 0);
      line.free();
    }
    straight.free();
  });

  test(`${codec}: a lost packet costs its own time only`, async () => {
    const packets = await packetsOf(codec, voice(1000));
    const straight = await receiver(terms(codec));
    const line = await receiver(terms(codec));
    for (const [i, packet] of packets.entries()) {
      straight.take(packet, i * 20);
      if (i % 10 !== 5) line.take(packet, i * 20);
      line.one.tick(i * 20 + 10);
    }
    line.one.tick(10_000);
    const [wanted, heard] = [signalOf(straight.heard), signalOf(line.heard)];
    assert.equal(heard.length, wanted.length, 'nothing is moved in time');
    let worst = 1;
    for (let i = 17; i < packets.length; i += 10) {
      const part = [i * 160, (i + 3) * 160] as const;
      worst = Math.min(worst, correlation(wanted.subarray(...part), heard.subarray(...part)));
    }
    assert.ok(worst > (codec === 'opus' ? 0.5 : 0.95), `${worst.toFixed(3)} soon after the loss`);
    assert.equal(
      line.heard.some(({ recovered }) => recovered),
      codec === 'opus',
    );
    line.free();
    straight.free();
  });
}

test('Opus with redundancy: what was lost is where it belongs, and as good as the real thing', async () => {
  const pcm = voice(3000);
  const packets = await packetsOf('opus', pcm, 20, true);
  const straight = await receiver(terms('opus'));
  const line = await receiver(terms('opus'));
  for (const [i, packet] of packets.entries()) {
    straight.take(packet, i * 20);
    if (i % 10 !== 5) line.take(packet, i * 20);
    line.one.tick(i * 20 + 10);
  }
  line.one.tick(10_000);
  const wanted = signalOf(straight.heard);
  const found = line.heard.filter(({ recovered }) => recovered);
  const first = straight.heard[0]?.time ?? 0;
  let sum = 0;
  for (const { time, pcm: made } of found) {
    assert.equal((time - first) % 1600, 800, 'in its place');
    assert.equal(made.length, 160);
    sum += correlation(made, wanted.subarray(time - first, time - first + 160));
  }
  assert.equal(found.length, 15);
  assert.ok(sum / 15 > 0.75, `correlation ${(sum / 15).toFixed(3)}`);
  assert.ok(line.one.recoveredMs >= 160, `${line.one.recoveredMs} ms`);
  const real = found.map(({ restored = -1 }) => restored).filter((number) => number >= 0);
  assert.equal(real.length * 20, line.one.recoveredMs);
  const numbers = new Set(packets.map(({ sequence }) => sequence & 0xffff));
  const heard = new Set(packets.filter((_, i) => i % 10 !== 5).map((one) => one.sequence & 0xffff));
  for (const number of real) assert.ok(numbers.has(number) && !heard.has(number), `${number}`);
  assert.equal(line.one.sequence.lost, 15, 'the network lost them all the same');
  line.free();
  straight.free();
});

test('a packet later than anybody waits is left out where it would spoil the decoder', async () => {
  for (const codec of CODECS) {
    const packets = await packetsOf(codec, voice(600));
    const line = await receiver(terms(codec));
    for (const [i, packet] of packets.entries()) {
      if (i !== 10) line.take(packet, i * 20);
      line.one.tick(i * 20 + 10);
      if (i === 16) line.take(packets[10] as Sent, i * 20);
    }
    const hasState = codec === 'G722' || codec === 'opus';
    assert.equal(line.one.tooLate, hasState ? 1 : 0, codec);
    assert.equal(
      line.heard.filter((x) => !x.isNew && !x.recovered).length,
      hasState ? 0 : 1,
      codec,
    );
    line.free();
  }
});

test('a packet behind a gap is kept no longer than its gap would be waited for', async () => {
  const packets = await packetsOf('G722', voice(200));
  for (const [patience, from, to] of [
    [60, 30, 40],
    [100, 70, 80],
    [20, 0, 0],
    [0, 0, 0],
  ] as const) {
    const line = await receiver(terms('G722'), patience);
    line.take(packets[0] as Sent, 0);
    line.take(packets[2] as Sent, 40);
    let ms = 0;
    for (; line.heard.length < 2; ms += 10) line.one.tick(40 + ms);
    assert.ok(ms - 10 >= from - 10 && ms <= to + 10, `${patience}: after ${ms} ms`);
    line.free();
  }
});

test('what waited for its turn is known by its own number', async () => {
  for (const codec of ['G722', 'opus'] as const) {
    const packets = await packetsOf(codec, voice(400));
    const line = await receiver(terms(codec));
    for (const i of [0, 1, 2, 4, 5, 3, 6, 8, 9, 10]) line.take(packets[i] as Sent, i * 20);
    line.one.tick(10_000);
    const numbers = line.heard.filter((x) => !x.recovered).map(({ sequence }) => sequence);
    const expected = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10].map((i) => (65_530 + i) & 0xffff);
    assert.deepEqual(numbers, expected, codec);
    line.free();
  }
});

test('packets of every length that may come', async () => {
  for (const codec of ['PCMU', 'PCMA', 'G722', 'L16'] as const) {
    for (const ms of [2.5, 5, 10, 30, 60, 100, 120]) {
      const pcm = voice(600);
      const line = await receiver(terms(codec));
      for (const [i, packet] of (await packetsOf(codec, pcm, ms)).entries())
        line.take(packet, i * ms);
      const heard = signalOf(line.heard);
      assert.equal(heard.length, Math.floor(600 / ms) * ms * 8);
      assert.ok(correlation(heard, pcm) > 0.99, `${codec}, ${ms} ms`);
      line.free();
    }
  }
});

test('payload types of before are understood after a re-negotiation, and those agreed besides at any time', async () => {
  const alternatives = [{ codec: 'G722', payloadType: 9 }] as const;
  const line = await receiver(terms('PCMU', { alternatives }));
  const [mu, a] = [await packetsOf('PCMU', voice(400)), await packetsOf('PCMA', voice(400))];
  // Whoever changes to a codec with state begins with it there.
  const late = await packetsOf('G722', voice(400).subarray(640));
  const wide = mu.map((packet, i) => ({
    ...packet,
    ...TYPE_G722,
    payload: late[i - 4]?.payload ?? NOTHING,
  }));
  let n = 0;
  const next = (packets: Sent[]): void => {
    line.take(packets[n] as Sent, n * 20);
    n++;
  };
  for (let i = 0; i < 4; i++) next(mu);
  for (let i = 0; i < 4; i++) next(wide);
  await line.agree(terms('PCMA'));
  for (let i = 0; i < 4; i++) next(mu);
  for (let i = 0; i < 4; i++) next(a);
  line.take({ ...(mu[0] as Sent), payloadType: 77, sequence: 65_530 + n }, n * 20);
  assert.equal(line.heard.length, 16);
  assert.equal(line.one.malformedDropped, 1, 'and no other');
  assert.ok(correlation(signalOf(line.heard), voice(400)) > 0.97);
  line.free();
});

/** Changes of clock: how the other side numbers its time, and under which SSRC. */
for (const [name, ssrc, shift] of [
  ['under another SSRC (RFC 7160 4.1)', 99, 123_456],
  ['under the same one', 7, 0],
  ['under the same one, its time unrelated', 7, 77_777_777],
] as const) {
  test(`from G.711 to Opus and back ${name}: one time, no gap`, async () => {
    const line = await receiver(
      terms('PCMU', { alternatives: [{ codec: 'opus', payloadType: 111 }] }),
    );
    const [mu, opus] = [await packetsOf('PCMU', voice(1200)), await packetsOf('opus', voice(1200))];
    for (let i = 0; i < 60; i++) {
      const isOpus = i >= 20 && i < 40;
      const packet = (isOpus ? opus[i] : mu[i]) as Sent;
      const change = isOpus ? { ssrc, timestamp: packet.timestamp + shift } : { ssrc: 7 };
      line.take({ ...packet, ...change }, i * 20);
    }
    assert.equal(line.heard.length, 60);
    for (const [i, { time }] of line.heard.entries()) {
      assert.equal(time, (line.heard[0]?.time ?? 0) + i * 160, `packet ${i}`);
    }
    assert.ok(line.restarts.slice(1).every((isSeamless) => isSeamless));
    assert.equal(line.restarts.length, ssrc === 7 ? 1 : 3);
    const heard = signalOf(line.heard);
    for (const join of [3200, 6400]) {
      const step = Math.abs((heard[join] ?? 0) - (heard[join - 1] ?? 0));
      assert.ok(step < 50, `a step of ${step} at the join`);
    }
    line.free();
  });
}

test('silence descriptors: level and time are handed on, whatever their payload type', async () => {
  const line = await receiver(terms('PCMU', { comfortNoisePayloadType: 13 }));
  const packets = await packetsOf('PCMU', voice(100));
  for (const [i, packet] of packets.entries()) line.take(packet, i * 20);
  const end = { sequence: 65_535, timestamp: (packets[0]?.timestamp ?? 0) + 800 };
  line.take({ ...end, payloadType: 13, payload: Uint8Array.of(60, 127) }, 100);
  line.take(
    {
      sequence: 65_536,
      timestamp: end.timestamp + 160,
      payloadType: 13,
      payload: new Uint8Array(0),
    },
    120,
  );
  assert.deepEqual(line.noise, [{ level: 60, time: (line.heard[0]?.time ?? 0) + 800 }]);
  assert.equal(line.one.malformedDropped, 1);
  line.free();
});

/** Sends packets into a whole call, and gives what the agent hears of the caller, by call time. */
function hear(
  call: TestChain,
  packets: readonly Sent[],
  fromMs: number,
  untilMs: number,
): Int16Array {
  const heard: number[] = [];
  const chunk = new Int16Array(1600);
  for (let ms = 0; ms < untilMs; ms += 20) {
    const packet = packets[(ms - fromMs) / 20];
    if (packet && packet.payload.length > 0) {
      call.transport.listener?.(rtp(packet), PHONE.address, PHONE.port, call.clock.now());
    }
    call.clock.advance(20);
    for (let n = call.callerRing.read(chunk, 1600); n > 0; n = call.callerRing.read(chunk, 1600)) {
      heard.push(...chunk.subarray(0, n));
    }
  }
  return Int16Array.from(heard);
}

const rms = (pcm: Int16Array): number =>
  Math.sqrt(pcm.reduce((sum, x) => sum + x * x, 0) / Math.max(1, pcm.length));

test('a far end that suppresses silence: its noise is heard meanwhile, gently, and the call is not lost', async () => {
  for (const [level, coefficients] of [
    [50, []],
    [40, [140, 120, 127]],
    [60, Array.from({ length: 30 }, (_, i) => 127 + ((i * 37) % 41) - 20)],
  ] as const) {
    const call = testChain({ rtpTimeoutMs: 2000 });
    call.chain.start(terms('PCMU', { comfortNoisePayloadType: 13 }));
    const packets = await packetsOf('PCMU', voice(400));
    const time = (packets[0]?.timestamp ?? 0) + 3200;
    const payload = Uint8Array.of(level, ...coefficients);
    packets.push({ sequence: 65_550, timestamp: time, payloadType: 13, payload });
    const heard = hear(call, packets, 0, 4000);
    const noise = heard.subarray(8 * 800, 8 * 3500);
    const wanted = 32_768 * 10 ** (-level / 20);
    const ratio = rms(noise) / wanted;
    assert.ok(ratio > 0.7 && ratio < 1.4, `-${level} dBov: ${ratio.toFixed(2)} of it`);
    assert.ok(noise.every((x) => Math.abs(x) < wanted * 8));
    assert.ok(!call.events.some(({ type }) => type === 'media.lost'), 'announced silence');
    assert.ok(call.chain.stats.concealedMs < 70, 'and it counts as no loss');
    await call.chain.close();
  }
});

test('DTX of Opus: what stays away is heard as the silence before it, not as loss', async () => {
  const random = seeded(17);
  const pcm = Int16Array.from({ length: 24_000 }, () => (random() - 0.5) * 120);
  pcm.set(voice(600));
  const encoder = await createOpusEncoder({ ...WISHES, useDtx: true });
  const into = new Uint8Array(1200);
  const packets: Sent[] = [];
  let sequence = 0;
  for (let at = 0; at < pcm.length; at += 160) {
    const payload = into.slice(0, encoder.encode(pcm.slice(at, at + 160), 160, into));
    packets.push({ sequence, timestamp: at * 6, payload, payloadType: 111 });
    if (payload.length > 0) sequence++;
  }
  encoder.free();
  assert.ok(sequence < 80, `${sequence} of 150 packets are sent`);
  const call = testChain();
  const audio = terms('opus');
  await call.chain.prepare(audio);
  call.chain.start(audio);
  const heard = hear(call, packets, 0, 3000);
  const quiet = heard.subarray(8 * 1500, 8 * 2800);
  assert.ok(rms(quiet) > 8 && rms(quiet) < 80, `${rms(quiet).toFixed(1)} in the pause`);
  let still = 0;
  for (let i = 0; i + 160 <= quiet.length; i += 160) {
    if (quiet.subarray(i, i + 160).every((x) => x === 0)) still++;
  }
  assert.equal(still, 0, 'no frame is cut off');
  const { stats } = await call.chain.close();
  assert.equal(stats.lost, 0);
  assert.equal(stats.late, 0);
});

test('30,000 packets of random payloads into every decoder: no throw, samples that are numbers', async () => {
  const random = seeded(20_261_121);
  for (const codec of CODECS) {
    const line = await receiver(
      terms(codec, {
        comfortNoisePayloadType: 13,
        alternatives: CODECS.map((name) => ({
          codec: name,
          payloadType: TYPES[name],
        })),
      }),
    );
    let sequence = 0;
    for (let n = 0; n < 6000; n++) {
      const kind = random();
      sequence += kind < 0.7 ? 1 : Math.floor(random() * 12) - 4;
      const other = CODECS[Math.floor(random() * CODECS.length)] as Codec;
      const payloadType = kind < 0.05 ? 13 : kind < 0.15 ? TYPES[other] : TYPES[codec];
      const length = Math.floor(random() ** 3 * 1400);
      const payload = Uint8Array.from({ length }, () => random() * 256);
      const timestamp = kind > 0.98 ? random() * 2 ** 32 : sequence * 160;
      line.take({ sequence: sequence & 0xffff, timestamp, payload, payloadType }, n * 20);
      line.one.tick(n * 20 + 10);
    }
    assert.ok(line.heard.length > 2000, `${codec}: ${line.heard.length} were heard`);
    for (const { pcm, time } of line.heard) {
      assert.ok(Number.isFinite(time));
      assert.ok(!pcm.includes(-32_768));
    }
    line.free();
  }
});
