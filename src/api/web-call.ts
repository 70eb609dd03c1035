/** Calls without SIP (contract 2.4, 2.5): placed for a client, which becomes the caller side with a ticket. */
import type { FastifyRequest } from 'fastify';
import type { Id } from '#lib/ids.ts';
import type { CallAttaching } from '#sessions/call-attach-types.ts';
import type { LiveCallView } from '#sessions/call-service-types.ts';
import { numberOf, place, whoAndWhat, type CallWish, type PlaceOptions } from './place-call.ts';
import { Problem } from './problem.ts';
import type { RecordSource } from './record-source.ts';
import type { Tickets } from './socket-tickets.ts';

export type WebCallsPart = Pick<RecordSource, 'clock'> & { readonly attaching: CallAttaching };

export type WebCallWish = Omit<CallWish, 'to' | 'from' | 'trunkId' | 'trunkTransport'> & {
  /** The party that the client speaks for, not normalised yet; absent: nobody is named, and the client calls. */
  readonly to?: string;
  readonly language?: 'en' | 'zh';
};

/** A call that waits 60 s for its caller side. Errors: those of `placeCall` but trunk and number. */
export async function placeWebCall(
  part: WebCallsPart,
  { to, ...wish }: WebCallWish,
  options: PlaceOptions,
): Promise<LiveCallView> {
  const remoteNumber = to === undefined ? null : numberOf(to, options.fields.to, false);
  const direction = to === undefined ? ('inbound' as const) : ('outbound' as const);
  const { variables: _raw, ...rest } = wish;
  const asked = { ...rest, ...whoAndWhat(wish, options), remoteNumber, direction };
  return place(part, options, (signal) => part.attaching.placeWeb({ ...asked, signal }));
}

/** Where a client gets onto the call, and what it shows there. */
export type Opening = {
  readonly ws_url: string;
  readonly ticket: string;
  /** Unix seconds. */
  readonly expires_at: number;
};

export const NO_OPENING = { ws_url: null, ticket: null, expires_at: null } as const;

/** A ticket for the caller side of this one call, at `path`. */
export function openingOf(
  tickets: Tickets,
  request: FastifyRequest,
  path: string,
  callId: Id,
): Opening {
  const { grant } = request;
  if (grant === null) throw new Problem('UNAUTHENTICATED');
  // Kept for Idempotency-Key the answer has the ticket in it.
  request.claim?.seal();
  const { ticket, expiresAt } = tickets.issue({ path, role: 'caller', grant, callId });
  return { ws_url: `${originOf(request)}${path}`, ticket, expires_at: expiresAt };
}

/** This server as the client has reached it; what a trusted proxy says of that counts. */
function originOf({ protocol, host, raw }: FastifyRequest): string {
  const { localAddress = '127.0.0.1', localPort = 80, localFamily } = raw.socket;
  const own = `${localFamily === 'IPv6' ? `[${localAddress}]` : localAddress}:${localPort}`;
  return `${protocol === 'https' ? 'wss' : 'ws'}://${host === '' ? own : host}`;
}
