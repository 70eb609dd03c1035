/** What must hold before anybody is dialled, in the order of contract 2.4; the limits come last, by `limitOf`. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Id } from '#lib/ids.ts';
import { comparablePhone, normalizePhone } from '#lib/phone.ts';
import type { AccountTrunk, AccountTrunks } from '#lib/trunk.ts';
import type { CallRefusal, PlaceCall } from './call-service-types.ts';
import type { Capacity } from './capacity.ts';
import { isAllowedBy, isEmergencyNumber, isPremiumFor, isSipUri, numberOf } from './numbers.ts';
import type {
  AccountDirectory,
  AccountPolicy,
  AgentDirectory,
  ContactPolicy,
  TrunkDirectory,
} from './ports.ts';

export type PlacingPorts = {
  readonly agents: Pick<AgentDirectory, 'byId' | 'defaultFor' | 'forCall'>;
  readonly trunks: Pick<TrunkDirectory, 'of'>;
  readonly contacts: ContactPolicy;
  readonly accounts: AccountDirectory;
};

export type Placing = {
  /** With everything that the request replaces. */
  readonly agent: AgentConfig;
  readonly squadId: Id | null;
  /** What may carry the call, in the order to be tried; never empty. */
  readonly routes: readonly AccountTrunk[];
  readonly policy: AccountPolicy;
};

type Checked<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly refusal: CallRefusal };

/** How long a caller of the API should wait when an account or a trunk is at its limit. */
const BUSY_RETRY_S = 5;
const CPS_RETRY_S = 1;

/** Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT when what must be known cannot be asked. */
export async function checkPlacing(
  request: PlaceCall,
  ports: PlacingPorts,
): Promise<Checked<{ placing: Placing }>> {
  const { accountId } = request;
  const chosen = await agentFor(request, ports.agents);
  if (!chosen.ok) return chosen;
  const [policy, trunks] = await Promise.all([
    ports.accounts.settings(accountId),
    ports.trunks.of(accountId),
  ]);
  if (policy === null) return refuse('REFERENCE_NOT_FOUND', 'agent');
  const { trunkId } = request;
  if (trunkId !== undefined && !trunks.ids.includes(trunkId))
    return refuse('REFERENCE_NOT_FOUND', 'trunk');
  const routed = await routesFor(request, ports, policy, trunks);
  if (!routed.ok) return routed;
  const { agent, squadId } = chosen;
  return { ok: true, placing: { agent: told(agent, request), squadId, ...routed, policy } };
}

/** The agent that a request names, else the account's default; of a squad its primary member. */
export async function agentFor(
  request: Pick<PlaceCall, 'accountId' | 'agentId' | 'squadId' | 'allowedAgentIds'>,
  agents: PlacingPorts['agents'],
): Promise<Checked<{ agent: AgentConfig; squadId: Id | null }>> {
  const { accountId, agentId, squadId, allowedAgentIds } = request;
  const found = await find();
  const field = squadId === undefined ? 'agent' : 'squad';
  if (found === null) return refuse('REFERENCE_NOT_FOUND', field);
  const isAllowed = (allowedAgentIds ?? null) === null || allowedAgentIds?.includes(found.agent.id);
  return isAllowed === true ? { ok: true, ...found } : refuse('REFERENCE_NOT_FOUND', field);

  async function find(): Promise<{ agent: AgentConfig; squadId: Id | null } | null> {
    if (squadId !== undefined) {
      const choice = { squadId, called: null, app: null, trunkId: null };
      const chosen = await agents.forCall(accountId, choice);
      return chosen.squadId === squadId ? chosen : null;
    }
    const agent =
      agentId === undefined
        ? await agents.defaultFor(accountId)
        : await agents.byId(accountId, agentId);
    return agent === null ? null : { agent, squadId: null };
  }
}

/** Number first, then trunk: whoever may not be called is not told that no trunk is set up. */
async function routesFor(
  request: PlaceCall,
  { contacts }: PlacingPorts,
  policy: AccountPolicy,
  trunks: AccountTrunks,
): Promise<Checked<{ routes: readonly AccountTrunk[] }>> {
  const { accountId, to } = request;
  const { countryCode } = policy;
  const number = numberOf(to);
  if (number !== null && isEmergencyNumber(number, countryCode))
    return refuse('NUMBER_NOT_ALLOWED', 'to');
  const wanted = trunks.usable.filter((trunk) => isWanted(trunk, request));
  const reaching = wanted.filter(
    (trunk) =>
      (!isSipUri(to) || trunk.allowUri) &&
      (number === null ||
        (isAllowedBy(trunk, number, countryCode) && !isPremiumFor(trunk, number, countryCode))),
  );
  if (wanted.length > 0 && reaching.length === 0) return refuse('NUMBER_NOT_ALLOWED', 'to');
  const routes = await routesShowing(request, contacts, countryCode, reaching);
  if (routes === null) return refuse('NUMBER_NOT_ALLOWED', 'from');
  if (!(await contacts.mayCall(accountId, number ?? to))) return refuse('CONSENT_MISSING', 'to');
  // A `sips:` URI asks for TLS all the way, and no trunk of ours speaks it yet.
  const isUsable = routes.length > 0 && !/^sips:/i.test(to);
  return isUsable ? { ok: true, routes } : refuse('NO_ROUTE', 'trunk');
}

/** What may show `from`: a trunk that has it as its own, or all, the one that the number belongs to first. */
async function routesShowing(
  { accountId, from }: PlaceCall,
  contacts: ContactPolicy,
  countryCode: string | null,
  reaching: readonly AccountTrunk[],
): Promise<readonly AccountTrunk[] | null> {
  // Whose number it is cannot be said while no trunk is usable: that is no route, and nobody's wrong number.
  if (from === undefined || reaching.length === 0) return reaching;
  const own = await contacts.ownNumber(accountId, from);
  if (own !== null) {
    const rank = (trunk: AccountTrunk): number => (trunk.id === own.trunkId ? 0 : 1);
    return own.trunkId === null ? reaching : reaching.toSorted((a, b) => rank(a) - rank(b));
  }
  const shown = comparablePhone(from, countryCode);
  const routes = reaching.filter(
    ({ fromNumber }) =>
      fromNumber !== null &&
      comparablePhone(normalizePhone(fromNumber) ?? fromNumber, countryCode) === shown,
  );
  return routes.length > 0 ? routes : null;
}

function isWanted(trunk: AccountTrunk, { trunkId, trunkTransport }: PlaceCall): boolean {
  return (
    (trunkId === undefined || trunk.id === trunkId) &&
    (trunkTransport === undefined || trunk.transport === trunkTransport)
  );
}

/** Of so many lines a campaign uses these; a tenth, but one at least, is for who calls in and for single calls. */
export function linesFor({ campaignId }: Pick<PlaceCall, 'campaignId'>, lines: number): number {
  return campaignId === undefined || lines < 2 ? lines : lines - Math.ceil(lines / 10);
}

/** Asked in the very step that dials: between a question and a later call another one would slip in. */
export function limitOf(
  capacity: Capacity,
  request: Pick<PlaceCall, 'campaignId'>,
  { agent, policy, routes }: Placing,
): CallRefusal | null {
  const code = 'CONCURRENCY_LIMIT' as const;
  if (!capacity.hasRoom(agent.accountId, linesFor(request, policy.maxConcurrentCalls)))
    return { code, retryAfterS: BUSY_RETRY_S };
  const withLine = routes.filter((trunk) => capacity.hasLine(trunk.id, trunk));
  if (withLine.length === 0) return { code, retryAfterS: BUSY_RETRY_S, field: 'trunk' };
  const canStart = withLine.some((trunk) => capacity.mayStart(trunk.id, trunk));
  return canStart ? null : { code, retryAfterS: CPS_RETRY_S, field: 'trunk' };
}

/** The agent's copy for this call. */
export function told(agent: AgentConfig, request: Omit<PlaceCall, 'to'>): AgentConfig {
  return {
    ...agent,
    variables: { ...agent.variables, ...request.variables },
    systemPrompt: request.prompt ?? agent.systemPrompt,
    greeting: request.greeting ?? agent.greeting,
    language: request.language ?? agent.language,
    maxDurationS: request.maxDurationS ?? agent.maxDurationS,
    ...(request.voicemail === undefined
      ? {}
      : { voicemail: { message: agent.voicemail?.message ?? null, action: request.voicemail } }),
  };
}

function refuse(
  code: CallRefusal['code'],
  field: NonNullable<CallRefusal['field']>,
): { readonly ok: false; readonly refusal: CallRefusal } {
  return { ok: false, refusal: { code, retryAfterS: null, field } };
}
