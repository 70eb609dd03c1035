/** Keys that a tool waits for: taken one by one, they are one input and no turns of their own (collect_dtmf). */
import type { Clock, TimerHandle } from '#lib/clock.ts';

export type KeysWanted = {
  readonly maxDigits: number;
  /** A key that ends the input and is no part of it; null: none. */
  readonly finishOn: string | null;
  /** For the first key, from when the agent has stopped speaking. */
  readonly timeoutMs: number;
  /** Between two keys. */
  readonly gapMs: number;
};

export type KeysPressed = {
  readonly digits: string;
  readonly ended: 'finish_key' | 'max_digits' | 'timeout' | 'interrupted' | 'call_over';
};

type Collecting = KeysWanted & {
  digits: string;
  timer: TimerHandle | undefined;
  readonly done: (pressed: KeysPressed) => void;
};

export class KeyCollector {
  readonly #clock: Clock;
  /** How long what the agent has said goes on to sound, in ms. */
  readonly #soundLeftMs: () => number;
  #collecting: Collecting | null = null;

  constructor(clock: Clock, soundLeftMs: () => number) {
    this.#clock = clock;
    this.#soundLeftMs = soundLeftMs;
  }

  get isBusy(): boolean {
    return this.#collecting !== null;
  }

  /** Resolves with what was pressed; null when somebody collects already. */
  collect(wanted: KeysWanted, wait: AbortSignal): Promise<KeysPressed> | null {
    if (this.#collecting !== null) return null;
    const { promise, resolve } = Promise.withResolvers<KeysPressed>();
    const onAbort = (): void => this.#end('interrupted');
    const done = (pressed: KeysPressed): void => {
      wait.removeEventListener('abort', onAbort);
      resolve(pressed);
    };
    this.#collecting = { ...wanted, digits: '', timer: undefined, done };
    this.#waitForFirst();
    if (wait.aborted) onAbort();
    else wait.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** True when the key was waited for: nobody else is to hear of it. */
  take(key: string): boolean {
    const now = this.#collecting;
    if (now === null) return false;
    if (key === now.finishOn) {
      this.#end('finish_key');
      return true;
    }
    now.digits += key;
    if (now.digits.length >= now.maxDigits) this.#end('max_digits');
    else this.#arm(now.gapMs, () => this.#end('timeout'));
    return true;
  }

  /** The call is over. Idempotent. */
  close(): void {
    this.#end('call_over');
  }

  /** The caller is not hurried while the agent still tells what to press. */
  #waitForFirst(): void {
    const now = this.#collecting;
    if (now === null) return;
    const leftMs = this.#soundLeftMs();
    if (leftMs > 0) this.#arm(leftMs, () => this.#waitForFirst());
    else this.#arm(now.timeoutMs, () => this.#end('timeout'));
  }

  #arm(ms: number, then: () => void): void {
    const now = this.#collecting;
    if (now === null) return;
    this.#clock.clearTimer(now.timer);
    now.timer = this.#clock.setTimer(then, ms);
  }

  #end(ended: KeysPressed['ended']): void {
    const now = this.#collecting;
    if (now === null) return;
    this.#collecting = null;
    this.#clock.clearTimer(now.timer);
    now.done({ digits: now.digits, ended });
  }
}
