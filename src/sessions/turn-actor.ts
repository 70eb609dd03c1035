/** The turn machine at work: its actor, its one timer, and the agent's own time, which stands still on hold. */
import { createActor, type ActorRefFrom } from 'xstate';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { turnMachine } from './turn.machine.ts';
import { TurnTime } from './turn-time.ts';
import {
  TURN_COMMANDS,
  type TurnCommand,
  type TurnConfig,
  type TurnContext,
  type TurnEvent,
} from './turn-types.ts';

export type TurnActorOptions = {
  readonly config: TurnConfig;
  readonly clock: Clock;
  readonly callTimeMs: () => number;
  /** The greeting is all that is said: nobody listens. */
  readonly isDeaf: boolean;
  readonly carryOut: (command: TurnCommand) => void;
  /** After every step; `hasSettled`: nobody has anything to say since this one. */
  readonly onStep: (context: TurnContext, hasSettled: boolean) => void;
  /** A programmer's error in the machine. */
  readonly onError: (error: unknown) => void;
};

type Untimed<T> = T extends unknown ? Omit<T, 'at'> : never;

/** What the caller does, as the turn machine hears of it. */
const CALLER_EVENTS: ReadonlySet<TurnEvent['type']> = new Set([
  'speech.started',
  'speech.lasted',
  'speech.stopped',
  'stt.partial',
  'stt.final',
  'likelihood',
  'dtmf',
  'text',
  'interrupt',
]);

export class TurnActor {
  readonly time: TurnTime;
  readonly #options: TurnActorOptions;
  readonly #actor: ActorRefFrom<typeof turnMachine>;
  #timer: TimerHandle | undefined;
  #isStopped = false;
  #wasListening = false;
  #floorOf: { readonly snapshot: unknown; readonly isAgents: boolean } = {
    snapshot: null,
    isAgents: false,
  };

  constructor(options: TurnActorOptions) {
    this.#options = options;
    this.time = new TurnTime(options.callTimeMs);
    this.#actor = createActor(turnMachine, { input: { config: options.config } });
    for (const type of TURN_COMMANDS) this.#actor.on(type, (command) => options.carryOut(command));
    this.#actor.subscribe({
      next: (snapshot) => {
        const isListening = snapshot.matches('listening');
        options.onStep(snapshot.context.now, isListening && !this.#wasListening);
        this.#wasListening = isListening;
        this.#arm(snapshot.context.now.deadlineAt);
      },
      error: (error) => options.onError(error),
    });
  }

  start(): void {
    this.#actor.start();
  }

  /** Nothing is decided any more. Idempotent. */
  stop(): void {
    this.#isStopped = true;
    this.#options.clock.clearTimer(this.#timer);
    this.#actor.stop();
  }

  get isOver(): boolean {
    return this.#isStopped || this.#actor.getSnapshot().status !== 'active';
  }

  get context(): TurnContext {
    return this.#actor.getSnapshot().context.now;
  }

  /** The agent speaks, or is about to, and nobody speaks over it. */
  get isFlowing(): boolean {
    return this.#actor.getSnapshot().matches({ agent: 'flowing' });
  }

  /** The agent has the floor. */
  get hasFloor(): boolean {
    const snapshot = this.#actor.getSnapshot();
    // Asked fifty times a second and call, and it changes once in a while: what was worked out stands until then.
    if (snapshot !== this.#floorOf.snapshot)
      this.#floorOf = { snapshot, isAgents: snapshot.matches('agent') };
    return this.#floorOf.isAgents;
  }

  /** The caller has stopped, and it is not decided yet whether his turn is over. */
  get isPausing(): boolean {
    return this.#actor.getSnapshot().matches('recognising');
  }

  /** Happens now, in the agent's time. */
  send(event: Untimed<TurnEvent>): void {
    if (this.#options.isDeaf && CALLER_EVENTS.has(event.type)) return;
    if (!this.isOver) this.#actor.send({ ...event, at: this.time.now() } as TurnEvent);
  }

  /** Neither time nor deadlines pass. */
  hold(on: boolean): void {
    if (on) this.time.stop();
    else this.time.go();
    this.#arm(this.context.deadlineAt);
  }

  #arm(deadlineAt: number | null): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (deadlineAt === null || this.isOver || this.time.stands) return;
    this.#timer = clock.setTimer(
      () => {
        this.#timer = undefined;
        this.send({ type: 'deadline.reached' });
      },
      Math.max(0, Math.ceil(deadlineAt - this.time.now())),
    );
  }
}
