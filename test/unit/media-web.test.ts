/** Audio of a call without SIP: exact both ways, underruns, overruns, delay worked off, and no port. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAYLOAD_CODECS } from '#media/codec/codecs.ts';
import { LossyRing } from '#media/lossy-ring.ts';
import { WEB_AUDIO, WEB_RING_SAMPLES, WebTransport } from '#media/web/web-transport.ts';
import { WebRings } from '#media/web/web-audio.ts';
import { WebUplink } from '#media/web/web-uplink.ts';
import { testChain, type TestChain } from './_media.ts';

const FRAME = 160;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const noise = (length: number, seed = 1): Int16Array => {
  let state = seed;
  return Int16Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % 32_767;
  });
};
const ramp = (length: number, from = 1): Int16Array =>
  Int16Array.from({ length }, (_, i) => ((from + i) % 30_000) + 1);

/** Where `part` begins in `whole`, sample for sample; -1 when it is not there. */
function indexOf(whole: Int16Array, part: Int16Array): number {
  for (let at = 0; at + part.length <= whole.length; at++) {
    let i = 0;
    while (i < part.length && whole[at + i] === part[i]) i++;
    if (i === part.length) return at;
  }
  return -1;
}

type WebTest = TestChain & { readonly rings: WebRings };

function webChain(): WebTest {
  const rings = new WebRings();
  const test = testChain({
    transport: (pacer) => new WebTransport({ buffers: rings.buffers, pacer }),
  });
  return { ...test, rings };
}

function drain(test: TestChain, into: number[]): void {
  const chunk = new Int16Array(8000);
  for (let n = test.callerRing.read(chunk); n > 0; n = test.callerRing.read(chunk))
    for (const sample of chunk.subarray(0, n)) into.push(sample);
}

test('linear samples keep their value and byte order; the mark of a hole is never made', () => {
  const pcm = Int16Array.of(0, 1, -1, 258, 32_767, -32_767, -32_768);
  const bytes = new Uint8Array(pcm.length * 2);
  PAYLOAD_CODECS.L16.encode(pcm, bytes);
  assert.deepEqual([...bytes.subarray(6, 8)], [1, 2]);
  const back = new Int16Array(pcm.length);
  PAYLOAD_CODECS.L16.decode(new DataView(bytes.buffer), back, pcm.length);
  assert.deepEqual([...back], [0, 1, -1, 258, 32_767, -32_767, -32_767]);
});

test('a ring keeps the newest samples and counts the others', () => {
  const ring = LossyRing.create(100);
  const rows: [write: number, dropped: number, available: number][] = [
    [60, 0, 60],
    [40, 0, 100],
    [1, 1, 100],
    [250, 250, 100],
  ];
  let next = 0;
  for (const [count, dropped, available] of rows) {
    const pcm = Int16Array.from({ length: count }, () => next++);
    assert.equal(ring.write(pcm), dropped);
    assert.equal(ring.available, available);
  }
  assert.equal(ring.dropped, 251);
  const out = new Int16Array(200);
  assert.equal(ring.read(out), 100);
  assert.deepEqual([out[0], out[99]], [next - 100, next - 1]);
  ring.write(Int16Array.of(1, 2, 3));
  ring.clear();
  assert.equal(ring.read(out), 0);
});

test('what is fed steadily arrives sample for sample, in the ring and in the recording', async () => {
  const call = webChain();
  const said = noise(8000 * 5);
  const heard: number[] = [];
  call.chain.start(WEB_AUDIO);
  for (let at = 0; at < said.length; at += FRAME) {
    call.rings.push(said.subarray(at, at + FRAME));
    call.clock.advance(20);
    drain(call, heard);
    if (at % 8000 === 0) await turn(); // the disk
  }
  call.clock.advance(500);
  drain(call, heard);
  assert.ok(indexOf(Int16Array.from(heard), said) >= 0, 'in the ring');
  const { stats } = await call.chain.close();
  assert.ok(indexOf(call.disk.channel(0), said) >= 0, 'in the recording');
  assert.equal(stats.codec, 'L16');
  assert.equal(stats.lost + stats.late, 0);
  assert.equal(call.pacer.size, 0);
});

test('bursts and jitter of a socket make no hole once audio flows', () => {
  for (const burst of [80, 320, 1600, 4000]) {
    const call = webChain();
    const said = noise(8000 * 4, burst);
    const heard: number[] = [];
    call.chain.start(WEB_AUDIO);
    let sent = 0;
    for (let ms = 0; ms < 5000; ms += 10) {
      // Whole bursts, as soon as the caller has spoken that much; every seventh comes 30 ms late.
      const lateMs = Math.floor(sent / burst) % 7 === 3 && burst < 1600 ? 30 : 0;
      while (sent + burst <= (ms - lateMs) * 8 && sent < said.length) {
        call.rings.push(said.subarray(sent, sent + burst));
        sent += burst;
      }
      call.clock.advance(10);
      drain(call, heard);
    }
    const all = Int16Array.from(heard);
    if (burst <= 320) assert.ok(indexOf(all, said) >= 0, `bursts of ${burst}`);
    // Chunks larger than the cushion may stall once, at their first boundary, and nothing is lost.
    const from = Math.ceil(4000 / burst) * burst;
    assert.ok(indexOf(all, said.subarray(from)) >= 0, `bursts of ${burst}`);
  }
});

test('no input is silence, a short rest is heard, and a young gap is concealed', () => {
  const call = webChain();
  const heard: number[] = [];
  call.chain.start(WEB_AUDIO);
  call.clock.advance(1000);
  drain(call, heard);
  assert.ok(heard.length > 7000 && heard.every((sample) => sample === 0));
  const word = noise(100);
  call.rings.push(word);
  call.clock.advance(300);
  heard.length = 0;
  drain(call, heard);
  assert.ok(indexOf(Int16Array.from(heard), word) >= 0, 'less than a frame');
  assert.equal(heard.at(-1), 0);
  assert.deepEqual(
    call.events.filter(({ type }) => type === 'media.lost'),
    [],
  );
  call.clock.advance(60_000);
  assert.deepEqual(
    call.events.filter(({ type }) => type === 'media.lost'),
    [],
    'a client that is silent is not lost by the media plane',
  );
});

test('more than two seconds of input: the oldest goes and is counted', () => {
  const call = webChain();
  const said = ramp(8000 * 3);
  assert.equal(call.rings.push(said.subarray(0, 12_000)), 0);
  assert.equal(call.rings.push(said.subarray(12_000)), said.length - WEB_RING_SAMPLES);
  const heard: number[] = [];
  call.chain.start(WEB_AUDIO);
  for (let i = 0; i < 30; i++) {
    call.clock.advance(100);
    drain(call, heard);
  }
  const kept = said.subarray(said.length - WEB_RING_SAMPLES);
  assert.ok(indexOf(Int16Array.from(heard), kept) >= 0);
});

test('a delay left by a stall is worked off in pauses and in nothing else', () => {
  const ring = LossyRing.create(WEB_RING_SAMPLES);
  const uplink = new WebUplink(ring);
  const frame = new Int16Array(FRAME);
  const feed = (value: number, frames: number): number[] => {
    const out: number[] = [];
    for (let i = 0; i < frames; i++) {
      ring.write(new Int16Array(FRAME).fill(value));
      uplink.take(frame);
      out.push(frame[0] as number);
    }
    return out;
  };
  ring.write(new Int16Array(8000).fill(5000)); // one second behind
  const loud = feed(5000, 200);
  assert.ok(loud.every((value) => value === 5000));
  assert.equal(ring.available, 8000, 'speech is never skipped');
  feed(7, 150);
  assert.ok(ring.available <= 0.1 * 8000, `${ring.available} left`);
  assert.ok(ring.available >= 2 * FRAME, 'the cushion stays');
});

test('a delay is worked off also where it is never quite silent, and a steady sound is no pause', () => {
  const rows: [peak: number, isWorkedOff: boolean][] = [
    [150, true],
    [450, true],
    [900, true],
    [1500, false],
    [9000, false],
  ];
  for (const [peak, isWorkedOff] of rows) {
    const ring = LossyRing.create(WEB_RING_SAMPLES);
    const uplink = new WebUplink(ring);
    const frame = new Int16Array(FRAME);
    const room = (): Int16Array => Int16Array.from({ length: FRAME }, (_, i) => peak * (-1) ** i);
    ring.write(new Int16Array(8000).fill(peak));
    for (let i = 0; i < 400; i++) {
      // Two words a second over whatever the room sounds like.
      ring.write(i % 25 < 10 ? new Int16Array(FRAME).fill(12_000) : room());
      uplink.take(frame);
    }
    assert.equal(ring.available <= 0.1 * 8000, isWorkedOff, `${peak}: ${ring.available} left`);
    assert.ok(ring.available >= 2 * FRAME, 'the cushion stays');
  }
});

test('the client reads what the agent said, sample for sample, and nothing while nobody sends', async () => {
  const call = webChain();
  call.chain.start(WEB_AUDIO);
  const said = noise(8000 * 3, 7);
  const got: number[] = [];
  const chunk = new Int16Array(320);
  const read = (): void => {
    const n = call.rings.read(chunk);
    for (const sample of chunk.subarray(0, n)) got.push(sample);
  };
  call.writer.begin(1);
  const written = call.writer.write(1, said);
  call.writer.end(1);
  await written;
  for (let i = 0; i < 50; i++) {
    call.clock.advance(20);
    read();
  }
  const before = call.rings.sent;
  call.chain.start({ ...WEB_AUDIO, send: false }); // nobody is there
  call.clock.advance(3000);
  assert.equal(call.rings.sent, before);
  call.chain.start(WEB_AUDIO);
  for (let i = 0; i < 150; i++) {
    call.clock.advance(20);
    read();
  }
  assert.ok(indexOf(Int16Array.from(got), said) >= 0);
  assert.equal(call.events.filter(({ type }) => type === 'playout.done').length, 1);
});

test('what the client does not read within two seconds is dropped, oldest first', () => {
  const call = webChain();
  call.chain.start(WEB_AUDIO);
  call.clock.advance(10_000);
  const out = new Int16Array(80_000);
  assert.equal(call.rings.read(out), WEB_RING_SAMPLES);
  assert.ok(call.rings.sent > 70_000);
});

test('the writer knows how much of an utterance has left', async () => {
  const call = webChain();
  call.chain.start(WEB_AUDIO);
  assert.equal(call.writer.played(1), null);
  for (const utterance of [1, 2]) {
    call.writer.begin(utterance);
    await call.writer.write(utterance, ramp(1600));
    call.writer.end(utterance);
  }
  assert.deepEqual([call.writer.played(1), call.writer.played(2)], [0, 0]);
  call.clock.advance(300);
  assert.ok((call.writer.played(1) ?? 0) >= 1600);
  const second = call.writer.played(2) ?? 0;
  assert.ok(second > 0 && second < 1600, `${second}`);
  call.writer.flush();
  assert.equal(call.writer.played(2), null);
});
