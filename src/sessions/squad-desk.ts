/**
 * Text conversations with a squad or with one agent (contract 2.4): finds or begins the conversation, takes one turn
 * after the other, and ends what nobody goes on with. State is in memory and can be made again from the events.
 */
import { delay, withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Conversation, ConversationStatus, LiveCallView } from './call-service-types.ts';
import { conversationStatusOf } from './call-service-types.ts';
import { expiryOf, type TextOutcome } from './squad-ending.ts';
import { handoffNote, languageOfText } from './squad-handoff.ts';
import {
  planOfOne,
  type Held,
  type SquadDeskOptions,
  type StoredConversation,
} from './squad-held.ts';
import type { SquadPlan } from './squad-router.ts';
import { primaryOf } from './squad-routing.ts';
import { Shelf, type Shelved, type Slot } from './squad-shelf.ts';
import { MAX_MESSAGES, SquadStory } from './squad-story.ts';
import { takeTurn, type TurnResult } from './squad-turn.ts';

export type ExecuteRequest = {
  readonly accountId: Id;
  readonly squadId: Id;
  /** Agents that the client may use; null: all. */
  readonly agentIds: readonly Id[] | null;
  readonly input: string;
  /** Absent: a new conversation. */
  readonly conversationId?: Id;
  readonly variables: Readonly<Record<string, string>>;
  readonly requestId: string | null;
  /** For all of it. */
  readonly timeoutMs: number;
};

/** Whom a conversation is with. `agentId` null: whichever agent it has by itself; not for a new one. */
export type Party = { readonly squadId: Id } | { readonly agentId: Id | null };

export type TurnRequest = Pick<
  ExecuteRequest,
  'accountId' | 'agentIds' | 'conversationId' | 'variables' | 'requestId'
> & {
  readonly party: Party;
  /** How long other turns of the conversation may be waited for. */
  readonly waitMs: number;
  /** Messages that the turn may add. */
  readonly messages: number;
};

/** A conversation that belongs to its holder until `close`. */
export type TakenTurn = {
  readonly conversationId: Id;
  readonly held: Held;
  /** It is the conversation's first. */
  readonly isNew: boolean;
  /** Lets the next turn in and tells how the conversation stands; null lets it go on. Later calls change nothing. */
  close(outcome: TextOutcome | null): Standing;
};

export type Standing = {
  readonly status: ConversationStatus;
  /** Unix seconds. */
  readonly expiresAtS: number;
};

/**
 * `squad`, `agent`, `conversation`: there is none. `over`: it has ended. `busy`: too many turns wait, or too long.
 * `variables`: with those of former turns they are too many.
 */
export type ExecuteRefusal = 'squad' | 'agent' | 'conversation' | 'over' | 'busy' | 'variables';

export type ExecuteResult =
  | { readonly ok: true; readonly turn: TurnResult }
  | { readonly ok: false; readonly refusal: ExecuteRefusal };

/** Turns that may wait for the one under way. */
const MAX_WAITING = 4;
/** Two messages of a turn, and a notice. */
const TURN_MESSAGES = 3;
const MAX_OVER = 5_000;
/** What is over is told from memory for so long; then the database has it. */
const KEEP_OVER_MS = 60_000;
/** Contract 1.6: of a conversation in all, however many turns bring some. */
export const MAX_VARIABLES_BYTES = 16_384;
/** How long a conversation of a former process may still be on its way into the database. */
const CATCH_UP_MS = 2_000;
const CATCH_UP_EVERY_MS = 100;

export class SquadDesk {
  readonly #options: SquadDeskOptions;
  readonly #shelf: Shelf<Held>;
  readonly #loading = new Map<Id, Promise<Slot<Held> | null>>();
  /** Lately ended here; insertion order is time order. The database knows them a moment later. */
  readonly #over = new Map<Id, { readonly accountId: Id }>();
  /** Of these, the latest. */
  readonly #told = new Map<Id, { readonly story: SquadStory; readonly untilMs: number }>();

  constructor(options: SquadDeskOptions) {
    this.#options = options;
    this.#shelf = new Shelf<Held>({
      clock: options.clock,
      onExpired: (slot, outcome, atMs) => void this.#expire(slot, outcome, atMs),
    });
  }

  /** Conversations that a former process left open. Once, before the first request. */
  resume(open: readonly Shelved[]): void {
    for (const { id, accountId, startedMs, lastMs, seq } of open) {
      this.#shelf.put({ id, accountId, startedMs, lastMs, seq, held: null });
    }
  }

  get openCount(): number {
    return this.#shelf.size;
  }

  /** Null when there is no such conversation in memory. */
  get(accountId: Id, id: Id): LiveCallView | null {
    return this.#storyOf(accountId, id)?.snapshot() ?? null;
  }

  conversation(accountId: Id, id: Id): Conversation | null {
    const story = this.#storyOf(accountId, id);
    if (story === null) return null;
    const { status, outcome } = story.snapshot();
    return { status: conversationStatusOf(status, outcome), messages: [...story.transcript] };
  }

  /** Errors: E_PROVIDER_*, E_TIMEOUT, E_CONFIG of the model that had to answer; E_DATABASE*, E_QUEUE_FULL. */
  async execute(request: ExecuteRequest): Promise<ExecuteResult> {
    const { squadId, input, timeoutMs } = request;
    const endMs = this.#options.clock.now() + timeoutMs;
    const party = { squadId };
    const asked = { ...request, party, waitMs: timeoutMs, messages: TURN_MESSAGES };
    const turn = await this.take(asked);
    if (typeof turn === 'string') return { ok: false, refusal: turn };
    const { held, conversationId, isNew } = turn;
    // Nobody has learnt the id of a conversation whose first turn failed.
    let outcome: TextOutcome | null = isNew ? 'provider_error' : null;
    try {
      const answer = await takeTurn(this.#options, held, { input, endMs });
      outcome = answer.endsConversation ? 'completed' : null;
      return { ok: true, turn: { ...answer, conversationId, ...turn.close(outcome) } };
    } finally {
      turn.close(outcome);
    }
  }

  /** The conversation for a turn that the caller carries out, once those before it are over. Errors: as `execute`. */
  async take(request: TurnRequest): Promise<TakenTurn | ExecuteRefusal> {
    const { conversationId, party, messages } = request;
    const { clock } = this.#options;
    const endMs = clock.now() + request.waitMs;
    let slot: Slot<Held> | ExecuteRefusal;
    if (conversationId === undefined || 'squadId' in party) {
      const plan = await this.#planFor(request, party);
      if (plan === null) return 'squadId' in party ? 'squad' : 'agent';
      slot =
        conversationId === undefined
          ? this.#open(request, plan)
          : await this.#find(request, conversationId);
    } else slot = await this.#find(request, conversationId);
    if (typeof slot === 'string') return slot;
    const held = slot.held as Held;
    if (held.waiting >= MAX_WAITING) return 'busy';
    const leave = await this.#enter(slot, held, Math.max(0, endMs - clock.now()));
    if (leave === null) return 'busy';
    if (held.story.messages.length + messages > MAX_MESSAGES) {
      this.#end(slot, held, 'max_duration', clock.wallMs());
    }
    const refusal = held.story.isOver ? 'over' : tooMuch(held, request) ? 'variables' : null;
    if (refusal === null) return this.#taken(slot, held, request, leave);
    leave();
    return refusal;
  }

  /** What is open stays open, for the next process. Idempotent. */
  close(): void {
    this.#shelf.close();
  }

  async #planFor(
    { accountId, agentIds }: Pick<TurnRequest, 'accountId' | 'agentIds'>,
    party: Party,
  ): Promise<SquadPlan | null> {
    const plan = await this.#planOf(accountId, party);
    return plan !== null && maySeeAll(plan, agentIds) ? plan : null;
  }

  async #planOf(accountId: Id, party: Party): Promise<SquadPlan | null> {
    const { squads, agents } = this.#options;
    if ('squadId' in party) return squads.plan(accountId, party.squadId);
    const agent = party.agentId === null ? null : await agents.byId(accountId, party.agentId);
    return agent === null ? null : planOfOne(agent);
  }

  // ---- Which conversation ----

  #open({ accountId, variables, requestId }: TurnRequest, plan: SquadPlan): Slot<Held> {
    const primary = primaryOf(plan.members);
    const id = newId();
    const story = this.#story(plan, id, null, { id: primary.agentId, name: primary.agent.name });
    const startedMs = story.startedMs;
    const held = heldOf(story, plan, primary.agentId);
    const slot = this.#shelf.add({ id, accountId, startedMs, lastMs: startedMs, seq: 0, held });
    story.onBehalfOf(requestId);
    story.setVariables(variables);
    story.opened();
    return slot;
  }

  async #find(request: TurnRequest, id: Id): Promise<Slot<Held> | ExecuteRefusal> {
    const { accountId, party, agentIds } = request;
    const over = this.#over.get(id);
    if (over !== undefined) return over.accountId === accountId ? 'over' : 'conversation';
    let slot = this.#shelf.get(id);
    if (slot !== null && slot.accountId !== accountId) return 'conversation';
    if (slot?.held == null) {
      const stored = await this.#read(accountId, id, slot?.seq ?? 0);
      if (stored === null || !isWith(party, stored)) return 'conversation';
      if (stored.outcome !== null) return 'over';
      slot = await this.#load(accountId, id, stored);
      if (this.#over.has(id)) return 'over';
    }
    const held = slot?.held ?? null;
    if (slot === null || held === null || !isWith(party, held.story.facts)) return 'conversation';
    return maySeeAll(held.plan, agentIds) ? slot : 'conversation';
  }

  /** Once for all who ask at the same time. */
  #load(accountId: Id, id: Id, stored: StoredConversation): Promise<Slot<Held> | null> {
    const known = this.#loading.get(id);
    if (known !== undefined) return known;
    const loading = this.#restore(accountId, id, stored).finally(() => this.#loading.delete(id));
    this.#loading.set(id, loading);
    return loading;
  }

  async #restore(accountId: Id, id: Id, stored: StoredConversation): Promise<Slot<Held> | null> {
    const plan = await this.#planOf(accountId, partyOf(stored));
    // It may have ended, or been taken up by somebody else, while that was read.
    const there = this.#shelf.get(id);
    if (plan === null || this.#over.has(id)) return null;
    if (there?.held != null) return there;
    const held = this.#heldOfStored(plan, id, stored);
    if (there !== null) {
      there.held = held;
      return there;
    }
    const { startedMs, lastMs, seq } = stored;
    return this.#shelf.add({ id, accountId, startedMs, lastMs, seq, held });
  }

  #heldOfStored(plan: SquadPlan, id: Id, stored: StoredConversation): Held {
    const { agentId, agentName, handoff } = stored;
    const story = this.#story(plan, id, stored, { id: agentId, name: agentName });
    const current = plan.members.find(({ agentId: each }) => each === handoff?.toId);
    const held = heldOf(story, plan, (current ?? primaryOf(plan.members)).agentId);
    const last = stored.messages.findLast(({ role }) => role === 'user');
    held.language = languageOfText(last?.content ?? '');
    if (handoff !== null && current !== undefined) {
      const from = plan.members.find(({ agentId: each }) => each === handoff.fromId);
      held.inherited = { ...primaryOf(plan.members).agent.variables, ...from?.agent.variables };
      const language = held.language ?? current.agent.language;
      held.note = handoffNote(handoff.summary, from?.agent.name ?? '', language);
    }
    return held;
  }

  async #read(accountId: Id, id: Id, seq: number): Promise<StoredConversation | null> {
    const { clock, stored } = this.#options;
    const endMs = clock.now() + CATCH_UP_MS;
    for (;;) {
      const found = await stored.read(accountId, id);
      // Not known to this node: whatever the database says of it is all there is.
      if (seq === 0 || (found !== null && found.seq >= seq)) return found;
      if (clock.now() >= endMs) {
        throw new AppError('E_DATABASE_UNREACHABLE', 'the conversation is not in the database yet');
      }
      await delay(CATCH_UP_EVERY_MS, undefined, clock);
    }
  }

  #story(
    plan: SquadPlan,
    conversationId: Id,
    start: StoredConversation | null,
    agent: { readonly id: Id; readonly name: string },
  ): SquadStory {
    const { accountId } = primaryOf(plan.members).agent;
    const isMasked = plan.members.some((member) => member.agent.maskAtRest);
    return new SquadStory(
      this.#options,
      {
        ...{ conversationId, accountId, squadId: plan.squadId, isMasked },
        ...{ agentId: agent.id, agentName: agent.name },
      },
      start,
    );
  }

  #storyOf(accountId: Id, id: Id): SquadStory | null {
    const story = this.#shelf.get(id)?.held?.story ?? this.#told.get(id)?.story ?? null;
    return story !== null && story.facts.accountId === accountId ? story : null;
  }

  // ---- A turn ----

  /** One after the other; those who wait do so in the order in which they came. Null: it took too long. */
  async #enter(slot: Slot<Held>, held: Held, waitMs: number): Promise<(() => void) | null> {
    const { clock } = this.#options;
    const isFree = held.waiting === 0;
    held.waiting++;
    this.#shelf.hold(slot);
    const before = held.tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    held.tail = promise;
    const leave = (): void => {
      held.waiting--;
      resolve();
      if (held.waiting === 0) this.#shelf.rearm(slot);
    };
    if (isFree) return leave;
    try {
      await withDeadline(before, waitMs, 'the turn before', clock);
      return leave;
    } catch {
      // Those behind go on waiting for the one in front, which never fails: it was the time.
      void before.then(leave);
      return null;
    }
  }

  #taken(slot: Slot<Held>, held: Held, request: TurnRequest, leave: () => void): TakenTurn {
    const { story } = held;
    const { variables, requestId } = request;
    const isNew = story.messages.length === 0;
    story.onBehalfOf(requestId);
    if (!isNew && Object.keys(variables).length > 0) {
      story.setVariables({ ...story.variables, ...variables });
    }
    let standing: Standing | null = null;
    const close = (outcome: TextOutcome | null): Standing => {
      if (standing !== null) return standing;
      slot.lastMs = this.#options.clock.wallMs();
      if (outcome !== null) this.#end(slot, held, outcome, slot.lastMs);
      standing = standingOf(slot, story);
      leave();
      return standing;
    };
    return { conversationId: slot.id, held, isNew, close };
  }

  // ---- The end ----

  #end(slot: Slot<Held>, { story, plan }: Held, outcome: TextOutcome, atMs: number): void {
    this.#shelf.remove(slot);
    this.#noteOver(slot, story);
    story.ended(outcome, atMs);
    const { conversationId } = story.facts;
    this.#options.log.info('conversation.ended', { conversationId, outcome });
    story.onBehalfOf(null); // a summary follows
    this.#options.onEnded?.({ story, agent: primaryOf(plan.members).agent });
  }

  /** A conversation of a former process is read once more, for its summary; its end does not wait on the database. */
  async #expire(slot: Slot<Held>, outcome: TextOutcome, atMs: number): Promise<void> {
    if (slot.held !== null) {
      slot.held.story.onBehalfOf(null);
      this.#end(slot, slot.held, outcome, atMs);
      return;
    }
    const { id, accountId, startedMs, seq } = slot;
    const nobody = { squadId: null, agentId: '', agentName: '', isMasked: true };
    const start = { startedMs, seq, messages: [], variables: {} };
    const story = new SquadStory(
      this.#options,
      { ...nobody, conversationId: id, accountId },
      start,
    );
    this.#noteOver(slot, null);
    story.ended(outcome, atMs);
    this.#options.log.info('conversation.ended', { conversationId: id, outcome });
    await this.#summariseLate(slot, story.seq);
  }

  async #summariseLate({ accountId, id }: Slot<Held>, seq: number): Promise<void> {
    const { stored, log } = this.#options;
    try {
      const found = await stored.read(accountId, id);
      const plan = found === null ? null : await this.#planOf(accountId, partyOf(found));
      if (found === null || plan === null) return;
      const agent = { id: found.agentId, name: found.agentName };
      const story = this.#story(plan, id, { ...found, seq }, agent);
      this.#options.onEnded?.({ story, agent: primaryOf(plan.members).agent });
    } catch (error) {
      // The next start looks for calls without a summary.
      log.warn('conversation.notSummarised', { conversationId: id, error: toAppError(error) });
    }
  }

  #noteOver({ id, accountId }: Shelved, story: SquadStory | null): void {
    const nowMs = this.#options.clock.now();
    for (const [each, { untilMs }] of this.#told) {
      if (untilMs > nowMs) break;
      this.#told.delete(each);
    }
    if (story !== null) this.#told.set(id, { story, untilMs: nowMs + KEEP_OVER_MS });
    this.#over.set(id, { accountId });
    if (this.#over.size <= MAX_OVER) return;
    const [oldest] = this.#over.keys();
    if (oldest === undefined) return;
    this.#over.delete(oldest);
    this.#told.delete(oldest);
  }
}

/** Those of the first turn are what they are; later ones may add to them up to the bound. */
function tooMuch({ story }: Held, { variables, conversationId }: TurnRequest): boolean {
  if (conversationId === undefined || Object.keys(variables).length === 0) return false;
  const bytesOf = (all: object): number => Buffer.byteLength(JSON.stringify(all));
  const bytes = bytesOf({ ...story.variables, ...variables });
  return bytes > MAX_VARIABLES_BYTES && bytes > bytesOf(story.variables);
}

/** A key that sees some agents alone uses a squad only when it sees every member. */
function maySeeAll(plan: SquadPlan, agentIds: readonly Id[] | null): boolean {
  return agentIds === null || plan.members.every(({ agentId }) => agentIds.includes(agentId));
}

/** What a conversation says of whom it is with. */
type WhoseTalk = Pick<StoredConversation, 'squadId' | 'agentId'>;

function partyOf({ squadId, agentId }: WhoseTalk): Party {
  return squadId === null ? { agentId } : { squadId };
}

function isWith(party: Party, { squadId, agentId }: WhoseTalk): boolean {
  if ('squadId' in party) return squadId === party.squadId;
  return squadId === null && (party.agentId === null || party.agentId === agentId);
}

function standingOf(slot: Shelved, story: SquadStory): Standing {
  const { status, outcome } = story.snapshot();
  const untilMs = story.isOver ? slot.lastMs : expiryOf(slot.startedMs, slot.lastMs).atMs;
  return {
    status: conversationStatusOf(status, outcome),
    expiresAtS: Math.floor(untilMs / 1000),
  };
}

function heldOf(story: SquadStory, plan: SquadPlan, currentId: Id): Held {
  return {
    ...{ story, plan, currentId, language: null, note: null, inherited: {}, waiting: 0 },
    ...{ states: new Map(), answered: new Set(), tail: Promise.resolve() },
  };
}
