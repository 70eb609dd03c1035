/** The pieces of the Aliyun client and its proxies that need no socket. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AsrFeed } from '#api/aliyun-asr-feed.ts';
import { ClientTime } from '#api/client-time.ts';
import { TextQueue } from '#api/text-queue.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { Intake } from '#providers/aliyun/intake.ts';
import { isTokenRefused, nlsError } from '#providers/aliyun/nls-errors.ts';
import { nlsId } from '#providers/aliyun/nls-socket.ts';
import { splitAtMost } from '#providers/aliyun/pieces.ts';
import { readSubtitles, SubtitleMarks } from '#providers/aliyun/subtitles.ts';
import { flows } from '#providers/aliyun/speech-task.ts';
import { speechRateOf } from '#providers/aliyun/tts.ts';
import { WavJoin } from '#providers/aliyun/wav-join.ts';

const OWNER = { setting: 'the account', secrets: ['tok-123', 'app-9'] };

test('codes of the vendor have the class of providers.md 1.3, and no secret', () => {
  const rows: readonly [number, string][] = [
    [40_000_000, 'E_PROVIDER_PARAM'],
    [40_000_001, 'E_PROVIDER_AUTH'],
    [40_000_002, 'E_PROVIDER_PARAM'],
    [40_000_003, 'E_PROVIDER_PARAM'],
    [40_000_004, 'E_PROVIDER_IDLE'],
    [40_000_005, 'E_PROVIDER_QUOTA'],
    [40_000_009, 'E_PROVIDER_PARAM'],
    [40_000_010, 'E_PROVIDER_AUTH'],
    [40_010_003, 'E_PROVIDER_SERVER'],
    [40_010_004, 'E_PROVIDER_SERVER'],
    [40_020_105, 'E_PROVIDER_AUTH'],
    [40_020_106, 'E_PROVIDER_AUTH'],
    [40_270_002, 'E_PROVIDER_IDLE'],
    [40_270_003, 'E_PROVIDER_IDLE'],
    [41_040_201, 'E_PROVIDER_IDLE'],
    [50_000_000, 'E_PROVIDER_SERVER'],
    [51_040_104, 'E_PROVIDER_SERVER'],
  ];
  for (const [status, code] of rows) {
    const error = nlsError(status, 'Gateway: the token tok-123 of app-9 is bad', OWNER);
    assert.equal(error.code, code, String(status));
    assert.equal(error.details['vendorCode'], String(status));
    assert.doesNotMatch(error.message, /tok-123|app-9/);
    assert.equal(isTokenRefused(error), status === 40_000_001);
  }
});

test('ids are 32 hex digits, each its own', () => {
  const ids = new Set(Array.from({ length: 1_000 }, nlsId));
  assert.equal(ids.size, 1_000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test('texts are cut behind sentences, else clauses, else words, and nothing is lost', () => {
  assert.deepEqual(splitAtMost('', 10), ['']);
  assert.deepEqual(splitAtMost('Short.', 10), ['Short.']);
  assert.deepEqual(splitAtMost('One. Two. Three.', 10), ['One. Two.', ' Three.']);
  assert.deepEqual(splitAtMost('One, two three', 9), ['One,', ' two ', 'three']);
  assert.deepEqual(splitAtMost('3.14159 is pi', 6), ['3.1415', '9 is ', 'pi']);
  assert.deepEqual(splitAtMost('您好。世界。', 6, true), ['您好。', '世界。']);
  assert.deepEqual(splitAtMost('😀😀😀', 3), ['😀', '😀', '😀']);
  let seed = 20261121;
  const random = (n: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed % n;
  };
  const letters = [...'ab, .!?。，您好\n'.split(''), '😀'];
  for (let run = 0; run < 2_000; run++) {
    const text = Array.from({ length: random(60) }, () => letters[random(letters.length)]).join('');
    const max = 2 + random(12);
    const weigh = random(2) === 0;
    const pieces = splitAtMost(text, max, weigh);
    assert.equal(pieces.join(''), text);
    for (const piece of pieces) {
      const han = weigh ? (piece.match(/\p{Script=Han}/gu)?.length ?? 0) : 0;
      const weight = piece.length + han;
      assert.ok(weight <= max, JSON.stringify([piece, max, weigh]));
      assert.ok(piece.isWellFormed(), 'no half of a pair');
    }
  }
});

test('word times become marks, counted from the sentence or from the task', () => {
  const text = 'One two. Three, four!';
  const word = (name: string, begin: number, end: number) => ({
    text: name,
    begin_time: begin,
    end_time: end,
  });
  const first = [
    { ...word('', 0, 400), sentence: true },
    word('One', 0, 180),
    word('two', 200, 390),
  ];
  const expected = [
    [3, 180],
    [8, 390],
    [15, 700],
    [21, 900],
  ];
  for (const base of [0, 420]) {
    const marks = new SubtitleMarks(text);
    marks.sentence(0);
    const seen = [...marks.take(readSubtitles({ subtitles: first.slice(0, 2) }))];
    // The whole sentence is told again at its end.
    seen.push(...marks.take(readSubtitles({ subtitles: first })));
    marks.sentence(420);
    const second = [word('Three', 420 - base, 700 - base), word('four', 700 - base, 900 - base)];
    seen.push(...marks.take(readSubtitles({ subtitles: second })));
    assert.deepEqual(
      seen.map(({ chars, ms }) => [chars, ms]),
      expected,
      `base ${base}`,
    );
    assert.equal(marks.chars, text.length);
  }
  assert.deepEqual(readSubtitles({ subtitles: [{ text: 'a', begin_time: '5', end_time: '10' }] }), [
    { text: 'a', beginMs: 5, endMs: 10 },
  ]);
  for (const subtitles of [
    null,
    'x',
    [null],
    [{ text: 5 }],
    [{ text: 'a', begin_time: -1, end_time: 3 }],
  ]) {
    assert.deepEqual(readSubtitles({ subtitles }), []);
  }
});

test('speed and voices as the vendor has them', () => {
  const rows = [
    [0.5, -500],
    [0.8, -125],
    [1, 0],
    [1.2, 167],
    [2, 500],
    [9, 500],
    [0.1, -500],
  ] as const;
  for (const [speed, rate] of rows) assert.equal(speechRateOf(speed), rate, String(speed));
  assert.deepEqual(['xiaoyun', 'longxiaochun', 'cosyvoice-own-1', 'siqi'].map(flows), [
    false,
    true,
    true,
    false,
  ]);
});

test('WAV streams are joined, wherever they are cut', () => {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.write('data', 36);
  const stream = (fill: number): Buffer => Buffer.concat([header, Buffer.alloc(10, fill)]);
  // A message begins a stream when it begins with RIFF: no vendor cuts inside these four letters.
  for (let cut = 4; cut < 54; cut++) {
    const join = new WavJoin();
    const parts = [stream(1), stream(2)].flatMap((each) => [
      each.subarray(0, cut),
      each.subarray(cut),
    ]);
    const all = Buffer.concat(parts.map((part) => join.push(Buffer.from(part))));
    assert.equal(all.length, 64, `cut at ${cut}`);
    assert.deepEqual(all.subarray(44), Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(10, 2)]));
    assert.equal(all.readUInt32LE(40), 0xffffffff);
  }
});

test('positions of the vendor become positions of the client', () => {
  const time = new ClientTime();
  time.note(1_000, 100);
  time.note(2_000, -500);
  const rows = [
    [0, 0],
    [1_000, 1_000],
    [1_050, 1_000],
    [1_100, 1_000],
    [1_500, 1_400],
    [2_000, 1_900],
    [2_100, 2_500],
  ] as const;
  for (const [vendorMs, clientMs] of rows)
    assert.equal(time.of(vendorMs), clientMs, String(vendorMs));
  const long = new ClientTime();
  for (let n = 1; n <= 1_000; n++) long.note(n * 4_100, 100);
  assert.equal(long.of(1_000 * 4_100 + 200), 1_000 * 4_100 + 200 - 100_000);
});

test('audio goes to the vendor in its frames and at its pace, with silence where there is none', () => {
  const clock = new SimulatedClock();
  const sent: number[] = [];
  let overruns = 0;
  const feed = new AsrFeed({
    ...{ clock, rateHz: 8000 },
    send: (bytes) => void sent.push(bytes.length / 16),
    onOverrun: () => overruns++,
  });
  const sum = (): number => sent.reduce((total, ms) => total + ms, 0);
  feed.push(Buffer.alloc(16 * 5_000));
  assert.equal(sum(), 0, 'nothing before the vendor listens');
  feed.open();
  assert.ok(sum() >= 1_500 && sum() <= 1_600, `a burst of ${sum()} ms`);
  clock.advance(1_000);
  assert.ok(sum() <= 1_600 + 1_700, `${sum()} ms after a second`);
  clock.advance(3_000);
  assert.equal(sum(), 5_000);
  assert.ok(sent.every((ms) => ms >= 20 && ms <= 100));
  sent.length = 0;
  feed.push(Buffer.alloc(16 * 10));
  assert.equal(sum(), 0, 'less than a frame waits');
  feed.push(Buffer.alloc(16 * 10));
  assert.equal(sum(), 20);
  clock.advance(60_000);
  assert.ok(sent.slice(1).every((ms) => ms === 100) && sent.length >= 14, 'never silent for 10 s');
  const silences = sent.length - 1;
  assert.equal(feed.time.of(5_020 + silences * 100), 5_020, 'which the client has not sent');
  feed.push(Buffer.alloc(16 * 40_000));
  assert.equal(overruns, 1, 'what can never be sent is dropped, and said');
  feed.close();
  assert.equal(clock.pending, 0);
});

test('the end of the audio is sent to its last sample', async () => {
  const clock = new SimulatedClock();
  let bytes = 0;
  const feed = new AsrFeed({
    ...{ clock, rateHz: 16000 },
    send: (frame) => void (bytes += frame.length),
    onOverrun: () => assert.fail('too much'),
  });
  feed.open();
  feed.push(Buffer.alloc(3_333));
  const drained = feed.drained();
  feed.push(Buffer.alloc(1_000));
  clock.advance(1_000);
  await drained;
  assert.equal(bytes, 3_332, 'without the half of a sample, and what came behind the end');
  assert.equal(clock.pending, 0);
});

test('crumbs of audio are not kept as so many pieces', () => {
  const clock = new SimulatedClock();
  const sent: Buffer[] = [];
  const feed = new AsrFeed({
    ...{ clock, rateHz: 16000 },
    send: (frame) => void sent.push(Buffer.from(frame)),
    onOverrun: () => assert.fail('too much'),
  });
  for (let i = 0; i < 20_000; i++) {
    feed.push(Buffer.alloc(0));
    feed.push(Buffer.of(i & 255));
  }
  assert.ok(feed.pieces <= 1_000, `${feed.pieces} pieces`);
  feed.open();
  void feed.drained();
  clock.advance(1_000);
  const all = Buffer.concat(sent);
  assert.equal(all.length, 20_000);
  assert.ok(all.every((byte, i) => byte === (i & 255)));
  assert.equal(clock.pending, 0);
});

test('text waits in order, in bounds, until its end', async () => {
  const queue = new TextQueue(5);
  assert.ok(queue.push('abc') && queue.push('de'));
  assert.equal(queue.push('f'), false);
  const read: string[] = [];
  const reading = (async () => {
    for await (const text of queue) read.push(text);
  })();
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(queue.push('later'));
  queue.end();
  assert.equal(queue.push('x'), false);
  await reading;
  assert.deepEqual(read, ['abc', 'de', 'later']);
});

test('what a vendor sends waits in bounds, and its failure behind it', async () => {
  const intake = new Intake<{ bytes: number }>(100);
  intake.push({ bytes: 60 });
  intake.push({ bytes: 60 });
  assert.equal((await intake.next())?.bytes, 60);
  await assert.rejects(intake.next(), (error: { code?: string }) => error.code === 'E_QUEUE_FULL');
  const room = new Intake<{ bytes: number }>(100);
  room.push({ bytes: 50 });
  let hasRoom = false;
  const waiting = room.room(10).then(() => (hasRoom = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hasRoom, false);
  await room.next();
  await waiting;
  room.end();
  assert.equal(await room.next(), null);
});
