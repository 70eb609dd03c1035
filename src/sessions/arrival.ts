/** Where an INVITE belongs and what is done with it: account, trunk, rule, agent (contract 2.3, 2.4, 5). */
import type { AgentConfig } from '#lib/agent-config.ts';
import { cutApp } from '#lib/app-name.ts';
import type { CompleteAction } from '#lib/answer-rule.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { messageOf, toAppError } from '#lib/errors.ts';
import type { TrunkSource } from '#lib/trunk.ts';
import type { InboundCall } from '#sip/types.ts';
import { decideAnswer, defaultAction, type RuleFault } from './answer-rules.ts';
import type {
  AccountDirectory,
  AccountPolicy,
  AgentDirectory,
  RuleDirectory,
  TrunkDirectory,
} from './ports.ts';

export type ArrivalPorts = {
  readonly agents: Pick<AgentDirectory, 'forCall' | 'forInbound' | 'accountOfNumber'>;
  readonly rules: RuleDirectory;
  readonly trunks: Pick<TrunkDirectory, 'at' | 'believes'>;
  readonly accounts: AccountDirectory;
  readonly clock: Clock;
  readonly log: Log;
};

export type Arrival = {
  readonly accountId: Id;
  /** The row of `sip_configs` the call came on; null for the environment's trunk and for calls without one. */
  readonly trunk: TrunkSource | null;
  readonly callerApp: string | null;
  readonly agent: AgentConfig;
  readonly squadId: Id | null;
  readonly ruleId: Id | null;
  readonly action: CompleteAction;
  readonly fault: RuleFault | null;
  /** Null: nobody could say; then nothing is recorded and only the node's own limit holds. */
  readonly policy: AccountPolicy | null;
};

/** Which application a call comes through, as the trunk in front of it says. */
export const APP_HEADER = 'X-Caller-App';

/** Longer than account, agent and rule of a hanging database each take to give up: what is known of them still holds. */
const ROUTE_MS = 2_500;

/**
 * Within 2.5 s, also while the database hangs: then from caches, and what no cache knows falls to the default agent.
 * Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT when not even that one is known.
 */
export async function routeArrival(call: InboundCall, ports: ArrivalPorts): Promise<Arrival> {
  const { agents, trunks, clock } = ports;
  // Asked at once, not when the time is already over.
  const lastResort = agents.forInbound(call.called).then(
    (agent) => agent,
    () => null, // routing itself meets the same fault, and tells it
  );
  try {
    return await withDeadline(route(call, ports), ROUTE_MS, 'routing the call', clock);
  } catch (error) {
    const agent = await lastResort;
    const there = trunks.at(call.sourceAddress);
    const isTheirs = there.length === 0 || there.some((one) => one.accountId === agent?.accountId);
    if (agent === null || !isTheirs) throw error;
    const fault = { code: 'RULE_FAILED', ruleId: null, message: messageOf(error) } as const;
    const trunk = there.find((one) => one.accountId === agent.accountId) ?? null;
    return {
      ...{ accountId: agent.accountId, trunk, callerApp: appOf(call, trunks), policy: null },
      ...{ agent, squadId: null, ruleId: null, action: defaultAction('agent'), fault },
    };
  }
}

async function route(call: InboundCall, ports: ArrivalPorts): Promise<Arrival> {
  const { agents, rules, trunks } = ports;
  const trunk = await trunkOf(trunks.at(call.sourceAddress), call, agents);
  const accountId = trunk?.accountId ?? (await agents.accountOfNumber(call.called));
  const callerApp = appOf(call, trunks);
  const called = call.called === '' ? null : call.called;
  const bindings = { called, app: callerApp, trunkId: trunk?.trunkId ?? null };
  // Side by side: with the database hanging, each waits before it takes an old answer.
  const [routing, policy, bound] = await Promise.all([
    rules.forRouting(accountId),
    policyOf(accountId, ports),
    agents.forCall(accountId, bindings),
  ]);
  const anonymous = call.from.anonymous || call.from.user === '';
  const { ruleId, action, fault } = decideAnswer(routing, {
    callerNumber: anonymous ? null : call.from.user,
    anonymous,
    callerApp,
    calledNumber: called,
    atMs: ports.clock.wallMs(),
  });
  const { agentId, squadId } = action;
  const isNamed = agentId !== null || squadId !== null;
  const chosen = isNamed
    ? await agents.forCall(accountId, { agentId, squadId, ...bindings })
    : bound;
  const isMissed =
    (agentId !== null && chosen.agent.id !== agentId) ||
    (squadId !== null && chosen.squadId !== squadId);
  return {
    ...{ accountId, trunk, callerApp, policy, ruleId, action },
    ...{ agent: chosen.agent, squadId: chosen.squadId },
    fault: fault ?? (isMissed ? namesNobody(ruleId) : null),
  };
}

/**
 * Several accounts may use one carrier: then the registration that the call came by decides, or the owner of the called
 * number, else the first trunk.
 */
async function trunkOf(
  there: readonly TrunkSource[],
  { called, line = null }: InboundCall,
  agents: ArrivalPorts['agents'],
): Promise<TrunkSource | null> {
  const [first] = there;
  if (first === undefined) return null;
  const registered = line === null ? undefined : there.find(({ trunkId }) => trunkId === line);
  if (registered !== undefined) return registered;
  if (there.every((trunk) => trunk.accountId === first.accountId)) return first;
  const owner = await agents.accountOfNumber(called);
  return there.find((trunk) => trunk.accountId === owner) ?? first;
}

/** Anybody can write a header: only this machine and our trunks are believed. */
function appOf(call: InboundCall, trunks: ArrivalPorts['trunks']): string | null {
  if (!trunks.believes(call.sourceAddress)) return null;
  return cutApp(call.header(APP_HEADER) ?? '') || null;
}

async function policyOf(accountId: Id, ports: ArrivalPorts): Promise<AccountPolicy | null> {
  try {
    return await ports.accounts.settings(accountId);
  } catch (error) {
    // Calls go on without the database: the caller is worth more than the account's own limit.
    ports.log.warn('call.settingsUnknown', { accountId, error: toAppError(error) });
    return null;
  }
}

function namesNobody(ruleId: Id | null): RuleFault {
  const message = 'the agent or squad that the rule names is gone';
  return { code: 'RULE_FAILED', ruleId, message };
}
