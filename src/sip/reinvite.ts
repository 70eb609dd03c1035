/** Sends one re-INVITE of ours to its end: challenges, glare, deadline, ACK. */
import type { Clock } from '#lib/clock.ts';
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
  readonly sdp: string;
  /** Settles when the dialog is over. */
  readonly over: Promise<unknown>;
  readonly random?: () => number;
};

const ANSWER_TIMEOUT_MS = 32_000;
const MAX_GLARES = 3;

/** The answer's SDP. Errors: E_SIP_REJECTED, E_SIP_DIALOG_GONE, E_SIP_ENGINE, E_TIMEOUT. */
export function sendReinvite(options: ReinviteOptions): Promise<string> {
  const { link, clock, dialogId, sdp, credentials } = options;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const digest = credentials === null ? null : new DigestClient(credentials);
  let glares = 0;
  let settled = false;

  const send = (authorization: Readonly<Record<string, string>>): void => {
    if (settled) return;
    let uri = '';
    const headers = { 'Content-Type': 'application/sdp', Allow: ALLOW, ...authorization };
    link.send(
      { method: 'INVITE', dialogId, headers, body: sdp },
      {
        onSent: (sent) => ({ uri } = sent),
        onError: reject,
        onResponse: (response) => {
          if (response.status < 200) return;
          response.acknowledge();
          if (response.status < 300) return accept(response);
          const challenged = response.status === 401 || response.status === 407;
          const again = challenged ? digest?.answer(response, { method: 'INVITE', uri }) : null;
          if (again) return send({ [again.name]: again.value });
          glares += 1;
          if (response.status === 491 && glares < MAX_GLARES) {
            clock.setTimer(() => send(authorization), glareDelayMs(options));
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
  send({});
  return withDeadline(promise, ANSWER_TIMEOUT_MS, 're-INVITE', clock).finally(() => {
    settled = true;
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
