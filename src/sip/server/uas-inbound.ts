/** A request from the network that the application still has to answer. */
import type { TimerHandle } from '#lib/clock.ts';
import { newId, randomToken } from '#lib/ids.ts';
import type { AppClient } from './control-types.ts';
import type { Dialog } from './dialog.ts';
import { SipMessage } from './message.ts';
import type { AnyServerTransaction } from './transaction-layer.ts';

export type Inbound = {
  /** The application's name for the transaction. */
  readonly id: string;
  readonly transaction: AnyServerTransaction;
  readonly request: SipMessage;
  readonly client: AppClient;
  /** The dialog it is in, or the one its answer makes. */
  dialog: Dialog | null;
  /** True for a request inside a dialog, false for one that may make one. */
  readonly isInDialog: boolean;
  /** Ours, in every response over 100; chosen once. Empty when the request brought one. */
  toTag: string;
  /** Silence of the application, or ringing too long. */
  limit: TimerHandle | undefined;
  /** When ringing began, on the engine's clock; null before. */
  ringingSinceMs: number | null;
  lastProvisional: SipMessage | null;
};

export function newInbound(
  transaction: AnyServerTransaction,
  client: AppClient,
  dialog: Dialog | null,
): Inbound {
  return {
    id: newId(),
    transaction,
    request: transaction.request,
    client,
    dialog,
    isInDialog: dialog !== null,
    toTag: '',
    limit: undefined,
    ringingSinceMs: null,
    lastProvisional: null,
  };
}

/** A response with the To tag that every response over 100 has (RFC 3261 8.2.6.2). */
export function responseWithTag(
  request: SipMessage,
  status: number,
  reason: string,
  toTag = randomToken(9),
): SipMessage {
  const response = SipMessage.responseTo(request, status, reason);
  if (status > 100 && request.to.tag === undefined) {
    response.set('To', `${request.get('To') ?? ''};tag=${toTag}`);
  }
  return response;
}
