/** Sends one digit by INFO inside a dialog: challenges, deadline, refusals. */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { DigestClient, type Credentials } from './digest.ts';
import type { SrfLink } from './srf.ts';
import { dialogGone } from './reinvite.ts';

export type InfoOptions = {
  readonly link: Pick<SrfLink, 'send'>;
  readonly clock: Clock;
  readonly dialogId: string;
  readonly credentials: Credentials | null;
  /** `0-9A-D*#`. */
  readonly digit: string;
  readonly durationMs: number;
  /** Settles when the dialog is over. */
  readonly over: Promise<unknown>;
};

/** A digit that comes later than this is of no use to anybody. */
const ANSWER_TIMEOUT_MS = 4000;

/** Resolves with the 2xx. Errors: E_REQUEST, E_SIP_REJECTED, E_SIP_DIALOG_GONE, E_SIP_ENGINE, E_TIMEOUT. */
export async function sendInfoDtmf(options: InfoOptions): Promise<void> {
  const { link, clock, dialogId, credentials, digit, durationMs } = options;
  if (!/^[0-9A-D*#]$/.test(digit)) throw new AppError('E_REQUEST', 'no DTMF digit');
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const digest = credentials === null ? null : new DigestClient(credentials);
  let isSettled = false;
  const send = (authorization: Readonly<Record<string, string>>): void => {
    if (isSettled) return;
    let uri = '';
    const headers = { 'Content-Type': 'application/dtmf-relay', ...authorization };
    const body = `Signal=${digit}\r\nDuration=${Math.round(durationMs)}\r\n`;
    link.send(
      { method: 'INFO', dialogId, headers, body },
      {
        onSent: (sent) => ({ uri } = sent),
        onError: reject,
        onResponse: (response) => {
          const { status, reason } = response;
          if (status < 200) return;
          if (status < 300) return resolve();
          const challenged = status === 401 || status === 407;
          const again = challenged ? digest?.answer(response, { method: 'INFO', uri }) : null;
          if (again) return send({ [again.name]: again.value });
          const isGone = status === 481 || status === 408;
          const code = isGone ? 'E_SIP_DIALOG_GONE' : 'E_SIP_REJECTED';
          reject(new AppError(code, `INFO refused: ${status} ${reason}`, { details: { status } }));
        },
      },
    );
  };
  void options.over.then(() => reject(dialogGone()));
  send({});
  try {
    await withDeadline(promise, ANSWER_TIMEOUT_MS, 'a digit by INFO', clock);
  } finally {
    isSettled = true;
  }
}
