/** What is asked for from outside takes its turn: event tables of the turn machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createActor } from 'xstate';
import { turnMachine } from '#sessions/turn.machine.ts';
import { TurnTime } from '#sessions/turn-time.ts';
import {
  MAX_WAITING,
  TURN_COMMANDS,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnEvent,
} from '#sessions/turn-types.ts';

const CONFIG: TurnConfig = {
  ...{ language: 'en', dials: { minMs: 500, maxMs: 500, responsiveness: 0.5 }, sensitivity: 0.5 },
  ...{ bargeIn: true, bargeInConfirmMs: 500, falseBargeInMs: 2000 },
  ...{ vadHangoverMs: 200, sttFinalMs: 2000, promptAfterMs: 12_000, prompts: 2 },
  ...{ hangupAfterMs: 30_000, reads: true },
};
const WORDS: FloorTask = { kind: 'asked', interruptible: true };
const PROTECTED: FloorTask = { kind: 'asked', interruptible: false };
const NOTE: FloorTask = { kind: 'reply', input: { kind: 'note' } };

function nameOf(task: FloorTask): string {
  if (task.kind === 'prompt') return task.name;
  if (task.kind === 'asked') return task.interruptible ? 'words' : 'protected';
  return task.input.kind === 'dtmf' ? `keys ${task.input.digits}` : task.input.kind;
}

function describe(command: TurnCommand): string {
  switch (command.type) {
    case 'floor.take':
      return `take ${command.utterance} ${nameOf(command.task)}`;
    case 'floor.yield':
      return `yield ${command.utterance} ${command.since ?? 'to us'}`;
    case 'turn.ended':
      return `end ${command.cause}`;
    case 'bargein.arm':
      return command.on ? 'arm' : 'disarm';
    case 'playout.pause':
    case 'playout.resume':
    case 'speech.giveUp':
      return command.type;
  }
}

function start(config: Partial<TurnConfig> = {}) {
  const actor = createActor(turnMachine, { input: { config: { ...CONFIG, ...config } } });
  let commands: string[] = [];
  for (const type of TURN_COMMANDS) actor.on(type, (command) => commands.push(describe(command)));
  actor.start();
  commands = [];
  return {
    /** The floor commands of one event. */
    send: (event: TurnEvent): string[] => {
      commands = [];
      if (actor.getSnapshot().status === 'active') actor.send(event);
      return commands.filter((command) => /^(?:take|yield|end) /.test(command));
    },
    arming: () => commands.filter((command) => command.endsWith('arm')).at(-1),
    context: () => actor.getSnapshot().context.now,
    state: () => JSON.stringify(actor.getSnapshot().value),
  };
}

const ask = (at: number, task: FloorTask, urgent = false): TurnEvent => ({
  ...{ type: 'ask', at, task, urgent },
});
const done = (at: number, utterance: number): TurnEvent => ({
  type: 'playout.done',
  at,
  utterance,
});
const started = (at: number): TurnEvent => ({ type: 'speech.started', at, startMs: at });
const stopped = (at: number, startMs: number, endMs: number): TurnEvent => ({
  ...{ type: 'speech.stopped', at, startMs, endMs },
});
const final = (at: number, text: string): TurnEvent => ({ type: 'stt.final', at, text });
const tick = (at: number): TurnEvent => ({ type: 'deadline.reached', at });
const dtmf = (at: number, digits: string): TurnEvent => ({ type: 'dtmf', at, digits });
const queued = (at: number, utterance: number, endCall = false, empty = false): TurnEvent => ({
  ...{ type: 'reply.queued', at, utterance, endCall, empty },
});

type Step = [event: TurnEvent, commands: string[]];

test('who is asked to speak does so when the floor is free, in order, before any reply', () => {
  const tables: readonly (readonly [name: string, config: Partial<TurnConfig>, steps: Step[]])[] = [
    [
      'after the greeting',
      {},
      [
        [ask(10, WORDS), []],
        [ask(20, PROTECTED), []],
        [done(1000, 1), ['take 2 words']],
        [done(2000, 2), ['take 3 protected']],
        [done(3000, 3), []],
        [ask(3100, WORDS), ['take 4 words']],
      ],
    ],
    [
      'urgent, instead of the greeting',
      {},
      [
        [ask(10, WORDS), []],
        [ask(20, WORDS, true), ['yield 1 to us', 'take 3 words']],
        [done(900, 1), []],
        [done(1000, 3), ['take 2 words']],
      ],
    ],
    [
      'while the caller speaks: when he has stopped, and his words are answered after',
      {},
      [
        [done(1000, 1), []],
        [started(2000), []],
        [ask(2100, WORDS), []],
        [stopped(3400, 2000, 3000), []],
        [final(3450, 'hello'), []],
        [tick(3500), ['take 2 words']],
        [done(4000, 2), ['take 3 speech']],
      ],
    ],
    [
      'urgent while the caller speaks: over him',
      {},
      [
        [done(1000, 1), []],
        [started(2000), []],
        [ask(2100, WORDS, true), ['take 2 words']],
      ],
    ],
    [
      'while his words are read',
      {},
      [
        [done(1000, 1), []],
        [started(2000), []],
        [stopped(3400, 2000, 3000), []],
        [tick(3500), []],
        [ask(3510, WORDS), []],
        [final(3600, 'hello'), ['take 2 words']],
        [done(4000, 2), ['take 3 speech']],
      ],
    ],
    [
      'a recogniser that never reads does not hold it up',
      {},
      [
        [done(1000, 1), []],
        [started(2000), []],
        [stopped(3400, 2000, 3000), []],
        [tick(3500), []],
        [ask(3510, WORDS), []],
        [tick(5500), ['take 2 words']],
        [done(6000, 2), []],
      ],
    ],
    [
      'a note is answered with the words that wait',
      {},
      [
        [done(1000, 1), []],
        [started(2000), []],
        [ask(2100, NOTE), []],
        [stopped(3400, 2000, 3000), []],
        [final(3450, 'hello'), []],
        [tick(3500), ['take 2 note']],
        [done(4000, 2), []],
      ],
    ],
    [
      'the call ends after it, when the agent has said goodbye',
      {},
      [
        [queued(10, 1, true), []],
        [ask(20, WORDS), []],
        [done(1000, 1), ['take 2 words']],
        [queued(1010, 2), []],
        [done(2000, 2), ['end agent.done']],
      ],
    ],
    [
      'a goodbye that is cut off ends nothing',
      {},
      [
        [queued(10, 1, true), []],
        [ask(20, WORDS, true), ['yield 1 to us', 'take 2 words']],
        [queued(30, 2), []],
        [done(2000, 2), []],
      ],
    ],
    [
      'nothing is heard of it',
      {},
      [
        [done(1000, 1), []],
        [ask(1100, WORDS), ['take 2 words']],
        [ask(1150, WORDS), []],
        [queued(1200, 2, false, true), ['take 3 words']],
      ],
    ],
    [
      'behind a notice it waits, however urgent',
      { waits: true, saidBefore: 1 },
      [
        [ask(10, WORDS, true), []],
        [{ type: 'open', at: 500 }, ['take 3 greeting']],
        [done(1000, 3), ['take 2 words']],
      ],
    ],
    [
      'what is taken back is not said',
      {},
      [
        [ask(10, WORDS), []],
        [ask(20, PROTECTED), []],
        [{ type: 'unask', at: 30, utterance: 2 }, []],
        [done(1000, 1), ['take 3 protected']],
      ],
    ],
  ];
  for (const [name, config, steps] of tables) {
    const machine = start(config);
    for (const [event, commands] of steps)
      assert.deepEqual(machine.send(event), commands, `${name}: after ${JSON.stringify(event)}`);
  }
});

test('what may not be interrupted is not: neither by words nor by keys', () => {
  const machine = start();
  machine.send(done(1000, 1));
  machine.send(ask(1100, PROTECTED));
  assert.equal(machine.arming(), 'disarm', 'the media plane does not stand still either');
  assert.deepEqual(machine.send(started(1200)), []);
  assert.deepEqual(machine.send({ type: 'stt.partial', at: 1300, text: 'stop it' }), []);
  assert.deepEqual(machine.send(stopped(2600, 1200, 2200)), []);
  assert.deepEqual(machine.send(final(2700, 'stop it')), []);
  assert.deepEqual(machine.send(dtmf(2800, '4')), []);
  assert.deepEqual(machine.send(dtmf(2900, '2')), []);
  assert.deepEqual(machine.send(ask(2950, WORDS, true)), ['yield 2 to us', 'take 4 words']);
  assert.deepEqual(machine.send(dtmf(3000, '9')), ['yield 4 3000', 'take 5 keys 9']);
  const other = start();
  other.send(done(1000, 1));
  other.send(ask(1100, PROTECTED));
  for (const digit of '42') other.send(dtmf(1200, digit));
  assert.deepEqual(other.send(done(2000, 2)), ['take 3 keys 42'], 'one input');
});

test('only so much waits, and each has a number of its own', () => {
  const machine = start();
  for (let i = 0; i < MAX_WAITING + 5; i++) machine.send(ask(10, WORDS));
  const { waiting, lastNumber } = machine.context();
  assert.equal(waiting.length, MAX_WAITING);
  assert.equal(lastNumber, MAX_WAITING + 1);
  assert.equal(new Set(waiting.map(({ utterance }) => utterance)).size, MAX_WAITING);
});

test('a muted caller is not asked why he is silent', () => {
  const machine = start();
  machine.send(done(1000, 1));
  assert.equal(machine.context().deadlineAt, 13_000);
  machine.send({ type: 'caller.muted', at: 5000, on: true });
  assert.equal(machine.context().deadlineAt, null);
  machine.send({ type: 'caller.muted', at: 60_000, on: false });
  assert.equal(machine.context().deadlineAt, 72_000);
});

test('the agent’s time stands still on hold', () => {
  let nowMs = 1000;
  const time = new TurnTime(() => nowMs);
  assert.equal(time.now(), 1000);
  time.stop();
  time.stop();
  nowMs = 5000;
  assert.deepEqual([time.now(), time.stands, time.of(3000)], [1000, true, 1000]);
  time.go();
  time.go();
  nowMs = 5500;
  assert.deepEqual([time.now(), time.stands, time.toCall(time.now())], [1500, false, 5500]);
  const within = [900, 1000, 4999, 5000].map((callMs) => time.isWithinHold(callMs));
  assert.deepEqual(within, [false, true, true, false]);
});

test('random walks: whatever happens, all that was asked for is said once', () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = seed * 7919;
    const pick = (count: number): number => {
      state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
      return (state >> 8) % count;
    };
    const machine = start({ hangupAfterMs: 10_000_000 });
    const asked = new Set<number>();
    const taken: number[] = [];
    let at = 0;
    let current = 1;
    const send = (event: TurnEvent): void => {
      for (const command of machine.send(event)) {
        const found = /^take (\d+)/.exec(command);
        if (found === null) continue;
        current = Number(found[1]);
        taken.push(current);
      }
    };
    for (let step = 0; step < 60; step++) {
      at += 100 + pick(900);
      const before = machine.context().lastNumber;
      const events: TurnEvent[] = [
        ask(at, [WORDS, PROTECTED, NOTE][pick(3)] as FloorTask, pick(4) === 0),
        done(at, current),
        queued(at, current, false, pick(3) === 0),
        started(at),
        stopped(at, at - 500, at - 440),
        { type: 'stt.partial', at, text: 'stop it now' },
        final(at, pick(2) === 0 ? 'stop it now' : ''),
        dtmf(at, '1'),
        tick(at),
        { type: 'interrupt', at },
      ];
      const event = events[pick(events.length)] as TurnEvent;
      send(event);
      if (event.type === 'ask' && machine.context().lastNumber > before) asked.add(before + 1);
    }
    for (let left = 0; left < 100 && machine.context().waiting.length > 0; left++) {
      at += 70_000;
      send(tick(at));
      send(done(at + 1, current));
      send(final(at + 2, ''));
    }
    for (const number of asked) {
      const times = taken.filter((each) => each === number).length;
      assert.equal(times, 1, `seed ${seed}: ${number} in ${machine.state()}`);
    }
  }
});

test('random walks: whatever was asked, said, muted and taken back, silence ends the call', () => {
  for (let seed = 1; seed <= 300; seed++) {
    let state = seed * 104_729;
    const pick = (count: number): number => {
      state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
      return (state >> 8) % count;
    };
    const machine = start({
      ...{ waits: pick(4) === 0, saidBefore: pick(2), reads: pick(2) === 0 },
      ...{ bargeIn: pick(4) > 0, hangupAfterMs: 30_000 },
    });
    let at = 0;
    let floor = 0;
    const send = (event: TurnEvent): void => {
      for (const command of machine.send(event)) {
        const [what, number] = command.split(' ');
        if (what === 'yield') assert.equal(Number(number), floor, `seed ${seed}: ${command}`);
        if (what === 'take') floor = Number(number);
      }
    };
    floor = machine.context().utterance;
    for (let step = 0; step < 80; step++) {
      at += pick(900);
      const last = machine.context().lastNumber;
      const said = pick(5) === 0 ? pick(last + 2) : machine.context().utterance;
      const events: TurnEvent[] = [
        ask(at, [WORDS, PROTECTED, NOTE][pick(3)] as FloorTask, pick(4) === 0),
        { type: 'unask', at, utterance: pick(last + 2) },
        { type: 'caller.muted', at, on: pick(2) === 0 },
        { type: 'open', at },
        { type: 'text', at },
        { type: 'interrupt', at },
        started(at),
        stopped(at, Math.max(0, at - pick(1500)), at),
        { type: 'stt.partial', at, text: 'stop it now' },
        final(at, ['stop it now', '', 'mhm'][pick(3)] as string),
        dtmf(at, '1'),
        queued(at, said, pick(20) === 0, pick(5) === 0),
        { type: 'reply.failed', at, utterance: said },
        done(at, said),
        done(at, said),
        tick(machine.context().deadlineAt ?? at),
      ];
      send(events[pick(events.length)] as TurnEvent);
      const { waiting, lastNumber } = machine.context();
      assert.ok(waiting.length <= MAX_WAITING);
      assert.ok(lastNumber >= last, 'numbers only rise');
    }
    send({ type: 'open', at });
    send({ type: 'caller.muted', at, on: false });
    for (let left = 0; left < 200 && machine.state() !== '"done"'; left++) {
      if (machine.context().speaking) send(stopped(at, at, at));
      const { deadlineAt, utterance } = machine.context();
      if (deadlineAt === null) send(done(at, utterance));
      else send(tick((at = Math.max(at, deadlineAt))));
    }
    assert.equal(machine.state(), '"done"', `seed ${seed}: ${JSON.stringify(machine.context())}`);
  }
});
