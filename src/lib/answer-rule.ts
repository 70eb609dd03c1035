/** Answer rules (contract section 5): what is stored, what a call brings, and what the account adds. */
import type { Id } from './ids.ts';

/** A day `YYYY-MM-DD`, or the first and the last day of a span. */
export type DateSpan = string | readonly [string, string];

export type TimeRange = {
  /** `HH:mm`, inclusive. */
  readonly start: string;
  /** `HH:mm` or `24:00`, exclusive; earlier than `start` = overnight, equal to it = the whole day. */
  readonly end: string;
  /** 1 = Monday … 7 = Sunday. */
  readonly weekdays?: readonly number[];
  /** IANA name; absent: the account's. */
  readonly timezone?: string;
};

export type NumberList = {
  readonly type: 'include' | 'exclude';
  /** Normal forms (contract 1.1). */
  readonly numbers?: readonly string[];
  readonly prefixes?: readonly string[];
};

export type Conditions = {
  readonly timeRange?: TimeRange;
  readonly dates?: {
    readonly include?: readonly DateSpan[];
    readonly exclude?: readonly DateSpan[];
    readonly holidays?: 'only' | 'except';
  };
  readonly apps?: { readonly type: 'include' | 'exclude'; readonly list: readonly string[] };
  readonly callers?: NumberList & { readonly anonymous?: boolean };
  readonly calledNumbers?: NumberList;
};

export type RejectStatus = 403 | 404 | 480 | 486 | 503 | 603;

/** As stored; `completeAction` of sessions/answer-rules.ts fills the defaults in. */
export type Action = {
  readonly answer: boolean;
  readonly useAgent?: boolean;
  readonly agentId?: Id;
  readonly squadId?: Id;
  readonly greeting?: string;
  readonly delayRingMs?: number;
  readonly reject?: { readonly status: RejectStatus; readonly reason?: string };
  readonly forward?: {
    readonly to: string;
    readonly timeoutMs?: number;
    readonly callerId?: 'original' | 'own';
  };
  readonly voicemail?: { readonly greeting?: string; readonly maxSeconds?: number };
};

/** An action with every default filled in: what a call does and what `evaluate` shows. */
export type CompleteAction = {
  readonly answer: boolean;
  readonly useAgent: boolean;
  readonly agentId: Id | null;
  readonly squadId: Id | null;
  /** Replaces the agent's; with `useAgent: false` the announcement before the end. */
  readonly greeting: string | null;
  /** Rings this long before anything else. */
  readonly delayRingMs: number;
  /** With `answer: false` and null here: ring for 30 s, then 480. */
  readonly reject: { readonly status: RejectStatus; readonly reason: string | null } | null;
  readonly forward: {
    readonly to: string;
    readonly timeoutMs: number;
    readonly callerId: 'original' | 'own';
  } | null;
  readonly voicemail: { readonly greeting: string | null; readonly maxSeconds: number } | null;
};

export type AnswerRule = {
  readonly id: Id;
  readonly name: string;
  readonly enabled: boolean;
  /** 1..10000; 1 is looked at first. */
  readonly priority: number;
  readonly conditions: Conditions;
  readonly action: Action;
  /** ISO-8601: the older of two rules with one priority is looked at first. */
  readonly createdAt: string;
  readonly updatedAt: string;
};

/** What a rule may ask of an inbound call. */
export type CallFacts = {
  /** As dialled or in normal form; null when there is none or none may be shown. */
  readonly callerNumber: string | null;
  /** Missing, `anonymous` or withheld by `Privacy: id`. */
  readonly anonymous: boolean;
  readonly callerApp: string | null;
  readonly calledNumber: string | null;
  /** Epoch milliseconds of the arrival. */
  readonly atMs: number;
};

export type Holiday = {
  /** `YYYY-MM-DD` */
  readonly date: string;
  /** `work` is a make-up working day. */
  readonly kind: 'off' | 'work';
  readonly name?: string | null;
};

export type AnswerDefault = 'agent' | 'ring' | 'reject';

/** What rules need of the account's settings. */
export type AccountCalendar = {
  /** IANA name. */
  readonly timezone: string;
  /** Digits; null: numbers are never completed. */
  readonly countryCode: string | null;
  readonly holidays: readonly Holiday[];
  /** What happens when no rule matches. */
  readonly answerDefault: AnswerDefault;
};

/** The rules of an account as one immutable value: the same object as long as nothing changed. */
export type RoutingRules = {
  readonly accountId: Id;
  readonly calendar: AccountCalendar;
  /** Enabled and disabled ones, in any order. */
  readonly rules: readonly AnswerRule[];
};
