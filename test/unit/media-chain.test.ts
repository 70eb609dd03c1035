/** The whole chain on a simulated clock: wire to wire, barge-in, holds, re-INVITE, loss of media, an hour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import type { MediaEvent } from '#media/types.ts';
import { AUDIO, PHONE, rtp, testChain, type TestChain } from './_media.ts';
import { recorded } from './_noises.ts';

const FRAME = 160;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const codes = (value: number): Uint8Array =>
  new Uint8Array(FRAME).fill(G711.PCMU.encode[value & 0xffff] ?? 0);
const SILENCE = codes(0);
const LOUD = codes(8000);

/** A phone that sends one packet per 20 ms of simulated time. */
class Phone {
  sequence = 100;
  timestamp = 9000;
  address = PHONE.address;
  port = PHONE.port;
  readonly #test: TestChain;

  constructor(test: TestChain) {
    this.#test = test;
  }

  send(payload: Uint8Array, payloadType = 0): void {
    const { sequence, timestamp } = this;
    const bytes = rtp({ sequence, timestamp, payload, payloadType });
    this.#test.transport.listener?.(bytes, this.address, this.port);
    this.sequence++;
    this.timestamp += FRAME;
  }

  play(frames: number, payload: Uint8Array): void {
    for (let i = 0; i < frames; i++) {
      this.send(payload);
      this.#test.clock.advance(20);
    }
  }
}

const named = <T extends MediaEvent['type']>(test: TestChain, type: T) =>
  test.events.filter((event): event is Extract<MediaEvent, { type: T }> => event.type === type);

function sentLoud(test: TestChain): number {
  return test.transport.sent.filter(({ payload }) => payload.some((code) => (code | 0x80) !== 0xff))
    .length;
}

async function speak(test: TestChain, utterance: number, ms: number): Promise<void> {
  test.writer.begin(utterance);
  const written = test.writer.write(utterance, new Int16Array(ms * 8).fill(6000));
  test.writer.end(utterance);
  await written;
}

test('a packet every 20 ms from start to close, numbered without gaps', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.clock.advance(500);
  await speak(call, 1, 500);
  call.clock.advance(500);
  const { stats } = await call.chain.close();
  call.clock.advance(1000);
  const { sent } = call.transport;
  assert.equal(stats.packetsSent, sent.length);
  assert.ok(sent.length >= 50 && sent.length <= 52, `${sent.length}`);
  for (const [i, packet] of sent.entries()) {
    const before = sent[i - 1];
    if (before === undefined) continue;
    assert.equal(packet.sequence, (before.sequence + 1) & 0xffff);
    assert.equal(packet.timestamp, (before.timestamp + FRAME) >>> 0);
    assert.equal(packet.ssrc, before.ssrc);
    assert.ok(Math.abs(packet.atMs - before.atMs - 20) < 0.001);
  }
  const marked = sent.flatMap((packet, i) => (packet.marker ? [i] : []));
  const firstLoud = sent.findIndex(({ payload }) => payload.some((x) => (x | 0x80) !== 0xff));
  assert.deepEqual(marked, [0, firstLoud], 'marker on the first packet and at the talkspurt');
  assert.ok(sent.every((packet) => packet.to === `${PHONE.address}:${PHONE.port}`));
  assert.ok(call.transport.isClosed);
  assert.equal(call.clock.pending, 0);
});

test('caller audio reaches ring and recording at its call time', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  call.clock.advance(100);
  phone.play(10, LOUD);
  phone.play(20, SILENCE);
  const heard = new Int16Array(call.callerRing.available);
  call.callerRing.read(heard);
  const first = heard.findIndex((x) => x > 4000);
  assert.ok(Math.abs(first - 800) <= FRAME, `sample ${first} for 100 ms`);
  assert.ok(Math.abs(heard.findLastIndex((x) => x > 4000) - (800 + 10 * FRAME)) <= FRAME);
  const { recording, stats } = await call.chain.close();
  assert.equal(recording?.truncated, false);
  const caller = call.disk.channel(0);
  assert.equal(
    caller.findIndex((x) => x > 4000),
    first,
  );
  assert.equal(stats.packetsReceived, 30);
  assert.equal(stats.lost, 0);
});

test('barge-in: silent within 80 ms of the first speech packet, heard to the sample', async () => {
  for (const phase of [1, 7, 13, 19]) {
    const call = testChain();
    call.chain.start(AUDIO);
    call.chain.armBargeIn(true);
    const phone = new Phone(call);
    phone.play(3, SILENCE);
    await speak(call, 1, 3000);
    phone.play(50, SILENCE);
    call.clock.advance(phase);
    const speechAtMs = call.clock.now();
    phone.play(20, LOUD);
    const [paused] = named(call, 'playout.paused');
    assert.ok(paused, 'paused');
    const loud = call.transport.sent.filter(({ payload }) =>
      payload.some((x) => (x | 0x80) !== 0xff),
    );
    const lastMs = (loud.at(-1)?.atMs ?? 0) + 20;
    assert.ok(lastMs - speechAtMs <= 80, `phase ${phase}: silent ${lastMs - speechAtMs} ms after`);
    const heardOnWire = loud.length * 20;
    assert.ok(Math.abs(paused.heardMs - heardOnWire) <= 20, `${paused.heardMs} / ${heardOnWire}`);
    const [started] = named(call, 'speech.started');
    assert.ok(started && Math.abs(started.startMs - speechAtMs) <= 20);
    assert.equal(started.wireMs, speechAtMs);
    phone.play(40, SILENCE);
    assert.equal(named(call, 'speech.stopped').length, 1);
    call.chain.resume();
    phone.play(120, SILENCE);
    assert.equal(named(call, 'playout.done')[0]?.heardMs, 3000);
    await call.chain.close();
  }
});

test('armed with 100 ms: what confirms is told 100-140 ms after the first speech packet, noise never', async () => {
  for (const phase of [1, 9, 19]) {
    const call = testChain();
    call.chain.start(AUDIO);
    call.chain.armBargeIn(true, 100);
    const phone = new Phone(call);
    await speak(call, 1, 3000);
    phone.play(20, SILENCE);
    phone.play(3, LOUD);
    phone.play(20, SILENCE);
    assert.equal(named(call, 'speech.started').length, 1);
    assert.equal(named(call, 'speech.lasted').length, 0, 'a click is no word');
    call.chain.resume();
    call.clock.advance(phase);
    const speechAtMs = call.clock.now();
    phone.play(20, LOUD);
    const [lasted] = named(call, 'speech.lasted');
    assert.ok(lasted);
    const afterMs = lasted.atMs - speechAtMs;
    assert.ok(afterMs >= 80 && afterMs <= 140, `${afterMs}`);
    assert.ok(lasted.speechMs >= 100 && lasted.speechMs <= 120);
    assert.equal(named(call, 'speech.lasted').length, 1);
    await call.chain.close();
  }
});

test('an echo of what is sent neither stops the agent nor is read as the caller', async () => {
  const call = testChain({ isSpeech: (frame) => frame.some((x) => Math.abs(x) > 300) });
  call.chain.start(AUDIO);
  call.chain.armBargeIn(true, 100);
  const phone = new Phone(call);
  phone.play(3, SILENCE);
  const voice = recorded('about-en').subarray(0, 24_000);
  call.writer.begin(1);
  const written = call.writer.write(1, voice);
  call.writer.end(1);
  await written;
  const { encode, decode } = G711.PCMU;
  for (let i = 0; i < 150; i++) {
    const back = call.transport.sent.at(-5)?.payload ?? SILENCE;
    const quiet = back.map(
      (code) => encode[Math.round((decode[code] as number) * 0.2) & 0xffff] as number,
    );
    phone.send(Uint8Array.from(quiet));
    call.clock.advance(20);
  }
  assert.equal(named(call, 'speech.started').length, 0);
  assert.equal(named(call, 'playout.paused').length, 0);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 3000);
  const heard = new Int16Array(call.callerRing.available);
  call.callerRing.read(heard);
  const loud = heard.filter((x) => Math.abs(x) > 300).length;
  assert.ok(loud < 0.05 * 24_000, `${loud} samples of an echo to be read`);
  await call.chain.close();
});

test('without arming, speech is told and playout goes on', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  await speak(call, 1, 400);
  new Phone(call).play(40, LOUD);
  assert.equal(named(call, 'speech.started').length, 1);
  assert.equal(named(call, 'playout.paused').length, 0);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 400);
  await call.chain.close();
});

test('a phone that sends from elsewhere is taken after the window, and nothing it said is lost', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.address = '192.0.2.200';
  phone.play(40, LOUD);
  phone.play(20, SILENCE);
  assert.deepEqual(
    named(call, 'media.latched').map(({ address, port }) => `${address}:${port}`),
    [`192.0.2.200:${PHONE.port}`],
  );
  assert.equal(call.transport.sent.at(-1)?.to, `192.0.2.200:${PHONE.port}`);
  assert.ok(!call.transport.log.some((line) => line.startsWith('connect')), 'the other may speak');
  const { stats } = await call.chain.close();
  assert.equal(stats.packetsReceived, 60);
  assert.equal(stats.foreignDropped, 0);
  const caller = call.disk.channel(0);
  const loud = caller.filter((x) => x > 4000).length;
  assert.ok(Math.abs(loud - 40 * FRAME) <= FRAME, `${loud / 8} ms of 800 recorded`);
  assert.ok(caller.findIndex((x) => x > 4000) <= 2 * FRAME);
});

test('stray packets before the phone: the phone is latched and whole, the strays are not heard', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const stray = rtp({ sequence: 1, timestamp: 5, payload: LOUD, ssrc: 666 });
  call.transport.listener?.(stray, '192.0.2.66', 5004);
  call.transport.listener?.(stray, '192.0.2.67', 0);
  call.clock.advance(60);
  const phone = new Phone(call);
  phone.address = '192.0.2.200';
  phone.play(40, SILENCE);
  assert.deepEqual(
    named(call, 'media.latched').map(({ address }) => address),
    ['192.0.2.200'],
  );
  const { stats } = await call.chain.close();
  assert.equal(stats.packetsReceived, 40);
  assert.equal(stats.foreignDropped, 1);
  assert.equal(stats.malformedDropped, 1, 'port 0');
  assert.ok(call.disk.channel(0).every((x) => x === 0));
});

test('a stranger who never proves itself does not stop the time of the caller', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  for (let i = 0; i < 150; i++) {
    const bytes = rtp({ sequence: i * 977, timestamp: i, payload: LOUD, ssrc: 666 });
    call.transport.listener?.(bytes, '192.0.2.66', 5004);
    call.clock.advance(20);
  }
  assert.ok(call.callerRing.available >= 1900 * 8, `${call.callerRing.available / 8} ms of 3000`);
  const { stats } = await call.chain.close();
  assert.equal(stats.packetsReceived, 0);
  assert.ok(call.disk.channel(0).every((x) => x === 0));
});

test('a spoofer before and after the phone: nothing of it is heard, nothing is sent to it', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  const spoof = (i: number): void => {
    const bytes = rtp({ sequence: i, timestamp: i * FRAME, payload: LOUD, ssrc: 666 });
    call.transport.listener?.(bytes, '192.0.2.66', 5004);
  };
  for (let i = 0; i < 100; i++) {
    for (let k = 0; k < 10; k++) spoof(i * 10 + k);
    if (i >= 10) phone.send(SILENCE);
    call.clock.advance(20);
  }
  const { stats } = await call.chain.close();
  assert.ok(call.disk.channel(0).every((x) => x === 0));
  assert.ok(call.transport.sent.every(({ to }) => to === `${PHONE.address}:${PHONE.port}`));
  assert.equal(stats.foreignDropped, 1000);
  assert.equal(stats.packetsReceived, 90);
  assert.equal(named(call, 'speech.started').length, 0);
});

test('hold and re-INVITE: time runs on, numbers have no gap, the new address is taken', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  await speak(call, 1, 1000);
  phone.play(10, SILENCE);
  call.chain.start({ ...AUDIO, send: false, receive: false });
  const before = call.transport.sent.length;
  phone.play(25, LOUD);
  assert.equal(call.transport.sent.length, before);
  call.chain.start({
    ...AUDIO,
    codec: 'PCMA',
    payloadType: 8,
    receivePayloadType: 8,
    remotePort: 4444,
  });
  phone.port = 4444;
  call.clock.advance(1000);
  const [last, next] = [call.transport.sent[before - 1], call.transport.sent[before]];
  assert.ok(last && next);
  assert.equal(next.sequence, (last.sequence + 1) & 0xffff);
  assert.equal(next.timestamp, (last.timestamp + 26 * FRAME) >>> 0);
  assert.equal(next.payloadType, 8);
  assert.equal(next.to, `${PHONE.address}:4444`);
  assert.equal(next.marker, true);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 1000, 'nothing was played into the hold');
  assert.equal(named(call, 'speech.started').length, 0);
  await call.chain.close();
  assert.ok(Math.abs(call.disk.end - 44 - 1700 * 32) <= 40 * 32, 'the hold is in the recording');
});

test('telephone events become digits; the audio under them is not concealed', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(10, SILENCE);
  const timestamp = phone.timestamp;
  for (const [i, isEnd] of [false, false, false, true, true, true].entries()) {
    const payload = new Uint8Array([5, (isEnd ? 0x80 : 0) | 10, 0, 0]);
    new DataView(payload.buffer).setUint16(2, Math.min(i + 1, 4) * FRAME);
    const bytes = rtp({ sequence: phone.sequence++, timestamp, payload, payloadType: 101 });
    call.transport.listener?.(bytes, PHONE.address, PHONE.port);
    call.clock.advance(20);
  }
  phone.timestamp += 6 * FRAME;
  phone.play(10, SILENCE);
  assert.deepEqual(
    named(call, 'dtmf').map(({ digit, durationMs }) => [digit, durationMs]),
    [['5', 80]],
  );
  assert.equal((await call.chain.close()).stats.lost, 0);
});

test('media lost: before the first packet, after the last, once per silence, never on hold', async () => {
  const call = testChain({ firstRtpTimeoutMs: 3000, rtpTimeoutMs: 1000 });
  call.chain.start(AUDIO);
  call.clock.advance(2900);
  assert.equal(named(call, 'media.lost').length, 0);
  call.clock.advance(2000);
  const phone = new Phone(call);
  phone.play(5, SILENCE);
  call.clock.advance(3000);
  phone.play(5, SILENCE);
  call.chain.start({ ...AUDIO, receive: false });
  call.clock.advance(5000);
  call.chain.start(AUDIO);
  call.clock.advance(900);
  assert.deepEqual(
    named(call, 'media.lost').map(({ everReceived, silentMs }) => [everReceived, silentMs > 900]),
    [
      [false, true],
      [true, true],
    ],
  );
  await call.chain.close();
});

test('a writer that waits is told when there is room', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.writer.begin(1);
  const written = call.writer.write(1, new Int16Array(20_000 * 8).fill(5000));
  call.writer.end(1);
  call.clock.advance(12_500);
  await written;
  call.clock.advance(8000);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 20_000);
  assert.ok(call.rooms.length < 20, `${call.rooms.length} messages for 20 s`);
  await call.chain.close();
});

test('a fault inside one call is told as media.failed and does not reach the pacer', async () => {
  const call = testChain({
    isSpeech: () => {
      throw new Error('broken detector');
    },
  });
  call.chain.start(AUDIO);
  new Phone(call).play(3, LOUD);
  assert.deepEqual(
    named(call, 'media.failed').map(({ message }) => message),
    ['broken detector'],
  );
  assert.notEqual((await call.chain.close()).recording, null);
});

test('a fault in what is left out after a stall ends that call and no other', () => {
  const [broken, whole] = [testChain(), testChain()];
  for (const { chain } of [broken, whole]) chain.start(AUDIO);
  broken.chain.recording.passAgent = () => {
    throw new Error('broken recording');
  };
  for (const { chain } of [broken, whole]) assert.doesNotThrow(() => chain.skip(30));
  assert.equal(named(broken, 'media.failed')[0]?.message, 'broken recording');
  assert.deepEqual(named(whole, 'media.failed'), []);
});

test('a stranger is not heard or sent to where a public address was signalled', () => {
  const call = testChain();
  call.chain.start({ ...AUDIO, remoteAddress: '9.1.2.3', remotePort: 4000 });
  for (let i = 0; i < 100; i++) {
    const bytes = rtp({ sequence: i, timestamp: i * 160, payload: new Uint8Array(160), ssrc: 5 });
    call.transport.listener?.(bytes, '9.1.3.3', 4000);
    call.clock.advance(20);
  }
  assert.deepEqual(named(call, 'media.latched'), []);
  const { packetsReceived, foreignDropped } = call.chain.stats;
  assert.deepEqual([packetsReceived, foreignDropped], [0, 100]);
});

test('random and mangled RTP never throws, and the phone is still heard', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(5, SILENCE);
  let seed = 20_261_120;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (seed >>> 8) % below;
  };
  for (let i = 0; i < 20_000; i++) {
    const bytes =
      random(2) === 0
        ? Uint8Array.from({ length: random(64) }, () => random(256))
        : rtp({
            sequence: random(65_536),
            timestamp: random(2 ** 23) * 512,
            payload: new Uint8Array(random(200)),
            payloadType: [0, 101, 13, 96][random(4)] ?? 0,
            ssrc: random(3) + 7,
          });
    for (let k = random(4); k > 0 && bytes.length > 0; k--)
      bytes[random(bytes.length)] = random(256);
    call.transport.listener?.(bytes, PHONE.address, PHONE.port);
    if (i % 50 === 0) call.clock.advance(20);
    if (i % 400 === 0) await turn();
  }
  call.clock.advance(2000);
  assert.deepEqual(named(call, 'media.failed'), [], `seed 20261120`);
  phone.sequence = 5;
  phone.timestamp = 77;
  const before = named(call, 'speech.started').length;
  phone.play(20, SILENCE);
  phone.play(20, LOUD);
  assert.equal(named(call, 'speech.started').length, before + 1);
  const { stats } = await call.chain.close();
  assert.ok(stats.malformedDropped > 5000, `${stats.malformedDropped}`);
  assert.ok(stats.lost >= 0 && Number.isFinite(stats.jitterMs));
});

test('the chain says what it is made of', () => {
  const call = testChain();
  const text = call.chain.describe();
  for (const stage of ['latch', 'jitter buffer', 'concealment', 'VAD', 'playout', 'recorder']) {
    assert.match(text, new RegExp(stage));
  }
  assert.equal(sentLoud(call), 0);
});

test('a recording on command begins there, on both sides alike', async () => {
  const call = testChain({ recordsOnCommand: true });
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(10, LOUD);
  await speak(call, 1, 200);
  phone.play(15, LOUD);
  call.chain.record();
  call.chain.record();
  phone.play(5, LOUD);
  phone.play(20, SILENCE);
  await speak(call, 2, 100);
  phone.play(15, SILENCE);
  const { recording } = await call.chain.close();
  assert.ok(Math.abs((recording?.durationMs ?? 0) - 800) <= 60, `${recording?.durationMs} ms`);
  const caller = call.disk.channel(0);
  const agent = call.disk.channel(1);
  const end = caller.findLastIndex((x) => Math.abs(x) > 4000);
  assert.ok(
    Math.abs(end - 5 * FRAME) <= 2 * FRAME,
    `the caller falls silent at ${end / 8} ms of 100`,
  );
  const first = agent.findIndex((x) => Math.abs(x) > 4000);
  assert.ok(
    Math.abs(first - 25 * FRAME) <= 2 * FRAME,
    `the agent speaks at ${first / 8} ms of 500`,
  );
});
