/** Turn-taking as event tables, and as random walks that must never get stuck or speak out of turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createActor } from 'xstate';
import { turnMachine } from '#sessions/turn.machine.ts';
import {
  TURN_COMMANDS,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnEvent,
} from '#sessions/turn-types.ts';

const CONFIG: TurnConfig = {
  endpointMinMs: 500,
  bargeIn: true,
  bargeInConfirmMs: 500,
  falseBargeInMs: 2000,
  vadHangoverMs: 440,
  sttFinalMs: 2000,
  promptAfterMs: 12_000,
  prompts: 2,
  hangupAfterMs: 30_000,
  reads: true,
};

type Told = { readonly state: string; readonly commands: string[] };

function nameOf(task: FloorTask): string {
  if (task.kind === 'prompt') return task.name;
  return task.kind === 'asked' ? 'asked' : task.input.kind;
}

function describe(command: TurnCommand): string {
  switch (command.type) {
    case 'floor.take':
      return `take ${command.utterance} ${nameOf(command.task)}`;
    case 'floor.yield':
      return `yield ${command.utterance}`;
    case 'playout.pause':
      return 'pause';
    case 'playout.resume':
      return 'resume';
    case 'bargein.arm':
      return command.on ? 'arm' : 'disarm';
    case 'speech.giveUp':
      return 'give up';
    case 'turn.ended':
      return `end ${command.cause}`;
  }
}

/** A machine at work: `send` returns the state and the commands of one event; due deadlines are sent by `until`. */
function start(config: Partial<TurnConfig> = {}) {
  const actor = createActor(turnMachine, { input: { config: { ...CONFIG, ...config } } });
  let commands: string[] = [];
  for (const type of TURN_COMMANDS) {
    actor.on(type, (command) => commands.push(describe(command)));
  }
  actor.start();
  const told = (): Told => {
    const value = actor.getSnapshot().value;
    const state = typeof value === 'string' ? value : Object.entries(value).flat().join('.');
    const result = { state, commands };
    commands = [];
    return result;
  };
  return {
    first: told(),
    send: (event: TurnEvent): Told => {
      if (actor.getSnapshot().status === 'active') actor.send(event);
      return told();
    },
    deadline: () => actor.getSnapshot().context.deadlineAt,
    utterance: () => actor.getSnapshot().context.utterance,
    isDone: () => actor.getSnapshot().status === 'done',
  };
}

const done = (at: number, utterance: number): TurnEvent => ({
  type: 'playout.done',
  at,
  utterance,
});
const started = (at: number): TurnEvent => ({ type: 'speech.started', at, startMs: at });
const stopped = (at: number, startMs: number, endMs: number): TurnEvent => ({
  type: 'speech.stopped',
  at,
  startMs,
  endMs,
});
const final = (at: number, text: string): TurnEvent => ({ type: 'stt.final', at, text });
const partial = (at: number, text: string): TurnEvent => ({ type: 'stt.partial', at, text });
const tick = (at: number): TurnEvent => ({ type: 'deadline.reached', at });
const dtmf = (at: number, digits: string): TurnEvent => ({ type: 'dtmf', at, digits });
const written = (at: number): TurnEvent => ({ type: 'text', at });
const interrupt = (at: number): TurnEvent => ({ type: 'interrupt', at });
const queued = (at: number, utterance: number, endCall = false, empty = false): TurnEvent => ({
  type: 'reply.queued',
  at,
  utterance,
  endCall,
  empty,
});

type Step = [event: TurnEvent, state: string, commands: string[]];

function play(steps: Step[], config: Partial<TurnConfig> = {}): void {
  const machine = start(config);
  for (const [event, state, commands] of steps) {
    const told = machine.send(event);
    assert.deepEqual(told, { state, commands }, `after ${JSON.stringify(event)}`);
  }
}

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

test('barge-in pauses first and decides after', () => {
  const byLength: Step[] = [
    [started(1500), 'agent.held', ['pause']],
    [tick(2499), 'agent.held', []],
    [tick(2500), 'hearing', ['disarm', 'yield 1']],
    [stopped(3400, 1500, 3000), 'recognising.pausing', []],
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
    [final(2300, '停'), 'recognising.pausing', ['disarm', 'yield 1']],
    [tick(2300), 'agent.flowing', ['take 2 speech', 'arm']],
  ]);
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
      [stopped(2200, 1500, 1800), 'agent.flowing', ['resume']],
    ],
    { reads: false },
  );
});

test('speech that starts again while the first burst is being read is judged by its own length', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [started(2300), 'agent.held', []],
    [tick(3300), 'hearing', ['disarm', 'yield 1']],
  ]);
});

test('words read only after playout went on still interrupt', () => {
  play([
    [started(1500), 'agent.held', ['pause']],
    [stopped(2200, 1500, 1800), 'agent.held', []],
    [tick(4200), 'agent.flowing', ['resume']],
    [final(4300, 'stop please'), 'recognising.pausing', ['disarm', 'yield 1']],
  ]);
});

test('an agent that may not be interrupted is not, but what was said is answered', () => {
  const deaf = { bargeIn: false };
  play(
    [
      [started(1500), 'agent.flowing', []],
      [stopped(2900, 1500, 2500), 'agent.flowing', []],
      [done(3000, 1), 'recognising.pausing', ['disarm', 'resume']],
      [final(3100, 'hello'), 'recognising.pausing', []],
      [tick(3100), 'agent.flowing', ['take 2 speech', 'disarm']],
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
    [tick(3300), 'hearing', ['disarm', 'yield 1']],
  ]);
  play([...burst, [final(2400, '等一下'), 'hearing', ['disarm', 'yield 1']]]);
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

test('an interruption without a word leaves the floor to the caller', () => {
  play([
    [queued(10, 1), 'agent.flowing', []],
    [interrupt(500), 'listening', ['disarm', 'yield 1']],
    [interrupt(600), 'listening', []],
    [tick(12_499), 'listening', []],
    [tick(12_500), 'agent.flowing', ['take 2 still_there', 'arm']],
    [started(13_000), 'agent.held', ['pause']],
    [interrupt(13_100), 'hearing', ['disarm', 'yield 2']],
    [stopped(14_000, 13_000, 13_500), 'recognising.pausing', []],
  ]);
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
