/** Sends one event to one webhook, signed, and says how it went in words that a customer may read. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { PublicEvent } from '#lib/public-event.ts';
import { guardedFetch, type GuardedRequest } from '#lib/safe-fetch.ts';
import { signatureHeaders } from '#lib/webhook-signature.ts';
import type { Sealer } from './sealed.ts';
import type { Claim, Sent } from './webhook-queue.ts';

/** What is sent where, and the sealed secrets to sign with. */
export type Sending = Pick<
  Claim,
  'accountId' | 'webhookId' | 'payload' | 'url' | 'secret' | 'oldSecret' | 'oldSecretUntilMs'
>;

export type WebhookSender = {
  /** Never rejects. */
  send(sending: Sending, signal?: AbortSignal): Promise<Sent>;
};

export type WebhookSenderOptions = {
  readonly sealer: Sealer;
  /** Networks besides the public internet. */
  readonly allowPrivate: readonly string[];
  readonly userAgent: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly resolve?: GuardedRequest['resolve'];
};

const DEADLINE_MS = 15_000;
const MAX_ANSWER_BYTES = 64 * 1024;

export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { sealer, allowPrivate, userAgent, clock, log, resolve } = options;
  return {
    async send(sending, signal) {
      const startMs = clock.now();
      try {
        const body = bodyOf(sending.payload);
        const timestampS = Math.floor(clock.wallMs() / 1_000);
        const secrets = secretsOf(sealer, sending, clock.wallMs());
        const answer = await guardedFetch(sending.url, {
          ...{ method: 'POST', body, allowPrivate, clock, signal, timeoutMs: DEADLINE_MS },
          ...{ maxBytes: MAX_ANSWER_BYTES, whenTooLong: 'cut', isHeadEnough: true },
          headers: {
            'content-type': 'application/json; charset=utf-8',
            'user-agent': userAgent,
            ...signatureHeaders({ id: sending.payload.id, timestampS, body }, secrets),
          },
          ...(resolve === undefined ? {} : { resolve }),
        });
        const { status, durationMs } = answer;
        const isOk = status >= 200 && status < 300;
        return { isOk, status, durationMs, error: isOk ? null : refusalText(status) };
      } catch (error) {
        if (!isOutside(error))
          log.error('webhook.notSent', { webhookId: sending.webhookId, error });
        const durationMs = Math.round(clock.now() - startMs);
        return { isOk: false, status: null, durationMs, error: failureText(error) };
      }
    },
  };
}

/**
 * The same bytes at every attempt: the common fields in the contract's order, `data` as the database keeps it, which
 * does not change.
 */
export function bodyOf(payload: PublicEvent): string {
  const { id, type, alias, time, account_id, call_id, conversation_id, seq, node } = payload;
  const { request_id, data } = payload;
  return JSON.stringify({
    ...{ id, type, alias, time, account_id, call_id, conversation_id, seq, node, request_id, data },
  });
}

/** Errors: E_CONFIG, E_DATABASE for one that does not open. */
function secretsOf(sealer: Sealer, sending: Sending, nowMs: number): string[] {
  const { secret, oldSecret, oldSecretUntilMs } = sending;
  const place = { table: 'webhooks', accountId: sending.accountId, rowId: sending.webhookId };
  const secrets = [sealer.open(secret, { ...place, column: 'secret' })];
  if (oldSecret !== null && oldSecretUntilMs !== null && oldSecretUntilMs > nowMs) {
    secrets.push(sealer.open(oldSecret, { ...place, column: 'old_secret' }));
  }
  return secrets;
}

function refusalText(status: number): string {
  const note = status >= 300 && status < 400 ? '; redirects are not followed' : '';
  return `answered ${status}${note}`;
}

const OUTSIDE = new Set(['E_TIMEOUT', 'E_ABORTED', 'E_UNREACHABLE', 'E_URL_NOT_ALLOWED']);

function isOutside(error: unknown): error is AppError {
  return error instanceof AppError && OUTSIDE.has(error.code);
}

function failureText(error: unknown): string {
  if (!isOutside(error)) return 'could not be signed or sent; the log of the server says why';
  if (error.code === 'E_TIMEOUT') return `no answer within ${DEADLINE_MS / 1_000} s`;
  if (error.code === 'E_ABORTED') return 'given up: the server is stopping';
  return error.message;
}
