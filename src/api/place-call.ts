/** Placing a call: what every family checks and asks of the one call service (contract 2.0, 2.4). */
import type { Id } from '#lib/ids.ts';
import { normalizePhone } from '#lib/phone.ts';
import type { LiveCallView, PlaceCall, PlaceResult } from '#sessions/call-service-types.ts';
import { maySee, type Caller } from './auth.ts';
import { invalid, problemOfRefusal, type RefusalFields } from './problem.ts';
import { fromStore, type RecordSource } from './record-source.ts';
import { refuseFreeForm } from './validation.ts';

/** Longest `sip:` or `sips:` URI that may be called (contract 1.1). */
export const URI_MAX_CHARS = 255;
/**
 * No space, control character, quote or bracket: it goes into a SIP request as it is. No headers, which a Request-URI
 * must not have (RFC 3261 19.1.5), and one `@`, or two readers see two hosts.
 */
const URI = /^sips?:(?:[\x21\x23-\x3b\x3d\x3f\x41-\x7e]+@)?[\x21\x23-\x3b\x3d\x41-\x7e]+$/i;

/** What placing a call can be refused with, beyond what every route can. */
export const PLACE_PROBLEMS = [
  'REFERENCE_NOT_FOUND',
  'NO_ROUTE',
  'NUMBER_NOT_ALLOWED',
  'CONSENT_MISSING',
  'CONCURRENCY_LIMIT',
] as const;

/** A call as a request asks for it: text that is not normalised yet, references that are not checked yet. */
export type CallWish = Pick<
  PlaceCall,
  | 'to'
  | 'from'
  | 'prompt'
  | 'greeting'
  | 'agentId'
  | 'squadId'
  | 'customerId'
  | 'recordingEnabled'
  | 'trunkId'
  | 'trunkTransport'
  | 'ringTimeoutS'
  | 'maxDurationS'
  | 'amd'
  | 'metadata'
> & { readonly variables?: Readonly<Record<string, unknown>> };

export type PlaceOptions = {
  readonly caller: Caller;
  readonly requestId: string;
  /** How the family calls its fields, as JSON pointers. */
  readonly fields: RefusalFields & { readonly variables: string; readonly metadata: string };
  /** Whether `to` may be a `sip:` URI. */
  readonly takesUri: boolean;
  /** Aborted when whoever asked has gone. */
  readonly signal?: AbortSignal;
};

/**
 * Places the call and answers before the far end does. Errors: VALIDATION_FAILED, REFERENCE_NOT_FOUND, NO_ROUTE,
 * NUMBER_NOT_ALLOWED, CONSENT_MISSING, CONCURRENCY_LIMIT, DRAINING, OVERLOADED, UNAVAILABLE.
 */
export async function placeCall(
  source: RecordSource,
  wish: CallWish,
  options: PlaceOptions,
): Promise<LiveCallView> {
  const { fields } = options;
  const to = numberOf(wish.to, fields.to, options.takesUri);
  const from = wish.from === undefined ? {} : { from: numberOf(wish.from, fields.from, false) };
  const { variables: _raw, ...rest } = wish;
  const asked = { ...rest, ...whoAndWhat(wish, options), to, ...from };
  return place(source, options, (signal) => source.calls.place({ ...asked, signal }));
}

/** What is checked alike for every call: its free forms, and the agent that the client may use. */
export function whoAndWhat(
  wish: Pick<CallWish, 'agentId' | 'squadId' | 'variables' | 'metadata'>,
  { caller, fields, requestId }: PlaceOptions,
) {
  const { variables, metadata } = wish;
  if (variables !== undefined) refuseFreeForm(variables, fields.variables);
  if (metadata !== undefined) refuseFreeForm(metadata, fields.metadata);
  const agentId = agentOf(wish, caller, fields);
  return {
    ...{ accountId: caller.accountId, requestId },
    ...(agentId === undefined ? {} : { agentId }),
    ...(caller.agentIds === null ? {} : { allowedAgentIds: caller.agentIds }),
    ...(variables === undefined ? {} : { variables: textsOf(variables) }),
  };
}

/** Placing reads the agent and the trunk, so it has the database's time, not a command's. */
export async function place(
  source: Pick<RecordSource, 'clock'>,
  { fields, signal }: PlaceOptions,
  work: (signal: AbortSignal) => Promise<PlaceResult>,
): Promise<LiveCallView> {
  const giveUp = new AbortController();
  const onLeft = (): void => giveUp.abort();
  signal?.addEventListener('abort', onLeft, { once: true });
  try {
    const placed = await fromStore(source, work(giveUp.signal));
    if (placed.ok) return placed.call;
    throw problemOfRefusal(placed.refusal, fields);
  } catch (error) {
    giveUp.abort();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onLeft);
  }
}

export function numberOf(text: string, path: string, takesUri: boolean): string {
  if (takesUri && /^sips?:/i.test(text)) {
    if (text.length <= URI_MAX_CHARS && URI.test(text)) return text;
    throw invalid(path, 'phone');
  }
  const number = normalizePhone(text);
  if (number === null) throw invalid(path, 'phone');
  return number;
}

/** The agent to ask for; undefined leaves the choice to squad or account. */
function agentOf(
  wish: Pick<CallWish, 'agentId' | 'squadId'>,
  caller: Caller,
  fields: RefusalFields,
): Id | undefined {
  const { agentId, squadId } = wish;
  const missing = { code: 'REFERENCE_NOT_FOUND', retryAfterS: null } as const;
  // A key that is bound to no agent at all may use none.
  if (caller.agentIds?.length === 0) throw problemOfRefusal(missing, fields);
  if (agentId !== undefined && !maySee(caller, agentId)) throw problemOfRefusal(missing, fields);
  if (agentId !== undefined || squadId !== undefined) return agentId;
  // A key that is bound to agents uses these alone, so its first one stands in for the account's default.
  return caller.agentIds?.[0];
}

/** Values of variables as prompts take them. */
export function textsOf(variables: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The fields that are there: an absent field of a request stays absent. */
export function present<T extends object>(fields: T): Present<T> {
  const there = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(there) as Present<T>;
}
