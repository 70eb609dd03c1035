/** Standard Webhooks (contract 2.8): secrets, and the signature by which a receiver knows that an event is ours. */
import { createHmac, randomBytes } from 'node:crypto';
import { AppError } from './errors.ts';

const PREFIX = 'whsec_';
const SECRET_BYTES = 32;

export type SignedContent = {
  /** The event's id: the same at every attempt. */
  readonly id: string;
  /** Unix seconds of the attempt. */
  readonly timestampS: number;
  readonly body: string;
};

/** `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

/** The headers of one attempt; during a rotation each secret signs. Errors: E_DATABASE for a secret that is none. */
export function signatureHeaders(
  content: SignedContent,
  secrets: readonly string[],
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const { id, timestampS, body } = content;
  const signed = `${id}.${timestampS}.${body}`;
  const values = secrets.map((secret) => {
    const mac = createHmac('sha256', keyOf(secret)).update(signed, 'utf8').digest('base64');
    return `v1,${mac}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampS),
    'webhook-signature': values.join(' '),
  };
}

function keyOf(secret: string): Buffer {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
  if (secret.startsWith(PREFIX) && key.length > 0) return key;
  throw new AppError('E_DATABASE', 'the secret of a webhook has the wrong form');
}
