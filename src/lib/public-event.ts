/** An event as clients see it, over webhooks, `/ws/events` and the bus alike (contract 3). */
import type { AccountEvent, CallEvent } from './call-events.ts';
import type { Id } from './ids.ts';

export type PublicEvent = {
  readonly id: Id;
  readonly type: string;
  /** The dash name of older clients; a field of the same event, never a second one. */
  readonly alias: string | null;
  readonly time: string;
  readonly account_id: Id;
  readonly call_id: Id | null;
  readonly conversation_id: Id | null;
  /** 1, 2, 3 … per call, without gaps; null for events that belong to no call. */
  readonly seq: number | null;
  readonly node: string | null;
  readonly request_id: string | null;
  readonly data: object;
};

const ALIASES: ReadonlyMap<string, string> = new Map(
  ['initiated', 'trying', 'ringing', 'answered', 'failed', 'timeout', 'ended'].map((name) => [
    `call.${name}`,
    `call-${name}`,
  ]),
);

export function aliasOf(type: string): string | null {
  return ALIASES.get(type) ?? null;
}

export function publicEvent(event: CallEvent | AccountEvent): PublicEvent {
  const { id, type, time, account_id, call_id, seq, node, request_id, data } = event;
  return {
    ...{ id, type, alias: aliasOf(type), time, account_id },
    ...{ call_id, conversation_id: call_id, seq, node, request_id, data },
  };
}

/**
 * Whether a subscription to `patterns` takes an event: `*` is all, `call.*` all that begin with `call.`, else the type
 * or its alias.
 */
export function isSubscribed(patterns: readonly string[], type: string): boolean {
  const alias = aliasOf(type);
  return patterns.some(
    (pattern) =>
      pattern === '*' ||
      pattern === type ||
      pattern === alias ||
      (pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1))),
  );
}
