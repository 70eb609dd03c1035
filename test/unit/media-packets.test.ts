/** Packets of every agreed length: when they leave, what they carry, what becomes of them when the terms change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { newDecoder } from '#media/codec/codecs.ts';
import { createOpusDecoder } from '#media/codec/opus-codec.ts';
import type { Codec, NegotiatedAudio } from '#media/types.ts';
import { AUDIO, testChain, type SentPacket, type TestChain } from './_media.ts';

const OPUS_WISHES = { useInbandFec: false, useDtx: false, maxAverageBitrate: null };
const TERMS: Record<Codec, Partial<NegotiatedAudio>> = {
  PCMU: { codec: 'PCMU', payloadType: 0, receivePayloadType: 0 },
  PCMA: { codec: 'PCMA', payloadType: 8, receivePayloadType: 8 },
  G722: { codec: 'G722', payloadType: 9, receivePayloadType: 9 },
  L16: { codec: 'L16', payloadType: 97, receivePayloadType: 97 },
  opus: {
    codec: 'opus',
    payloadType: 111,
    receivePayloadType: 111,
    dtmfClockHz: 48_000,
    opus: OPUS_WISHES,
  },
};
const BYTES_PER_MS: Partial<Record<Codec, number>> = { PCMU: 8, PCMA: 8, G722: 8, L16: 16 };

const terms = (codec: Codec, more: Partial<NegotiatedAudio> = {}): NegotiatedAudio => ({
  ...AUDIO,
  ...TERMS[codec],
  ...more,
});

async function start(call: TestChain, audio: NegotiatedAudio): Promise<void> {
  await call.chain.prepare(audio);
  call.chain.start(audio);
}

function say(call: TestChain, utterance: number, pcm: Int16Array): void {
  call.writer.begin(utterance);
  void call.writer.write(utterance, pcm);
  call.writer.end(utterance);
}

const tone = (ms: number, hz = 440, amplitude = 8000): Int16Array =>
  Int16Array.from({ length: ms * 8 }, (_, i) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * i) / 8000)),
  );

/** That each packet has its number, its time, and leaves when its time has come. */
function checkFlow(packets: readonly SentPacket[], ms: number, units: number, what: string): void {
  assert.ok(packets.length >= 6, what);
  for (const [i, packet] of packets.entries()) {
    const first = packets[0] as SentPacket;
    assert.equal(packet.sequence, (first.sequence + i) & 0xffff, `${what}, number of packet ${i}`);
    assert.equal(packet.timestamp, (first.timestamp + i * units) >>> 0, `${what}, time ${i}`);
    assert.equal(packet.atMs, first.atMs + i * ms, `${what}, packet ${i} leaves`);
    assert.equal(packet.marker, i === 0, `${what}, marker of packet ${i}`);
  }
}

for (const codec of ['PCMU', 'PCMA', 'G722', 'L16', 'opus'] as const) {
  test(`${codec}: packets of 10 to 60 ms, evenly paced`, async () => {
    for (const ptimeMs of [10, 20, 30, 40, 50, 60]) {
      const call = testChain();
      await start(call, terms(codec, { ptimeMs }));
      call.clock.advance(1000);
      await call.chain.close();
      // Opus has no packets of 30 and 50 ms.
      const ms = codec === 'opus' && ptimeMs % 20 === 10 && ptimeMs > 10 ? ptimeMs - 10 : ptimeMs;
      const what = `${codec}, ptime ${ptimeMs}`;
      checkFlow(call.transport.sent, ms, ms * (codec === 'opus' ? 48 : 8), what);
      const bytes = BYTES_PER_MS[codec];
      for (const { payload } of call.transport.sent) {
        if (bytes !== undefined) assert.equal(payload.length, ms * bytes, what);
        else assert.ok(payload.length > 2 && payload.length < 400, what);
      }
      assert.equal(call.pacer.size, 0, 'nothing is paced any more');
      assert.equal(call.clock.pending, 0);
    }
  });
}

test('a length that nobody can have becomes the nearest one below', async () => {
  for (const [ptimeMs, ms] of [
    [1, 10],
    [15, 10],
    [45, 40],
    [200, 60],
  ] as const) {
    const call = testChain();
    await start(call, terms('PCMU', { ptimeMs }));
    call.clock.advance(1000);
    await call.chain.close();
    checkFlow(call.transport.sent, ms, ms * 8, `ptime ${ptimeMs}`);
  }
});

test('what is said is in the packets without a gap, whatever their length', async () => {
  const said = Int16Array.from({ length: 4000 }, (_, i) => G711.PCMU.decode[i % 256] ?? 0);
  for (const ptimeMs of [10, 20, 30, 40, 50, 60]) {
    const call = testChain();
    await start(call, terms('PCMU', { ptimeMs }));
    call.clock.advance(100);
    say(call, 1, said);
    call.clock.advance(900);
    await call.chain.close();
    const wire = Uint8Array.from(call.transport.sent.flatMap(({ payload }) => [...payload]));
    const heard = Int16Array.from(wire, (code) => G711.PCMU.decode[code] ?? 0);
    const at = heard.findIndex((x) => x !== 0);
    const from = said.findIndex((x) => x !== 0);
    assert.deepEqual(heard.slice(at, at + 3900), said.slice(from, from + 3900), `${ptimeMs} ms`);
    const spurts = call.transport.sent.filter(({ marker }) => marker);
    assert.equal(spurts.length, 2, 'the first packet, and the one in which speech begins');
    const started = call.events.find((event) => event.type === 'playout.started');
    assert.equal(started?.wireMs, spurts[1]?.atMs, 'told when it leaves');
  }
});

test('digits between packets of 60 and 30 ms: events at their times, nothing lost, no burst', async () => {
  for (const ptimeMs of [30, 40, 60]) {
    const call = testChain();
    await start(call, terms('PCMU', { ptimeMs }));
    call.clock.advance(130);
    const job = { request: 1, digits: '15', mode: 'rfc4733', toneMs: 100, gapMs: 100 } as const;
    call.chain.output.sendDtmf(job);
    call.clock.advance(870);
    await call.chain.close();
    const { sent } = call.transport;
    let time = sent[0]?.timestamp ?? 0;
    let eventTime = 0;
    for (const [i, packet] of sent.entries()) {
      assert.equal(packet.sequence, ((sent[0]?.sequence ?? 0) + i) & 0xffff);
      if (packet.payloadType === 101) {
        if (packet.marker) eventTime = time;
        assert.equal(packet.timestamp, eventTime, `event packet ${i}`);
        time = (time + 160) >>> 0;
      } else {
        assert.equal(packet.timestamp, time, `packet ${i} with ptime ${ptimeMs}`);
        time = (time + packet.payload.length) >>> 0;
      }
      const before = sent[i - 1];
      if (before) assert.ok(packet.atMs - before.atMs >= 10, `packet ${i}`);
    }
    assert.equal(sent.filter(({ payloadType }) => payloadType === 101).length, 14);
  }
});

test('after a stall, and with nothing to be sent, time goes on', async () => {
  const call = testChain();
  const audio = terms('PCMU', { ptimeMs: 60 });
  await start(call, audio);
  call.clock.advance(190);
  const before = call.transport.sent.length;
  call.chain.start({ ...audio, send: false });
  call.clock.advance(200);
  assert.equal(call.transport.sent.length, before);
  call.chain.start(audio);
  call.clock.advance(300);
  const [last, next] = [call.transport.sent[before - 1], call.transport.sent[before]];
  assert.ok(last && next);
  assert.equal(next.sequence, (last.sequence + 1) & 0xffff);
  const sinceMs = next.atMs - last.atMs;
  const units = (next.timestamp - last.timestamp) | 0;
  assert.ok(Math.abs(units / 8 - sinceMs) <= 20, `${units / 8} ms of time in ${sinceMs} ms`);
  await call.chain.close();
});

test('events of Opus are counted at 48 kHz, and a long one goes on in segments', async () => {
  const call = testChain();
  await start(call, terms('opus', { dtmfPayloadType: 110 }));
  call.clock.advance(200);
  const job = { request: 1, digits: '7', mode: 'rfc4733', toneMs: 3000, gapMs: 100 } as const;
  call.chain.output.sendDtmf(job);
  call.clock.advance(3400);
  await call.chain.close();
  const events = call.transport.sent.filter(({ payloadType }) => payloadType === 110);
  const view = (packet: SentPacket) => Buffer.from(packet.payload);
  const begin = events[0]?.timestamp ?? 0;
  let reached = 0;
  for (const [i, packet] of events.entries()) {
    const segment = (packet.timestamp - begin) >>> 0;
    assert.equal(segment % 0xffff, 0, 'a segment follows the one before');
    const lasted = segment + view(packet).readUInt16BE(2);
    assert.ok(lasted >= reached, `packet ${i}`);
    reached = lasted;
    assert.equal(packet.marker, i === 0);
    assert.equal((view(packet).readUInt8(1) & 0x80) !== 0, i >= events.length - 3);
  }
  assert.equal(reached, 3000 * 48);
  assert.equal(events.length, 152);
});

test('DTX: silence is not sent, its time goes on, and speech begins with a marker', async () => {
  const call = testChain();
  await start(call, terms('opus', { opus: { ...OPUS_WISHES, useDtx: true } }));
  call.clock.advance(3000);
  const silent = call.transport.sent.length;
  assert.ok(silent < 40, `${silent} packets in 3 s`);
  say(call, 1, tone(300));
  call.clock.advance(400);
  const { sent } = call.transport;
  for (const [i, packet] of sent.entries()) {
    const before = sent[i - 1];
    if (before === undefined) continue;
    assert.equal(packet.sequence, (before.sequence + 1) & 0xffff, 'no number is left out');
    assert.equal((packet.timestamp - before.timestamp) | 0, (packet.atMs - before.atMs) * 48);
    if (packet.atMs - before.atMs > 20) assert.ok(packet.marker, `packet ${i}`);
  }
  assert.ok(call.events.some((event) => event.type === 'playout.done'));
  await call.chain.close();
});

/** What a phone hears that has a fresh decoder for each payload type. */
async function phoneHears(
  packets: readonly SentPacket[],
): Promise<{ pcm: number[]; joins: number[] }> {
  const names: Record<number, Codec> = { 0: 'PCMU', 8: 'PCMA', 9: 'G722', 97: 'L16' };
  const [pcm, joins]: [number[], number[]] = [[], []];
  let [type, decoder] = [-1, newDecoder('PCMU')];
  const into = new Int16Array(1600);
  for (const { payload, payloadType } of packets) {
    if (payloadType !== type) {
      decoder.free();
      const name = names[payloadType];
      decoder = name === undefined ? await createOpusDecoder() : newDecoder(name);
      joins.push(pcm.length);
      type = payloadType;
    }
    const count = decoder.decode(
      new DataView(payload.buffer, payload.byteOffset, payload.length),
      into,
    );
    pcm.push(...into.subarray(0, count));
  }
  decoder.free();
  return { pcm, joins: joins.slice(1) };
}

/** Largest step of a 440 Hz tone of this size from sample to sample: what is no click. */
const STEP = 8000 * 2 * Math.PI * (440 / 8000);
const CHANGES: readonly [from: Codec, to: Codec][] = [
  ['PCMU', 'PCMA'],
  ['PCMU', 'G722'],
  ['G722', 'PCMA'],
  ['PCMA', 'opus'],
  ['opus', 'PCMA'],
  ['G722', 'opus'],
  ['opus', 'L16'],
];

for (const [from, to] of CHANGES) {
  test(`from ${from} to ${to} in the middle of a tone: no click, no gap`, async () => {
    let worst = 0;
    for (const phase of [0, 3, 7, 11]) {
      const call = testChain();
      await start(call, terms(from));
      say(call, 1, tone(2000).subarray(phase));
      call.clock.advance(700);
      await start(call, terms(to));
      call.clock.advance(700);
      const { sent } = call.transport;
      const at = sent.findIndex(({ payloadType }) => payloadType === terms(to).payloadType);
      const [last, next] = [sent[at - 1], sent[at]];
      assert.ok(last && next);
      for (const [i, packet] of sent.entries()) {
        assert.equal(packet.sequence, ((sent[0]?.sequence ?? 0) + i) & 0xffff);
        assert.equal(packet.atMs, (sent[0]?.atMs ?? 0) + i * 20);
      }
      const isSameClock = (from === 'opus') === (to === 'opus');
      assert.equal(next.ssrc === last.ssrc, isSameClock, 'RFC 7160: another clock, another SSRC');
      if (isSameClock) assert.equal((next.timestamp - last.timestamp) | 0, 160);
      const byes = call.transport.rtcp.filter(({ bytes }) => isByeOf(bytes, last.ssrc));
      assert.equal(byes.length, isSameClock ? 0 : 1);
      const { pcm, joins } = await phoneHears(sent);
      const join = joins[0] ?? 0;
      for (let i = join - 200; i < join + 400; i++) {
        worst = Math.max(worst, Math.abs((pcm[i] ?? 0) - (pcm[i - 1] ?? 0)));
      }
      await call.chain.close();
    }
    assert.ok(worst <= STEP * 1.25, `a step of ${worst}, the tone itself has ${STEP.toFixed(0)}`);
  });
}

/** Whether a compound RTCP packet has a BYE of this SSRC. */
function isByeOf(bytes: Uint8Array, ssrc: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length; at += 4 * (view.getUint16(at + 2) + 1)) {
    if (view.getUint8(at + 1) === 203 && view.getUint32(at + 4) === ssrc) return true;
  }
  return false;
}

test('another packet length in the middle of a word: not a sample is lost or told twice', async () => {
  for (const [from, to] of [
    [60, 20],
    [20, 60],
    [30, 20],
    [10, 40],
    [50, 10],
    [60, 30],
  ] as const) {
    const call = testChain();
    await start(call, terms('PCMU', { ptimeMs: from }));
    const said = Int16Array.from({ length: 8000 }, (_, i) => G711.PCMU.decode[i % 256] ?? 0);
    say(call, 1, said);
    call.clock.advance(330);
    await start(call, terms('PCMU', { ptimeMs: to }));
    call.clock.advance(900);
    await call.chain.close();
    const wire = Uint8Array.from(call.transport.sent.flatMap(({ payload }) => [...payload]));
    const heard = Int16Array.from(wire, (code) => G711.PCMU.decode[code] ?? 0);
    const at = heard.findIndex((x) => x !== 0);
    const begin = said.findIndex((x) => x !== 0);
    assert.deepEqual(
      heard.slice(at, at + 7900),
      said.slice(begin, begin + 7900),
      `${from} to ${to}`,
    );
    let time = call.transport.sent[0]?.timestamp ?? 0;
    for (const packet of call.transport.sent) {
      assert.equal(packet.timestamp, time);
      time = (time + packet.payload.length) >>> 0;
    }
  }
});

test('a codec that nobody knows ends the media with a clear reason, and nothing is thrown later', async () => {
  const call = testChain();
  await start(call, terms('PCMU'));
  call.clock.advance(100);
  const strange = { ...terms('PCMU'), codec: 'G729' as Codec };
  assert.throws(() => call.chain.start(strange), { code: 'E_MEDIA', message: /G729/ });
  call.clock.advance(100);
  assert.throws(() => testChain().chain.start(terms('opus')), { code: 'E_MEDIA', message: /opus/ });
  await call.chain.close();
});
