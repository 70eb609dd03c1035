/** What must hold before a call without SIP exists: as for any call, without trunk and dialling. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Id } from '#lib/ids.ts';
import type { PlaceWebCall } from './call-attach-types.ts';
import type { CallRefusal } from './call-service-types.ts';
import { agentFor, told, type PlacingPorts } from './placing.ts';
import type { AccountPolicy } from './ports.ts';
import type { StoryOptions } from './story.ts';

export type WebPlacing = {
  /** With everything that the request replaces. */
  readonly agent: AgentConfig;
  readonly squadId: Id | null;
  readonly policy: AccountPolicy;
};

/** Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT when what must be known cannot be asked. */
export async function checkWebPlacing(
  request: PlaceWebCall,
  { agents, accounts, contacts }: Pick<PlacingPorts, 'agents' | 'accounts' | 'contacts'>,
): Promise<
  | { readonly ok: true; readonly placing: WebPlacing }
  | { readonly ok: false; readonly refusal: CallRefusal }
> {
  const { accountId, remoteNumber, direction } = request;
  const chosen = await agentFor(request, agents);
  if (!chosen.ok) return chosen;
  const policy = await accounts.settings(accountId);
  if (policy === null) return refuse('REFERENCE_NOT_FOUND', 'agent');
  // Whoever calls us is not called.
  const isCalled = direction === 'outbound' && remoteNumber !== null;
  if (isCalled && !(await contacts.mayCall(accountId, remoteNumber)))
    return refuse('CONSENT_MISSING', 'to');
  const { agent, squadId } = chosen;
  return { ok: true, placing: { agent: told(agent, request), squadId, policy } };
}

/** What the record says of the call. */
export function webFacts(request: PlaceWebCall, { agent, squadId }: WebPlacing) {
  const { remoteNumber, direction } = request;
  const isInbound = direction === 'inbound';
  return {
    channel: 'web',
    direction,
    from: isInbound ? remoteNumber : null,
    to: isInbound ? null : remoteNumber,
    remoteNumber,
    variables: agent.variables,
    metadata: request.metadata ?? {},
    customerId: request.customerId ?? null,
    campaignId: request.campaignId ?? null,
    requestId: request.requestId ?? null,
    ...(request.callId === undefined ? {} : { callId: request.callId }),
    ...{ squadId, ruleId: null, callerApp: null, remoteName: null },
    ...{ trunkId: null, trunkTransport: null, sipCallId: null },
  } as const satisfies Partial<StoryOptions>;
}

function refuse(
  code: CallRefusal['code'],
  field: NonNullable<CallRefusal['field']>,
): { readonly ok: false; readonly refusal: CallRefusal } {
  return { ok: false, refusal: { code, retryAfterS: null, field } };
}
