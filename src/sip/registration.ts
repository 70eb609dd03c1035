/** One binding at a registrar (RFC 3261 10.2): made, refreshed before it runs out, tried again with patience, given up. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { RegistrationState, TrunkFault, TrunkLine } from '#lib/trunk.ts';
import { grantedS, minExpiresS, retryAfterS } from './register-answer.ts';
import { TrunkTalk, type TalkPorts } from './trunk-talk.ts';

export type RegistrationPorts = TalkPorts & {
  /** Does the work when it is its turn: so many requests of one node are under way at most. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
};

/** RFC 3261 17.1.2.2 waits 32 s; by then a registrar that lost six packets is not there. */
const ANSWER_TIMEOUT_MS = 16_000;
/** RFC 5626 4.5, with a quarter of an hour for its half hour. */
const RETRY_BASE_S = 30;
const RETRY_MAX_S = 900;
const ENGINE_RETRY_MS = 30_000;
const MIN_REFRESH_MS = 1_000;
const STOP_TIMEOUT_MS = 2_000;
/** Of a Min-Expires, beyond which we rather do without. */
const MAX_INTERVAL_S = 604_800;

export type RegisterResult =
  | { readonly ok: true; readonly grantedS: number }
  | {
      readonly ok: false;
      readonly fault: TrunkFault;
      readonly status: number | null;
      readonly retryAfterS: number | null;
    };

export class Registration {
  readonly #line: TrunkLine;
  readonly #ports: RegistrationPorts;
  readonly #onState: (state: RegistrationState) => void;
  readonly #talk: TrunkTalk;
  #askedS: number;
  #failures = 0;
  #refreshTimer: TimerHandle | undefined;
  #expiryTimer: TimerHandle | undefined;
  #running: Promise<void> | null = null;
  #isWantedAgain = false;
  #stopping: Promise<void> | null = null;
  /** The time of `stop` is over: whoever comes next may hold the binding by now. */
  #isLeft = false;
  /** A REGISTER went out: the registrar may hold a binding, whatever came back. */
  #mayBeBound = false;
  #state: RegistrationState = { registered: false, expiresAtMs: null, error: null };

  /** `onState`: after every answer, also when nothing has changed but the expiry. */
  constructor(
    line: TrunkLine,
    ports: RegistrationPorts,
    onState: (state: RegistrationState) => void,
  ) {
    this.#line = line;
    this.#ports = ports;
    this.#onState = onState;
    this.#askedS = line.intervalS;
    this.#talk = new TrunkTalk(line, ports);
  }

  get state(): RegistrationState {
    return this.#state;
  }

  /** Registers now, whatever was planned: at the start, and when the engine has come back. */
  registerNow(): void {
    if (this.#stopping !== null) return;
    this.#ports.clock.clearTimer(this.#refreshTimer);
    if (this.#running !== null) {
      this.#isWantedAgain = true;
      return;
    }
    this.#running = this.#attempt().finally(() => {
      this.#running = null;
      if (!this.#isWantedAgain) return;
      this.#isWantedAgain = false;
      this.registerNow();
    });
  }

  /** Removes the binding unless `keepsBinding`; within 2 s, never rejects. Idempotent. */
  stop(how: { readonly keepsBinding?: boolean } = {}): Promise<void> {
    this.#stopping ??= this.#stop(how.keepsBinding === true);
    return this.#stopping;
  }

  async #stop(keepsBinding: boolean): Promise<void> {
    const { clock, log } = this.#ports;
    clock.clearTimer(this.#refreshTimer);
    clock.clearTimer(this.#expiryTimer);
    if (keepsBinding || !this.#mayBeBound) return;
    try {
      await withDeadline(this.#unregister(), STOP_TIMEOUT_MS, 'taking a registration back', clock);
    } catch (error) {
      log.info('trunk.notUnregistered', {
        trunkId: this.#line.trunkId,
        error: toAppError(error),
      });
    } finally {
      this.#isLeft = true;
    }
  }

  /** Behind a REGISTER that is under way, or the registrar could take them in the other order. */
  async #unregister(): Promise<void> {
    await this.#running;
    if (this.#isLeft) return;
    const result = await askRegister(this.#talk, this.#line, 0, STOP_TIMEOUT_MS);
    const { trunkId } = this.#line;
    if (result.ok) this.#ports.log.info('trunk.unregistered', { trunkId });
    else this.#ports.log.info('trunk.notUnregistered', { trunkId, fault: result.fault });
  }

  async #attempt(): Promise<void> {
    let result: RegisterResult | null;
    try {
      result = await this.#ports.inTurn(() => this.#register());
    } catch (error) {
      this.#ports.log.error('trunk.registrationFailed', {
        trunkId: this.#line.trunkId,
        error: toAppError(error),
      });
      result = { ok: false, fault: 'unreachable', status: null, retryAfterS: null };
    }
    if (result === null || this.#stopping !== null) return;
    if (result.ok) this.#bound(result.grantedS);
    else this.#refused(result);
  }

  /** Null when it was stopped before its turn. */
  async #register(): Promise<RegisterResult | null> {
    if (this.#stopping !== null) return null;
    this.#mayBeBound = true;
    const result = await askRegister(this.#talk, this.#line, this.#askedS, ANSWER_TIMEOUT_MS);
    if (result.ok || result.fault !== 'interval_refused') return result;
    const wantedS = result.minExpiresS;
    if (wantedS === null || wantedS <= this.#askedS || wantedS > MAX_INTERVAL_S) return result;
    this.#askedS = wantedS;
    if (this.#stopping !== null) return null;
    return askRegister(this.#talk, this.#line, wantedS, ANSWER_TIMEOUT_MS);
  }

  #bound(granted: number): void {
    const { clock, random = Math.random } = this.#ports;
    this.#failures = 0;
    const lifeMs = granted * 1000;
    this.#setExpiry(lifeMs);
    // Whoever asks for a short interval has a reason, such as a NAT in between.
    const baseMs = Math.min(granted, this.#askedS) * 1000;
    const refreshMs = Math.max(MIN_REFRESH_MS, Math.round(baseMs * (0.8 + 0.1 * random())));
    this.#plan(refreshMs);
    const expiresAtMs = clock.wallMs() + lifeMs;
    this.#tell({ registered: true, expiresAtMs, error: null });
  }

  #refused(result: Extract<RegisterResult, { ok: false }>): void {
    const { fault, status } = result;
    const error = status === null || isLogin(fault) ? fault : `${fault} (${status})`;
    if (fault === 'engine_down') {
      // Nobody has said anything: the binding stands, and the engine's return asks again.
      this.#plan(ENGINE_RETRY_MS);
      return this.#tell({ ...this.#state, error });
    }
    this.#failures += 1;
    this.#plan(this.#waitMs(result));
    if (!isFinal(result)) return this.#tell({ ...this.#state, error });
    this.#ports.clock.clearTimer(this.#expiryTimer);
    return this.#tell({ registered: false, expiresAtMs: null, error });
  }

  #waitMs({ retryAfterS: askedS }: Extract<RegisterResult, { ok: false }>): number {
    if (askedS !== null) return Math.max(1, askedS) * 1000;
    const { random = Math.random } = this.#ports;
    const longestS = Math.min(RETRY_MAX_S, RETRY_BASE_S * 2 ** Math.min(this.#failures, 10));
    return Math.round(longestS * 1000 * (0.5 + 0.5 * random()));
  }

  #setExpiry(lifeMs: number): void {
    const { clock } = this.#ports;
    clock.clearTimer(this.#expiryTimer);
    this.#expiryTimer = clock.setTimer(
      () => this.#tell({ ...this.#state, registered: false, expiresAtMs: null }),
      lifeMs,
    );
  }

  #plan(delayMs: number): void {
    const { clock } = this.#ports;
    clock.clearTimer(this.#refreshTimer);
    this.#refreshTimer = clock.setTimer(() => this.registerNow(), delayMs);
  }

  #tell(state: RegistrationState): void {
    this.#state = state;
    this.#onState(state);
  }
}

function isLogin(fault: TrunkFault): boolean {
  return fault === 'auth_failed' || fault === 'realm_mismatch' || fault === 'password_missing';
}

/** The registrar itself has said no; everything else may pass, and the binding stands until it runs out. */
function isFinal({ fault, status }: Extract<RegisterResult, { ok: false }>): boolean {
  if (isLogin(fault) || fault === 'interval_refused') return true;
  return status !== null && status !== 408 && (status < 500 || status >= 600);
}

export type AskedRegister =
  | Extract<RegisterResult, { ok: true }>
  | (Extract<RegisterResult, { ok: false }> & { readonly minExpiresS: number | null });

/** One REGISTER for `askedS` seconds (0: away with the binding), challenges answered. */
export async function askRegister(
  talk: TrunkTalk,
  { trunkId }: TrunkLine,
  askedS: number,
  timeoutMs: number,
): Promise<AskedRegister> {
  const headers = { Contact: await talk.contact(), Expires: String(askedS) };
  const result = await talk.ask('REGISTER', headers, timeoutMs);
  const none = { retryAfterS: null, minExpiresS: null };
  if (!result.ok) return { ...result, ...none };
  const { response } = result;
  const { status } = response;
  if (status < 300) {
    const granted = askedS === 0 ? 0 : grantedS(response, trunkId, askedS);
    if (askedS === 0 || granted > 0) return { ok: true, grantedS: granted };
    return { ok: false, fault: 'refused', status, ...none };
  }
  return {
    ok: false,
    fault: status === 423 ? 'interval_refused' : status < 400 ? 'redirected' : 'refused',
    status,
    retryAfterS: retryAfterS(response),
    minExpiresS: status === 423 ? minExpiresS(response) : null,
  };
}
