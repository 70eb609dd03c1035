/** Pieces on their way to the playout: ahead but not too far, in order, and gone when the caller cuts in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { withoutFillers } from '#sessions/speaker-fillers.ts';
import { PieceLine, type Piece } from '#sessions/speaker-line.ts';
import { Utterance } from '#sessions/utterance.ts';
import { FakeMedia, settle } from './_fakes.ts';

type Rig = {
  readonly clock: SimulatedClock;
  readonly line: PieceLine;
  readonly utterance: Utterance;
  readonly log: string[];
  /** A piece of `ms` of sound, whose first chunk comes after `waitMs`. */
  readonly piece: (text: string, ms: number, waitMs?: number) => Piece;
};

function rig(): Rig {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const media = new FakeMedia(clock, []);
  media.start();
  const utterance = new Utterance(1, 1, new TurnTimes(() => clock.now()));
  media.beginUtterance(1);
  const line = new PieceLine({ utterance, media, clock });
  return {
    ...{ clock, line, utterance, log },
    piece: (text, ms, waitMs = 0) => ({
      text,
      async *speak(signal) {
        log.push(`+${text}`);
        try {
          if (waitMs > 0) await wait(clock, waitMs);
          for (let at = 0; at < ms; at += 200) {
            if (signal.aborted) throw new AppError('E_ABORTED', 'given up');
            yield { pcm: new Int16Array(1600), marks: [{ chars: text.length, ms }] };
            await Promise.resolve();
          }
          log.push(`=${text}`);
        } finally {
          if (signal.aborted) log.push(`-${text}`);
        }
      },
    }),
  };
}

function wait(clock: SimulatedClock, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.setTimer(resolve, ms);
  return promise;
}

async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let at = 0; at < ms; at += 20) {
    clock.advance(20);
    await settle();
  }
}

test('no more than two pieces are made ahead of the one that is heard, whatever the model says', async () => {
  const { clock, line, log, piece, utterance } = rig();
  for (const name of 'abcdefgh') await line.add(piece(name, 1000));
  await settle();
  const begun = (): string => log.filter((entry) => entry.startsWith('+')).join('');
  assert.equal(begun(), '+a+b+c');
  await pass(clock, 980);
  assert.equal(begun(), '+a+b+c', 'the first is not over');
  await pass(clock, 40);
  assert.equal(begun(), '+a+b+c+d');
  const done = line.drain();
  await pass(clock, 7000);
  await done;
  assert.equal(utterance.text, 'abcdefgh'.split('').join(' '));
  assert.equal(utterance.audioMs, 8000);
  line.close();
  assert.equal(clock.pending, 0);
});

test('a piece is made while the one before is still coming, and heard behind it', async () => {
  const { clock, line, log, piece, utterance } = rig();
  await line.add(piece('slow', 400, 300));
  await line.add(piece('next', 400, 300));
  await settle();
  assert.deepEqual(log, ['+slow'], 'the next waits for the first sound of this one');
  await pass(clock, 320);
  assert.deepEqual(log, ['+slow', '+next', '=slow']);
  const done = line.drain();
  await pass(clock, 320);
  await done;
  assert.equal(utterance.text, 'slow next');
  assert.equal(utterance.audioMs, 800);
  line.close();
});

test('cutting in stops what is being made, and adds nothing any more', async () => {
  const { clock, line, log, piece, utterance } = rig();
  await line.add(piece('one', 400));
  await line.add(piece('two', 400, 5000));
  await line.add(piece('three', 400));
  await pass(clock, 200);
  const done = assert.rejects(line.drain(), { code: 'E_ABORTED' });
  utterance.abort.abort();
  await done;
  await assert.rejects(line.add(piece('four', 400)), { code: 'E_ABORTED' });
  await assert.rejects(line.failed, { code: 'E_ABORTED' });
  await pass(clock, 6000);
  assert.deepEqual(log, ['+one', '+two', '=one', '-two']);
  assert.equal(utterance.text, 'one');
  assert.equal(utterance.audioMs, 400);
  assert.equal(clock.pending, 0);
});

test('a piece that fails is told after those before it', async () => {
  const { clock, line, piece, utterance } = rig();
  const broken: Piece = {
    text: 'broken',
    // oxlint-disable-next-line require-yield -- it fails before its first sound
    async *speak() {
      await Promise.resolve();
      throw new AppError('E_PROVIDER_SERVER', 'scripted');
    },
  };
  await line.add(piece('one', 400, 100));
  await line.add(broken);
  const done = assert.rejects(line.drain(), { code: 'E_PROVIDER_SERVER' });
  await pass(clock, 200);
  await done;
  assert.equal(line.hasFailed, true);
  assert.equal(utterance.text, 'one');
  assert.equal(utterance.audioMs, 400);
});

test('a voice that hangs is a timeout, and holds nothing', async () => {
  const { clock, line, piece } = rig();
  await line.add(piece('one', 400, 60_000));
  const done = assert.rejects(line.drain(), { code: 'E_TIMEOUT' });
  await pass(clock, 10_100);
  await done;
  clock.advance(60_000);
  assert.equal(clock.pending, 0);
});

test('an aside comes between two pieces, or not at all', async () => {
  const { clock, line, log, piece, utterance } = rig();
  await line.add(piece('one', 400));
  await pass(clock, 100);
  assert.ok(line.quietMs < 0, 'it is heard');
  await pass(clock, 1000);
  assert.equal(Math.round(line.quietMs / 100), 7);
  line.interject(piece('hm', 200));
  await pass(clock, 40);
  assert.equal(utterance.text, 'one hm');
  await line.add(piece('two', 400, 200));
  line.interject(piece('late', 400, 1000));
  assert.equal(line.hasAside, true);
  const done = line.drain();
  await pass(clock, 1500);
  await done;
  assert.equal(utterance.text, 'one hm two');
  assert.ok(log.includes('-late'), 'it is given up as soon as there is something better');
  line.interject({ text: 'bad', speak: () => badVoice() });
  await pass(clock, 100);
  assert.equal(line.hasFailed, false, 'an aside that fails is nobody’s loss');
  line.close();
  assert.equal(clock.pending, 0);
});

// oxlint-disable-next-line require-yield -- it fails before its first sound
async function* badVoice(): AsyncGenerator<never, void> {
  await Promise.resolve();
  throw new AppError('E_PROVIDER_SERVER', 'scripted');
}

test('an aside that is being heard is heard out, though nothing comes behind it', async () => {
  const { clock, line, utterance } = rig();
  line.interject({
    text: 'one moment',
    async *speak() {
      for (let i = 0; i < 3; i++) {
        yield { pcm: new Int16Array(1600), marks: [] };
        await wait(clock, 100);
      }
    },
  });
  await settle();
  assert.equal(utterance.audioMs, 200);
  let isDrained = false;
  const drained = line.drain().then(() => (isDrained = true));
  await settle();
  assert.equal(isDrained, false, 'half a word is no end');
  await pass(clock, 400);
  await drained;
  line.close();
  assert.equal(utterance.audioMs, 600);
  assert.equal(clock.pending, 0);
});

test('of a piece that is still being made no more is heard than can have been said', () => {
  const text = '您的包裹已经到达本市分拣中心，预计今天下午送达。';
  const { utterance } = rig();
  const base = utterance.addPiece(text);
  utterance.addAudio(base, 8 * 1000, []);
  assert.ok(utterance.heard(1000).length <= 6, `a second of it: ${utterance.heard(1000)}`);
  utterance.isTorn = true;
  utterance.isQueued = true;
  assert.ok(utterance.text.length <= 6, `what was lost was not said: ${utterance.text}`);
  const { utterance: whole } = rig();
  whole.addAudio(whole.addPiece(text), 8 * 5000, []);
  whole.isQueued = true;
  assert.equal(whole.heard(2500).length, text.length / 2, 'its length is known');
});

test('no number is heard in part', () => {
  const { utterance } = rig();
  utterance.addAudio(utterance.addPiece('It is $1,299.99 at 10:30 now'), 8 * 2800, []);
  utterance.isQueued = true;
  const cuts = new Set(Array.from({ length: 29 }, (_, i) => utterance.heard(i * 100)));
  assert.ok(cuts.has('It is $1,299.99') && cuts.has('It is $1,299.99 at 10:30'));
  for (const cut of cuts) assert.doesNotMatch(cut, /(?:\$1,?|\$1,299\.?|10:?)$/, cut);
});

test('a filler of one short word takes nothing out of other words', () => {
  const filler = { afterMs: 2000, longAfterMs: 10_000, text: '好的', longText: 'So' };
  assert.equal(withoutFillers('您的信用挺好的。', filler), '您的信用挺好的。');
  assert.equal(withoutFillers('Sorry for that.', filler), 'Sorry for that.');
  assert.equal(
    withoutFillers('我查一下。好的您的余额是五元。', filler),
    '我查一下。您的余额是五元。',
  );
});
