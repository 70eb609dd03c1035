/** A turn machine at work: what it says to one event after the other. */
import assert from 'node:assert/strict';
import { createActor } from 'xstate';
import { soundLimitMs } from '#sessions/backchannel.ts';
import { turnMachine } from '#sessions/turn.machine.ts';
import {
  TURN_COMMANDS,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnEvent,
} from '#sessions/turn-types.ts';

export const CONFIG: TurnConfig = {
  language: 'en',
  // One answer to how long a silence must be: the model has tests of its own.
  dials: { minMs: 500, maxMs: 500, responsiveness: 0.5 },
  sensitivity: 0.5,
  bargeIn: true,
  bargeInConfirmMs: 500,
  falseBargeInMs: 2000,
  vadHangoverMs: 200,
  sttFinalMs: 2000,
  promptAfterMs: 12_000,
  prompts: 2,
  hangupAfterMs: 30_000,
  reads: true,
};

/** Speech that interrupts though nothing was read of it. */
export const LENGTHY = soundLimitMs({ sensitivity: 0.5, confirmMs: 500, reads: true });

export type Told = { readonly state: string; readonly commands: string[] };

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
export function start(config: Partial<TurnConfig> = {}) {
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
    deadline: () => actor.getSnapshot().context.now.deadlineAt,
    likelihood: () => actor.getSnapshot().context.now.turn.likelihood,
    utterance: () => actor.getSnapshot().context.now.utterance,
    isDone: () => actor.getSnapshot().status === 'done',
  };
}

export const done = (at: number, utterance: number): TurnEvent => ({
  type: 'playout.done',
  at,
  utterance,
});
export const started = (at: number): TurnEvent => ({ type: 'speech.started', at, startMs: at });
export const stopped = (at: number, startMs: number, endMs: number): TurnEvent => ({
  type: 'speech.stopped',
  at,
  startMs,
  endMs,
});
export const final = (at: number, text: string): TurnEvent => ({ type: 'stt.final', at, text });
export const partial = (at: number, text: string): TurnEvent => ({ type: 'stt.partial', at, text });
export const tick = (at: number): TurnEvent => ({ type: 'deadline.reached', at });
export const dtmf = (at: number, digits: string): TurnEvent => ({ type: 'dtmf', at, digits });
export const written = (at: number): TurnEvent => ({ type: 'text', at });
export const interrupt = (at: number): TurnEvent => ({ type: 'interrupt', at });
export const queued = (
  at: number,
  utterance: number,
  endCall = false,
  empty = false,
): TurnEvent => ({
  type: 'reply.queued',
  at,
  utterance,
  endCall,
  empty,
});

export type Step = [event: TurnEvent, state: string, commands: string[]];

export function play(steps: Step[], config: Partial<TurnConfig> = {}): void {
  const machine = start(config);
  for (const [event, state, commands] of steps) {
    const told = machine.send(event);
    assert.deepEqual(told, { state, commands }, `after ${JSON.stringify(event)}`);
  }
}
