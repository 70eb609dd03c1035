/**
 * Carries caller audio from the media worker's rings to the conversations: one timer for all calls, because a wake-up
 * per call and frame would cost more than the copying. Deadlines are absolute, so the pump does not drift.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';

/** Something that drains a ring when told to. */
export type Pumped = { pump(): void };

const PERIOD_MS = 20;

export class AudioPump {
  readonly #clock: Clock;
  readonly #onFault: (error: unknown) => void;
  readonly #members = new Set<Pumped>();
  #timer: TimerHandle | undefined;
  #dueMs = 0;

  constructor(clock: Clock, onFault: (error: unknown) => void) {
    this.#clock = clock;
    this.#onFault = onFault;
  }

  add(member: Pumped): void {
    this.#members.add(member);
    if (this.#timer !== undefined) return;
    this.#dueMs = this.#clock.now();
    this.#arm();
  }

  remove(member: Pumped): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    // After a stall the missed periods are skipped: one drain empties the ring however late it comes.
    this.#dueMs = Math.max(this.#dueMs + PERIOD_MS, this.#clock.now());
    this.#timer = this.#clock.setTimer(
      () => this.#tick(),
      Math.max(0, this.#dueMs - this.#clock.now()),
    );
  }

  #tick(): void {
    this.#timer = undefined;
    for (const member of this.#members) {
      try {
        member.pump();
      } catch (error) {
        // One call's fault must not stop the ears of all the others.
        this.#members.delete(member);
        this.#onFault(error);
      }
    }
    if (this.#members.size > 0) this.#arm();
  }
}
