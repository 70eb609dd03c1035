/** The caller's voice over the agent's, as event tables: what stops it, what only holds it up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TurnEvent } from '#sessions/turn-types.ts';
import {
  LENGTHY,
  done,
  final,
  interrupt,
  partial,
  play,
  queued,
  start,
  started,
  stopped,
  tick,
  type Step,
} from './_turn-kit.ts';

test('barge-in pauses first and decides after', () => {
  // The detector's hangover and the way here come on top of what confirms.
  const byLength: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [tick(1759 + LENGTHY), 'agent.held', []],
    [tick(1760 + LENGTHY), 'hearing', ['disarm', 'yield 1']],
    [stopped(3200, 1500, 3000), 'recognising.pausing', []],
    [final(3450, 'wait'), 'recognising.pausing', []],
    [tick(3500), 'agent.flowing', ['take 2 speech', 'arm']],
  ];
  play(byLength);
  play([
    [started(1500), 'agent.held', ['pause']],
    [partial(1700, 'uh-huh'), 'agent.held', []],
    [partial(1800, 'uh-huh but'), 'hearing', ['disarm', 'yield 1']],
  ]);
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [final(2300, '停'), 'agent.flowing', ['disarm', 'yield 1', 'take 2 speech', 'arm']],
  ]);
  play([
    [started(1500), 'agent.held', ['pause']],
    [partial(1650, '停'), 'hearing', ['disarm', 'yield 1']],
  ]);
});

test('the worker’s word that speech lasts confirms without waiting for the hangover', () => {
  const lasted = (at: number, speechMs: number): TurnEvent => ({
    type: 'speech.lasted',
    at,
    speechMs,
  });
  const quick = { bargeInConfirmMs: 100, reads: false };
  play(
    [
      [started(1540), 'agent.held', ['pause']],
      [lasted(1600, 100), 'hearing', ['disarm', 'yield 1']],
    ],
    quick,
  );
  // A click is over before: nothing says that it lasts, and playout goes on.
  play(
    [
      [started(1540), 'agent.held', ['pause']],
      [stopped(1800, 1540, 1600), 'agent.held', []],
      [tick(2039), 'agent.held', []],
      [tick(2040), 'agent.flowing', ['resume']],
    ],
    quick,
  );
  play(
    [
      [started(1540), 'agent.held', ['pause']],
      [lasted(1600, 100), 'hearing', ['disarm', 'yield 1']],
    ],
    { bargeInConfirmMs: 100, sensitivity: 1 },
  );
  // Words are waited for where words can come.
  play(
    [
      [started(1540), 'agent.held', ['pause']],
      [lasted(1600, 100), 'agent.held', []],
      [partial(1700, 'no I meant'), 'hearing', ['disarm', 'yield 1']],
    ],
    { bargeInConfirmMs: 100 },
  );
});

test('what was heard of the agent counts: a backchannel stops nothing, an answer to a question does', () => {
  const over = (text: string, spokeMs: number): TurnEvent => ({
    ...{ type: 'speech.started', at: 1500, startMs: 1500 },
    over: { spokeMs, text },
  });
  const rows: [string, number, string, 'agent.flowing' | 'recognising.pausing'][] = [
    ['Our shop is open', 1500, 'yes', 'agent.flowing'],
    ['Shall I book it?', 1500, 'yes', 'recognising.pausing'],
    ['Shall I book it?', 500, 'yes', 'agent.flowing'],
    ['Shall I book it?', 500, 'no', 'recognising.pausing'],
  ];
  for (const [text, spokeMs, words, state] of rows) {
    const machine = start();
    machine.send(over(text, spokeMs));
    machine.send(stopped(2000, 1500, 1800));
    assert.equal(machine.send(final(2100, words)).state, state, `${text} ${words}`);
  }
});

test('an answer that begins over the end of a question is one, whether or not the agent may be stopped', () => {
  const over = (spokeMs: number, asks: boolean): TurnEvent => ({
    ...{ type: 'speech.started', at: 1500, startMs: 1500 },
    over: { spokeMs, text: 'Shall I book', asks },
  });
  play([
    [over(1500, true), 'agent.held', ['pause']],
    [stopped(2000, 1500, 1800), 'agent.held', []],
    [final(2100, 'yes'), 'recognising.pausing', ['disarm', 'yield 1']],
    [tick(2300), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
  play([
    [over(1500, true), 'agent.held', ['pause']],
    [partial(1700, 'yes'), 'hearing', ['disarm', 'yield 1']],
  ]);
  play([
    [over(1500, false), 'agent.held', ['pause']],
    [stopped(2000, 1500, 1800), 'agent.held', []],
    [final(2100, 'yes'), 'agent.flowing', ['resume']],
    [done(3000, 1), 'listening', ['disarm', 'resume']],
  ]);
  // The first second is said to its end, and then answered; so is all that may not be interrupted.
  play([
    [over(800, true), 'agent.held', ['pause']],
    [stopped(2000, 1500, 1800), 'agent.held', []],
    [final(2100, 'yes'), 'agent.flowing', ['resume']],
    [done(2200, 1), 'agent.flowing', ['disarm', 'resume', 'take 2 speech', 'arm']],
  ]);
  play(
    [
      [over(1500, true), 'agent.flowing', []],
      [stopped(2000, 1500, 1800), 'agent.flowing', []],
      [final(2100, 'yes'), 'agent.flowing', []],
      [done(2200, 1), 'agent.flowing', ['disarm', 'resume', 'take 2 speech', 'disarm']],
    ],
    { bargeIn: false },
  );
});

test('two bursts with a breath between are one interruption', () => {
  play(
    [
      [started(1500), 'agent.held', ['pause']],
      [stopped(2000, 1500, 1800), 'agent.held', []],
      [started(2060), 'agent.held', []],
      [stopped(2560, 2060, 2360), 'recognising.pausing', ['disarm', 'yield 1']],
    ],
    { reads: false },
  );
});

test('noise and backchannels let the agent go on from the same sample', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [final(2300, '嗯。'), 'agent.flowing', ['resume']],
    [done(4000, 1), 'listening', ['disarm', 'resume']],
  ]);
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [tick(4199), 'agent.held', []],
    [tick(4200), 'agent.flowing', ['resume']],
  ]);
  play(
    [
      [started(1500), 'agent.held', ['pause']],
      [stopped(2000, 1500, 1800), 'agent.held', []],
      [final(2001, ''), 'agent.held', []],
      [tick(2240), 'agent.flowing', ['resume']],
    ],
    { reads: false },
  );
});

test('speech that starts again while the first burst is being read is judged by its own length', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [started(2300), 'agent.held', []],
    [tick(2559 + LENGTHY), 'agent.held', []],
    [tick(2560 + LENGTHY), 'hearing', ['disarm', 'yield 1']],
  ]);
});

test('words read only after playout went on still interrupt', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [tick(4200), 'agent.flowing', ['resume']],
    [final(4300, 'stop please'), 'agent.flowing', ['disarm', 'yield 1', 'take 2 speech', 'arm']],
  ]);
});

test('an agent that may not be interrupted is not, but what was said is answered', () => {
  const deaf = { bargeIn: false };
  play(
    [
      [started(1500), 'agent.flowing', []],
      [stopped(2900, 1500, 2500), 'agent.flowing', []],
      [done(3000, 1), 'recognising.reading', ['disarm', 'resume']],
      [final(3100, 'hello'), 'agent.flowing', ['take 2 speech', 'disarm']],
    ],
    deaf,
  );
  play(
    [
      [started(1500), 'agent.flowing', []],
      [stopped(2900, 1500, 2500), 'agent.flowing', []],
      [final(2950, 'hello'), 'agent.flowing', []],
      [done(3000, 1), 'agent.flowing', ['disarm', 'resume', 'take 2 speech', 'disarm']],
    ],
    deaf,
  );
  play(
    [
      [started(2500), 'agent.flowing', []],
      [done(3000, 1), 'hearing', ['disarm', 'resume']],
    ],
    deaf,
  );
});

test('what an earlier utterance said does not decide over speech that is going on', () => {
  const burst: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [started(2300), 'agent.held', []],
  ];
  play([
    ...burst,
    [final(2400, '嗯'), 'agent.held', []],
    [tick(2560 + LENGTHY), 'hearing', ['disarm', 'yield 1']],
  ]);
  play([...burst, [final(2400, '等一下'), 'hearing', ['disarm', 'yield 1']]]);
});

test('a reply that fails while the caller speaks over it leaves the floor to the caller', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [{ type: 'reply.failed', at: 1600, utterance: 1 }, 'hearing', ['disarm', 'yield 1']],
  ]);
});

test('playout that ends while the caller begins leaves the floor to the caller', () => {
  play([
    [started(1990), 'agent.held', ['pause']],
    [done(2000, 1), 'hearing', ['disarm', 'resume']],
    [stopped(3400, 1990, 3000), 'recognising.pausing', []],
  ]);
});

test('an interruption without a word leaves the floor to the caller', () => {
  play([
    [queued(10, 1), 'agent.flowing', []],
    [interrupt(500), 'listening', ['disarm', 'yield 1']],
    [interrupt(600), 'listening', []],
    [tick(12_499), 'listening', []],
    [tick(12_500), 'agent.flowing', ['take 2 still_there', 'arm']],
    [started(13_000), 'agent.held', ['pause']],
    [interrupt(13_100), 'hearing', ['disarm', 'yield 2']],
    [stopped(13_700, 13_000, 13_500), 'recognising.pausing', []],
  ]);
});

test('two interruptions, one upon the other: each stops what is being said, and both are answered', () => {
  const first: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [partial(1700, 'no not that one'), 'hearing', ['disarm', 'yield 1']],
    [stopped(2500, 1500, 2300), 'recognising.pausing', []],
    [final(2600, 'no not that one'), 'recognising.pausing', []],
    [tick(2800), 'agent.flowing', ['take 2 speech', 'arm']],
  ];
  // Before the answer has been heard, and twice.
  play([
    ...first,
    [started(2850), 'agent.held', ['pause']],
    [partial(3000, 'the other one please'), 'hearing', ['disarm', 'yield 2']],
    [stopped(3600, 2850, 3400), 'recognising.pausing', []],
    [started(3700), 'hearing', []],
    [stopped(4300, 3700, 4100), 'recognising.pausing', []],
    [final(4350, 'the other one please'), 'recognising.pausing', []],
    [final(4400, 'the red one'), 'recognising.pausing', []],
    [tick(4600), 'agent.flowing', ['take 3 speech', 'arm']],
  ]);
});

test('two bursts to be read: the first was nothing, and playout waits for the second', () => {
  const bursts: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [stopped(2000, 1500, 1800), 'agent.held', []],
    [started(2300), 'agent.held', []],
    [stopped(2800, 2300, 2600), 'agent.held', []],
    [final(2850, 'uh-huh'), 'agent.held', []],
  ];
  play([
    ...bursts,
    [final(3000, 'wait'), 'recognising.pausing', ['disarm', 'yield 1']],
    [tick(3100), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
  play([...bursts, [final(3000, 'okay'), 'agent.flowing', ['resume']]]);
  // The recogniser is silent about it.
  play([...bursts, [tick(4800), 'agent.flowing', ['resume']]]);
});

test('words that come late stop nothing that they would not have stopped in time', () => {
  const late: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [tick(4200), 'agent.flowing', ['resume']],
  ];
  for (const words of ['uh-huh', '嗯', '']) {
    play([...late, [final(4400, words), 'agent.flowing', []]]);
    // Nor does a partial that comes after playout went on.
    play([
      ...late,
      [partial(4300, words), 'agent.flowing', []],
      [final(4400, words), 'agent.flowing', []],
      [done(5000, 1), 'listening', ['disarm', 'resume']],
    ]);
  }
  // What is left unread when the agent has finished is waited for.
  play([
    ...late,
    [done(4300, 1), 'recognising.reading', ['disarm', 'resume']],
    [final(4300, 'wait'), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
});

test('speech over an agent that is still busy: noise leaves it at work, words call it off', () => {
  // A function is being carried out: nothing is heard of it, or a filler was.
  const nothing = (at: number): TurnEvent => ({
    ...{ type: 'speech.started', at, startMs: at, over: null },
  });
  const filler = (at: number): TurnEvent => ({
    ...{ type: 'speech.started', at, startMs: at },
    over: { spokeMs: 1200, text: 'One moment, please.' },
  });
  const asked: Step[] = [
    [queued(10, 1), 'agent.flowing', []],
    [done(1000, 1), 'listening', ['disarm', 'resume']],
    [started(1500), 'hearing', []],
    [stopped(2500, 1500, 2300), 'recognising.pausing', []],
    [final(2600, 'where is my parcel'), 'recognising.pausing', []],
    [tick(2800), 'agent.flowing', ['take 2 speech', 'arm']],
  ];
  for (const speaks of [nothing, filler]) {
    for (const words of ['', 'okay', '好的'])
      play([
        ...asked,
        [speaks(5000), 'agent.held', ['pause']],
        [stopped(5500, 5000, 5300), 'agent.held', []],
        [final(5600, words), 'agent.flowing', ['resume']],
        [queued(6000, 2), 'agent.flowing', []],
        [done(8000, 2), 'listening', ['disarm', 'resume']],
      ]);
    play([
      ...asked,
      [speaks(5000), 'agent.held', ['pause']],
      // The answer is ready meanwhile: it waits, paused, for what the caller says.
      [queued(5100, 2), 'agent.held', []],
      [partial(5300, 'never mind about that'), 'hearing', ['disarm', 'yield 2']],
      [stopped(6000, 5000, 5800), 'recognising.pausing', []],
      [final(6100, 'never mind about that'), 'recognising.pausing', []],
      [tick(6300), 'agent.flowing', ['take 3 speech', 'arm']],
    ]);
  }
});

test('an interruption in the very moment playout ends: what was said is answered, in whatever order it is told', () => {
  const answered: Step[] = [
    [final(2700, 'yes please do'), 'recognising.pausing', []],
    [tick(2900), 'agent.flowing', ['take 2 speech', 'arm']],
  ];
  play([
    [done(2000, 1), 'listening', ['disarm', 'resume']],
    [started(2000), 'hearing', []],
    [stopped(2600, 2000, 2400), 'recognising.pausing', []],
    ...answered,
  ]);
  // Stopped, and its last packet had left all the same.
  play([
    [started(1990), 'agent.held', ['pause']],
    [stopped(2600, 1990, 2400), 'agent.held', []],
    [done(2601, 1), 'recognising.pausing', ['disarm', 'resume']],
    ...answered,
  ]);
  // Given up, and then told that it was said whole.
  play([
    [started(1990), 'agent.held', ['pause']],
    [partial(2100, 'yes please do'), 'hearing', ['disarm', 'yield 1']],
    [done(2101, 1), 'hearing', []],
    [stopped(2600, 1990, 2400), 'recognising.pausing', []],
    ...answered,
  ]);
});

test('an answer given up before any of it was heard: what it was to answer is answered with what came after', () => {
  const began: TurnEvent = { type: 'agent.began', at: 2900, utterance: 2 };
  const heard: Step = [began, 'agent.flowing', []];
  const asked: Step[] = [
    [done(1000, 1), 'listening', ['disarm', 'resume']],
    [started(1500), 'hearing', []],
    [stopped(2500, 1500, 2300), 'recognising.pausing', []],
    [final(2600, 'what are your hours'), 'recognising.pausing', []],
    [tick(2800), 'agent.flowing', ['take 2 speech', 'arm']],
  ];
  // He only drew breath, and nobody could read what followed.
  const wentOn: Step[] = [
    [started(2950), 'agent.held', ['pause']],
    [tick(3210 + LENGTHY), 'hearing', ['disarm', 'yield 2']],
    [stopped(5200, 2950, 5000), 'recognising.pausing', []],
  ];
  const keeps = { asksAgain: true };
  play(
    [
      ...asked,
      ...wentOn,
      [final(5300, ''), 'recognising.pausing', []],
      [tick(5500), 'agent.flowing', ['take 3 speech', 'arm']],
    ],
    keeps,
  );
  // Begun, it was an answer; and a vendor that has it in its own history is not asked twice.
  const over: Step[] = [
    [final(5300, ''), 'recognising.pausing', []],
    [tick(5500), 'listening', []],
  ];
  play([...asked, heard, ...wentOn, ...over], keeps);
  play([...asked, ...wentOn, ...over]);
  // Who only wants it to be quiet has asked for nothing.
  play(
    [
      ...asked,
      [interrupt(2900), 'listening', ['disarm', 'yield 2']],
      [started(3000), 'hearing', []],
      [stopped(3500, 3000, 3300), 'recognising.pausing', []],
      [final(3600, ''), 'recognising.pausing', []],
      [tick(3800), 'listening', []],
    ],
    keeps,
  );
});
