/** A SIP peer that a test plays by hand: requests wait until they are answered, nothing is sent. */
import { createHash } from 'node:crypto';
import type { TrunkLine } from '#lib/trunk.ts';
import type { PlainRequest, PlainResult } from '#sip/plain-requests.ts';
import type { TalkPorts } from '#sip/trunk-talk.ts';

export const TRUNK_ID = '99999999-9999-4999-8999-999999999999';
export const ACCOUNT_ID = '88888888-8888-4888-8888-888888888888';

export type Asked = {
  readonly request: PlainRequest;
  header(name: string): string;
  answer(status: number, headers?: Readonly<Record<string, string>>): void;
  /** Ends it without a response. */
  fail(cause: 'engine' | 'unsendable' | 'timeout'): void;
};

export class FakeRegistrar {
  /** Oldest first. */
  readonly asked: Asked[] = [];
  /** Hosts that do not resolve. */
  readonly unknown = new Set<string>();
  readonly ports: TalkPorts = {
    request: (request) => this.#take(request),
    resolve: async (host) => (this.unknown.has(host) ? [] : ['192.0.2.20']),
    ownAddress: async () => '198.51.100.7',
    userAgent: 'callyard/test',
  };

  get last(): Asked {
    const last = this.asked.at(-1);
    if (last === undefined) throw new Error('nothing was asked');
    return last;
  }

  #take(request: PlainRequest): Promise<PlainResult> {
    const { promise, resolve } = Promise.withResolvers<PlainResult>();
    const sent = new Map(
      Object.entries(request.headers).map(([name, value]) => [
        name.toLowerCase(),
        value.replace('@localhost', '@198.51.100.7:5060'),
      ]),
    );
    this.asked.push({
      request,
      header: (name) => sent.get(name.toLowerCase()) ?? '',
      answer: (status, headers = {}) => {
        const given = new Map(
          Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
        );
        resolve({
          ok: true,
          response: {
            status,
            header: (name) => given.get(name.toLowerCase()),
            sentHeader: (name) => sent.get(name.toLowerCase()),
          },
        });
      },
      fail: (cause) => resolve({ ok: false, cause }),
    });
    return promise;
  }
}

export function lineOf(changes: Partial<TrunkLine> = {}, trunk: Partial<TrunkLine['trunk']> = {}) {
  const line: TrunkLine = {
    ...{ accountId: ACCOUNT_ID, trunkId: TRUNK_ID, register: true, intervalS: 600 },
    localPort: null,
    trunk: {
      ...{ id: TRUNK_ID, name: 'Test', host: 'sip.example.net', port: 5060, transport: 'udp' },
      ...{ username: 'alice', password: 'secret', realm: null, domain: null },
      ...{ outboundProxy: null, fromNumber: null, displayName: null, localHost: null },
      codecs: ['PCMA'],
      ...trunk,
    },
    ...changes,
  };
  return line;
}

export const CHALLENGE = 'Digest realm="example.net", nonce="n1", algorithm=MD5, qop="auth"';

/** Whether credentials are right for `password`, reckoned from RFC 7616 anew. */
export function isRightLogin(value: string, password = 'secret', method = 'REGISTER'): boolean {
  const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
  const field = (name: string): string =>
    new RegExp(`\\b${name}="?([^",]+)"?`).exec(value)?.[1] ?? '';
  const a1 = md5(`${field('username')}:${field('realm')}:${password}`);
  const a2 = md5(`${method}:${field('uri')}`);
  const middle = [field('nonce'), field('nc'), field('cnonce'), 'auth'].join(':');
  return field('response') === md5(`${a1}:${middle}:${a2}`);
}
