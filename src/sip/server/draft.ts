/** What the application wrote, merged into a message of the engine: its headers, body, and stand-ins for our address. */
import { randomToken } from '#lib/ids.ts';
import type { LocalNames } from './local-names.ts';
import { hostPort } from './addresses.ts';
import type { SipMessage } from './message.ts';
import type { Protocol, Target } from './types.ts';

/** Headers that are the engine's alone. */
const RESERVED = new Set([
  'via',
  'route',
  'record-route',
  'rseq',
  'content-length',
  'call-id',
  'cseq',
  'from',
  'to',
  'max-forwards',
  'contact',
]);

/** How we are called towards one peer. */
export type Self = {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
};

export function selfFor(
  names: LocalNames,
  local: { readonly address: string; readonly port: number },
  peer: Target,
): Self {
  const host = names.hostFor(local.address, peer.address);
  return { protocol: peer.protocol, host, port: local.port };
}

/** Copies the application's headers and body; Contact is treated apart (`addContact`). */
export function applyDraft(message: SipMessage, draft: SipMessage, self: Self): void {
  for (const { key, name } of draft.headers) {
    if (RESERVED.has(key) || message.has(key)) continue;
    for (const each of draft.getAll(name)) {
      message.add(name, key === 'p-asserted-identity' ? withOwnHost(each, self) : each);
    }
  }
  message.body = draft.body;
  if (draft.body.length > 0 && !draft.has('Content-Type')) {
    message.set('Content-Type', bodyTypeOf(draft.body));
  }
}

/** The application's Contact with our address filled in, or a default. */
export function addContact(message: SipMessage, draft: SipMessage | null, self: Self): void {
  const given = draft?.getAll('Contact') ?? [];
  if (given.length === 0) message.set('Contact', `<${ownUri(self)}>`);
  for (const value of given) message.add('Contact', withOwnContact(value, self));
}

/** `@localhost` in From, To and P-Asserted-Identity means this host. */
export function withOwnHost(value: string, self: Self): string {
  const host = self.host.includes(':') ? `[${self.host}]` : self.host;
  return value.replace(LOCALHOST, (_match, before: string) => `${before}${host}`);
}

/** `localhost` in a Contact means this host and port, and the transport where it is not UDP. */
export function withOwnContact(value: string, self: Self): string {
  if (!LOCALHOST.test(value)) return value;
  const own = hostPort(self.host, self.port) + transportParam(self);
  const replaced = value.replace(LOCALHOST, (_match, before: string) => `${before}${own}`);
  // Without angle brackets the parameters would belong to the header, not to the URI (RFC 3261 20.10).
  return replaced.includes('<') ? replaced : `<${replaced}>`;
}

/** A Via of ours with a fresh branch; rport asks for our outer port (RFC 3581). */
export function ownVia(self: Self): string {
  const transport = self.protocol.toUpperCase();
  const branch = `z9hG4bK${randomToken(12)}`;
  return `SIP/2.0/${transport} ${hostPort(self.host, self.port)};branch=${branch};rport`;
}

const LOCALHOST = /(@|sips?:)localhost(?::\d+)?(?=[;>?,\s]|$)/i;

function ownUri(self: Self): string {
  return `sip:${hostPort(self.host, self.port)}${transportParam(self)}`;
}

function transportParam(self: Self): string {
  return self.protocol === 'udp' ? '' : `;transport=${self.protocol}`;
}

function bodyTypeOf(body: Buffer): string {
  return body.subarray(0, 3).toString('latin1') === 'v=0'
    ? 'application/sdp'
    : 'application/octet-stream';
}
