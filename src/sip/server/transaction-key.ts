/** How messages find their transaction (RFC 3261 17.1.3, 17.2.3, 8.2.2.2). */
import type { SipMessage } from './message.ts';

const MAGIC_COOKIE = 'z9hG4bK';

/** Responses match by the branch of the top Via and the method of the CSeq. */
export function clientKey(branch: string, method: string): string {
  return `${branch}|${method}`;
}

/**
 * Requests match by branch, sent-by and method; an ACK and a CANCEL have the key of their INVITE. Without the magic
 * cookie (RFC 2543 peers) by Request-URI, tags, Call-ID, CSeq number and the whole top Via.
 */
export function serverKey(request: SipMessage): string {
  const isInvite = request.method === 'ACK' || request.method === 'INVITE';
  return keyWith(request, isInvite ? 'INVITE' : request.method);
}

/** The key that the INVITE which this CANCEL is for has. */
export function cancelledKey(cancel: SipMessage): string {
  return keyWith(cancel, 'INVITE');
}

function keyWith(request: SipMessage, method: string): string {
  const via = request.topVia;
  const sentBy = `${(via?.host ?? '').toLowerCase()}:${via?.port ?? ''}`;
  if (via?.branch.startsWith(MAGIC_COOKIE)) return `${via.branch}|${sentBy}|${method}`;
  const { from, callId, cseq } = request;
  return `2543|${request.uri}|${from.tag ?? ''}|${callId}|${cseq.number}|${via?.branch ?? ''}|${sentBy}|${method}`;
}

/** Two requests with this key in common and different transactions are one request that was forked and merged. */
export function mergeKey(request: SipMessage): string {
  const { from, callId, cseq } = request;
  return `${callId}|${from.tag ?? ''}|${cseq.number}|${cseq.method}`;
}
