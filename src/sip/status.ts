/** From SIP statuses and Q.850 causes to the outcomes of the contract (section 2.0, "SIP to outcome"). */
import type { OutboundResult, SipEnd } from './types.ts';

export type RefusalOutcome =
  | 'busy'
  | 'no_answer'
  | 'unreachable'
  | 'invalid_number'
  | 'declined'
  | 'cancelled'
  | 'auth_failed'
  | 'incompatible_media'
  | 'congestion'
  | 'carrier_error';

export type Refusal = Omit<Extract<OutboundResult, { ok: false }>, 'ok'>;

const BY_STATUS: ReadonlyMap<number, RefusalOutcome> = new Map([
  ...rows('busy', 486, 600),
  ...rows('no_answer', 408),
  ...rows('unreachable', 480, 410, 430),
  ...rows('invalid_number', 404, 484, 485, 604, 416),
  ...rows('declined', 403, 603, 607, 608),
  ...rows('auth_failed', 401, 407),
  ...rows('incompatible_media', 415, 488, 606),
  ...rows('congestion', 503),
]);

const BY_CAUSE: ReadonlyMap<number, RefusalOutcome> = new Map([
  ...rows('busy', 17),
  ...rows('no_answer', 18, 19),
  ...rows('unreachable', 20, 27),
  ...rows('invalid_number', 1, 22, 28),
  ...rows('declined', 21),
  ...rows('incompatible_media', 65, 79, 88),
  ...rows('congestion', 34, 38, 41, 42, 44, 47),
]);

/** Normal clearing and "normal, unspecified" say nothing about why. */
const SILENT_CAUSES: ReadonlySet<number> = new Set([16, 31]);

function rows(outcome: RefusalOutcome, ...codes: number[]): [number, RefusalOutcome][] {
  return codes.map((code) => [code, outcome]);
}

/** Outcome of an outbound attempt that was not answered. What we did ourselves comes before what the far end said. */
export function outcomeOfRefusal(refusal: Refusal): RefusalOutcome {
  if (refusal.cause === 'cancelled') return 'cancelled';
  if (refusal.cause === 'no_answer') return 'no_answer';
  if (refusal.cause === 'unreachable') return 'unreachable';
  if (refusal.q850 !== null && !SILENT_CAUSES.has(refusal.q850)) {
    return BY_CAUSE.get(refusal.q850) ?? 'carrier_error';
  }
  if (refusal.authFailed) return 'auth_failed';
  if (refusal.status === 480 && refusal.retryAfter) return 'congestion';
  return BY_STATUS.get(refusal.status ?? 0) ?? 'carrier_error';
}

/** Cause and text of a Reason header (RFC 3326); several reasons may stand in one header, Q.850 is looked for first. */
export function parseReason(value: string | undefined): Pick<SipEnd, 'q850' | 'reason'> {
  if (value === undefined) return { q850: null, reason: null };
  let q850: number | null = null;
  let reason: string | null = null;
  for (const match of value.matchAll(
    /(?:^|,)\s*([\w.!%*+`'~-]+)((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^;,"]*))*)/g,
  )) {
    const params = match[2] ?? '';
    const text = /;\s*text\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"]*))/i.exec(params);
    const cause = /;\s*cause\s*=\s*"?(\d{1,3})\b/i.exec(params)?.[1];
    const isQ850 = match[1]?.toLowerCase() === 'q.850';
    if (isQ850 && cause !== undefined && q850 === null) {
      q850 = Number(cause);
      reason = textOf(text) ?? reason;
    } else reason ??= textOf(text);
  }
  return { q850, reason };
}

function textOf(match: RegExpExecArray | null): string | null {
  const text = (match?.[1]?.replaceAll(/\\(.)/g, '$1') ?? match?.[2] ?? '').trim();
  return text === '' ? null : text;
}

/** Our own Reason header for a BYE or CANCEL. */
export function reasonHeader(reason: { readonly q850: number; readonly text: string }): string {
  const text = reason.text.replaceAll(/[^\x20-\x7e]/g, '').replaceAll(/["\\]/g, '');
  return `Q.850;cause=${reason.q850};text="${text}"`;
}
