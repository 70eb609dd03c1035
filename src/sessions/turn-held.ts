/**
 * How the turn machine keeps its context: under one name. xstate copies a context with Object.assign at every note, and
 * one of two dozen names becomes a dictionary thereby, of which a copy costs more than all that is decided by it.
 */
import type { Moment } from './turn-judgement.ts';
import type { TurnContext, TurnEvent } from './turn-types.ts';

export type Held = { readonly now: TurnContext };

type HeldMoment = { readonly context: Held; readonly event: TurnEvent };

/** For `assign`: changes what `update` gives, and keeps the rest. */
export function note(
  update: (moment: Moment) => Partial<TurnContext>,
): (moment: HeldMoment) => Held {
  return ({ context: { now }, event }) => ({ now: { ...now, ...update({ context: now, event }) } });
}

type Guard = (moment: Moment) => boolean;

/** Guards that ask about a moment, as the machine calls them. */
export function ofNow<G extends Readonly<Record<string, Guard>>>(
  guards: G,
): { [K in keyof G]: (moment: HeldMoment) => boolean } {
  const asked = Object.entries(guards).map(([name, guard]) => [
    name,
    ({ context: { now }, event }: HeldMoment) => guard({ context: now, event }),
  ]);
  return Object.fromEntries(asked) as { [K in keyof G]: (moment: HeldMoment) => boolean };
}
