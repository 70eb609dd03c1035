/** The ACK to a 2xx, and responses in the place of those that will not come. */
import type { Dialog } from './dialog.ts';
import { SipMessage } from './message.ts';

/** CSeq and credentials are those of the INVITE (RFC 3261 13.2.2.4). */
export function ackOf(dialog: Dialog, invite: SipMessage): SipMessage {
  const ack = dialog.request('ACK', invite.cseq.number);
  for (const name of ['Authorization', 'Proxy-Authorization']) {
    for (const value of invite.getAll(name)) ack.add(name, value);
  }
  return ack;
}

/** For a request that timed out (408) or could not be sent (503): RFC 3261 8.1.3.1. */
export function ownResponse(request: SipMessage, status: number, reason: string): SipMessage {
  return SipMessage.responseTo(request, status, reason);
}
