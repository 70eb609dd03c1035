/** Sends one re-INVITE of ours to its end: challenges, glare, deadline, ACK. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { ALLOW, sdpOf } from './body.ts';
import { DigestClient, type Credentials } from './digest.ts';
import type { SrfLink, WireResponse } from './srf.ts';

export type ReinviteOptions = {
  readonly link: Pick<SrfLink, 'send'>;
  readonly clock: Clock;
  readonly dialogId: string;
  readonly role: 'caller' | 'callee';
  readonly credentials: Credentials | null;
  /** Asked for each time an offer is sent. */
  readonly sdp: () => string;
  /** Resolves when no offer of theirs is being answered: until then none of ours may be sent (RFC 3261 14.1). */
  readonly free: () => Promise<void>;
  /** An offer of ours is on the wire, or no longer is: between two attempts theirs are welcome. */
  readonly onWire: (on: boolean) => void;
  /** Settles when the dialog is over. */
  readonly over: Promise<unknown>;
  readonly random?: () => number;
};

const ANSWER_TIMEOUT_MS = 32_000;
const MAX_GLARES = 3;

/** The answer's SDP. Errors: E_SIP_REJECTED, E_SIP_DIALOG_GONE, E_SIP_ENGINE, E_TIMEOUT. */
export function sendReinvite(options: ReinviteOptions): Promise<string> {
  const { link, clock, dialogId, credentials, onWire } = options;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let digest: DigestClient | null = null;
  let glares = 0;
  let settled = false;
  let waiting: TimerHandle | undefined;

  const begin = async (): Promise<void> => {
    await options.free();
    if (settled) return;
    digest = credentials === null ? null : new DigestClient(credentials);
    send({}, options.sdp());
  };
  const again = (): void => void begin().catch(reject);
  const send = (authorization: Readonly<Record<string, string>>, sdp: string): void => {
    let uri = '';
    const headers = { 'Content-Type': 'application/sdp', Allow: ALLOW, ...authorization };
    onWire(true);
    link.send(
      { method: 'INVITE', dialogId, headers, body: sdp },
      {
        onSent: (sent) => ({ uri } = sent),
        onError: reject,
        onResponse: (response) => {
          if (response.status < 200) return;
          response.acknowledge();
          if (settled) return;
          onWire(false);
          if (response.status < 300) return accept(response);
          const challenged = response.status === 401 || response.status === 407;
          const login = challenged ? digest?.answer(response, { method: 'INVITE', uri }) : null;
          if (login) return send({ [login.name]: login.value }, sdp);
          glares += 1;
          if (response.status === 491 && glares < MAX_GLARES) {
            waiting = clock.setTimer(again, glareDelayMs(options));
            return;
          }
          reject(refusal(response));
        },
      },
    );
  };
  const accept = (response: WireResponse): void => {
    const found = sdpOf(response.header('content-type'), response.body);
    if (found !== 'unsupported' && found.sdp !== null) resolve(found.sdp);
    else reject(new AppError('E_SIP_REJECTED', 'the answer to the re-INVITE has no SDP'));
  };
  void options.over.then(() => reject(dialogGone()));
  again();
  return withDeadline(promise, ANSWER_TIMEOUT_MS, 're-INVITE', clock).finally(() => {
    settled = true;
    clock.clearTimer(waiting);
    onWire(false);
  });
}

/** RFC 3261 14.1: the owner of the Call-ID waits 2.1-4 s, the other side 0-2 s, in units of 10 ms. */
function glareDelayMs({ role, random = Math.random }: ReinviteOptions): number {
  const units = Math.floor(random() * (role === 'caller' ? 190 : 200));
  return (role === 'caller' ? 2100 : 0) + units * 10;
}

function refusal(response: WireResponse): AppError {
  const text = `re-INVITE refused: ${response.status} ${response.reason}`;
  const gone = response.status === 481 || response.status === 408;
  return new AppError(gone ? 'E_SIP_DIALOG_GONE' : 'E_SIP_REJECTED', text, {
    details: { status: response.status },
  });
}

export function dialogGone(): AppError {
  return new AppError('E_SIP_DIALOG_GONE', 'the dialog is over');
}
