/** `/ws/events`: an account's events as they happen, and those missed since a known one (contract 2.7, 3). */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { EVENT_TYPES, isEventPattern } from '#lib/event-types.ts';
import { timeOfId, type Id } from '#lib/ids.ts';
import { isSubscribed } from '#lib/public-event.ts';
import type { EventFilter, EventLog } from '#store/event-log.ts';
import type { Caller } from './auth.ts';
import type { EventHub, HubEvent } from './event-hub.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { publicEventView } from './record-view.ts';
import type { ApiServer } from './routing.ts';
import { IdSchema } from './schemas.ts';
import { addSocketRoute, ticketField, type SocketRequest } from './socket-route.ts';
import type { SocketSession } from './socket-session.ts';

export type EventsPorts = {
  readonly hub: EventHub;
  readonly log: EventLog;
  /** Journal entries that the database does not have yet. */
  lagEvents(): number;
};

export type EventsPart = EventsPorts & { readonly clock: Clock };

/** As many stored events are sent again at most; a client further behind comes back with the last of them. */
const MAX_REPLAYED = 1_000;
/** Events may be stored a little out of the order of their times: calls keep time from their own beginning. */
const OVERLAP_MS = 2_000;
const MAX_OVERLAP = MAX_REPLAYED / 2;
const DAY_MS = 86_400_000;
/** Events that wait for the client to read. */
const MAX_BEHIND = 1_000;
/** What is handed to the connection beforehand. */
const MAX_UNSENT_BYTES = 64 * 1024;

const Query = Type.Object(
  {
    types: Type.Optional(
      Type.String({
        ...{ minLength: 1, maxLength: 1_000, examples: ['call.*,summary.ready'] },
        description: 'Types, their dash names, or `call.*`, separated by commas; default all',
      }),
    ),
    agent_id: Type.Optional(IdSchema),
    call_id: Type.Optional(IdSchema),
    after: Type.Optional(
      Type.String({
        ...IdSchema,
        description: 'Id of the last event you have: those stored since then come first',
      }),
    ),
    ...ticketField,
  },
  { additionalProperties: false },
);
type Query = Static<typeof Query>;

export function addEventsSocket(app: ApiServer, part: EventsPart): void {
  addSocketRoute(app, {
    url: '/ws/events',
    capability: 'any',
    mayListenOnly: true,
    schema: {
      operationId: 'streamEvents',
      tags: ['Events'],
      summary: 'Events as they happen',
      description:
        'A WebSocket. Each text frame is one event. Events come at least once, in order within a call (`seq`); drop ids that you have had. After a loss connect again with `after`. A client more than 1,000 events behind is closed with 4408 and resumes with `after` likewise. `{"type":"ping"}` is answered.',
      querystring: Query,
      problems: ['NOT_FOUND'],
    },
    guard: async ({ query, caller }) => {
      patternsOf(query);
      // Before the upgrade, where it can be said in words.
      if (query.after !== undefined) await timeOf(part, caller, query.after);
    },
    open: (session, request) => new EventStream(part, session, request).start(),
  });
}

/** Errors: VALIDATION_FAILED for a type that does not exist. */
function patternsOf({ types }: Query): readonly string[] {
  const patterns = (types ?? '*').split(',').map((text) => text.trim());
  if (!patterns.every(isEventPattern)) throw invalid('?types', 'event');
  return patterns;
}

/** Errors: NOT_FOUND, UNAVAILABLE. */
async function timeOf(part: EventsPart, caller: Caller, id: Id): Promise<string> {
  const { accountId, agentIds } = caller;
  const recent = part.hub.recent(accountId).find(({ event }) => event.id === id);
  if (recent !== undefined && isMine(recent, agentIds)) return recent.event.time;
  const stored = await fromStore(part, part.log.timeOf(accountId, id, agentIds));
  const time = stored ?? interimTime(id, part.clock.wallMs());
  if (time === null) throw new Problem('NOT_FOUND');
  return time;
}

/** Words that were not final are stored nowhere, but may be the last that a client had: their id tells the time. */
function interimTime(id: Id, nowMs: number): string | null {
  const timeMs = timeOfId(id);
  return timeMs === null || timeMs > nowMs + DAY_MS ? null : new Date(timeMs).toISOString();
}

/** Events of the account itself are nothing for a key of some agents. */
function isMine({ agentId }: HubEvent, agentIds: readonly Id[] | null): boolean {
  return agentIds === null || (agentId !== null && agentIds.includes(agentId));
}

class EventStream {
  readonly #part: EventsPart;
  readonly #session: SocketSession;
  readonly #query: Query;
  readonly #accountId: Id;
  readonly #patterns: readonly string[];
  /** Live events that wait: for the replay to end, or for the client to read. */
  #waiting: HubEvent[] = [];
  #isLive = false;
  #stop: () => void = () => undefined;

  constructor(
    part: EventsPart,
    session: SocketSession,
    { query, actor }: SocketRequest<object, Query>,
  ) {
    this.#part = part;
    this.#session = session;
    this.#query = query;
    this.#accountId = actor.accountId;
    this.#patterns = patternsOf(query);
  }

  async start(): Promise<void> {
    const { hub } = this.#part;
    this.#session.handle({
      text: (type) => this.#take(type),
      binary: null,
      closed: () => this.#stop(),
    });
    this.#stop = hub.subscribe(this.#accountId, (told) => this.#tell(told));
    const { after } = this.#query;
    try {
      if (after !== undefined) await this.#replay(after);
    } catch (error) {
      return this.#session.fail(error);
    }
    this.#isLive = true;
    this.#pump();
  }

  #take(type: string): boolean {
    if (type !== 'ping') return false;
    this.#session.send({ type: 'pong' });
    return true;
  }

  #tell(told: HubEvent): void {
    if (!this.#isWanted(told)) return;
    this.#waiting.push(told);
    if (this.#waiting.length > MAX_BEHIND)
      this.#session.close(4408, 'more than 1000 events behind');
    else if (this.#isLive) this.#pump();
  }

  /** Sends what waits while the client reads. */
  #pump(): void {
    while (this.#session.isOpen && this.#session.unsentBytes < MAX_UNSENT_BYTES) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#send(next);
    }
  }

  #send({ event }: HubEvent): void {
    const { role } = this.#session.caller;
    this.#session.send(publicEventView(event, role), () => this.#isLive && this.#pump());
  }

  /** Stored events since `after`, then what was journaled since and may not be stored yet, each once. */
  async #replay(after: Id): Promise<void> {
    const { hub } = this.#part;
    const lag = this.#part.lagEvents();
    if (!hub.isCovered(lag)) return this.#session.fail(new Problem('UNAVAILABLE'));
    // As of the subscription: what is not stored yet is in here, what comes later waits.
    const recent = hub.recent(this.#accountId);
    const time = await timeOf(this.#part, this.#session.caller, after);
    const from = new Date(Date.parse(time) - OVERLAP_MS).toISOString();
    const stored = await this.#stored(from, time);
    const isBehind = stored.length > MAX_REPLAYED;
    const known = new Set([after, ...stored.map(({ event }) => event.id)]);
    // Behind the known one everything is new, whatever the clocks said.
    const last = recent.findIndex(({ event }) => event.id === after);
    const unstored = recent.filter(
      ({ event }, at) => ((last >= 0 && at > last) || event.time >= from) && !known.has(event.id),
    );
    for (const told of unstored) known.add(told.event.id);
    const missed = isBehind ? stored.slice(0, MAX_REPLAYED) : [...stored, ...unstored];
    for (const told of missed) {
      if (told.event.id !== after && this.#isWanted(told)) await this.#sendInTurn(told);
    }
    if (isBehind) return this.#session.close(4408, 'more than 1000 events behind');
    this.#waiting = this.#waiting.filter(({ event }) => !known.has(event.id));
  }

  /** Those shortly before `time` and those after it; one more than may be sent if there are more. */
  async #stored(from: string, time: string): Promise<readonly HubEvent[]> {
    const { log } = this.#part;
    const accountId = this.#accountId;
    const { agent_id: agentId = null, call_id: callId = null } = this.#query;
    const filter: EventFilter = {
      ...{ agentIds: this.#session.caller.agentIds, agentId, callId },
      types: EVENT_TYPES.filter((type) => isSubscribed(this.#patterns, type)),
    };
    const range = { from, time, limit: MAX_OVERLAP };
    const before = await fromStore(this.#part, log.before(accountId, range, filter));
    const limit = MAX_REPLAYED + 1 - before.length;
    const since = await fromStore(this.#part, log.since(accountId, { time, limit }, filter));
    return [...before, ...since];
  }

  /** Waits while the client has not read what came before. */
  async #sendInTurn(told: HubEvent): Promise<void> {
    if (!this.#session.isOpen) return;
    if (this.#session.unsentBytes < MAX_UNSENT_BYTES) return this.#send(told);
    const { promise, resolve } = Promise.withResolvers<void>();
    const { role } = this.#session.caller;
    this.#session.send(publicEventView(told.event, role), resolve);
    await promise;
  }

  #isWanted(told: HubEvent): boolean {
    const { event, agentId } = told;
    const { agent_id: agent, call_id: call } = this.#query;
    return (
      isMine(told, this.#session.caller.agentIds) &&
      (agent === undefined || agent === agentId) &&
      (call === undefined || call === event.call_id) &&
      isSubscribed(this.#patterns, event.type)
    );
  }
}
