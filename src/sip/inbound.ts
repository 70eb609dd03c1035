/** An INVITE that waits for its decision, and the races between answering it and its CANCEL. */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { isId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { ALLOW } from './body.ts';
import { DialogLeg, engineEnd } from './dialog.ts';
import { calleeOf, callerOf, parseNameAddr, parseUri } from './party.ts';
import { parseReason } from './status.ts';
import type { SentResponse, SrfLink, WireRequest } from './srf.ts';
import type { InboundCall, SipDialog, SipEnd } from './types.ts';

export type InboundOptions = {
  readonly request: WireRequest;
  readonly offer: string | null;
  readonly link: Pick<SrfLink, 'send'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether P-Asserted-Identity of this source is believed. */
  readonly trustAsserted: boolean;
  /** A dialog came into being; it stays until `onOver`. */
  readonly addLeg: (leg: DialogLeg) => void;
  readonly removeLeg: (leg: DialogLeg) => void;
  /** The INVITE has its final response, or has none to come. */
  readonly onDecided: () => void;
};

export type Inbound = {
  readonly call: InboundCall;
  /** The control connection is gone. */
  lost(): void;
};

/** How long the engine may take to say that the 200 is out. */
const SENT_TIMEOUT_MS = 5000;
/** Longer than any engine repeats a 200 (64 * T1, and a little): then it is our turn to give up. */
const ACK_TIMEOUT_MS = 45_000;

/** Wraps an INVITE that has Contact and a body we can read. */
export function createInbound(options: InboundOptions): Inbound {
  const { request, offer, onDecided } = options;
  const listeners: ((end: SipEnd) => void)[] = [];
  let cancelled: SipEnd | null = null;
  let decided = false;

  const giveUp = (end: SipEnd): void => {
    if (cancelled !== null || decided) return;
    cancelled = end;
    onDecided();
    for (const listener of listeners.splice(0)) listener(end);
  };
  request.onCancel((cancel) =>
    giveUp({ by: 'remote', status: 487, ...parseReason(cancel.header('reason')) }),
  );
  request.onUpdate((update) => answerEarlyUpdate(update));

  /** True for whoever decides first. */
  const decide = (): boolean => {
    if (decided || cancelled !== null) return false;
    decided = true;
    onDecided();
    return true;
  };
  const call: InboundCall = {
    ...describe(options),
    offer,
    header: (name) => request.header(name),
    progress: (status, sdp) => {
      if (decided || cancelled !== null) return;
      const headers = { Allow: ALLOW, ...(sdp ? { 'Content-Type': 'application/sdp' } : {}) };
      request.respond(status, { headers, ...(sdp ? { body: sdp } : {}) });
    },
    answer: async (sdp) => {
      if (!decide()) throw cancelledError();
      return await answerCall(options, sdp);
    },
    reject: (status, reason, headers) => {
      if (!decide()) return;
      request.respond(status, {
        ...(reason === undefined ? {} : { reason }),
        ...(headers === undefined ? {} : { headers }),
      });
    },
    onCancel: (listener) => {
      if (cancelled === null) listeners.push(listener);
      else listener(cancelled);
    },
  };
  return { call, lost: () => giveUp(engineEnd('connection to the SIP engine lost')) };
}

type Described = Omit<
  InboundCall,
  'offer' | 'header' | 'progress' | 'answer' | 'reject' | 'onCancel'
>;

function describe({ request, trustAsserted }: InboundOptions): Described {
  const header = (name: string): string | undefined => request.header(name);
  const uri = parseUri(request.uri);
  const to = calleeOf(header);
  const line = uri?.params.get('line') ?? null;
  const isLine = line !== null && isId(line);
  return {
    sipCallId: header('call-id') ?? '',
    from: callerOf(header, trustAsserted),
    to,
    // A registrar puts our Contact in place of the number that was dialled, which still stands in To.
    called: (isLine ? to.user : '') || (uri?.user ?? ''),
    line: isLine ? line : null,
    transport: transportOf(request.protocol),
    sourceAddress: request.sourceAddress,
    sourcePort: request.sourcePort,
    receivedAddress: request.receivedAddress ?? '',
  };
}

function transportOf(protocol: string): InboundCall['transport'] {
  const name = protocol.toLowerCase();
  return name === 'tcp' || name === 'tls' || name === 'ws' || name === 'wss' ? name : 'udp';
}

/** RFC 3311 5.2: before the INVITE's offer is answered, a new offer must wait; one without SDP is a mere refresh. */
function answerEarlyUpdate(update: WireRequest): void {
  if (update.body.trim() === '') update.respond(200, { headers: { Allow: ALLOW } });
  else update.respond(500, { headers: { 'Retry-After': '5' } });
}

async function answerCall(options: InboundOptions, sdp: string): Promise<SipDialog> {
  const { request, clock } = options;
  const taken = Promise.withResolvers<DialogLeg>();
  let waiting = true;
  const headers = { 'Content-Type': 'application/sdp', Allow: ALLOW };
  request.respond(200, { headers, body: sdp }, (result) => {
    if (result instanceof AppError) return taken.reject(result);
    // Made here and not after an await: the ACK may be the very next frame.
    const leg = createLeg(options, result);
    if (waiting) taken.resolve(leg);
    else void leg.bye();
  });
  try {
    const leg = await withDeadline(taken.promise, SENT_TIMEOUT_MS, 'sending the 200', clock);
    return await confirmed(leg, options);
  } catch (error) {
    const known = toAppError(error, 'E_SIP_ENGINE');
    if (known.code !== 'E_TIMEOUT' || known.details['ack'] === true) throw known;
    throw new AppError('E_SIP_ENGINE', known.message, { cause: known });
  } finally {
    waiting = false;
  }
}

function createLeg(options: InboundOptions, sent: SentResponse): DialogLeg {
  const { request, link, clock, log, addLeg, removeLeg } = options;
  const leg: DialogLeg = new DialogLeg({
    link,
    clock,
    log,
    key: {
      callId: request.header('call-id') ?? '',
      localTag: parseNameAddr(sent.header('to') ?? '').params.get('tag') ?? '',
      remoteTag: parseNameAddr(request.header('from') ?? '').params.get('tag') ?? '',
    },
    dialogId: sent.dialogId,
    role: 'callee',
    credentials: null,
    lateOffer: options.offer === null,
    onOver: () => removeLeg(leg),
  });
  addLeg(leg);
  return leg;
}

/** The dialog once the ACK is in, or once the caller's BYE has overtaken a lost ACK. */
async function confirmed(leg: DialogLeg, options: InboundOptions): Promise<SipDialog> {
  const { promise, resolve, reject } = Promise.withResolvers<SipDialog>();
  const noAck = (): void => reject(new AppError('E_TIMEOUT', 'no ACK', { details: { ack: true } }));
  const timer = options.clock.setTimer(() => {
    noAck();
    void leg.bye();
  }, ACK_TIMEOUT_MS);
  leg.onAck((sdp) => {
    if (options.offer !== null || sdp !== null) resolve(leg);
    else reject(new AppError('E_SDP', 'the ACK has no SDP to answer our offer'));
  });
  leg.onEnd((end) => {
    if (end.by === 'remote') resolve(leg);
    else noAck();
  });
  try {
    return await promise;
  } finally {
    options.clock.clearTimer(timer);
  }
}

function cancelledError(): AppError {
  return new AppError('E_SIP_CANCELLED', 'the caller gave up before the answer');
}
