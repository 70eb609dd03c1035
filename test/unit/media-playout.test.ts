/** Playout and its writer: order, pause at the sample, flush, back-pressure, and what was heard. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SampleRing } from '#lib/sample-ring.ts';
import { PlayoutWriter } from '#media/playout/playout-writer.ts';
import { Playout } from '#media/playout/playout.ts';
import { MAX_MARKS, UtteranceMarks } from '#media/playout/utterance-marks.ts';

function setUp(capacity = 65_536) {
  const ring = SampleRing.create(capacity);
  const marks = UtteranceMarks.create();
  const told: string[] = [];
  const playout = new Playout(ring, marks, {
    started: (utterance) => told.push(`started ${utterance}`),
    done: (utterance, heard) => told.push(`done ${utterance} ${heard}`),
    paused: (utterance, heard) => told.push(`paused ${utterance} ${heard}`),
    resumed: (utterance) => told.push(`resumed ${utterance}`),
    flushed: (utterance, heard) => told.push(`flushed ${utterance} ${heard}`),
  });
  const writer = new PlayoutWriter(ring, marks);
  const out: number[] = [];
  const frame = new Int16Array(160);
  const send = (frames: number): void => {
    for (let i = 0; i < frames; i++) {
      playout.take(frame);
      out.push(...frame);
      playout.sent();
    }
  };
  return { ring, marks, told, playout, writer, out, send };
}

const ramp = (length: number, from = 1): Int16Array =>
  Int16Array.from({ length }, (_, i) => from + i);

/** An utterance of `length` samples, written and ended. */
function say(writer: PlayoutWriter, utterance: number, pcm: Int16Array): Promise<void> {
  writer.begin(utterance);
  const written = writer.write(utterance, pcm);
  writer.end(utterance);
  return written;
}

test('an utterance is played whole and counted to the sample', async () => {
  const { told, writer, out, send } = setUp();
  await say(writer, 1, ramp(400));
  send(4);
  assert.deepEqual(told, ['started 1', 'done 1 400']);
  assert.deepEqual(out.slice(0, 400), [...ramp(400)]);
  assert.ok(out.slice(440).every((x) => x === 0));
});

test('queued utterances follow without a gap', async () => {
  const { told, writer, out, send } = setUp();
  await say(writer, 1, ramp(200));
  await say(writer, 2, ramp(120, 201));
  send(2);
  assert.deepEqual(out, [...ramp(320)]);
  assert.deepEqual(told, ['started 1', 'done 1 200', 'started 2', 'done 2 120']);
});

test('an open utterance that starves goes on when more comes', async () => {
  const { told, writer, out, send } = setUp();
  writer.begin(1);
  await writer.write(1, ramp(160));
  send(3);
  await writer.write(1, ramp(160, 161));
  writer.end(1);
  send(1);
  assert.deepEqual(told, ['started 1', 'done 1 320']);
  // It rises over 5 ms, as after a pause.
  assert.deepEqual(out.slice(480 + 40), [...ramp(120, 201)]);
});

test('an end that comes after the samples still ends it', async () => {
  const { told, writer, send } = setUp();
  writer.begin(1);
  await writer.write(1, ramp(160));
  send(2);
  writer.end(1);
  send(1);
  assert.deepEqual(told, ['started 1', 'done 1 160']);
});

test('an utterance without audio is done with nothing heard', () => {
  const { told, writer, send } = setUp();
  writer.begin(1);
  writer.end(1);
  send(1);
  assert.deepEqual(told, ['done 1 0']);
});

test('pause holds the place to the sample, and heard counts no silence', async () => {
  const { told, playout, writer, out, send } = setUp();
  await say(writer, 1, ramp(640));
  send(2);
  playout.pause();
  send(5);
  playout.resume();
  send(2);
  assert.deepEqual(told, ['started 1', 'paused 1 320', 'resumed 1', 'done 1 640']);
  const silent = out.slice(320 + 40, 320 + 800);
  assert.ok(
    silent.every((x) => x === 0),
    'silent after a 5 ms ramp',
  );
  // The first 5 ms after the pause fade in; then it is the same signal.
  assert.deepEqual(out.slice(320 + 800 + 40), [...ramp(280, 361)]);
});

test('a cut is rounded off: no jump to zero', async () => {
  const { playout, writer, out, send } = setUp();
  await say(writer, 1, new Int16Array(640).fill(8000));
  send(2);
  playout.pause();
  send(1);
  for (let i = 321; i < 400; i++) {
    assert.ok(Math.abs((out[i] ?? 0) - (out[i - 1] ?? 0)) <= 300, `step at ${i}`);
  }
});

test('flush tells what was heard of each utterance thrown away, and ends a pause', async () => {
  const { told, playout, writer, out, send } = setUp();
  await say(writer, 1, ramp(640));
  await say(writer, 2, ramp(640));
  send(1);
  playout.pause();
  const { count, position } = writer.flush();
  playout.flush(count, position);
  await say(writer, 3, ramp(160, 5000));
  send(1);
  assert.deepEqual(told, [
    'started 1',
    'paused 1 160',
    'flushed 1 160',
    'flushed 2 0',
    'started 3',
    'done 3 160',
  ]);
  // The 5 ms in which the thrown away one falls to nothing lie under the new one.
  assert.deepEqual(out.slice(160 + 40), [...ramp(120, 5040)]);
});

test('what is written after a flush is kept, however late the flush arrives', async () => {
  const { told, playout, writer, send } = setUp();
  await say(writer, 1, ramp(320));
  const { count, position } = writer.flush();
  await say(writer, 2, ramp(160));
  send(1);
  playout.flush(count, position);
  send(1);
  assert.deepEqual(told, ['started 1', 'flushed 1 160', 'started 2', 'done 2 160']);
});

test('a flush with nothing to throw away is answered all the same', async () => {
  const { told, playout, writer, send } = setUp();
  await say(writer, 1, ramp(160));
  send(1);
  const { count, position } = writer.flush();
  playout.flush(count, position);
  assert.deepEqual(told, ['started 1', 'done 1 160', 'flushed 1 160']);
});

test('a write longer than the ring resolves when the reader has made room', async () => {
  const { writer, marks, out, send } = setUp(1024);
  writer.begin(1);
  let isDone = false;
  const written = writer.write(1, ramp(3000)).then(() => {
    isDone = true;
  });
  writer.end(1);
  for (let i = 0; i < 20; i++) {
    send(1);
    if (marks.takeWish()) writer.pump();
    await Promise.resolve();
    if (out.length < 1500) assert.equal(isDone, false);
  }
  await written;
  assert.deepEqual(out.slice(0, 3000), [...ramp(3000)]);
});

test('what waits is refused by flush and by close', async () => {
  for (const end of ['flush', 'close'] as const) {
    const { writer } = setUp(1024);
    writer.begin(1);
    const waiting = writer.write(1, ramp(3000));
    writer[end]();
    await assert.rejects(waiting, { code: 'E_ABORTED' });
    await assert.rejects(writer.write(1, ramp(10)), { code: 'E_ABORTED' });
    writer.end(1);
  }
});

test('more utterances than there are marks wait their turn', async () => {
  const { told, writer, marks, send } = setUp();
  const count = MAX_MARKS + 10;
  const all: Promise<void>[] = [];
  for (let i = 1; i <= count; i++) all.push(say(writer, i, ramp(160)));
  for (let i = 0; i < count; i++) {
    send(1);
    if (marks.takeWish()) writer.pump();
  }
  await Promise.all(all);
  assert.equal(told.filter((each) => each.startsWith('done')).length, count);
  assert.equal(told.at(-1), `done ${count} 160`);
});

test('numbers must rise; beginning ends the one before', async () => {
  const { told, writer, send } = setUp();
  writer.begin(2);
  await writer.write(2, ramp(160));
  writer.begin(5);
  assert.throws(() => writer.begin(5), { code: 'E_INTERNAL' });
  send(1);
  assert.deepEqual(told, ['started 2', 'done 2 160']);
});

test('the writer knows what was taken of what the reader has not told', () => {
  const { writer, send } = setUp();
  void say(writer, 1, ramp(400));
  void say(writer, 2, ramp(320));
  writer.begin(3);
  const taken = (): number[][] =>
    writer.taken().map(({ utterance, samples }) => [utterance, samples]);
  send(3);
  const [first, second, third] = [
    [1, 400],
    [2, 80],
    [3, 0],
  ];
  assert.deepEqual(taken(), [first, second, third]);
  writer.forget(1);
  assert.deepEqual(taken(), [second, third]);
  writer.flush();
  assert.deepEqual(taken(), []);
});
