/** Retry delays that grow and are spread out, so that many clients do not return at the same instant. */

export type BackoffOptions = {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Each delay is this many times the one before. */
  readonly factor?: number;
  /** Share of the delay that is random, 0..1. */
  readonly jitter?: number;
  readonly random?: () => number;
};

/** The delay before try number `attempt` (1 = the first retry), in milliseconds. */
export function backoffMs(attempt: number, options: BackoffOptions): number {
  const { firstMs, maxMs, factor = 2, jitter = 0.2, random = Math.random } = options;
  const base = Math.min(maxMs, firstMs * factor ** Math.max(0, attempt - 1));
  return base * (1 - jitter + 2 * jitter * random());
}
