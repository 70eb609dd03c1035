/** When a delivery is tried again (contract 2.8), and when it is given up. */

const S = 1_000;
const MIN = 60 * S;
const H = 60 * MIN;

const WAITS_MS = [5 * S, 5 * MIN, 30 * MIN, 2 * H, 5 * H, 10 * H, 14 * H, 20 * H, 24 * H];
/** Share by which a wait may be shorter or longer, so that many deliveries do not return at the same instant. */
const SPREAD = 0.1;

/** The first attempt and one after each wait. */
export const MAX_ATTEMPTS = WAITS_MS.length + 1;
/** Without any success for so long a hook is disabled. */
export const DISABLE_AFTER_MS = 5 * 24 * H;

/** Milliseconds until the next attempt after `attempts` that failed (1 = the first); null: given up. */
export function retryDelayMs(attempts: number, random: () => number = Math.random): number | null {
  const waitMs = WAITS_MS[attempts - 1];
  return waitMs === undefined ? null : Math.round(waitMs * (1 - SPREAD + 2 * SPREAD * random()));
}
