/** Requests of ours to one trunk that are no calls: one Call-ID, CSeq up, credentials for this trunk alone. */
import { AppError } from '#lib/errors.ts';
import { newId, randomToken } from '#lib/ids.ts';
import type { Trunk, TrunkFault, TrunkLine } from '#lib/trunk.ts';
import { DigestSession } from './digest-session.ts';
import { encodeUser, parseUri } from './party.ts';
import type { PlainRequest, PlainResponse, PlainResult } from './plain-requests.ts';
import { checkedTrunk, nextHopOf, routeUriOf, uriHost } from './trunk.ts';

export type TalkPorts = {
  request(request: PlainRequest): Promise<PlainResult>;
  /** Numeric addresses of a host; empty when it does not resolve. */
  resolve(host: string): Promise<readonly string[]>;
  /** Our address as this trunk is to see it, for a line with a port of its own. Never rejects. */
  ownAddress(trunk: Trunk): Promise<string>;
  readonly userAgent: string;
};

export type TalkResult =
  | { readonly ok: true; readonly response: PlainResponse }
  | { readonly ok: false; readonly fault: TrunkFault; readonly status: number | null };

/** A proxy's challenge, the registrar's, and a stale nonce of each. */
const MAX_SENDS = 5;

export class TrunkTalk {
  readonly #line: TrunkLine;
  readonly #ports: TalkPorts;
  readonly #digest: DigestSession;
  readonly #callId = newId();
  readonly #fromTag = randomToken(8);
  #cseq = 0;

  constructor(line: TrunkLine, ports: TalkPorts) {
    this.#line = line;
    this.#ports = ports;
    const { username, password, realm } = line.trunk;
    const hasLogin = username !== null && password !== null;
    this.#digest = new DigestSession(hasLogin ? { username, password, realm } : null);
  }

  /** The final response, once challenges are answered. Redirects are not followed: credentials stay with this trunk. */
  async ask(
    method: PlainRequest['method'],
    headers: Readonly<Record<string, string>>,
    timeoutMs: number,
  ): Promise<TalkResult> {
    const trunk = readable(this.#line.trunk);
    if (trunk === null) return failed('host_invalid');
    if (!(await this.#resolves(trunk))) return failed('dns');
    const uri = `sip:${domainOf(trunk, true)}`;
    const round = this.#digest.begin();
    for (let sends = 0; sends < MAX_SENDS; sends++) {
      const result = await this.#ports.request({
        ...{ method, uri, timeoutMs, route: routeOf(trunk) },
        headers: { ...this.#headers(trunk, method), ...headers, ...this.#login(method, uri) },
      });
      if (!result.ok) return failed(FAULTS[result.cause]);
      const { response } = result;
      const { status } = response;
      if (status !== 401 && status !== 407) {
        if (status < 300) this.#digest.accepted(response);
        return { ok: true, response };
      }
      const refused = round.challenged(response);
      if (refused !== null) return failed(refused, status);
    }
    return failed('auth_failed');
  }

  /** Contact of this line; the engine fills in its own address. */
  async contact(): Promise<string> {
    const { trunk, localPort, trunkId } = this.#line;
    const user = encodeUser(userOf(trunk));
    if (localPort === null) return `<sip:${user}@localhost;line=${trunkId}>`;
    const host = uriHost(await this.#ports.ownAddress(trunk));
    const via = trunk.transport === 'udp' ? '' : `;transport=${trunk.transport}`;
    return `<sip:${user}@${host}:${localPort}${via};line=${trunkId}>`;
  }

  /** A proxy without a port may be known by SRV records alone, which the engine reads. */
  async #resolves(trunk: Trunk): Promise<boolean> {
    const { outboundProxy } = trunk;
    if (outboundProxy !== null && parseUri(routeUriOf(outboundProxy))?.port === null) return true;
    return (await this.#ports.resolve(nextHopOf(trunk).host)).length > 0;
  }

  #headers(trunk: Trunk, method: string): Record<string, string> {
    this.#cseq += 1;
    const own = `<sip:${encodeUser(userOf(trunk))}@${domainOf(trunk, false)}>`;
    return {
      From: `${own};tag=${this.#fromTag}`,
      To: method === 'REGISTER' ? own : `<sip:${domainOf(trunk, true)}>`,
      'Call-ID': this.#callId,
      CSeq: `${this.#cseq} ${method}`,
      'User-Agent': this.#ports.userAgent,
    };
  }

  #login(method: string, uri: string): Record<string, string> {
    return this.#digest.headers({ method, uri });
  }
}

const FAULTS = { engine: 'engine_down', unsendable: 'unreachable', timeout: 'timeout' } as const;

function failed(fault: TrunkFault, status: number | null = null): TalkResult {
  return { ok: false, fault, status };
}

/** Null for a row whose host, domain or proxy nobody could read. */
function readable(trunk: Trunk): Trunk | null {
  try {
    return checkedTrunk(trunk);
  } catch (error) {
    if (error instanceof AppError && error.code === 'E_CONFIG') return null;
    throw error;
  }
}

/** Who we are at this trunk. */
export function userOf({ username, fromNumber }: Trunk): string {
  return username ?? fromNumber ?? 'callyard';
}

function domainOf({ domain, host, port }: Trunk, withPort: boolean): string {
  if (domain !== null) return uriHost(domain);
  return withPort && port !== 5060 ? `${uriHost(host)}:${port}` : uriHost(host);
}

function routeOf(trunk: Trunk): string {
  const via = `;transport=${trunk.transport}`;
  if (trunk.outboundProxy === null) return `sip:${uriHost(trunk.host)}:${trunk.port}${via}`;
  const proxy = routeUriOf(trunk.outboundProxy);
  return /;transport=/i.test(proxy) ? proxy : `${proxy}${via}`;
}
