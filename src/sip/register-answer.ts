/** What a registrar's answer to REGISTER says (RFC 3261 10.2.4, 10.3; 20.33). */
import type { Id } from '#lib/ids.ts';
import { parseNameAddr, splitHeader } from './party.ts';
import type { PlainResponse } from './plain-requests.ts';

/** A week: longer than anybody grants, and within what a timer takes. */
const MAX_GRANT_S = 604_800;
const MAX_RETRY_AFTER_S = 3_600;

/** For how long the binding of ours stands, in seconds; 0: there is none. */
export function grantedS(response: PlainResponse, trunkId: Id, askedS: number): number {
  const own = ownBinding(response, trunkId);
  const said = seconds(own?.params.get('expires')) ?? seconds(response.header('expires'));
  return Math.min(said ?? askedS, MAX_GRANT_S);
}

/** The list holds every binding of the name: ours is the one with our URI, else with our line, else the only one. */
function ownBinding(response: PlainResponse, trunkId: Id) {
  const bindings = splitHeader(response.header('contact') ?? '').map((each) => parseNameAddr(each));
  const sent = parseNameAddr(response.sentHeader('contact') ?? '').uri.toLowerCase();
  return (
    bindings.find(({ uri }) => sent !== '' && uri.toLowerCase() === sent) ??
    bindings.find(({ uri }) => uri.toLowerCase().includes(`;line=${trunkId}`)) ??
    (bindings.length === 1 ? bindings[0] : undefined)
  );
}

/** Min-Expires of a 423; null when it has none. */
export function minExpiresS(response: PlainResponse): number | null {
  return seconds(response.header('min-expires'));
}

/** `Retry-After: 120 (maintenance);duration=60`, at most an hour; null without one. */
export function retryAfterS(response: PlainResponse): number | null {
  const wait = seconds(response.header('retry-after'));
  return wait === null ? null : Math.min(wait, MAX_RETRY_AFTER_S);
}

function seconds(text: string | undefined): number | null {
  const digits = /^\s*"?(\d{1,10})(?!\d)/.exec(text ?? '')?.[1];
  return digits === undefined ? null : Number(digits);
}
