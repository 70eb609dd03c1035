/** What every frame of a call with a realtime model goes through: its bytes, its message, the ring, the vendor's deadline. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { base64Length, writeBase64 } from '#lib/base64.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { encodeG711, G711 } from '#lib/g711.ts';
import { Framer } from '#providers/frames.ts';
import { KeptAudio } from '#providers/pool/kept-audio.ts';
import { OwedReply } from '#providers/owed-reply.ts';
import { appendMessage } from '#providers/realtime-append.ts';
import { g711Coding } from '#providers/realtime-audio.ts';
import { UnheardAudio } from '#providers/realtime-unheard.ts';

test('base64 is that of everybody else, at every length, and touches nothing around it', () => {
  for (let length = 0; length < 70; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 89 + length * 31) & 0xff);
    const wanted = Buffer.from(bytes).toString('base64');
    assert.equal(base64Length(length), wanted.length);
    const into = Buffer.alloc(wanted.length + 4, '#');
    assert.equal(writeBase64(bytes, into, 2), 2 + wanted.length);
    assert.equal(into.toString('latin1'), `##${wanted}##`);
  }
  const all = Uint8Array.from({ length: 256 }, (_, i) => 255 - i);
  const into = Buffer.alloc(base64Length(256));
  writeBase64(all, into, 0);
  assert.equal(into.toString('latin1'), Buffer.from(all).toString('base64'));
});

test('a frame’s message is one JSON object each time, whatever was in the bytes before', () => {
  for (const length of [160, 160, 3, 161, 0, 160]) {
    const audio = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 0xff);
    assert.deepEqual(JSON.parse(appendMessage(audio).toString('utf8')), {
      type: 'input_audio_buffer.append',
      audio: Buffer.from(audio).toString('base64'),
    });
  }
});

test('frames: whole ones pass as they are, others are put together', () => {
  const framer = new Framer(8000, 20, null);
  const sent: number[][] = [];
  const take = (frame: Int16Array): void => void sent.push([frame.length, frame[0] ?? 0]);
  const ramp = (from: number, length: number): Int16Array =>
    Int16Array.from({ length }, (_, i) => from + i);
  framer.push(ramp(0, 160), take);
  framer.push(ramp(160, 100), take);
  framer.push(ramp(260, 160), take); // as long as a frame, but not at its beginning
  framer.push(ramp(420, 60), take);
  framer.push(ramp(480, 160), take);
  framer.push(ramp(640, 320), take);
  assert.deepEqual(
    sent,
    [0, 160, 320, 480, 640, 800].map((first) => [160, first]),
  );
});

test('G.711: bytes to samples and back, by pieces of different length', () => {
  for (const codec of ['PCMA', 'PCMU'] as const) {
    const coding = g711Coding(codec);
    for (const length of [160, 40, 160]) {
      const codes = Uint8Array.from({ length }, (_, i) => (i * 13) & 0x7e);
      const pcm = coding.decode(codes);
      assert.deepEqual(
        [...pcm],
        [...codes].map((code) => G711[codec].decode[code]),
      );
      const wanted = new Uint8Array(length);
      encodeG711(G711[codec], pcm, wanted);
      assert.deepEqual([...coding.encode(pcm)], [...wanted]);
    }
  }
});

test('what was sent as it came is sent again with the rest when the line was dead', () => {
  const unheard = new UnheardAudio();
  const frame = (value: number): Int16Array => new Int16Array(160).fill(value);
  // Round the ring's end (15 s), so that a frame is cut there.
  for (let i = 0; i < 760; i++) unheard.appendSent(frame(i));
  assert.equal(unheard.unsent, 0);
  unheard.append(frame(760));
  unheard.rewind();
  const again: number[] = [];
  unheard.read(Infinity, (pcm) => {
    for (let i = 0; i < pcm.length; i += 160) again.push(pcm[i] ?? -1);
  });
  assert.deepEqual(
    again,
    Array.from({ length: 150 }, (_, i) => 611 + i),
  );
});

test('a vendor that owes something is missed when it was due, however often that was put off', () => {
  const clock = new SimulatedClock();
  const missed: [number, number][] = [];
  const owed = new OwedReply(clock, (ms) => missed.push([clock.now(), ms]));
  owed.expect(8_000);
  clock.advance(1_000);
  for (let i = 0; i < 100; i++) {
    owed.expect(5_000); // sooner than what was owed first
    clock.advance(100);
  }
  assert.equal(clock.pending, 1);
  clock.advance(4_899);
  assert.deepEqual(missed, []);
  clock.advance(1);
  assert.deepEqual(missed, [[15_900, 5_000]]);
  clock.advance(60_000);
  assert.equal(missed.length, 1);
  owed.expect(5_000);
  clock.advance(1_000);
  owed.expect(8_000); // later than the timer that runs
  clock.advance(7_999);
  assert.equal(missed.length, 1);
  owed.expect(null);
  clock.advance(60_000);
  assert.deepEqual([missed.length, clock.pending], [1, 0]);
});

test('of the caller’s last seconds as many are kept as were asked for, in order', () => {
  const audio = new KeptAudio(100); // 800 samples
  let next = 0;
  const all: number[] = [];
  const push = (length: number, limitMs: number): void => {
    const pcm = Int16Array.from({ length }, () => next++);
    audio.push(pcm, limitMs);
    all.push(...pcm);
  };
  const kept = (): number[] => {
    const found: number[] = [];
    audio.read((pcm) => {
      assert.ok(pcm.length > 0);
      found.push(...pcm);
    });
    return found;
  };
  assert.deepEqual(kept(), []);
  for (const [length, limitMs, samples] of [
    ...[
      [160, 20, 160],
      [160, 100, 320],
      [480, 100, 800],
      [160, 100, 800],
      [7, 100, 800],
    ],
    ...[
      [160, 40, 320],
      [160, 100, 480],
      [160, 100, 640],
      [153, 100, 793],
      [2_000, 100, 800],
    ],
    ...[
      [480, 60, 480],
      [320, 100, 800],
      [0, 20, 160],
    ],
  ] as const) {
    push(length, limitMs);
    assert.deepEqual(kept(), all.slice(-samples), `${length} at ${limitMs}`);
  }
  audio.forget();
  assert.deepEqual(kept(), []);
});
