/** The core call service: takes inbound calls, places outbound ones, knows which are live, and lets them drain. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { AccountTrunk } from '#lib/trunk.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { InboundCall, SipAgent } from '#sip/types.ts';
import { routeArrival, type Arrival } from './arrival.ts';
import { runCall, type CallDeps, type CallSetup, type LiveCall } from './call.ts';
import {
  conversationStatusOf,
  isLiveStatus,
  type CallRefusal,
  type CallService,
  type LiveCallView,
  type PlaceCall,
  type PlaceResult,
} from './call-service-types.ts';
import { CallController } from './call-control.ts';
import type { CallControl } from './call-control-types.ts';
import { isVisible } from './call-attach.ts';
import type { AttachResult, CallAttaching, PlaceWebCall } from './call-attach-types.ts';
import { Capacity } from './capacity.ts';
import { inboundLeg } from './inbound-leg.ts';
import { needsCallControl, planOf } from './inbound-plan.ts';
import { numberOf } from './numbers.ts';
import { LegMedia, type LegWishes } from './leg-media.ts';
import { outboundLeg, shownNumber } from './outbound-leg.ts';
import { checkPlacing, limitOf, linesFor, type Placing } from './placing.ts';
import type {
  AccountDirectory,
  AgentDirectory,
  CallJournal,
  ContactPolicy,
  RuleDirectory,
  TrunkDirectory,
} from './ports.ts';
import { mayRecord } from './recording-choice.ts';
import { SquadFloor, type FloorPorts } from './squad-floor.ts';
import { talkOf, type CallTalk } from './call-talk.ts';
import { KEY_TIMES } from './tools/builtins.ts';
import { CallStory, type StoryOptions } from './story.ts';
import { warmed } from './warm.ts';
import { WebLeg } from './web-leg.ts';
import { checkWebPlacing, webFacts } from './web-placing.ts';

/** A finished call stays visible for this long, so that a record on its way to the database is never a 404. */
const KEEP_ENDED_MS = 60_000;
const MAX_ENDED = 5000;
const RETRY_AFTER_S = 5;
const RING_TIMEOUT_S = 30;
/** How long a call rings that another device may take (contract section 5). */
const RING_ELSEWHERE_MS = 30_000;
const HANGUP_WAIT_MS = 2000;

export type CallsOptions = {
  readonly deps: CallDeps;
  readonly sip: SipAgent;
  readonly journal: CallJournal;
  readonly agents: AgentDirectory;
  readonly rules: RuleDirectory;
  readonly trunks: TrunkDirectory;
  readonly contacts: ContactPolicy;
  readonly accounts: AccountDirectory;
  readonly node: string;
  readonly maxCalls: number;
  /** What calls may speak that come from no trunk row; absent: G.711 without SRTP. */
  readonly media?: LegWishes;
  /** Answer `ring`: rings this long, 30 s unless a test is in a hurry. */
  readonly ringElsewhereMs?: number;
  /** Whether a call is recorded when neither request, agent nor account says so. */
  recordByDefault(): boolean;
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
  /** What a call needs to be handed from one member of its squad to another; absent: none is. */
  readonly squads?: Pick<FloorPorts, 'desk' | 'squads'>;
  /** Tools and memory of conversations; absent: what a call has by itself. */
  readonly talk?: CallTalk;
  /** Conversations in writing, which are read like calls. */
  readonly texts?: TextCalls;
  /** Normal form of a number (contract 1.1); null when it is none. */
  normaliseNumber(text: string): string | null;
};

/** As `SquadDesk` gives them. */
export type TextCalls = {
  get(accountId: Id, id: Id): LiveCallView | null;
  conversation(accountId: Id, id: Id): Awaited<ReturnType<CallService['conversation']>>;
};

export class Calls implements CallService, CallAttaching {
  readonly #options: CallsOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #live = new Map<Id, LiveCall & { readonly takesRoom: boolean }>();
  readonly #capacity: Capacity;
  readonly #media: LegMedia;
  /** Commands to live calls. */
  readonly control: CallControl;
  /** Ended calls by id with the time they may be forgotten; insertion order is time order. */
  readonly #ended = new Map<Id, { readonly story: CallStory; readonly forgetAtMs: number }>();
  /** INVITEs whose agent is being looked up. */
  #arriving = 0;
  #isDraining = false;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#clock = options.deps.clock;
    this.#log = options.deps.log;
    this.#media = new LegMedia(this.#log, options.media);
    this.#capacity = new Capacity(this.#clock, () => this.#loads());
    const { trunks, accounts, contacts } = options;
    this.control = new CallController({
      ...{ trunks, accounts, contacts, clock: this.#clock, log: this.#log },
      find: (accountId, id) => {
        const story = this.#find(accountId, id);
        return story === null ? null : { story, control: this.#live.get(id)?.control() ?? null };
      },
    });
  }

  /** From now on inbound calls are taken: the last step of a start. */
  accept(): void {
    this.#options.sip.onCall((call) => {
      void this.#take(call);
    });
  }

  get liveCount(): number {
    return this.#live.size;
  }

  *#loads(): Generator<CallStory> {
    for (const { story, takesRoom } of this.#live.values()) {
      // A peer that answers no BYE holds its call for half a minute, and no line.
      if (takesRoom && !story.isOver) yield story;
    }
  }

  // ---- Inbound ----

  async #take(call: InboundCall): Promise<void> {
    this.#arriving++;
    try {
      const { agents, rules, trunks, accounts } = this.#options;
      const ports = { agents, rules, trunks, accounts, clock: this.#clock, log: this.#log };
      this.#answer(call, await routeArrival(call, ports));
    } catch (error) {
      // No agent can be found: the database has been away since the start. The caller may try elsewhere.
      this.#log.error('call.refused', { error: toAppError(error) });
      call.reject(503, 'Service Unavailable', { 'Retry-After': String(RETRY_AFTER_S) });
    } finally {
      this.#arriving--;
    }
  }

  #answer(call: InboundCall, arrival: Arrival): void {
    const { action, policy, fault } = arrival;
    const plan = planOf(action);
    const { then } = plan;
    const greeting = then.type === 'answer' ? then.greeting : null;
    const agent = { ...arrival.agent, greeting: greeting ?? arrival.agent.greeting };
    const isFull = this.#isFullFor(arrival);
    const story = this.#inboundStory(call, arrival, agent);
    const { callId } = story;
    this.#log.info('call.arrived', {
      ...{ callId, transport: call.transport, ruleId: arrival.ruleId },
      ...(needsCallControl(action) ? { note: 'the agent answers: no call control yet' } : {}),
    });
    const { shownAddress, ringElsewhereMs: ringMs = RING_ELSEWHERE_MS } = this.#options;
    const setup = {
      story,
      agent,
      announceOnly: then.type === 'answer' && then.announceOnly,
      leg: inboundLeg({
        ...{ call, plan, isFull, ringMs, shownAddress, clock: this.#clock },
        ...{ media: this.#media, trunk: arrival.trunk },
      }),
      records: () => this.#mayRecord(agent, policy, story, undefined),
      notice: policy?.recordingNotice ?? null,
    };
    this.#run(setup, !isFull && !isRefusedAtOnce(arrival));
    if (fault === null) return;
    const { code, message, ruleId } = fault;
    this.#log.error('rule.failed', { callId, ruleId, message });
    const kind = { fault: 'operator', fatal: false, retryable: false };
    story.fact('call-error', { code, message, ...kind });
  }

  /** What is refused by rule takes no room. */
  #isFullFor(arrival: Arrival): boolean {
    const { accountId, trunk, policy } = arrival;
    if (this.#isDraining || this.#live.size + this.#arriving > this.#options.maxCalls) return true;
    if (isRefusedAtOnce(arrival)) return false;
    if (policy !== null && !this.#capacity.hasRoom(accountId, policy.maxConcurrentCalls))
      return true;
    return trunk !== null && !this.#capacity.hasLine(trunk.trunkId, trunk);
  }

  #inboundStory(call: InboundCall, arrival: Arrival, agent: AgentConfig): CallStory {
    const from = call.from.anonymous ? null : call.from.user || null;
    const { trunk, callerApp, squadId, ruleId } = arrival;
    return this.#story(agent, {
      direction: 'inbound',
      from,
      to: call.called || null,
      remoteNumber: from === null ? null : (this.#options.normaliseNumber(from) ?? from),
      remoteName: call.from.displayName,
      trunkId: trunk?.trunkId ?? null,
      trunkTransport: trunk?.transport ?? null,
      sipCallId: call.sipCallId,
      variables: agent.variables,
      ...{ metadata: {}, customerId: null, campaignId: null, requestId: null },
      ...{ callerApp, squadId, ruleId },
    });
  }

  // ---- Outbound ----

  async place(request: PlaceCall): Promise<PlaceResult> {
    const { maxCalls, sip, agents, trunks, contacts, accounts } = this.#options;
    const ports = { agents, trunks, contacts, accounts };
    const checked = await this.#known(checkPlacing(request, ports));
    if (!checked.ok) return checked;
    const limit = limitOf(this.#capacity, request, checked.placing);
    if (limit !== null) return { ok: false, refusal: limit };
    if (this.#isDraining) return refuse('DRAINING', RETRY_AFTER_S);
    if (!sip.isUp) return refuse('UNAVAILABLE', RETRY_AFTER_S);
    if (this.#live.size >= linesFor(request, maxCalls)) return refuse('OVERLOADED', RETRY_AFTER_S);
    // Whoever was told "try again" meanwhile would else reach the same person twice.
    if (request.signal?.aborted === true) return refuse('UNAVAILABLE', RETRY_AFTER_S);
    return { ok: true, call: this.#dial(request, checked.placing) };
  }

  async #known<T>(check: Promise<T>): Promise<T | ReturnType<typeof refuse>> {
    try {
      return await check;
    } catch (error) {
      // Nobody is called by guess: who may not be called is known to the database alone.
      const isAway =
        error instanceof AppError && ['E_DATABASE_UNREACHABLE', 'E_TIMEOUT'].includes(error.code);
      if (!isAway) throw error;
      this.#log.warn('call.notPlaced', { error });
      return refuse('UNAVAILABLE', RETRY_AFTER_S);
    }
  }

  #dial(request: PlaceCall, placing: Placing): LiveCallView {
    const { agent, policy, squadId } = placing;
    const { to, ringTimeoutS = RING_TIMEOUT_S, recordingEnabled } = request;
    const from = request.from ?? null;
    const mayUse = (trunk: AccountTrunk): boolean =>
      this.#capacity.hasLine(trunk.id, trunk) && this.#capacity.mayStart(trunk.id, trunk);
    const routes = placing.routes.slice(placing.routes.findIndex(mayUse));
    const trunk = routes[0] as AccountTrunk; // limitOf has found one with room
    const story = this.#story(agent, {
      direction: 'outbound',
      from: shownNumber(trunk, from),
      to,
      remoteNumber: numberOf(to) ?? to,
      remoteName: null,
      trunkId: trunk.id,
      trunkTransport: trunk.transport,
      sipCallId: null,
      variables: agent.variables,
      metadata: request.metadata ?? {},
      customerId: request.customerId ?? null,
      campaignId: request.campaignId ?? null,
      ...(request.callId === undefined ? {} : { callId: request.callId }),
      requestId: request.requestId ?? null,
      ...{ squadId, ruleId: null, callerApp: null },
    });
    const { sip, shownAddress } = this.#options;
    const line = { sip, shownAddress, media: this.#media };
    const onRoute = (next: AccountTrunk, shown: string | null): void => {
      this.#log.info('call.rerouted', { callId: story.callId, trunkId: next.id });
      this.#capacity.noteStart(next.id);
      story.reroute({ trunkId: next.id, trunkTransport: next.transport, from: shown });
    };
    this.#capacity.noteStart(trunk.id);
    const ringTimeoutMs = ringTimeoutS * 1000;
    const setup = {
      story,
      agent,
      leg: outboundLeg({ ...line, routes, to, from, ringTimeoutMs, mayUse, onRoute }),
      records: () => this.#mayRecord(agent, policy, story, recordingEnabled),
      ...{ notice: policy.recordingNotice, amd: request.amd ?? false },
    };
    this.#run(setup, true);
    return story.snapshot();
  }

  // ---- Without SIP ----

  async placeWeb(request: PlaceWebCall): Promise<PlaceResult> {
    const { maxCalls, agents, contacts, accounts } = this.#options;
    const checked = await this.#known(checkWebPlacing(request, { agents, contacts, accounts }));
    if (!checked.ok) return checked;
    const { agent, policy } = checked.placing;
    if (!this.#capacity.hasRoom(agent.accountId, policy.maxConcurrentCalls))
      return refuse('CONCURRENCY_LIMIT', RETRY_AFTER_S);
    if (this.#isDraining) return refuse('DRAINING', RETRY_AFTER_S);
    if (this.#live.size >= maxCalls) return refuse('OVERLOADED', RETRY_AFTER_S);
    if (request.signal?.aborted === true) return refuse('UNAVAILABLE', RETRY_AFTER_S);
    const story = this.#story(agent, webFacts(request, checked.placing));
    const setup = {
      ...{ story, agent, leg: new WebLeg(this.#clock) },
      records: () => this.#mayRecord(agent, policy, story, request.recordingEnabled),
      notice: policy.recordingNotice,
    };
    this.#run(setup, true);
    return { ok: true, call: story.snapshot() };
  }

  attach(
    accountId: Id,
    callId: Id,
    { role, allowedAgentIds }: Parameters<CallAttaching['attach']>[2],
  ): AttachResult {
    const story = this.#find(accountId, callId);
    if (story === null || !isVisible(story, accountId, allowedAgentIds))
      return { ok: false, refusal: 'NOT_FOUND' };
    return this.#live.get(callId)?.clients.attach(role) ?? { ok: false, refusal: 'OVER' };
  }

  // ---- What is live ----

  get(accountId: Id, id: Id): Promise<LiveCallView | null> {
    const call = this.#find(accountId, id)?.snapshot();
    return Promise.resolve(call ?? this.#options.texts?.get(accountId, id) ?? null);
  }

  async hangup(
    accountId: Id,
    id: Id,
    how: { readonly reason: string | null; readonly by: 'api' | 'supervisor' },
  ): Promise<LiveCallView | null> {
    const story = this.#find(accountId, id);
    if (story === null) return null;
    const call = this.#live.get(id);
    if (call !== undefined) {
      this.#log.info('call.hangup', { callId: id, by: how.by });
      call.hangup(how.by, how.reason);
      await this.#waitAtMost(call.done, HANGUP_WAIT_MS);
    }
    return story.snapshot();
  }

  conversation(accountId: Id, id: Id): ReturnType<CallService['conversation']> {
    const story = this.#find(accountId, id);
    if (story === null) {
      return Promise.resolve(this.#options.texts?.conversation(accountId, id) ?? null);
    }
    const { status, outcome } = story.snapshot();
    return Promise.resolve({
      status: conversationStatusOf(status, outcome),
      messages: [...story.transcript],
    });
  }

  live(accountId: Id): Promise<readonly LiveCallView[]> {
    const views = [...this.#live.values()].map((call) => call.story.snapshot());
    return Promise.resolve(
      views.filter((view) => view.accountId === accountId && isLiveStatus(view.status)),
    );
  }

  // ---- The end of the node ----

  /** No new calls; live ones may finish for `graceMs` (or until `hurry`), then get their BYE. Resolves when the last one is recorded. */
  async drain(graceMs: number, hurry?: AbortSignal): Promise<void> {
    this.#isDraining = true;
    this.#options.sip.setDraining(true);
    const allDone = async (): Promise<void> => {
      while (this.#live.size > 0)
        await Promise.all([...this.#live.values()].map((call) => call.done));
    };
    await this.#waitAtMost(allDone(), graceMs, hurry);
    for (const call of this.#live.values()) call.stop();
    await allDone();
  }

  /** `takesRoom`: false for a call that is only refused, which must keep nobody else out. */
  #run(setup: Omit<CallSetup, 'providers'>, takesRoom: boolean): void {
    const { story, agent } = setup;
    const providers: CallSetup['providers'] = async () =>
      warmed(story.usage.watch(await this.#options.providersFor(agent), agent.id));
    const extras = { providers, floor: this.#floorOf(setup), ...this.#talkOf(setup) };
    const call = runCall(this.#options.deps, { ...setup, ...extras });
    this.#live.set(story.callId, { ...call, takesRoom });
    void call.done.then(() => {
      this.#live.delete(story.callId);
      this.#remember(story);
    });
  }

  #talkOf({ story, agent, announceOnly }: Omit<CallSetup, 'providers'>) {
    const { talk } = this.#options;
    if (talk === undefined || announceOnly === true) return {};
    const { accountId, callId } = story;
    const sendKeys = (digits: string) =>
      this.control.dtmf(accountId, callId, { digits, ...KEY_TIMES });
    return talkOf(talk, { story, agent, clock: this.#clock, log: this.#log, sendKeys });
  }

  #floorOf({ story, agent, announceOnly }: Omit<CallSetup, 'providers'>): SquadFloor | null {
    const { squads, agents, deps } = this.#options;
    const { squadId } = story;
    if (squads === undefined || squadId === null || announceOnly === true) return null;
    const { clock, log } = deps;
    return new SquadFloor({
      ...{ ...squads, agents, clock, log, squadId, agent, story },
      providersFor: async (next) =>
        story.usage.watch(await this.#options.providersFor(next), next.id),
    });
  }

  #mayRecord(
    agent: AgentConfig,
    policy: Arrival['policy'],
    story: CallStory,
    requested: boolean | undefined,
  ): Promise<boolean> {
    const { contacts } = this.#options;
    const byDefault = this.#options.recordByDefault();
    const { accountId, remoteNumber: number } = story;
    const choice = { requested, agent: agent.recording, policy, byDefault };
    return mayRecord(choice, { accountId, number, contacts, clock: this.#clock, log: this.#log });
  }

  #remember(story: CallStory): void {
    const nowMs = this.#clock.now();
    for (const [id, entry] of this.#ended) {
      if (entry.forgetAtMs > nowMs && this.#ended.size < MAX_ENDED) break;
      this.#ended.delete(id);
    }
    this.#ended.set(story.callId, { story, forgetAtMs: nowMs + KEEP_ENDED_MS });
  }

  #find(accountId: Id, id: Id): CallStory | null {
    const story = this.#live.get(id)?.story ?? this.#ended.get(id)?.story ?? null;
    return story !== null && story.accountId === accountId ? story : null;
  }

  #story(agent: AgentConfig, facts: StoryFacts): CallStory {
    return new CallStory({
      journal: this.#options.journal,
      clock: this.#clock,
      node: this.#options.node,
      callId: newId(),
      accountId: agent.accountId,
      agentId: agent.id,
      agentName: agent.name,
      maskAtRest: agent.maskAtRest,
      channel: 'phone',
      ...facts,
    });
  }

  async #waitAtMost(work: Promise<unknown>, timeoutMs: number, hurry?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.setTimer(resolve, hurry?.aborted === true ? 0 : timeoutMs);
    const onHurry = (): void => resolve();
    hurry?.addEventListener('abort', onHurry, { once: true });
    await Promise.race([work, promise]);
    hurry?.removeEventListener('abort', onHurry);
    this.#clock.clearTimer(timer);
  }
}

function isRefusedAtOnce({ action }: Arrival): boolean {
  return action.reject !== null && action.delayRingMs === 0;
}

/** What a call brings with it; the rest follows from the agent and the node. */
type StoryFacts = Omit<
  StoryOptions,
  | 'journal'
  | 'clock'
  | 'node'
  | 'callId'
  | 'accountId'
  | 'agentId'
  | 'agentName'
  | 'maskAtRest'
  | 'channel'
> &
  Partial<Pick<StoryOptions, 'callId' | 'channel'>>;

function refuse(
  code: CallRefusal['code'],
  retryAfterS: number,
): { readonly ok: false; readonly refusal: CallRefusal } {
  return { ok: false, refusal: { code, retryAfterS } };
}
