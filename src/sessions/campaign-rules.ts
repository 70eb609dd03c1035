/** What the end of a call, or a refusal to place it, means for whom a campaign called (contract 2.8). Pure. */
import type { Outcome } from '#lib/call-events.ts';
import type {
  CampaignSettings,
  ClaimDecision,
  ClaimFacts,
  OpenClaim,
  RetryCause,
} from '#lib/campaign.ts';
import { RING_GRACE_S } from '#sip/types.ts';
import type { CallRefusal } from './call-service-types.ts';

/** How a call of a campaign ended. */
export type CallEnd = {
  readonly outcome: Outcome;
  readonly wasAnswered: boolean;
  readonly endedAtMs: number;
  /** `ended_by` of the record. */
  readonly endedBy: string | null;
};

/** The carrier's fault, not the callee's: many of them stop the campaign. */
const CARRIER_FAILURES: ReadonlySet<Outcome> = new Set([
  ...(['congestion', 'auth_failed', 'carrier_error'] as const),
]);
/** Our fault: whoever was to be called has done nothing to be given up. */
const OUR_FAILURES: ReadonlySet<Outcome> = new Set([
  ...(['node_lost', 'internal_error', 'provider_error'] as const),
]);

export const BREAKER_REASON = 'carrier_failures';

export function decideEnd(end: CallEnd, facts: ClaimFacts, nowMs: number): ClaimDecision {
  const { settings } = facts;
  const recentEnds = endsWith(facts.recentEnds, end.outcome, settings.stopWindow);
  const status = statusOf(end, facts);
  return {
    status,
    isAttempt: true,
    nextAttemptAtMs: status === 'pending' ? retryAt(end, settings, nowMs) : null,
    lastOutcome: end.outcome,
    recentEnds,
    pauseReason: hasTripped(recentEnds, settings) ? BREAKER_REASON : null,
  };
}

function statusOf(end: CallEnd, { settings, attempts }: ClaimFacts): ClaimDecision['status'] {
  const isMachine = end.outcome === 'voicemail';
  if (end.wasAnswered && !isMachine) return 'done';
  const mayTryAgain = isOurFault(end) || settings.retryOn.includes(end.outcome as RetryCause);
  if (mayTryAgain && attempts < settings.maxAttempts) return 'pending';
  return isMachine ? 'done' : 'failed';
}

/** `cancelled` by nobody is a node that went down and gave up what was ringing. */
function isOurFault({ outcome, endedBy }: CallEnd): boolean {
  return OUR_FAILURES.has(outcome) || (outcome === 'cancelled' && endedBy === 'system');
}

/** A call that was lost with its node got no CANCEL: it may ring until its INVITE expires, and nobody is to hear two. */
function retryAt(end: CallEnd, settings: CampaignSettings, nowMs: number): number {
  const delayMs = settings.retryDelayS * 1000;
  if (end.outcome !== 'node_lost') return end.endedAtMs + delayMs;
  const ringMs = (settings.ringTimeoutS + RING_GRACE_S) * 1000;
  return Math.max(end.endedAtMs, nowMs) + Math.max(delayMs, ringMs);
}

function endsWith(recent: string, outcome: Outcome, window: number): string {
  return (recent + (CARRIER_FAILURES.has(outcome) ? '1' : '0')).slice(-window);
}

/** Only a full window says anything. */
export function hasTripped(
  recentEnds: string,
  { stopFailurePct, stopWindow }: Pick<CampaignSettings, 'stopFailurePct' | 'stopWindow'>,
): boolean {
  if (stopFailurePct === 0 || recentEnds.length < stopWindow) return false;
  const failures = recentEnds.replaceAll('0', '').length;
  return failures * 100 >= stopFailurePct * stopWindow;
}

/** The call never began: whoever was claimed waits again, as before. */
export function giveBack(facts: ClaimFacts, nowMs: number): ClaimDecision {
  return {
    ...{ status: 'pending', isAttempt: false, nextAttemptAtMs: nowMs },
    ...{ lastOutcome: null, recentEnds: facts.recentEnds, pauseReason: null },
  };
}

/** May not be called, and will not be. */
export function skip(facts: ClaimFacts, why: string): ClaimDecision {
  return {
    ...{ status: 'skipped', isAttempt: false, nextAttemptAtMs: null },
    ...{ lastOutcome: why, recentEnds: facts.recentEnds, pauseReason: null },
  };
}

/** What a refused call means: this one is left out, all wait for a while, or somebody has to look at the campaign. */
export type RefusalVerdict =
  | { readonly kind: 'skip'; readonly reason: string }
  | { readonly kind: 'pause'; readonly reason: string }
  | { readonly kind: 'wait'; readonly retryAfterS: number | null };

export function verdictOf({ code, field, retryAfterS }: CallRefusal): RefusalVerdict {
  switch (code) {
    case 'CONSENT_MISSING':
      return { kind: 'skip', reason: 'consent_missing' };
    case 'NUMBER_NOT_ALLOWED':
      // Not the callee's number but the one that is shown: it would be refused for everybody.
      return field === 'from'
        ? { kind: 'pause', reason: 'from_number_not_allowed' }
        : { kind: 'skip', reason: 'number_not_allowed' };
    case 'REFERENCE_NOT_FOUND':
      return { kind: 'pause', reason: `${field ?? 'agent'}_missing` };
    case 'NO_ROUTE':
    case 'CONCURRENCY_LIMIT':
    case 'DRAINING':
    case 'OVERLOADED':
    case 'UNAVAILABLE':
      return { kind: 'wait', retryAfterS };
  }
}

/** Longer than any call may ring and last (contract 2.4), with room for the way of its record into the database. */
export const LOST_AFTER_MS = (120 + 14_400 + 600) * 1000;

/**
 * What is known of a target that is being dialled and whose end nobody here has seen: how it ended, that its call never
 * began, or nothing yet.
 */
export function endOfClaim(
  claim: OpenClaim,
  node: {
    /** This node claimed it, in this or in a former process. */
    readonly isMine: boolean;
    /** All that this node's journal held is in the database, so what is missing there never was. */
    readonly isSettled: boolean;
    readonly isLive: boolean;
    readonly nowMs: number;
  },
): CallEnd | 'never began' | null {
  const { record } = claim;
  if (record?.isOver === true && record.outcome !== null) {
    const { outcome, wasAnswered, endedBy } = record;
    return { outcome, wasAnswered, endedBy, endedAtMs: record.endedAtMs ?? node.nowMs };
  }
  const isGone = node.isMine ? node.isSettled && !node.isLive : claim.ageMs > LOST_AFTER_MS;
  if (!isGone) return null;
  // Another node's claim without a record may have been a call all the same: it counts as one.
  if (record === null && node.isMine) return 'never began';
  const wasAnswered = record?.wasAnswered ?? false;
  return { outcome: 'node_lost', wasAnswered, endedAtMs: node.nowMs, endedBy: 'system' };
}
