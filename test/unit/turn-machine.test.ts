/** Turn-taking as event tables, and as random walks that must never get stuck or speak out of turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TurnEvent } from '#sessions/turn-types.ts';
import {
  dtmf,
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
  written,
  type Step,
} from './_turn-kit.ts';

test('it starts with the greeting, armed for barge-in', () => {
  assert.deepEqual(start().first, { state: 'agent.flowing', commands: ['take 1 greeting', 'arm'] });
});

test('a plain exchange: the reply waits for the end-point and for the recogniser', () => {
  play([
    [queued(10, 1), 'agent.flowing', []],
    [done(2000, 1), 'listening', ['disarm', 'resume']],
    [started(3000), 'hearing', []],
    [stopped(4400, 3000, 4000), 'recognising.pausing', []],
    [tick(4499), 'recognising.pausing', []],
    [tick(4500), 'recognising.reading', []],
    [final(4600, 'hello'), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
  play([
    [done(2000, 1), 'listening', ['disarm', 'resume']],
    [started(3000), 'hearing', []],
    [stopped(4400, 3000, 4000), 'recognising.pausing', []],
    [final(4450, 'hello'), 'recognising.pausing', []],
    [tick(4500), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
});

test('a pause inside a sentence is no end of turn', () => {
  play([
    [done(2000, 1), 'listening', ['disarm', 'resume']],
    [started(3000), 'hearing', []],
    [stopped(4400, 3000, 4000), 'recognising.pausing', []],
    [started(4450), 'hearing', []],
    [final(4500, 'I would like'), 'hearing', []],
    [stopped(6400, 4450, 6000), 'recognising.pausing', []],
    [final(6450, 'two tickets'), 'recognising.pausing', []],
    [tick(6500), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
});

test('how long a silence must be is asked anew with every word', () => {
  const dials = { minMs: 400, maxMs: 900, responsiveness: 0.5 };
  const machine = start({ dials });
  machine.send(done(2000, 1));
  machine.send(started(3000));
  machine.send(stopped(4200, 3000, 4000));
  machine.send(final(4250, 'I would like to'));
  const openMs = (machine.deadline() ?? 0) - 4000;
  assert.ok(openMs >= 400 && openMs <= 900, `${openMs}`);
  // Another pace for one turn: it holds until the reply is under way, then the agent's own is back.
  const pace: TurnEvent = { type: 'dials', at: 4260, dials: { minMs: 2000, maxMs: 2000 } };
  machine.send(pace);
  machine.send(partial(4300, 'I would like to'));
  assert.equal(machine.deadline(), 6000);
  assert.deepEqual(machine.send(tick(6000)).commands, ['take 2 speech', 'arm']);
  machine.send(done(7000, 2));
  machine.send(started(8000));
  machine.send(stopped(9200, 8000, 9000));
  assert.ok((machine.deadline() ?? 0) <= 9900, 'the agent’s own pace again');
});

test('a model’s word counts for the words it was asked about, and for no others', () => {
  const likely = (at: number, text: string, likelihood: number): TurnEvent => ({
    ...{ type: 'likelihood', at, text, likelihood },
  });
  const machine = start({ dials: { minMs: 400, maxMs: 3000, responsiveness: 0.5 } });
  machine.send(done(2000, 1));
  machine.send(started(3000));
  machine.send(stopped(4200, 3000, 4000));
  machine.send(final(4210, 'so what I'));
  machine.send(likely(4220, 'another text', 1));
  assert.equal(machine.likelihood(), null);
  machine.send(likely(4230, 'so what I', 0.02));
  assert.equal(machine.likelihood(), 0.02);
  machine.send(started(4400));
  machine.send(final(4500, 'wanted'));
  assert.equal(machine.likelihood(), null, 'more was said');
});

test('an agent that holds the floor and sends nothing is released', () => {
  const stuck = (at: number, utterance: number): TurnEvent => ({
    ...{ type: 'floor.stuck', at, utterance },
  });
  play([
    [stuck(30_000, 7), 'agent.flowing', []],
    [stuck(30_000, 1), 'listening', ['disarm', 'yield 1']],
    [tick(41_999), 'listening', []],
    [tick(42_000), 'agent.flowing', ['take 2 still_there', 'arm']],
    [started(43_000), 'agent.held', ['pause']],
    [stuck(60_000, 2), 'hearing', ['disarm', 'yield 2']],
  ]);
});

test('a recogniser that never answers does not silence the agent: it asks again', () => {
  play([
    [done(2000, 1), 'listening', ['disarm', 'resume']],
    [started(3000), 'hearing', []],
    [stopped(4400, 3000, 4000), 'recognising.pausing', []],
    [tick(4500), 'recognising.reading', []],
    [tick(6499), 'recognising.reading', []],
    [tick(6500), 'agent.flowing', ['give up', 'take 2 apology', 'arm']],
  ]);
});

test('a cough is no turn: nothing is asked, and the silence goes on', () => {
  const cough = (at: number): Step[] => [
    [started(at), 'hearing', []],
    [stopped(at + 540, at, at + 100), 'recognising.pausing', []],
    [final(at + 560, ''), 'recognising.pausing', []],
    [tick(at + 600), 'listening', []],
  ];
  play([
    [done(1000, 1), 'listening', ['disarm', 'resume']],
    ...cough(5000),
    ...cough(9000),
    [tick(12_999), 'listening', []],
    [tick(13_000), 'agent.flowing', ['take 2 still_there', 'arm']],
  ]);
});

test('a noisy line is not waited for without end', () => {
  play([
    [done(1000, 1), 'listening', ['disarm', 'resume']],
    [started(2000), 'hearing', []],
    [tick(61_999), 'hearing', []],
    [tick(62_000), 'listening', []],
    [tick(62_001), 'agent.flowing', ['take 2 still_there', 'arm']],
  ]);
});

test('a key press is an answer whatever is being said', () => {
  play([
    [dtmf(1000, '2'), 'agent.flowing', ['disarm', 'yield 1', 'take 2 dtmf', 'arm']],
    [done(900, 1), 'agent.flowing', []],
    [done(3000, 2), 'listening', ['disarm', 'resume']],
    [dtmf(3500, '1'), 'agent.flowing', ['take 3 dtmf', 'arm']],
  ]);
});

test('silence: two prompts, a goodbye, the hang-up', () => {
  play([
    [done(1000, 1), 'listening', ['disarm', 'resume']],
    [tick(13_000), 'agent.flowing', ['take 2 still_there', 'arm']],
    [done(15_000, 2), 'listening', ['disarm', 'resume']],
    [tick(27_000), 'agent.flowing', ['take 3 still_there', 'arm']],
    [done(29_000, 3), 'listening', ['disarm', 'resume']],
    [tick(58_999), 'listening', []],
    [tick(59_000), 'agent.flowing', ['take 4 goodbye_silence', 'arm']],
    [done(61_000, 4), 'done', ['disarm', 'end caller.silent']],
  ]);
});

test('the agent hangs up when its last word has been heard, not before', () => {
  play([
    [dtmf(1000, '0'), 'agent.flowing', ['disarm', 'yield 1', 'take 2 dtmf', 'arm']],
    [queued(1100, 2, true), 'agent.flowing', []],
    [done(3000, 2), 'done', ['disarm', 'end agent.done']],
  ]);
});

test('three replies in a row that fail end the call; an apology in between does not count as success', () => {
  const machine = start();
  machine.send(done(100, 1));
  for (const [round, expected] of [
    [0, 'agent.flowing'],
    [1, 'agent.flowing'],
    [2, 'done'],
  ] as const) {
    const at = 1000 * (round + 1);
    machine.send(dtmf(at, '5'));
    const told = machine.send({ type: 'reply.failed', at: at + 1, utterance: machine.utterance() });
    assert.equal(told.state, expected);
    if (expected !== 'done') {
      assert.ok(told.commands.some((command) => command.endsWith('apology')));
      machine.send(done(at + 2, machine.utterance()));
    } else assert.ok(told.commands.includes('end provider.failed'));
  }
});

test('events of an utterance that is over change nothing', () => {
  play([
    [dtmf(1000, '2'), 'agent.flowing', ['disarm', 'yield 1', 'take 2 dtmf', 'arm']],
    [queued(1001, 1, true), 'agent.flowing', []],
    [{ type: 'reply.failed', at: 1002, utterance: 1 }, 'agent.flowing', []],
    [done(3000, 2), 'listening', ['disarm', 'resume']],
  ]);
});

test('written words are answered at once, whatever goes on and whether or not speech may interrupt', () => {
  for (const bargeIn of [true, false]) {
    const arm = bargeIn ? 'arm' : 'disarm';
    const take = (n: number): string[] => ['disarm', `yield ${n - 1}`, `take ${n} speech`, arm];
    play(
      [
        [queued(10, 1), 'agent.flowing', []],
        [written(500), 'agent.flowing', take(2)],
        [written(600), 'agent.flowing', take(3)],
        [done(900, 2), 'agent.flowing', []],
        [done(1000, 3), 'listening', ['disarm', 'resume']],
        [written(1100), 'agent.flowing', ['take 4 speech', arm]],
        [done(2000, 4), 'listening', ['disarm', 'resume']],
        [started(3000), 'hearing', []],
        [written(3100), 'agent.flowing', ['take 5 speech', arm]],
      ],
      { bargeIn },
    );
  }
});

test('written while something must be heard whole: answered after it', () => {
  const task = { kind: 'asked', interruptible: false } as const;
  play([
    [done(900, 1), 'listening', ['disarm', 'resume']],
    [{ type: 'ask', at: 1000, task, urgent: false }, 'agent.flowing', ['take 2 asked', 'disarm']],
    [written(1100), 'agent.flowing', []],
    [interrupt(1200), 'agent.flowing', []],
    [done(2000, 2), 'agent.flowing', ['disarm', 'resume', 'take 3 speech', 'arm']],
  ]);
  play(
    [
      [written(100), 'waiting', []],
      [{ type: 'open', at: 200 }, 'agent.flowing', ['take 2 speech', 'arm']],
    ],
    { waits: true, saidBefore: 1 },
  );
});

/** mulberry32: a small seeded generator. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test('random walks: the agent never takes the floor while it has it, and silence always ends the call', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomOf(seed);
    const machine = start({ reads: random() < 0.5, bargeIn: random() < 0.8 });
    let at = 0;
    for (let i = 0; i < 60 && !machine.isDone(); i++) {
      at += Math.floor(random() * 900);
      const utterance = random() < 0.8 ? machine.utterance() : Math.max(0, machine.utterance() - 1);
      const events: TurnEvent[] = [
        started(at),
        stopped(at, Math.max(0, at - Math.floor(random() * 1500)), at),
        final(at, ['', '嗯', 'hello', '停'][Math.floor(random() * 4)] as string),
        partial(at, 'hel'),
        done(at, utterance),
        queued(at, utterance, random() < 0.05, random() < 0.1),
        { type: 'reply.failed', at, utterance },
        dtmf(at, '1'),
        written(at),
        interrupt(at),
        { type: 'speech.lasted', at, speechMs: 100 + Math.floor(random() * 500) },
        { type: 'floor.stuck', at, utterance },
        { type: 'likelihood', at, text: 'hello', likelihood: random() },
        { type: 'dials', at, dials: random() < 0.5 ? null : { minMs: 300, maxMs: 1500 } },
        tick(at),
      ];
      machine.send(events[Math.floor(random() * events.length)] as TurnEvent);
    }
    // From here on nobody speaks: every deadline and every playout comes true.
    machine.send(stopped(at, at, at));
    for (let i = 0; i < 40 && !machine.isDone(); i++) {
      at = Math.max(at, machine.deadline() ?? at) + 1;
      machine.send(tick(at));
      machine.send(final(at, ''));
      machine.send(queued(at, machine.utterance()));
      machine.send(done(at, machine.utterance()));
    }
    assert.ok(machine.isDone(), `seed ${seed} never ended`);
  }
});
