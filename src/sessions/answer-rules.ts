/**
 * Decides what happens to an inbound call (contract section 5): the first enabled rule all of whose conditions hold,
 * else the account's default. Pure: nothing is read, stored or rung.
 */
import type {
  AnswerDefault,
  AnswerRule,
  CallFacts,
  CompleteAction,
  Action,
  Conditions,
  RoutingRules,
} from '#lib/answer-rule.ts';
import { messageOf } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { compileConditions, readFacts, type CompiledCondition } from './answer-conditions.ts';

export type ConditionName = keyof Conditions;

export type TraceEntry = {
  readonly ruleId: Id;
  readonly name: string;
  readonly priority: number;
  readonly matched: boolean;
  /** The first condition that does not hold; null when all hold, or when the rule could not be evaluated. */
  readonly failed: ConditionName | null;
};

export type Decision = {
  /** Null: no rule matched, the account's default applies. */
  readonly ruleId: Id | null;
  readonly ruleName: string | null;
  readonly defaultUsed: boolean;
  readonly action: CompleteAction;
  /** The rules looked at, in order, up to and including the one that decides. */
  readonly trace: readonly TraceEntry[];
  /** Set when a rule could not be evaluated: a `call-error` RULE_FAILED is due, and the default applies. */
  readonly fault: RuleFault | null;
};

export type RuleFault = {
  readonly code: 'RULE_FAILED';
  /** The rule that failed; null when the rules as a whole could not be read. */
  readonly ruleId: Id | null;
  readonly message: string;
};

type CompiledRule = {
  readonly rule: AnswerRule;
  /** Null: the rule cannot be compiled; `fault` says why, once a call reaches it. */
  readonly conditions: readonly CompiledCondition[] | null;
  readonly fault: string | null;
};

const compiledByRules = new WeakMap<RoutingRules, readonly CompiledRule[]>();

/** Never throws. The rules are compiled at the first decision over this very object, and kept with it. */
export function decideAnswer(routing: RoutingRules, facts: CallFacts): Decision {
  const trace: TraceEntry[] = [];
  let current: AnswerRule | null = null;
  try {
    const compiled = compiledOf(routing);
    const read = readFacts(facts, routing.calendar);
    for (const { rule, conditions, fault } of compiled) {
      current = rule;
      if (conditions === null) throw new Error(fault ?? 'the rule cannot be read');
      const failed = conditions.find((condition) => !condition.holds(read))?.name ?? null;
      const { id, name, priority } = rule;
      trace.push({ ruleId: id, name, priority, matched: failed === null, failed });
      if (failed === null) return decidedBy(rule, trace);
    }
    return defaultDecision(routing, trace, null);
  } catch (error) {
    if (current !== null) {
      const { id, name, priority } = current;
      trace.push({ ruleId: id, name, priority, matched: false, failed: null });
    }
    const fault = { code: 'RULE_FAILED', ruleId: current?.id ?? null, message: messageOf(error) };
    return defaultDecision(routing, trace, fault as RuleFault);
  }
}

/** Every default of section 5 filled in. */
export function completeAction(action: Action): CompleteAction {
  const { forward, voicemail, reject } = action;
  const hasOther = forward !== undefined || voicemail !== undefined;
  return {
    answer: action.answer,
    useAgent: action.answer && (action.useAgent ?? !hasOther),
    agentId: action.agentId ?? null,
    squadId: action.squadId ?? null,
    greeting: action.greeting ?? null,
    delayRingMs: action.delayRingMs ?? 0,
    reject: reject === undefined ? null : { status: reject.status, reason: reject.reason ?? null },
    forward:
      forward === undefined
        ? null
        : {
            to: forward.to,
            timeoutMs: forward.timeoutMs ?? FORWARD_TIMEOUT_MS,
            callerId: forward.callerId ?? 'original',
          },
    voicemail:
      voicemail === undefined
        ? null
        : {
            greeting: voicemail.greeting ?? null,
            maxSeconds: voicemail.maxSeconds ?? VOICEMAIL_SECONDS,
          },
  };
}

/** What `account_settings.answer_default` does. */
export function defaultAction(choice: AnswerDefault): CompleteAction {
  if (choice === 'agent') return completeAction({ answer: true });
  return completeAction(
    choice === 'ring' ? { answer: false } : { answer: false, reject: { status: 603 } },
  );
}

const FORWARD_TIMEOUT_MS = 20_000;
const VOICEMAIL_SECONDS = 120;

function decidedBy(rule: AnswerRule, trace: readonly TraceEntry[]): Decision {
  return {
    ruleId: rule.id,
    ruleName: rule.name,
    defaultUsed: false,
    action: completeAction(rule.action),
    trace,
    fault: null,
  };
}

function defaultDecision(
  routing: RoutingRules,
  trace: readonly TraceEntry[],
  fault: RuleFault | null,
): Decision {
  return {
    ruleId: null,
    ruleName: null,
    defaultUsed: true,
    action: defaultAction(routing.calendar.answerDefault),
    trace,
    fault,
  };
}

function compiledOf(routing: RoutingRules): readonly CompiledRule[] {
  const known = compiledByRules.get(routing);
  if (known !== undefined) return known;
  const enabled = routing.rules.filter((rule) => rule.enabled).toSorted(byEvaluation);
  const compiled = enabled.map((rule): CompiledRule => {
    try {
      refuseShape(rule);
      const conditions = compileConditions(rule.conditions, routing.calendar);
      return { rule, conditions, fault: null };
    } catch (error) {
      // A rule written past the API may hold anything; it must not spoil the rules before it.
      return { rule, conditions: null, fault: messageOf(error) };
    }
  });
  compiledByRules.set(routing, compiled);
  return compiled;
}

/** Nothing of the wrong shape may pass for a rule without conditions, which would match every call. */
function refuseShape({ conditions, action }: AnswerRule): void {
  if (typeof conditions !== 'object' || Array.isArray(conditions)) {
    throw new TypeError('the conditions are no object');
  }
  if (typeof action?.answer !== 'boolean') throw new TypeError('the action does not say `answer`');
}

/**
 * By `priority`, ties by `created_at`. The sort is stable and the store lists by microseconds and then `id`, which
 * decides between rules of one millisecond.
 */
export function byEvaluation(left: AnswerRule, right: AnswerRule): number {
  return left.priority - right.priority || Date.parse(left.createdAt) - Date.parse(right.createdAt);
}
