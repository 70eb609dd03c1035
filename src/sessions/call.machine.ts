/**
 * One call from the INVITE to the last row: preparing, connecting, live, ending, ended. Pure; `runCall` provides the
 * actors that do the work and carries out nothing that this machine did not decide. The first cause of an end stands.
 */
import { assign, emit, fromPromise, setup } from 'xstate';
import type { ErrorCode } from '#lib/errors.ts';
import type { EndCause } from './outcome.ts';
import type { TurnEndCause } from './turn-types.ts';

export type CallEvent =
  | { readonly type: 'remote.bye'; readonly q850: number | null }
  | { readonly type: 'remote.cancel' }
  | { readonly type: 'signalling.lost' }
  | { readonly type: 'media.lost' }
  | { readonly type: 'media.failed'; readonly message: string }
  | { readonly type: 'turn.ended'; readonly cause: TurnEndCause }
  | {
      readonly type: 'hangup';
      readonly by: 'api' | 'supervisor';
      /** Why, in words for the other side; null: nothing is said. */
      readonly reason: string | null;
    }
  | { readonly type: 'node.stop' }
  /** The goodbye of a call that has reached its limit has been heard. */
  | { readonly type: 'limit.said' }
  | { readonly type: 'deadline.reached'; readonly at: number };

/** What the caller is told of the limit, in this order, before the call is cut. */
export type LimitCommand = { readonly type: 'limit.warning' } | { readonly type: 'limit.goodbye' };

export type CallContext = {
  readonly maxDurationMs: number;
  /** What happens at the deadline. */
  readonly limit: 'warning' | 'goodbye' | 'end';
  /** Call time (ms) of the next thing that the limit asks for; null before the answer. */
  readonly deadlineAt: number | null;
  readonly answered: boolean;
  readonly cause: EndCause | null;
};

/** What connecting came to: an answered call, or the cause why there is none. */
export type Connected = { readonly ok: true } | { readonly ok: false; readonly cause: EndCause };

const prepare = fromPromise<Connected>(() => Promise.reject(new Error('provided by runCall')));
const connect = fromPromise<Connected>(() => Promise.reject(new Error('provided by runCall')));
const release = fromPromise<void>(() => Promise.reject(new Error('provided by runCall')));

/** The call is never longer than its limit, so the goodbye comes before. A short call has room for none of it. */
const WARNING_MS = 20_000;
const GOODBYE_MS = 8000;
const WARNED_FROM_MS = 90_000;
const GREETED_FROM_MS = 30_000;

function limitOf(maxDurationMs: number): Pick<CallContext, 'limit' | 'deadlineAt'> {
  if (maxDurationMs >= WARNED_FROM_MS)
    return { limit: 'warning', deadlineAt: maxDurationMs - WARNING_MS };
  if (maxDurationMs >= GREETED_FROM_MS)
    return { limit: 'goodbye', deadlineAt: maxDurationMs - GOODBYE_MS };
  return { limit: 'end', deadlineAt: maxDurationMs };
}

const base = setup({
  types: {
    emitted: {} as LimitCommand,
    input: {} as { readonly maxDurationMs: number },
    context: {} as CallContext,
    events: {} as CallEvent,
    output: {} as { readonly cause: EndCause; readonly answered: boolean },
  },
  actors: { prepare, connect, release },
  guards: {
    isOver: (moment) => isOver(moment) && moment.context.limit === 'end',
    isWarned: (moment) => isOver(moment) && moment.context.limit === 'warning',
    isGreeted: (moment) => isOver(moment) && moment.context.limit === 'goodbye',
  },
  actions: {
    noteAnswer: assign(({ context }) => ({ answered: true, ...limitOf(context.maxDurationMs) })),
    warn: emit({ type: 'limit.warning' as const }),
    sayGoodbye: emit({ type: 'limit.goodbye' as const }),
    noteWarned: assign(({ context }) => ({
      limit: 'goodbye' as const,
      deadlineAt: context.maxDurationMs - GOODBYE_MS,
    })),
    noteGreeted: assign(({ context }) => ({
      limit: 'end' as const,
      deadlineAt: context.maxDurationMs,
    })),
    noteCause: assign({ cause: ({ context, event }) => context.cause ?? causeOf(event) }),
    noteOver: assign({ cause: ({ context }) => context.cause ?? { type: 'duration.over' } }),
    keepCause: assign({
      cause: ({ context }, params: { cause: EndCause }) => context.cause ?? params.cause,
    }),
  },
});

function isOver({
  context,
  event,
}: {
  readonly context: CallContext;
  readonly event: CallEvent;
}): boolean {
  return (
    event.type === 'deadline.reached' &&
    context.deadlineAt !== null &&
    event.at >= context.deadlineAt
  );
}

function causeOf(event: CallEvent): EndCause | null {
  switch (event.type) {
    case 'remote.bye':
      return { type: 'remote.bye', q850: event.q850 };
    case 'remote.cancel':
      return { type: 'remote.cancel' };
    case 'signalling.lost':
      return { type: 'signalling.lost' };
    case 'media.lost':
      return { type: 'media.lost' };
    case 'media.failed':
      return { type: 'fault', code: 'E_MEDIA', message: event.message };
    case 'hangup':
      return { type: 'api.hangup', by: event.by, reason: event.reason };
    case 'node.stop':
      return { type: 'node.stop' };
    case 'turn.ended':
      if (event.cause === 'agent.done') return { type: 'agent.done' };
      return event.cause === 'caller.silent'
        ? { type: 'caller.silent' }
        : { type: 'provider.failed' };
    case 'limit.said':
    case 'deadline.reached':
      return null;
  }
}

function faultOf(error: unknown): EndCause {
  const code = error instanceof Error && 'code' in error ? (error.code as ErrorCode) : 'E_INTERNAL';
  return { type: 'fault', code, message: error instanceof Error ? error.message : String(error) };
}

const causeOfRefusal = ({ event }: { event: { output: Connected } }): { cause: EndCause } => ({
  cause: event.output.ok
    ? { type: 'fault', code: 'E_INTERNAL', message: 'no cause' }
    : event.output.cause,
});
const causeOfError = ({ event }: { event: { error: unknown } }): { cause: EndCause } => ({
  cause: faultOf(event.error),
});

/** Everything that ends a call in any state before `ending`. */
const END_EVENTS = {
  'remote.bye': { target: '#call.ending', actions: ['noteCause'] },
  'remote.cancel': { target: '#call.ending', actions: ['noteCause'] },
  'signalling.lost': { target: '#call.ending', actions: ['noteCause'] },
  'media.lost': { target: '#call.ending', actions: ['noteCause'] },
  'media.failed': { target: '#call.ending', actions: ['noteCause'] },
  'turn.ended': { target: '#call.ending', actions: ['noteCause'] },
  hangup: { target: '#call.ending', actions: ['noteCause'] },
  'node.stop': { target: '#call.ending', actions: ['noteCause'] },
} as const;

export const callMachine = base.createMachine({
  id: 'call',
  context: ({ input }) => ({
    maxDurationMs: input.maxDurationMs,
    limit: 'end',
    deadlineAt: null,
    answered: false,
    cause: null,
  }),
  initial: 'preparing',
  states: {
    /** Agent, providers, media port, offer and answer. */
    preparing: {
      on: END_EVENTS,
      invoke: {
        src: 'prepare',
        onDone: [
          { guard: ({ event }) => event.output.ok, target: 'connecting' },
          { target: 'ending', actions: [{ type: 'keepCause', params: causeOfRefusal }] },
        ],
        onError: { target: 'ending', actions: [{ type: 'keepCause', params: causeOfError }] },
      },
    },
    /** Inbound: 200 until ACK. Outbound: INVITE until the final answer. */
    connecting: {
      on: END_EVENTS,
      invoke: {
        src: 'connect',
        onDone: [
          { guard: ({ event }) => event.output.ok, target: 'live', actions: ['noteAnswer'] },
          { target: 'ending', actions: [{ type: 'keepCause', params: causeOfRefusal }] },
        ],
        onError: { target: 'ending', actions: [{ type: 'keepCause', params: causeOfError }] },
      },
    },
    live: {
      on: {
        ...END_EVENTS,
        'deadline.reached': [
          { guard: 'isWarned', actions: ['noteWarned', 'warn'] },
          { guard: 'isGreeted', actions: ['noteGreeted', 'sayGoodbye'] },
          { guard: 'isOver', target: 'ending', actions: ['noteOver'] },
        ],
        'limit.said': { target: 'ending', actions: ['noteOver'] },
      },
    },
    /** BYE or CANCEL, last words of the record, everything given back. */
    ending: {
      invoke: { src: 'release', onDone: 'ended', onError: 'ended' },
    },
    ended: { type: 'final' },
  },
  output: ({ context }) => ({
    cause: context.cause ?? { type: 'fault', code: 'E_INTERNAL', message: 'ended without a cause' },
    answered: context.answered,
  }),
});
