/** What the SIP core and the application side say to each other, whatever carries it. */
import type { SipMessage } from './message.ts';
import type { Flow, Target } from './types.ts';

/** Something from the network, or done by the engine itself, that the application must hear of. */
export type AppEvent = {
  /** `network` also for the 408 or 503 of an unanswered request; `application`: a BYE of the engine's own. */
  readonly source: 'network' | 'application';
  readonly message: SipMessage;
  readonly peer: Target;
  /** `unsolicited` for a BYE of the engine's own. */
  readonly transactionId: string;
  /** `Call-ID;from-tag=...`, empty outside a dialog. */
  readonly dialogId: string;
  /** Where a request outside any dialog arrived. */
  readonly receivedOn?: { readonly address: string; readonly port: number };
};

export function peerOf(flow: Flow): Target {
  return { protocol: flow.protocol, address: flow.remoteAddress, port: flow.remotePort };
}

/** Of a response that never came, as drachtio-server writes it: no address is the mark of the engine's own 408 or 503. */
export const NO_PEER: Target = { protocol: 'udp', address: '', port: 0 };

/** One connected application. */
export type AppClient = {
  readonly tags: readonly string[];
  readonly isOpen: boolean;
  deliver(event: AppEvent): void;
};

/** The connected applications. */
export type AppRegistry = {
  /** The next one, in turn, that asked for this method; undefined when none did. */
  pick(method: string): AppClient | undefined;
  /** One that may take over the dialogs of another with these tags. */
  heir(tags: readonly string[]): AppClient | undefined;
  /** Methods, upper case, that any application asked for. */
  readonly methods: readonly string[];
};

/** How a message of the application went out; `message` is what is on the wire. */
export type Sent = {
  readonly ok: true;
  readonly message: SipMessage;
  readonly peer: Target;
  readonly transactionId: string;
  readonly dialogId: string;
};

export type NotSent = { readonly ok: false; readonly reason: string };
export type SendResult = Sent | NotSent;
/** Called exactly once, before anything else of the transaction reaches the application. */
export type Reply = (result: SendResult) => void;
