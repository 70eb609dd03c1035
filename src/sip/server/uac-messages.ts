/** Requests of the application outside any dialog, and the CANCEL of one of them, as messages. */
import { newId, randomToken } from '#lib/ids.ts';
import { addContact, applyDraft, ownVia, withOwnHost } from './draft.ts';
import type { Self } from './draft.ts';
import { hostPort } from './addresses.ts';
import { SipMessage } from './message.ts';

/** What stays the same over several tries: Call-ID, CSeq, From tag (a digest retry brings them along). */
export type Identity = {
  readonly callId: string;
  readonly cseq: number;
  readonly fromTag: string;
};

/** Methods whose requests name where they can be answered (RFC 3261 8.1.1.8; REGISTER only as the application says). */
const WITH_CONTACT = new Set(['INVITE', 'SUBSCRIBE', 'OPTIONS', 'REFER', 'NOTIFY']);

export function identityOf(draft: SipMessage): Identity {
  const { callId, cseq, from } = draft;
  return {
    callId: callId === '' ? newId() : callId,
    cseq: cseq.number > 0 ? cseq.number : 1,
    fromTag: from.tag ?? randomToken(9),
  };
}

/** The request as it goes on the wire from `self`, with a fresh branch. */
export function buildRequest(draft: SipMessage, identity: Identity, self: Self): SipMessage {
  const request = SipMessage.request(draft.method, withOwnHost(draft.uri, self));
  request.add('Via', ownVia(self));
  request.add('Max-Forwards', draft.get('Max-Forwards') ?? '70');
  const from = draft.get('From') ?? `<sip:${hostPort(self.host, self.port)}>`;
  request.add('From', tagged(withOwnHost(from, self), draft.from.tag, identity.fromTag));
  const to = draft.get('To') ?? `<${request.uri}>`;
  request.add('To', withOwnHost(to, self));
  request.add('Call-ID', identity.callId);
  request.add('CSeq', `${identity.cseq} ${draft.method}`);
  if (WITH_CONTACT.has(draft.method) || draft.has('Contact')) addContact(request, draft, self);
  applyDraft(request, draft, self);
  return request;
}

/** RFC 3261 9.1: everything that identifies the INVITE, and its top Via alone. */
export function buildCancel(invite: SipMessage, draft: SipMessage | null): SipMessage {
  const cancel = SipMessage.request('CANCEL', invite.uri);
  cancel.add('Via', invite.list('Via')[0] ?? '');
  for (const route of invite.getAll('Route')) cancel.add('Route', route);
  cancel.add('Max-Forwards', '70');
  cancel.add('From', invite.get('From') ?? '');
  cancel.add('To', invite.get('To') ?? '');
  cancel.add('Call-ID', invite.callId);
  cancel.add('CSeq', `${invite.cseq.number} CANCEL`);
  for (const name of ['Reason', 'X-Reason']) {
    for (const value of draft?.getAll(name) ?? []) cancel.add(name, value);
  }
  return cancel;
}

function tagged(from: string, has: string | undefined, tag: string): string {
  if (has !== undefined) return from;
  // Without angle brackets a parameter would belong to the header anyway (RFC 3261 20.20).
  return `${from};tag=${tag}`;
}
