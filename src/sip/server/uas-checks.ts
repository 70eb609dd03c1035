/** Reasons to refuse a request before the application hears of it (RFC 3261 8.2, 12.2.2, 14.2; RFC 3311 5.2). */
import type { Dialog } from './dialog.ts';
import type { SipMessage } from './message.ts';
import { schemeOf } from './lexer.ts';

export type Refusal = {
  readonly status: number;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Refusals of any request; null when there is nothing against it. */
export function refusalOf(
  request: SipMessage,
  options: {
    readonly allowed: readonly string[];
    readonly allow: string;
    readonly supported: readonly string[];
  },
): Refusal | null {
  if (!options.allowed.includes(request.method)) {
    return { status: 405, reason: 'Method Not Allowed', headers: { Allow: options.allow } };
  }
  const unsupported = request
    .list('Require')
    .filter((tag) => tag !== '' && !options.supported.includes(tag.toLowerCase()));
  if (unsupported.length > 0) {
    return {
      status: 420,
      reason: 'Bad Extension',
      headers: { Unsupported: unsupported.join(', ') },
    };
  }
  return null;
}

/** Further refusals of a request outside any dialog. */
export function refusalOfFirst(request: SipMessage): Refusal | null {
  if (Number(request.get('Max-Forwards') ?? 70) <= 0) {
    return { status: 483, reason: 'Too Many Hops' };
  }
  const scheme = schemeOf(request.uri);
  if (scheme !== 'sip' && scheme !== 'sips' && scheme !== 'tel') {
    return { status: 416, reason: 'Unsupported URI Scheme' };
  }
  // RFC 3261 8.1.1.8: without a Contact no request could ever be sent back in the dialog.
  if (request.method === 'INVITE' && request.contact === undefined) {
    return { status: 400, reason: 'Missing Contact' };
  }
  return null;
}

/**
 * Refusals that depend on the dialog. Takes the CSeq number as seen.
 * `random` gives the Retry-After of 0 to 10 s that RFC 3261 14.2 asks for.
 */
export function refusalInDialog(
  dialog: Dialog,
  request: SipMessage,
  random: () => number = Math.random,
): Refusal | null {
  const { number } = request.cseq;
  const known = dialog.remoteCseq ?? number;
  // Lower only (RFC 3261 12.2.2), and a BYE ends the call whatever its number: the caller is gone.
  if (number < known && request.method !== 'BYE') {
    return { status: 500, reason: 'CSeq Out Of Order' };
  }
  dialog.remoteCseq = Math.max(number, known);
  const later: Refusal = {
    status: 500,
    reason: 'Request Already In Progress',
    headers: { 'Retry-After': String(Math.floor(random() * 11)) },
  };
  const pending: Refusal = { status: 491, reason: 'Request Pending' };
  const isEarly = dialog.state === 'early';
  if (request.method === 'INVITE') {
    if (dialog.inviteFromPeer || (isEarly && dialog.role === 'uas')) return later;
    if (dialog.inviteFromUs || isEarly) return pending;
  }
  if (request.method === 'UPDATE') {
    if (dialog.updateFromPeer) return later;
    if (request.body.length === 0) return null;
    if (dialog.updateFromUs) return pending;
    if (isEarly && dialog.isOfferAnswered) return null;
    if (dialog.inviteFromPeer || (isEarly && dialog.role === 'uas')) return later;
    if (dialog.inviteFromUs || isEarly) return pending;
  }
  return null;
}
