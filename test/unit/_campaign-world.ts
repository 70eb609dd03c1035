/** A database and a carrier in memory, on a simulated clock: what the dialler does is seen from outside, also over crashes. */
import assert from 'node:assert/strict';
import type { AccountEntry, CallEntry, JournalEntry, Outcome } from '#lib/call-events.ts';
import {
  DEFAULT_CAMPAIGN_SETTINGS,
  type CampaignEvent,
  type CampaignLead,
  type CampaignSchedule,
  type CampaignSettings,
  type CampaignStatus,
  type OpenClaim,
  type TargetStatus,
} from '#lib/campaign.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import type {
  CallRefusal,
  CallService,
  LiveCallView,
  PlaceCall,
} from '#sessions/call-service-types.ts';
import { CampaignDialler } from '#sessions/campaign-dialler.ts';
import type { ClaimPlace, CampaignStore } from '#sessions/campaign-ports.ts';
import { ACCOUNT, makeCall } from './_api-fakes.ts';

export type FakeTarget = {
  readonly id: Id;
  readonly phone: string;
  status: TargetStatus;
  attempts: number;
  nextMs: number | null;
  callId: Id | null;
  formerCallId: Id | null;
  lastOutcome: string | null;
  claimedBy: string | null;
  claimedMs: number;
};

export type FakeCampaign = {
  readonly id: Id;
  status: CampaignStatus;
  pauseReason: string | null;
  settings: CampaignSettings;
  schedule: CampaignSchedule;
  recentEnds: string;
  driver: string | null;
  driverUntilMs: number;
  readonly targets: FakeTarget[];
};

/** One call as the carrier saw it. */
export type SeenCall = {
  readonly callId: Id;
  readonly campaignId: Id;
  readonly phone: string;
  readonly beganMs: number;
  endedMs: number | null;
};

type Record_ = NonNullable<OpenClaim['record']>;
export type End = {
  readonly outcome: Outcome;
  readonly wasAnswered: boolean;
  readonly afterMs: number;
};

export class CampaignWorld {
  readonly clock = new SimulatedClock(Date.UTC(2026, 4, 4, 12));
  readonly campaigns = new Map<Id, FakeCampaign>();
  readonly calls: SeenCall[] = [];
  readonly records = new Map<Id, Record_>();
  readonly told: CampaignEvent[] = [];
  readonly random: () => number;
  /** What the callee does. */
  howEnds: (phone: string, attempt: number) => End = () => ({
    ...{ outcome: 'completed', wasAnswered: true, afterMs: 500 },
  });
  refuses: (request: PlaceCall) => CallRefusal | null = () => null;
  isAway = false;
  isReady = true;
  #epoch = 0;
  dialler: CampaignDialler;

  constructor(random: () => number = () => 0.5) {
    this.random = random;
    this.dialler = this.#newDialler('me');
  }

  add(count: number, changes: Partial<CampaignSettings> = {}): FakeCampaign {
    const campaign: FakeCampaign = {
      ...{ id: newId(), status: 'running', pauseReason: null, recentEnds: '', driver: null },
      ...{ driverUntilMs: 0, settings: { ...DEFAULT_CAMPAIGN_SETTINGS, ...changes } },
      schedule: { startAt: null, endAt: null, windows: null, timezone: null },
      targets: [],
    };
    for (let at = 0; at < count; at++) {
      campaign.targets.push({
        ...{ id: newId(), phone: `+1555${this.campaigns.size}${String(at).padStart(5, '0')}` },
        ...{ status: 'pending', attempts: 0, nextMs: null, callId: null, formerCallId: null },
        ...{ lastOutcome: null, claimedBy: null, claimedMs: 0 },
      });
    }
    this.campaigns.set(campaign.id, campaign);
    return campaign;
  }

  /** As a person does over HTTP; the dialler is to be told. */
  pause(campaign: FakeCampaign): readonly CampaignEvent[] {
    return this.#change(campaign, 'paused', 'user');
  }

  /** Moves time on; what waits for promises gets its turn after each step. */
  async pass(ms: number, stepMs = 5): Promise<void> {
    for (let at = 0; at < ms; at += stepMs) {
      this.clock.advance(Math.min(stepMs, ms - at));
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** kill -9: nothing of the old process acts any more; the recovery of the new one closes what had begun. */
  crash(driver = 'me'): void {
    this.#epoch++;
    for (const call of this.calls) {
      if (call.endedMs !== null) continue;
      call.endedMs = this.clock.now();
      const record = this.records.get(call.callId);
      assert.ok(record !== undefined, 'a call that began is in the journal');
      this.records.set(call.callId, {
        ...{ isOver: true, outcome: 'node_lost', wasAnswered: record.wasAnswered },
        ...{ endedAtMs: this.clock.wallMs(), endedBy: 'system' },
      });
    }
    this.dialler = this.#newDialler(driver);
  }

  #newDialler(driver: string): CampaignDialler {
    const epoch = ++this.#epoch;
    const dialler = new CampaignDialler({
      store: this.#storeOf(epoch),
      calls: this.#callsOf(epoch),
      journal: { append: (entry: AccountEntry) => this.#note(epoch, entry) },
      driver,
      isReady: () => this.isReady,
      isSettled: () => true,
      clock: this.clock,
      log: silentLog,
    });
    return dialler;
  }

  #note(epoch: number, entry: AccountEntry): void {
    if (epoch === this.#epoch) this.told.push(entry.event as CampaignEvent);
  }

  /** The way there and back; whoever was killed on the way never hears the answer. */
  async #trip<T>(epoch: number, work: () => T): Promise<T> {
    const dead = new Promise<never>(() => undefined);
    await delay(this.random() * 8, undefined, this.clock);
    if (epoch !== this.#epoch) return dead;
    if (this.isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
    const result = work();
    await delay(this.random() * 8, undefined, this.clock);
    return epoch === this.#epoch ? result : dead;
  }

  #storeOf(epoch: number): CampaignStore {
    const trip = <T>(work: () => T): Promise<T> => this.#trip(epoch, work);
    return {
      startDue: () => trip(() => []),
      lead: (driver) => trip(() => this.#lead(driver)),
      release: () => trip(() => undefined),
      claim: ({ campaignId, driver, callId, nowMs }) =>
        trip(() => {
          const campaign = this.#campaign(campaignId);
          const isMine = campaign.driver === driver && campaign.driverUntilMs > this.clock.now();
          if (campaign.status !== 'running' || !isMine) return { kind: 'stopped' };
          const dialing = campaign.targets.filter(({ status }) => status === 'dialing').length;
          if (dialing >= campaign.settings.concurrency) return { kind: 'full' };
          const target = campaign.targets.find(
            ({ status, nextMs }) => status === 'pending' && (nextMs ?? 0) <= nowMs,
          );
          if (target === undefined) return { kind: 'none' };
          target.formerCallId = target.callId;
          Object.assign(target, { status: 'dialing', callId, claimedBy: driver, nextMs: null });
          target.attempts++;
          target.claimedMs = this.clock.now();
          const { id: targetId, phone } = target;
          const claimed = { campaignId, targetId, callId, phone, name: 'Ann', variables: { n: 1 } };
          return { kind: 'claimed', target: claimed };
        }),
      settle: (claim, decide) =>
        trip(() => {
          const campaign = this.#campaign(claim.campaignId);
          const target = campaign.targets.find(({ id }) => id === claim.targetId);
          if (target?.status !== 'dialing' || target.callId !== claim.callId) return [];
          const { settings, recentEnds } = campaign;
          const decision = decide({ settings, recentEnds, attempts: target.attempts });
          target.status = decision.status;
          target.nextMs = decision.nextAttemptAtMs;
          target.lastOutcome = decision.lastOutcome ?? target.lastOutcome;
          if (!decision.isAttempt) {
            target.attempts--;
            target.callId = target.formerCallId;
          }
          campaign.recentEnds = decision.recentEnds;
          return decision.pauseReason === null || campaign.status !== 'running'
            ? []
            : this.#change(campaign, 'paused', decision.pauseReason);
        }),
      openClaims: (after) => trip(() => (after === null ? this.#openClaims() : [])),
      complete: (id, reason) =>
        trip(() => {
          const campaign = this.#campaign(id);
          const count = (status: TargetStatus): number =>
            campaign.targets.filter((each) => each.status === status).length;
          const isDone = count('dialing') === 0 && (count('pending') === 0 || reason !== null);
          return isDone && campaign.status === 'running'
            ? this.#change(campaign, 'completed', reason)
            : [];
        }),
      pause: (id, reason) =>
        trip(() => {
          const campaign = this.#campaign(id);
          return campaign.status === 'running' ? this.#change(campaign, 'paused', reason) : [];
        }),
      untold: () => trip(() => []),
      told: () => trip(() => undefined),
    };
  }

  #campaign(id: Id): FakeCampaign {
    const campaign = this.campaigns.get(id);
    assert.ok(campaign !== undefined);
    return campaign;
  }

  #change(campaign: FakeCampaign, to: 'paused' | 'completed', reason: string | null) {
    campaign.status = to;
    campaign.pauseReason = reason;
    const counts = { pending: 0, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 };
    const event: CampaignEvent = {
      ...{ id: newId(), type: `campaign.${to}`, time: '', account_id: ACCOUNT, call_id: null },
      ...{ seq: null, node: 'n', request_id: null },
      data: { campaign_id: campaign.id, counts, reason },
    };
    return [event];
  }

  #lead(driver: string): CampaignLead[] {
    const leads: CampaignLead[] = [];
    for (const campaign of this.campaigns.values()) {
      const isFree = campaign.driver === driver || campaign.driverUntilMs <= this.clock.now();
      if (campaign.status !== 'running' || !isFree) continue;
      campaign.driver = driver;
      campaign.driverUntilMs = this.clock.now() + 15_000;
      const counts = { pending: 0, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 };
      for (const target of campaign.targets) counts[target.status]++;
      const isDue = campaign.targets.some(
        ({ status, nextMs }) => status === 'pending' && (nextMs ?? 0) <= this.clock.wallMs(),
      );
      leads.push({
        ...{ campaignId: campaign.id, accountId: ACCOUNT, agentId: 'agent', trunkId: null },
        ...{ fromNumber: null, schedule: campaign.schedule, settings: campaign.settings },
        ...{ timeZone: campaign.schedule.timezone ?? 'UTC', counts, isDue, leaseMs: 15_000 },
      });
    }
    return leads;
  }

  #openClaims(): (OpenClaim & ClaimPlace)[] {
    return [...this.campaigns.values()].flatMap(({ id, targets }) =>
      targets
        .filter(({ status }) => status === 'dialing')
        .map((target) => ({
          ...{ campaignId: id, targetId: target.id, callId: target.callId ?? '' },
          ...{ accountId: ACCOUNT, claimedBy: target.claimedBy, at: '' },
          ageMs: this.clock.now() - target.claimedMs,
          record: this.records.get(target.callId ?? '') ?? null,
        })),
    );
  }

  #callsOf(epoch: number): Pick<CallService, 'place' | 'get'> {
    return {
      place: (request) =>
        this.#trip(epoch, () => {
          const refusal = this.refuses(request);
          if (refusal !== null) return { ok: false, refusal };
          if (request.signal?.aborted === true)
            return { ok: false, refusal: { code: 'UNAVAILABLE', retryAfterS: 1 } };
          return { ok: true, call: this.#dial(epoch, request) };
        }),
      get: (_accountId, id) => {
        const live = this.calls.find(({ callId, endedMs }) => callId === id && endedMs === null);
        return Promise.resolve(live === undefined ? null : makeCall({ id }));
      },
    };
  }

  #dial(epoch: number, request: PlaceCall): LiveCallView {
    const { callId = '', campaignId = '', to: phone } = request;
    const attempt = this.calls.filter((each) => each.phone === phone).length + 1;
    const call: SeenCall = { callId, campaignId, phone, beganMs: this.clock.now(), endedMs: null };
    this.calls.push(call);
    const live: Record_ = {
      ...{ isOver: false, outcome: null, wasAnswered: false, endedAtMs: null, endedBy: null },
    };
    this.records.set(callId, live);
    const { outcome, wasAnswered, afterMs } = this.howEnds(phone, attempt);
    if (wasAnswered) {
      this.clock.setTimer(() => {
        if (call.endedMs === null) this.records.set(callId, { ...live, wasAnswered });
      }, afterMs / 2);
    }
    this.clock.setTimer(() => {
      if (call.endedMs !== null) return;
      call.endedMs = this.clock.now();
      const endedAtMs = this.clock.wallMs();
      const record: Record_ = { isOver: true, outcome, wasAnswered, endedAtMs, endedBy: 'caller' };
      this.records.set(callId, record);
      if (epoch === this.#epoch) this.dialler.noteEntry(finalEntry(callId, record));
    }, afterMs);
    return makeCall({ id: callId, status: 'dialing' });
  }
}

function finalEntry(callId: Id, { outcome, wasAnswered, endedAtMs }: Record_): JournalEntry {
  const type = wasAnswered ? 'call.ended' : 'call.failed';
  return {
    event: { type, call_id: callId, time: '', data: { outcome } },
    record: {
      ...{ outcome, ended_by: 'caller', status: wasAnswered ? 'ended' : 'failed' },
      end_time: new Date(endedAtMs ?? 0).toISOString(),
    },
    recording: null,
  } as unknown as CallEntry;
}
