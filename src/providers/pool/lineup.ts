/**
 * The providers that one call may go to, in order. The one in use is kept while it works: a caller who hears a voice
 * change, or an agent change its mind, notices.
 *
 * **What a failure may cost.** Dead air after the caller's last word is to stay within 1.5 s (p99) when one provider of
 * the turn fails. Of it the end of turn takes about 200 ms; the stages that work take their usual time (recogniser 150,
 * model 200, voice 80 ms); what is left is the patience with the one that does not:
 * - recogniser: a silent one is left 350-700 ms after the end of speech, and one that lets speech pass without a word
 *   after 2 s, while it is still going on. The next one hears the utterance again (about 300 ms, mostly its handshake):
 *   200 + 700 + 300 + 200 + 80 = 1480 ms.
 * - model: the next one is asked as well after 350-800 ms without a word, and the first to answer is heard:
 *   200 + 150 + 800 + 200 + 80 = 1430 ms. A refusal or an error does not wait.
 * - voice: the next one after 300-600 ms without sound: 200 + 150 + 200 + 600 + 80 = 1230 ms. One that breaks in the
 *   middle is left 400 ms after its last sound has run out: 400 + 80 = 480 ms of silence inside the sentence.
 * - realtime: 1 s to open; one that broke is opened anew at once.
 * Within its range a patience is three times what the provider usually takes (`PoolMember.patienceMs`); one that is always
 * slower is not left for that, and its own time is then in the sum. A vendor without a second has its own deadlines.
 */
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { PoolMember } from './member.ts';

export type Candidate<T> = {
  readonly member: PoolMember;
  readonly provider: T;
  /** Whether the agent's voice is one of its own. */
  readonly hasAgentsVoice: boolean;
  /** Asked only when nobody else answers, and left as soon as somebody does. */
  readonly isLastResort: boolean;
};

export type LineupOptions<T> = {
  readonly candidates: readonly Candidate<T>[];
  readonly clock: Clock;
  readonly log: Log;
  /** For so long one that stood in for another is kept, when both work. */
  readonly keepMs: number;
};

export class Lineup<T> {
  readonly clock: Clock;
  readonly log: Log;
  readonly all: readonly Candidate<T>[];
  readonly #keepMs: number;
  #inUse: Candidate<T> | null = null;
  #inUseSinceMs = 0;

  constructor({ candidates, clock, log, keepMs }: LineupOptions<T>) {
    this.all = candidates;
    this.clock = clock;
    this.log = log;
    this.#keepMs = keepMs;
  }

  /** Those that may be asked now, the best first; `failed` behind the others, the last resort behind all. */
  available(failed: ReadonlySet<Candidate<T>> = new Set()): Candidate<T>[] {
    const kept = this.#kept();
    const order = kept === null ? this.all : [kept, ...this.all.filter((each) => each !== kept)];
    const ready = order.filter(({ member }) => member.waitMs === 0);
    return ready
      .map((candidate, at) => ({ candidate, at }))
      .sort((a, b) => rank(a.candidate, failed) - rank(b.candidate, failed) || a.at - b.at)
      .map(({ candidate }) => candidate);
  }

  /** Until one of them may be asked. */
  get waitMs(): number {
    return Math.min(...this.all.map(({ member }) => member.waitMs));
  }

  /** Why nobody may be asked: the first one's reason. */
  get lastError(): unknown {
    return this.all.find(({ member }) => member.lastError !== null)?.member.lastError ?? null;
  }

  /** The vendor that answered last; before anybody has, the first. */
  servedBy(): string {
    return (this.#inUse ?? this.all[0])?.member.vendor ?? '';
  }

  /** It answered. */
  use(candidate: Candidate<T>): void {
    if (this.#inUse === candidate) return;
    this.#inUse = candidate;
    this.#inUseSinceMs = this.clock.now();
  }

  /** It broke off in the middle: whoever can do the work instead is asked first for a while. */
  leave(candidate: Candidate<T>): void {
    const other = this.all.find(
      (each) => each !== candidate && !each.isLastResort && each.member.waitMs === 0,
    );
    if (other !== undefined) this.use(other);
  }

  /** `to` is asked because `from` was slow or failed. */
  failedOver(from: Candidate<T>, to: Candidate<T>, why: unknown): void {
    from.member.events.failedOver(from.member, to.member);
    const { kind, vendor } = from.member;
    this.log.warn('provider.failover', { kind, from: vendor, to: to.member.vendor, error: why });
  }

  #kept(): Candidate<T> | null {
    const inUse = this.#inUse;
    if (inUse === null || inUse.isLastResort) return null;
    return this.clock.now() - this.#inUseSinceMs < this.#keepMs ? inUse : null;
  }
}

function rank<T>(candidate: Candidate<T>, failed: ReadonlySet<Candidate<T>>): number {
  if (candidate.isLastResort) return 2;
  return failed.has(candidate) ? 1 : 0;
}

/** Of equal priority: who comes first. */
export type Balance = 'weighted' | 'least_connections';

export type Weighted = { readonly weight: number; readonly member: PoolMember };

/** By chance in proportion to the weights, or the least busy first (of equal ones by chance). `random`: 0 to below 1. */
export function balanced<T extends Weighted>(
  group: readonly T[],
  balance: Balance,
  random: () => number = Math.random,
): T[] {
  const left = [...group];
  const drawn: T[] = [];
  while (left.length > 0) {
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    let at = 0;
    for (let dart = random() * total; at < left.length - 1; at++) {
      dart -= left[at]?.weight ?? 0;
      if (dart < 0) break;
    }
    drawn.push(...left.splice(at, 1));
  }
  if (balance === 'weighted') return drawn;
  return drawn.sort((a, b) => a.member.inFlight - b.member.inFlight);
}
