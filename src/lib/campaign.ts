/** A campaign: many people called one after the other, within caps and hours (contract 2.8). */
import type { AccountEvent, CampaignCounts, Outcome } from './call-events.ts';
import type { Id } from './ids.ts';

export type CampaignStatus =
  | 'draft'
  | 'scheduled'
  | 'running'
  | 'paused'
  | 'completed'
  | 'cancelled';
export type TargetStatus = 'pending' | 'dialing' | 'done' | 'failed' | 'skipped';
export type CampaignCommand = 'start' | 'pause' | 'resume' | 'cancel';

export const CAMPAIGN_STATUSES: readonly CampaignStatus[] = [
  ...(['draft', 'scheduled', 'running', 'paused', 'completed', 'cancelled'] as const),
];
export const TARGET_STATUSES: readonly TargetStatus[] = [
  ...(['pending', 'dialing', 'done', 'failed', 'skipped'] as const),
];

/** What a call may come to that is worth another try. */
export type RetryCause = 'busy' | 'no_answer' | 'unreachable' | 'congestion' | 'voicemail';
export const RETRY_CAUSES: readonly RetryCause[] = [
  ...(['busy', 'no_answer', 'unreachable', 'congestion', 'voicemail'] as const),
];
/** All but one: who has a voicemail box has been reached, unless somebody thinks otherwise. */
export const DEFAULT_RETRY_ON: readonly RetryCause[] = RETRY_CAUSES.filter(
  (cause) => cause !== 'voicemail',
);

/** `HH:mm` by the clock on the wall; `end` is exclusive, before `start` it is the next day's, equal to it 24 h later. */
export type CampaignWindow = {
  /** 1 = Monday … 7 = Sunday, of the day on which the window begins. */
  readonly weekdays: readonly number[];
  readonly start: string;
  readonly end: string;
};

export type CampaignSchedule = {
  /** ISO-8601, UTC with milliseconds. */
  readonly startAt: string | null;
  readonly endAt: string | null;
  /** Null: every day 09:00-20:00. */
  readonly windows: readonly CampaignWindow[] | null;
  /** IANA name; null: the account's. */
  readonly timezone: string | null;
};

export type CampaignSettings = {
  readonly concurrency: number;
  /** Calls begun per second at most. */
  readonly cps: number;
  readonly ringTimeoutS: number;
  readonly maxAttempts: number;
  readonly retryDelayS: number;
  readonly retryOn: readonly RetryCause[];
  readonly amd: boolean;
  readonly voicemail: 'hangup' | 'message';
  /** 0: never pauses by itself. */
  readonly stopFailurePct: number;
  readonly stopWindow: number;
};

export const DEFAULT_CAMPAIGN_SETTINGS: CampaignSettings = {
  concurrency: 5,
  cps: 1,
  ringTimeoutS: 30,
  maxAttempts: 3,
  retryDelayS: 1800,
  retryOn: DEFAULT_RETRY_ON,
  amd: true,
  voicemail: 'hangup',
  stopFailurePct: 50,
  stopWindow: 20,
};

/** From and to, both included. */
export const CAMPAIGN_LIMITS = {
  concurrency: [1, 500],
  cps: [0.1, 20],
  ringTimeoutS: [5, 120],
  maxAttempts: [1, 10],
  retryDelayS: [1, 604_800],
  stopFailurePct: [0, 100],
  stopWindow: [1, 1_000],
} as const satisfies Partial<Record<keyof CampaignSettings, readonly [number, number]>>;

/** `HH:mm` at which a window begins; it may end at 24:00 besides. */
export const WINDOW_START = String.raw`^(?:[01]\d|2[0-3]):[0-5]\d$`;
export const WINDOW_END = String.raw`^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$`;
export const MAX_WINDOWS = 50;

export const MAX_TARGETS = 1_000_000;

export type CampaignFields = {
  readonly name: string;
  readonly agentId: Id;
  readonly trunkId: Id | null;
  /** In normal form. */
  readonly fromNumber: string | null;
  readonly schedule: CampaignSchedule;
  readonly settings: CampaignSettings;
};

export type Campaign = CampaignFields & {
  readonly id: Id;
  readonly accountId: Id;
  readonly status: CampaignStatus;
  readonly counts: CampaignCounts;
  readonly pauseReason: string | null;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type CampaignTarget = {
  readonly id: Id;
  /** With the account's country code where it has one. */
  readonly phone: string;
  readonly name: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly status: TargetStatus;
  readonly attempts: number;
  /** When it is tried again; null: at once, or never. */
  readonly nextAttemptAt: string | null;
  readonly lastCallId: Id | null;
  readonly lastOutcome: string | null;
  readonly createdAt: string;
};

export type CampaignEvent = AccountEvent<
  'campaign.started' | 'campaign.paused' | 'campaign.completed'
>;

/** What `command` makes of a campaign; null where it is not possible (409 INVALID_STATE). */
export function statusAfter(
  command: CampaignCommand,
  status: CampaignStatus,
  startsLater: boolean,
): CampaignStatus | null {
  const go = startsLater ? 'scheduled' : 'running';
  switch (command) {
    case 'start':
      return status === 'draft' ? go : null;
    case 'pause':
      return status === 'running' || status === 'scheduled' ? 'paused' : null;
    case 'resume':
      return status === 'paused' ? go : null;
    case 'cancel':
      return status === 'completed' ? null : 'cancelled';
  }
}

/** States in which nobody dials and nobody will without a command or a clock: the campaign may be changed or deleted. */
export function isChangeable(status: CampaignStatus): boolean {
  return status !== 'running' && status !== 'paused';
}

// ---- What the dialler and the store tell each other ----

/** A running campaign that this node dials. */
export type CampaignLead = Omit<CampaignFields, 'name'> & {
  readonly campaignId: Id;
  readonly accountId: Id;
  /** The campaign's, else the account's. */
  readonly timeZone: string;
  readonly counts: CampaignCounts;
  /** Somebody may be called now, as far as retries are concerned. */
  readonly isDue: boolean;
  /** How long, from when it was asked for, this node alone dials. */
  readonly leaseMs: number;
};

/** Who is about to be called, by which call. */
export type TargetClaim = {
  readonly campaignId: Id;
  readonly targetId: Id;
  readonly callId: Id;
};

export type ClaimedTarget = TargetClaim & {
  readonly phone: string;
  readonly name: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
};

export type ClaimResult =
  | { readonly kind: 'claimed'; readonly target: ClaimedTarget }
  /** Nobody is due; as many are called as may be; somebody has paused it or another node dials. */
  | { readonly kind: 'none' | 'full' | 'stopped' };

/** What a decision about a claimed target rests on, as it is in the database. */
export type ClaimFacts = {
  readonly settings: CampaignSettings;
  /** With the one that is to be decided. */
  readonly attempts: number;
  /** See `campaigns.recent_ends`. */
  readonly recentEnds: string;
};

/** What becomes of a claimed target. */
export type ClaimDecision = {
  readonly status: Exclude<TargetStatus, 'dialing'>;
  /** False: the call never began, so it does not count and the call before is the last one again. */
  readonly isAttempt: boolean;
  readonly nextAttemptAtMs: number | null;
  /** Null leaves what is there. */
  readonly lastOutcome: string | null;
  readonly recentEnds: string;
  /** Pauses the campaign, if it is running, for this reason. */
  readonly pauseReason: string | null;
};

/** A target that is being dialled, and what the database has of its call. */
export type OpenClaim = TargetClaim & {
  readonly accountId: Id;
  readonly claimedBy: string | null;
  readonly ageMs: number;
  readonly record: {
    readonly isOver: boolean;
    readonly outcome: Outcome | null;
    readonly wasAnswered: boolean;
    readonly endedAtMs: number | null;
    readonly endedBy: string | null;
  } | null;
};
