/** How a simulated voice sends what it says: chunk by chunk, far faster than real time, and the faults of the middle. */
import type { WebSocket } from 'ws';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { bytesOf } from '../rates.ts';
import { goHalfOpen, type VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';

export type SimSpeakerOptions = {
  readonly clock: Clock;
  readonly rateHz: number;
  readonly fault: VendorFault | null;
  /** s16le. `own` `odd_chunks` cuts it in the middle of samples. */
  readonly send: (pcm: Uint8Array) => void;
  /** 200 ms into the first text, once. */
  readonly midway: (fault: VendorFault) => void;
};

const CHUNK_MS = 100;
const STEP_MS = 2;
const MIDWAY_MS = 200;
const ODD_BYTES = 333;

export class SimSpeaker {
  readonly #options: SimSpeakerOptions;
  #queue: (() => void)[] = [];
  #timer: TimerHandle | undefined;
  #isOver = false;
  #isPlayed = false;
  #sentMs = 0;

  constructor(options: SimSpeakerOptions) {
    this.#options = options;
  }

  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /** The sound of `text`, behind whatever is to be said before. */
  say(text: string): void {
    const { rateHz, fault } = this.#options;
    const bytes = bytesOf(simSpeech(text, rateHz));
    const isOdd = fault?.kind === 'own' && fault.name === 'odd_chunks';
    const step = isOdd ? ODD_BYTES : (rateHz * CHUNK_MS * 2) / 1000;
    for (let at = 0; at < bytes.length; at += step) {
      const chunk = bytes.subarray(at, at + step);
      this.then(() => this.#send(chunk));
    }
  }

  /** One step after the other. */
  then(step: () => void): void {
    if (this.#isOver) return;
    this.#queue.push(step);
    if (this.#queue.length === 1) this.#schedule();
  }

  /** What was not said yet will not be. */
  drop(): void {
    this.#options.clock.clearTimer(this.#timer);
    this.#queue = [];
  }

  close(): void {
    this.#isOver = true;
    this.drop();
  }

  #schedule(): void {
    const { clock, fault } = this.#options;
    const ms = fault?.kind === 'slow' && this.#sentMs === 0 ? fault.ms : STEP_MS;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => {
      const step = this.#queue[0];
      if (this.#isOver || step === undefined) return;
      step();
      // A step may have dropped the queue.
      if (this.#queue[0] === step) this.#queue.shift();
      if (this.#queue.length > 0 && !this.#isOver) this.#schedule();
    }, ms);
  }

  #send(chunk: Uint8Array): void {
    const { rateHz, fault, send, midway } = this.#options;
    send(chunk);
    this.#sentMs += (chunk.length * 500) / rateHz;
    if (fault === null || this.#isPlayed || this.#sentMs < MIDWAY_MS) return;
    this.#isPlayed = true;
    midway(fault);
  }
}

export type MidwayParts = {
  readonly socket: WebSocket;
  /** Says no more, and does not tell. */
  readonly stop: () => void;
  /** The vendor's own word for failure. */
  fail(): void;
  /** Its end of a session, in the middle of it. */
  recycle(): void;
  /** A message that is text, sent as binary data. */
  readonly swapped: string;
  /** A huge message is binary where sound is. */
  readonly isBinary: boolean;
  own?(name: string): void;
};

/** Faults of the middle, as every WebSocket vendor has them. */
export function playMidway(fault: VendorFault, parts: MidwayParts): void {
  const { socket, stop } = parts;
  switch (fault.kind) {
    case 'cut':
      return socket.terminate();
    case 'half_open':
      stop();
      return goHalfOpen(socket);
    case 'fail_midway':
      return parts.fail();
    case 'recycle':
      return parts.recycle();
    case 'junk':
      return socket.send('<html>not now</html>', { binary: false });
    case 'swapped':
      return socket.send(parts.swapped, { binary: true });
    case 'huge':
      return socket.send(Buffer.alloc(fault.bytes, 0x20), { binary: parts.isBinary });
    case 'own':
      if (fault.name === 'stall') stop();
      else parts.own?.(fault.name);
      return;
    case 'refuse':
    case 'fail_before_start':
    case 'hang':
    case 'slow':
    case 'late':
    case 'moderated':
    // They are played elsewhere, or not by a vendor of this kind.
  }
}
