/**
 * Who decides when the caller's turn is over: the turn machine with its pause model, or the same machine with a fixed
 * timeout in the model's place.
 */
import { createActor } from 'xstate';
import { endOfTurnMs, type PauseDials } from '#sessions/end-of-turn.ts';
import { joinWords, pauseFactsOf } from '#sessions/turn-judgement.ts';
import type { TurnConfig, TurnContext, TurnEvent } from '#sessions/turn-types.ts';
import { turnMachine } from '#sessions/turn.machine.ts';
import type { Taken, Taker } from './_turn-play.ts';
import type { Turn } from './_turn-world.ts';

export type TakerOptions = {
  readonly dials: PauseDials;
  readonly hangoverMs: number;
  /** False: the machine is told that nobody reads, and goes by silence alone. Default true. */
  readonly reads?: boolean;
};

/** The agent ended so long before the caller begins that its echo is over. */
const AGENT_ENDED_MS = 2000;

/** The engine's own turn machine. Event times are of the call: the turn begins at `AGENT_ENDED_MS`. */
export function machineTaker({ language, agentText }: Turn, options: TakerOptions): Taker {
  const config: TurnConfig = {
    ...{ language, dials: options.dials, reads: options.reads ?? true },
    ...{ bargeIn: true, bargeInConfirmMs: 500, sensitivity: 0.5, falseBargeInMs: 2000 },
    ...{ vadHangoverMs: options.hangoverMs, sttFinalMs: 2000 },
    ...{ promptAfterMs: 60_000, prompts: 0, hangupAfterMs: 120_000 },
  };
  const actor = createActor(turnMachine, { input: { config } });
  let taken: Taken | null = null;
  let now: Moment | null = null;
  actor.on('floor.take', ({ task }) => {
    if (task.kind === 'reply' && now !== null) taken = takenAt(now);
  });
  actor.start();
  const send = (event: TurnEvent): void => {
    if (taken !== null) return;
    now = { event, context: actor.getSnapshot().context.now };
    actor.send(event);
  };
  send({ type: 'agent.heard', at: 0, text: agentText });
  send({ type: 'reply.queued', at: 0, utterance: 1, endCall: false, empty: false });
  send({ type: 'playout.done', at: 0, utterance: 1 });
  return {
    hear: (heard) => {
      const at = heard.at + AGENT_ENDED_MS;
      if (heard.type === 'speech.started')
        send({ ...heard, at, startMs: heard.startMs + AGENT_ENDED_MS });
      else if (heard.type === 'speech.stopped')
        send({
          ...{ ...heard, at },
          ...{ startMs: heard.startMs + AGENT_ENDED_MS, endMs: heard.endMs + AGENT_ENDED_MS },
        });
      else send({ ...heard, at });
    },
    /** Deadlines that pass before `untilMs` are told to the machine. */
    until: (untilMs) => {
      for (;;) {
        const { deadlineAt } = actor.getSnapshot().context.now;
        if (taken !== null || deadlineAt === null || deadlineAt - AGENT_ENDED_MS >= untilMs) break;
        send({ type: 'deadline.reached', at: Math.ceil(deadlineAt) });
      }
      return taken;
    },
    stop: () => actor.stop(),
  };
}

type Moment = { readonly event: TurnEvent; readonly context: TurnContext };

/** `context` is that before the event by which the floor was taken. */
function takenAt({ event, context }: Moment): Taken {
  const atMs = event.at - AGENT_ENDED_MS;
  if (event.type !== 'stt.final') return { atMs, decidedMs: atMs };
  // Its words were waited for: what of the wait was silence, and what was reading?
  const words = joinWords(context.turn.words, event.text);
  const read = { ...context, unread: 0, turn: { ...context.turn, words, partial: '' } };
  const silenceMs = endOfTurnMs(pauseFactsOf(read), context.dials);
  const heardMs = context.speechEndMs + context.config.vadHangoverMs;
  const decidedMs = Math.max(heardMs, context.speechEndMs + silenceMs) - AGENT_ENDED_MS;
  return { atMs, decidedMs: Math.min(atMs, decidedMs) };
}

/** A silence of always the same length: both dials say the same. */
export function fixedDials(silenceMs: number): PauseDials {
  return { minMs: silenceMs, maxMs: silenceMs, responsiveness: 0.5 };
}
