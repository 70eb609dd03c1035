/** Playout does not click: at pause, resume, flush, stand, at the end, and where a slow voice leaves a hole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SampleRing } from '#lib/sample-ring.ts';
import { PlayoutWriter } from '#media/playout/playout-writer.ts';
import { Playout } from '#media/playout/playout.ts';
import { UtteranceMarks } from '#media/playout/utterance-marks.ts';

const LEVEL = 8000;
/** 5 ms from full level to nothing: 200 a sample, and a little for rounding. */
const MAX_STEP = 2 * (LEVEL / 40) + 2;

function setUp() {
  const ring = SampleRing.create(65_536);
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
  /** The whole of it, at one level. */
  const say = (utterance: number, samples: number, value = LEVEL): void => {
    writer.begin(utterance);
    void writer.write(utterance, new Int16Array(samples).fill(value));
    writer.end(utterance);
  };
  return { told, playout, writer, out, send, say };
}

/** The largest step from `from` on; what comes before is the voice's own beginning. */
function largestStep(out: readonly number[], from = 1): number {
  let most = 0;
  for (let i = Math.max(1, from); i < out.length; i++)
    most = Math.max(most, Math.abs((out[i] as number) - (out[i - 1] as number)));
  return most;
}

for (const samples of [1, 10, 119, 120, 121, 150, 159, 160, 161, 300]) {
  test(`an utterance of ${samples} samples ends without a click, wherever in the frame`, () => {
    const { out, send, say } = setUp();
    say(1, samples);
    send(4);
    assert.ok(largestStep(out) <= MAX_STEP, `${largestStep(out)}`);
    assert.deepEqual(out.slice(0, samples), new Array(samples).fill(LEVEL), 'all of it is there');
    assert.equal(out[samples + 40], 0, 'silent after 5 ms');
  });
}

test('a hole in mid-utterance: falls, is silent, rises again, and counts to the sample', () => {
  for (const part of [5, 100, 155, 160, 233]) {
    const { told, writer, out, send } = setUp();
    writer.begin(1);
    for (let i = 0; i < 4; i++) {
      void writer.write(1, new Int16Array(part).fill(LEVEL));
      send(4);
    }
    writer.end(1);
    send(1);
    assert.deepEqual(told, ['started 1', `done 1 ${4 * part}`]);
    assert.ok(largestStep(out) <= MAX_STEP, `parts of ${part}: ${largestStep(out)}`);
  }
});

test('a voice that gives less than is played does not click at any frame', () => {
  const { told, writer, out, send } = setUp();
  writer.begin(1);
  for (let i = 0; i < 50; i++) {
    void writer.write(1, new Int16Array(130).fill(LEVEL));
    send(1);
  }
  writer.end(1);
  send(2);
  assert.deepEqual(told, ['started 1', 'done 1 6500']);
  assert.ok(largestStep(out) <= MAX_STEP, `${largestStep(out)}`);
});

test('pause and resume: between two frames nothing is heard of it; over some, a fall and a rise', () => {
  for (const frames of [0, 1, 5]) {
    const { told, playout, out, send, say } = setUp();
    say(1, 1600);
    send(3);
    playout.pause();
    send(frames);
    playout.resume();
    send(9);
    assert.ok(largestStep(out) <= MAX_STEP, `${frames} frames: ${largestStep(out)}`);
    assert.deepEqual(told, ['started 1', 'paused 1 480', 'resumed 1', 'done 1 1600']);
    if (frames === 0) assert.ok(out.slice(0, 1600).every((x) => x === LEVEL));
  }
});

test('standing still: the same, also when it was for nothing', () => {
  for (const frames of [0, 1, 5]) {
    const { playout, out, send, say } = setUp();
    say(1, 1600);
    send(3);
    playout.stand(true);
    send(frames);
    playout.stand(false);
    send(9);
    assert.ok(largestStep(out) <= MAX_STEP, `${frames} frames: ${largestStep(out)}`);
    if (frames === 0) assert.ok(out.slice(0, 1600).every((x) => x === LEVEL));
  }
});

test('a flush in mid-word: the old word falls, also under a new one that begins at once', () => {
  for (const follows of [false, true]) {
    const { told, playout, writer, out, send, say } = setUp();
    say(1, 1600);
    send(3);
    const { count, position } = writer.flush();
    playout.flush(count, position);
    if (follows) say(2, 320, 0);
    send(3);
    assert.ok(largestStep(out) <= MAX_STEP, `${largestStep(out)}`);
    assert.ok(out.slice(480 + 40).every((x) => x === 0));
    assert.equal(told[1], 'flushed 1 480');
  }
});

test('a flush after a pause adds nothing to the next utterance', () => {
  const { playout, writer, out, send, say } = setUp();
  say(1, 1600);
  send(3);
  playout.pause();
  send(2);
  const { count, position } = writer.flush();
  playout.flush(count, position);
  say(2, 160, 100);
  send(1);
  assert.deepEqual(out.slice(-160), new Array(160).fill(100));
});
