/** One SIP dialog (RFC 3261 12): tags, CSeq numbers, route set, remote target, and who of the application owns it. */
import type { AppClient } from './control-types.ts';
import { SipMessage } from './message.ts';
import { parseNameAddr } from './header-grammar.ts';
import { parseUri } from './uri.ts';
import type { Destination } from './transaction-layer.ts';
import type { Flow } from './types.ts';

export type DialogRole = 'uas' | 'uac';

export type DialogFields = {
  readonly role: DialogRole;
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  /** Values of From in our requests and To in the peer's, and the other way round; tags included. */
  readonly localParty: string;
  readonly remoteParty: string;
  /** Tag of the From of the request that made the dialog: names the dialog to the application. */
  readonly originalFromTag: string;
  readonly localCseq: number;
  readonly remoteCseq: number | null;
  readonly routeSet: readonly string[];
  readonly remoteTarget: string;
  readonly flow: Flow;
  readonly owner: AppClient;
};

/** Why the engine hangs up by itself; goes into the Reason header (RFC 3326). */
export type HangUpReason = { readonly cause: number; readonly text: string };

/** An ACK of ours, kept because a repeated 2xx wants it again (RFC 3261 13.2.2.4). */
export type SentAck = {
  readonly cseq: number;
  readonly bytes: Buffer;
  readonly destination: Destination;
};

/** A 2xx of the peer that the application has not acknowledged yet. */
export type UnsentAck = { readonly invite: SipMessage; dispose(): void };

/** A 2xx of ours that waits for its ACK. `dispose` stops the repeats. */
export type AwaitedAck = { readonly cseq: number; dispose(): void };

export class Dialog {
  readonly role: DialogRole;
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  /** The application's name for it: `Call-ID;from-tag=...`. Forks share it. */
  readonly controlId: string;
  readonly localParty: string;
  readonly remoteParty: string;
  /** Fixed once the dialog is confirmed (RFC 3261 13.2.2.4). */
  routeSet: readonly string[];
  remoteTarget: string;
  localCseq: number;
  remoteCseq: number | null;
  /** Where the peer's last message came from. */
  flow: Flow;
  /** The Contact is of no use from here: requests go back to where the peer's came from. */
  behindNat = false;
  /** Some SDP went against the first offer: only then another may be made (RFC 3311 5.1). */
  isOfferAnswered = false;
  owner: AppClient;
  state: 'early' | 'confirmed' | 'ended' = 'early';
  /** Unanswered INVITEs, by who sent them (RFC 3261 14.2). */
  inviteFromPeer = false;
  inviteFromUs = false;
  /** Unanswered UPDATEs (RFC 3311 5.2). */
  updateFromPeer = false;
  updateFromUs = false;
  /** Set while a BYE of ours is unanswered. */
  byeSent = false;
  /** The call was answered, but nobody will have it: BYE follows the application's ACK. */
  hangUpAfterAck: HangUpReason | null = null;
  lastAck: SentAck | null = null;
  unsentAck: UnsentAck | null = null;
  awaitedAck: AwaitedAck | null = null;
  /** Highest RSeq the peer sent in a reliable 1xx (RFC 3262 4); repeats are not passed up. */
  lastRseq: number | null = null;
  readonly #afterAck: (() => void)[] = [];
  #queue: Promise<void> = Promise.resolve();

  constructor(fields: DialogFields) {
    this.role = fields.role;
    this.callId = fields.callId;
    this.localTag = fields.localTag;
    this.remoteTag = fields.remoteTag;
    this.controlId = controlIdOf(fields.callId, fields.originalFromTag);
    this.localParty = fields.localParty;
    this.remoteParty = fields.remoteParty;
    this.routeSet = fields.routeSet;
    this.remoteTarget = fields.remoteTarget;
    this.localCseq = fields.localCseq;
    this.remoteCseq = fields.remoteCseq;
    this.flow = fields.flow;
    this.owner = fields.owner;
  }

  /** A request in this dialog (RFC 3261 12.2.1.1) without Via and Contact. ACK repeats `cseq`, others count up. */
  request(method: string, cseq?: number): SipMessage {
    const number = cseq ?? ++this.localCseq;
    const [first, ...rest] = this.routeSet;
    const firstUri = first === undefined ? undefined : parseNameAddr(first)?.uri;
    const isStrict = firstUri !== undefined && !isLoose(firstUri);
    const message = SipMessage.request(
      method,
      isStrict ? requestUriOf(firstUri) : requestUriOf(this.remoteTarget),
    );
    const routes = isStrict ? [...rest, `<${this.remoteTarget}>`] : this.routeSet;
    for (const route of routes) message.add('Route', route);
    message.add('Max-Forwards', '70');
    message.add('From', this.localParty);
    message.add('To', this.remoteParty);
    message.add('Call-ID', this.callId);
    message.add('CSeq', `${number} ${method}`);
    return message;
  }

  /** The URI whose host the next request is sent to. */
  get nextHop(): string {
    const first = this.routeSet[0];
    const uri = first === undefined ? undefined : parseNameAddr(first)?.uri;
    return uri ?? this.remoteTarget;
  }

  /** A 2xx confirms the dialog of the caller's side and fixes the route set anew (RFC 3261 13.2.2.4). */
  confirm(response: SipMessage, flow: Flow): void {
    this.state = 'confirmed';
    this.routeSet = response.list('Record-Route').reverse();
    this.flow = flow;
    this.refreshTarget(response);
  }

  /** Takes the Contact of a target refresh (RFC 3261 12.2.1.2, 12.2.2). */
  refreshTarget(message: SipMessage): void {
    const uri = message.contact?.uri;
    if (uri !== undefined && uri !== '*' && parseUri(uri) !== undefined) this.remoteTarget = uri;
  }

  /** Runs `work` after everything queued before it, so that an ACK never overtakes or trails its BYE. */
  enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work);
  }

  /** At once, or when the peer's ACK is in (RFC 3261 15: no BYE before it) or given up. */
  afterAck(work: () => void): void {
    if (this.awaitedAck === null) work();
    else this.#afterAck.push(work);
  }

  /** The ACK came, or will not come any more. */
  settleAck(): void {
    this.awaitedAck?.dispose();
    this.awaitedAck = null;
    for (const work of this.#afterAck.splice(0)) work();
  }

  /** Stops what still runs for it. Idempotent. */
  end(): void {
    this.state = 'ended';
    this.awaitedAck?.dispose();
    this.awaitedAck = null;
    this.unsentAck?.dispose();
    this.unsentAck = null;
    // What waited for the ACK finds the dialog ended and says so to the application.
    for (const work of this.#afterAck.splice(0)) work();
  }
}

export function controlIdOf(callId: string, fromTag: string): string {
  return `${callId};from-tag=${fromTag}`;
}

/** The dialog that our 1xx or 2xx with a To tag makes (RFC 3261 12.1.1). */
export function dialogOfServer(
  request: SipMessage,
  response: SipMessage,
  flow: Flow,
  owner: AppClient,
): Dialog {
  return new Dialog({
    role: 'uas',
    callId: request.callId,
    localTag: response.to.tag ?? '',
    remoteTag: request.from.tag ?? '',
    localParty: response.get('To') ?? '',
    remoteParty: request.get('From') ?? '',
    originalFromTag: request.from.tag ?? '',
    localCseq: 0,
    remoteCseq: request.cseq.number,
    routeSet: request.list('Record-Route'),
    remoteTarget: request.contact?.uri ?? request.from.uri,
    flow,
    owner,
  });
}

/** The dialog that the peer's 1xx or 2xx with a To tag makes (RFC 3261 12.1.2). */
export function dialogOfClient(
  request: SipMessage,
  response: SipMessage,
  flow: Flow,
  owner: AppClient,
): Dialog {
  return new Dialog({
    role: 'uac',
    callId: request.callId,
    localTag: request.from.tag ?? '',
    remoteTag: response.to.tag ?? '',
    localParty: request.get('From') ?? '',
    remoteParty: response.get('To') ?? '',
    originalFromTag: request.from.tag ?? '',
    localCseq: request.cseq.number,
    remoteCseq: null,
    routeSet: response.list('Record-Route').reverse(),
    remoteTarget: response.contact?.uri ?? request.uri,
    flow,
    owner,
  });
}

function isLoose(uri: string): boolean {
  return parseUri(uri)?.params.has('lr') ?? true;
}

/** A Request-URI carries no headers and no method parameter (RFC 3261 19.1.1, table 1). */
function requestUriOf(uri: string): string {
  const [bare = uri] = uri.split('?', 1);
  return bare.replace(/;method=[^;]*/i, '');
}
