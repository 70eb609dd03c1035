/** What the transport does to messages without any state: Via stamps, and answers to malformed requests. */
import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import { formatVia } from './header-grammar.ts';
import { MAX_REJECTIONS_PER_S } from './limits.ts';
import { SipMessage } from './message.ts';
import type { ParseResult } from './parse.ts';
import type { Flow } from './types.ts';

/** Writes into a request's top Via where it came from (RFC 3261 18.2.1, RFC 3581 4). What the sender claimed goes. */
export function stampVia(message: SipMessage, flow: Flow): void {
  const via = message.topVia;
  if (via === undefined) return;
  const wantsPort = via.params.has('rport');
  const host = via.host.replace(/^\[|\]$/g, '').toLowerCase();
  const isElsewhere = host !== flow.remoteAddress.toLowerCase();
  if (!wantsPort && !isElsewhere && !via.params.has('received')) return;
  const params = new Map(via.params);
  params.delete('received');
  if (wantsPort) params.set('rport', String(flow.remotePort));
  if (wantsPort || isElsewhere) params.set('received', flow.remoteAddress);
  message.replaceTop('Via', formatVia({ ...via, params }));
}

/** Answers malformed requests, without state and at a bounded rate. */
export class Rejector {
  readonly #clock: Clock;
  readonly #salt = randomBytes(8);
  #allowance = MAX_REJECTIONS_PER_S;
  #countedAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#countedAtMs = clock.now();
  }

  /** The bytes to send back, or null when there is nothing to answer or the rate is used up. */
  answer(result: ParseResult & { ok: false }, flow: Flow): Buffer | null {
    const { message: request, status, reason } = result;
    if (request === null || status === null || !this.#take()) return null;
    stampVia(request, flow);
    const response = SipMessage.responseTo(request, status, reason);
    const to = request.get('To');
    if (to !== undefined && request.to.uri !== '' && request.to.tag === undefined) {
      response.set('To', `${to};tag=${this.#tag(request)}`);
    }
    return response.serialize();
  }

  /** The same for each copy of a request, as RFC 3261 8.2.7 wants it of a stateless server. */
  #tag(request: SipMessage): string {
    const hash = createHash('sha256').update(this.#salt);
    return hash
      .update(`${request.get('Via')}|${request.callId}`)
      .digest('hex')
      .slice(0, 16);
  }

  #take(): boolean {
    const nowMs = this.#clock.now();
    const earned = ((nowMs - this.#countedAtMs) * MAX_REJECTIONS_PER_S) / 1_000;
    this.#allowance = Math.min(MAX_REJECTIONS_PER_S, this.#allowance + earned);
    this.#countedAtMs = nowMs;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }
}
