/** An INVITE of the application on its way: what CANCEL, forks and repeated answers need to know. */
import type { AppClient } from './control-types.ts';
import type { Dialog } from './dialog.ts';
import type { SipMessage } from './message.ts';
import type { AnyClientTransaction, Destination } from './transaction-layer.ts';
import type { Target } from './types.ts';

export type Attempt = {
  /** The application's name for the transaction. */
  readonly id: string;
  readonly client: AppClient;
  /** As last sent: a second try at another address has another Via. */
  request: SipMessage;
  destination: Destination | null;
  transaction: AnyClientTransaction | null;
  /** The dialog a re-INVITE is in, or the one the first 2xx confirmed. */
  dialog: Dialog | null;
  readonly isReinvite: boolean;
  /** `held`: wanted before any provisional came (RFC 3261 9.1). */
  cancel: 'none' | 'held' | 'sent';
  cancelDraft: SipMessage | null;
  hasProvisional: boolean;
  /** Answered by more than one phone: the others, by To tag, each acknowledged and hung up. */
  readonly extras: Map<string, Dialog>;
  isAnswered: boolean;
  /** To tags seen in provisional responses. */
  forks: number;
};

export function newAttempt(
  id: string,
  client: AppClient,
  request: SipMessage,
  dialog: Dialog | null,
): Attempt {
  return {
    id,
    client,
    request,
    destination: null,
    transaction: null,
    dialog,
    isReinvite: dialog !== null,
    cancel: 'none',
    cancelDraft: null,
    hasProvisional: false,
    extras: new Map(),
    isAnswered: false,
    forks: 0,
  };
}

/** Where the attempt went, for the frame about its CANCEL. */
export function targetOf(attempt: Attempt): Target {
  return attempt.destination?.target ?? { protocol: 'udp', address: '0.0.0.0', port: 0 };
}
