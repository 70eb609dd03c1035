/** One client of a simulated speech vendor: its socket, timers that end with it, and what breaks in the middle. */
import type { WebSocket } from 'ws';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { goHalfOpen, type VendorFault } from './vendor-server.ts';

/** Between the sound that came and what goes wrong behind it. */
export const BREAK_AFTER_MS = 40;

/** What a service of a vendor does with its client. */
export type SimService = {
  text(text: string): void;
  binary(data: Buffer): void;
};

export class SimPeer {
  readonly clock: Clock;
  readonly socket: WebSocket;
  readonly #violations: string[];
  readonly #what: string;
  readonly #timers = new Map<string, TimerHandle>();
  readonly #steps: (() => void)[] = [];
  #pauseMs: number | null = null;
  #isOver = false;

  constructor(clock: Clock, socket: WebSocket, what: string, violations: string[]) {
    this.clock = clock;
    this.socket = socket;
    this.#what = what;
    this.#violations = violations;
    socket.on('close', () => this.#forget());
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  serve(service: SimService): void {
    this.socket.on('message', (data, isBinary) => {
      if (this.#isOver) return;
      if (isBinary) service.binary(data as Buffer);
      else service.text((data as Buffer).toString('utf8'));
    });
  }

  send(message: object): void {
    if (!this.#isOver) this.socket.send(JSON.stringify(message));
  }

  raw(data: string | Uint8Array, isBinary: boolean): void {
    if (!this.#isOver) this.socket.send(data, { binary: isBinary });
  }

  /** The client did what the vendor does not allow. */
  violation(text: string): void {
    this.#violations.push(`${this.#what}: ${text}`);
  }

  /** Says goodbye; what comes from now on is not looked at. */
  end(): void {
    if (this.#isOver) return;
    this.#forget();
    this.socket.close(1000);
  }

  /** A timer by its name; setting it again moves it. Null stops it. */
  timer(name: string, ms: number, act: (() => void) | null): void {
    this.clock.clearTimer(this.#timers.get(name));
    this.#timers.delete(name);
    if (act === null || this.#isOver) return;
    const handle = this.clock.setTimer(() => {
      this.#timers.delete(name);
      act();
    }, ms);
    this.#timers.set(name, handle);
  }

  /** One after the other, `stepMs` apart: a vendor sends faster than real time, but not all at once. */
  then(step: () => void, firstMs = 2, stepMs = 2): void {
    this.#steps.push(step);
    if (this.#steps.length === 1) this.#schedule(firstMs, stepMs);
  }

  /** From inside a step: this comes next, after a while in which the client takes in what it was sent. */
  interject(act: () => void, ms: number): void {
    this.#steps.splice(1, 0, act);
    this.#pauseMs = ms;
  }

  /** Nothing more of what was put behind one another. */
  stop(): void {
    this.#steps.length = 0;
    this.timer('steps', 0, null);
  }

  get isBusy(): boolean {
    return this.#steps.length > 0;
  }

  /** True: it was a fault of this kind, and it has happened. `fail` is the vendor's own word for failure. */
  breaks(fault: VendorFault, fail: () => void): boolean {
    switch (fault.kind) {
      case 'cut':
        this.#forget();
        this.socket.terminate();
        return true;
      case 'half_open':
        this.#forget();
        goHalfOpen(this.socket);
        return true;
      case 'fail_midway':
        fail();
        return true;
      case 'recycle':
        this.end();
        return true;
      case 'junk':
        this.raw('<html>not now</html>', false);
        return true;
      case 'swapped':
        this.raw(Buffer.from('{"code":0}'), true);
        return true;
      case 'huge':
        this.raw('x'.repeat(fault.bytes), false);
        return true;
      case 'own':
        if (fault.name !== 'stall') return false;
        this.stop();
        return true;
      case 'refuse':
      case 'fail_before_start':
      case 'hang':
      case 'slow':
      case 'late':
      case 'moderated':
        return false;
    }
  }

  #schedule(ms: number, stepMs: number): void {
    this.timer('steps', ms, () => {
      const step = this.#steps[0];
      if (this.#isOver || step === undefined) return;
      step();
      this.#steps.shift();
      const nextMs = this.#pauseMs ?? stepMs;
      this.#pauseMs = null;
      if (this.#steps.length > 0) this.#schedule(nextMs, stepMs);
    });
  }

  #forget(): void {
    this.#isOver = true;
    for (const handle of this.#timers.values()) this.clock.clearTimer(handle);
    this.#timers.clear();
    this.#steps.length = 0;
  }
}

/** Null: not an object as JSON. */
export function jsonOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : null;
  } catch {
    return null;
  }
}
