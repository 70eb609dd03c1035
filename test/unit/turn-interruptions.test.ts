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
