/** The core call service: takes inbound calls, places outbound ones, knows which are live, and lets them drain. */
import type { Clock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { InboundCall, SipAgent, Trunk } from '#sip/types.ts';
import { runCall, type CallDeps, type LiveCall } from './call.ts';
import {
  conversationStatusOf,
  isLiveStatus,
  type CallRefusal,
  type CallService,
  type LiveCallView,
  type PlaceCall,
  type PlaceResult,
} from './call-service-types.ts';
import { inboundLeg } from './inbound-leg.ts';
import { isEmergencyNumber } from './numbers.ts';
import { outboundLeg } from './outbound-leg.ts';
import type { AgentDirectory, CallJournal, TrunkDirectory } from './ports.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { CallStory } from './story.ts';

/** A finished call stays visible for this long, so that a record on its way to the database is never a 404. */
const KEEP_ENDED_MS = 60_000;
const MAX_ENDED = 5000;
const RETRY_AFTER_S = 5;
const RING_TIMEOUT_MS = 30_000;
const HANGUP_WAIT_MS = 2000;

export type CallsOptions = {
  readonly deps: CallDeps;
  readonly sip: SipAgent;
  readonly journal: CallJournal;
  readonly agents: AgentDirectory;
  readonly trunks: TrunkDirectory;
  readonly node: string;
  readonly maxCalls: number;
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
  /** Normal form of a number (contract 1.1); null when it is none. */
  normaliseNumber(text: string): string | null;
};

export class Calls implements CallService {
  readonly #options: CallsOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #live = new Map<Id, LiveCall>();
  /** Ended calls by id with the time they may be forgotten; insertion order is time order. */
  readonly #ended = new Map<Id, { readonly story: CallStory; readonly forgetAtMs: number }>();
  /** INVITEs whose agent is being looked up. */
  #arriving = 0;
  #isDraining = false;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#clock = options.deps.clock;
    this.#log = options.deps.log;
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

  // ---- Inbound ----

  async #take(call: InboundCall): Promise<void> {
    this.#arriving++;
    try {
      const agent = await this.#options.agents.forInbound(call.called);
      const isFull = this.#live.size + this.#arriving > this.#options.maxCalls;
      const from = call.from.anonymous ? null : call.from.user || null;
      const story = this.#story(agent, {
        direction: 'inbound',
        from,
        to: call.called || null,
        remoteNumber: from === null ? null : (this.#options.normaliseNumber(from) ?? from),
        remoteName: call.from.displayName,
        trunkId: null,
        sipCallId: call.sipCallId,
        variables: agent.variables,
        requestId: null,
      });
      this.#log.info('call.arrived', { callId: story.callId, transport: call.transport });
      const refusal =
        isFull || this.#isDraining ? ({ outcome: 'congestion', status: 503 } as const) : null;
      this.#run(
        story,
        agent,
        inboundLeg({ call, refusal, shownAddress: this.#options.shownAddress }),
      );
    } catch (error) {
      // No agent can be found: the database has been away since the start. The caller may try elsewhere.
      this.#log.error('call.refused', { error: toAppError(error) });
      call.reject(503, 'Service Unavailable', { 'Retry-After': String(RETRY_AFTER_S) });
    } finally {
      this.#arriving--;
    }
  }

  // ---- Outbound ----

  async place(request: PlaceCall): Promise<PlaceResult> {
    const { trunks, maxCalls, sip } = this.#options;
    if (isEmergencyNumber(request.to)) return refuse('NUMBER_NOT_ALLOWED');
    const agent = await this.#agentOf(request);
    if (agent === null) return refuse('REFERENCE_NOT_FOUND');
    const trunk = await trunks.trunkFor(request.accountId);
    if (trunk === null) return refuse('NO_ROUTE');
    if (this.#isDraining) return refuse('DRAINING', RETRY_AFTER_S);
    if (!sip.isUp) return refuse('UNAVAILABLE', RETRY_AFTER_S);
    if (this.#live.size >= maxCalls) return refuse('OVERLOADED', RETRY_AFTER_S);
    // Whoever was told "try again" meanwhile would else reach the same person twice.
    if (request.signal?.aborted === true) return refuse('UNAVAILABLE', RETRY_AFTER_S);
    return { ok: true, call: this.#dial(request, agent, trunk) };
  }

  #dial(request: PlaceCall, agent: AgentConfig, trunk: Trunk): LiveCallView {
    const variables = { ...agent.variables, ...request.variables };
    const told = { ...agent, variables, systemPrompt: request.prompt ?? agent.systemPrompt };
    const story = this.#story(told, {
      direction: 'outbound',
      from: trunk.fromNumber ?? trunk.username,
      to: request.to,
      remoteNumber: request.to,
      remoteName: null,
      trunkId: trunk.id,
      sipCallId: null,
      variables,
      requestId: request.requestId ?? null,
    });
    const { sip, shownAddress } = this.#options;
    const ringTimeoutMs = RING_TIMEOUT_MS;
    this.#run(
      story,
      told,
      outboundLeg({ sip, trunk, to: request.to, ringTimeoutMs, shownAddress }),
    );
    return story.snapshot();
  }

  async #agentOf(request: PlaceCall): Promise<AgentConfig | null> {
    const { agents } = this.#options;
    if (request.agentId === undefined) return agents.defaultFor(request.accountId);
    return agents.byId(request.accountId, request.agentId);
  }

  // ---- What is live ----

  get(accountId: Id, id: Id): Promise<LiveCallView | null> {
    return Promise.resolve(this.#find(accountId, id)?.snapshot() ?? null);
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
      call.hangup(how.by);
      await this.#waitAtMost(call.done, HANGUP_WAIT_MS);
    }
    return story.snapshot();
  }

  conversation(accountId: Id, id: Id): ReturnType<CallService['conversation']> {
    const story = this.#find(accountId, id);
    if (story === null) return Promise.resolve(null);
    const { status, outcome } = story.snapshot();
    return Promise.resolve({
      status: conversationStatusOf(status, outcome),
      messages: [...story.messages],
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

  #run(story: CallStory, agent: AgentConfig, leg: Parameters<typeof runCall>[1]['leg']): void {
    const providers = (): ProviderSet => this.#options.providersFor(agent);
    const call = runCall(this.#options.deps, { leg, story, agent, providers });
    this.#live.set(story.callId, call);
    void call.done.then(() => {
      this.#live.delete(story.callId);
      this.#remember(story);
    });
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
      channel: 'phone',
      ...{ trunkTransport: null, customerId: null, squadId: null, ruleId: null, callerApp: null },
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

type StoryFacts = Pick<
  ConstructorParameters<typeof CallStory>[0],
  | 'direction'
  | 'from'
  | 'to'
  | 'remoteNumber'
  | 'remoteName'
  | 'trunkId'
  | 'sipCallId'
  | 'variables'
  | 'requestId'
>;

function refuse(code: CallRefusal['code'], retryAfterS: number | null = null): PlaceResult {
  return { ok: false, refusal: { code, retryAfterS } };
}
