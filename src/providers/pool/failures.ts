/** What a failure says of the provider that failed (providers.md 0.5). */
import { AppError, type ErrorCode } from '#lib/errors.ts';

/**
 * `auth`: nobody will be served until somebody mends the account. `quota`: ask later. `server`: broken or silent. `idle`:
 * closed for want of audio or text. `param`, `content`: of this request alone. `aborted`: given up by us.
 */
export type FailureClass = 'auth' | 'param' | 'quota' | 'idle' | 'server' | 'content' | 'aborted';

const CLASSES: { readonly [K in ErrorCode]?: FailureClass } = {
  E_PROVIDER_AUTH: 'auth',
  E_CONFIG: 'auth',
  E_PROVIDER_PARAM: 'param',
  E_PROVIDER_QUOTA: 'quota',
  E_QUEUE_FULL: 'quota',
  E_PROVIDER_IDLE: 'idle',
  E_PROVIDER_CONTENT: 'content',
  E_ABORTED: 'aborted',
};

/** Whatever is not known, a bug in a client too, is a server that does not serve. */
export function failureOf(thrown: unknown): FailureClass {
  return (thrown instanceof AppError ? CLASSES[thrown.code] : undefined) ?? 'server';
}

/** Whether another provider may do better. What moderation withheld, it must not be asked for elsewhere. */
export function isWorthAnother(failure: FailureClass): boolean {
  return failure !== 'content' && failure !== 'aborted';
}

/** Whether the same provider may do better at once. */
export function isWorthAgain(failure: FailureClass): boolean {
  return failure === 'server' || failure === 'idle';
}
