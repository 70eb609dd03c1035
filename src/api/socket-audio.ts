/** Audio between a socket and a call: frames of the client's rate outside, samples at 8 kHz inside. */
import type { Clock } from '#lib/clock.ts';

/** One direction of one stream, mono. */
export type RateConverter = {
  /** All of `pcm` at the other rate; the array is the caller's. */
  convert(pcm: Int16Array): Int16Array;
  /** Idempotent. */
  close(): void;
};

/** Plugged in by app.ts: how audio changes its rate. */
export type Resampling = { open(fromHz: number, toHz: number): RateConverter };

/** Rate of every call inside. */
const CALL_HZ = 8_000;
const FRAME_MS = 20;
const FRAME_SAMPLES = (CALL_HZ * FRAME_MS) / 1000;
const MIN_BYTES = 2;
const MAX_BYTES = 32_000;
/** What a client may have been sent and not played yet (contract 2.5). */
const MAX_AHEAD_MS = 200;
/** All that a call keeps for a client. */
const MAX_FRAMES_A_TURN = 100;
/** After so many turns without a sample the last, unfinished frame is sent as it is. */
const IDLE_TURNS = 3;
/** Peak of a frame that nobody misses (-44 dBFS). */
const QUIET = 200;

/** Client to call. */
export class Uplink {
  readonly #converter: RateConverter;

  constructor(resampling: Resampling, rateHz: number) {
    this.#converter = resampling.open(rateHz, CALL_HZ);
  }

  /** The samples at 8 kHz; null for an odd length, or one outside 2 to 32,000 bytes. */
  read(data: Uint8Array): Int16Array | null {
    const { length } = data;
    if (length % 2 !== 0 || length < MIN_BYTES || length > MAX_BYTES) return null;
    // A copy: bytes of a socket need not lie on an even address.
    const pcm = new Int16Array(length / 2);
    new Uint8Array(pcm.buffer).set(data);
    return this.#converter.convert(pcm);
  }

  close(): void {
    this.#converter.close();
  }
}

/** What a client that plays everything as it comes has still to play: it outlives a change of the rate. */
export class Lead {
  readonly #clock: Pick<Clock, 'now'>;
  #untilMs = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  get hasRoom(): boolean {
    return this.#untilMs + FRAME_MS <= this.#clock.now() + MAX_AHEAD_MS;
  }

  grow(): void {
    this.#untilMs = Math.max(this.#untilMs, this.#clock.now()) + FRAME_MS;
  }

  /** The client has thrown it away. */
  clear(): void {
    this.#untilMs = 0;
  }
}

/**
 * Call to client: whole frames of 20 ms, in real time. What a stall of ours has left behind goes out as far as the client
 * may be ahead, the rest in real time behind it, and the delay is worked off in the pauses of the speech.
 */
export class Downlink {
  readonly #converter: RateConverter;
  readonly #lead: Lead;
  readonly #send: (bytes: Uint8Array) => void;
  readonly #frameSamples: number;
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  #frame: Int16Array<ArrayBuffer>;
  #filled = 0;
  #idleTurns = 0;
  #isBehind = false;
  /** What is to be said behind the frame that is being filled. */
  #behind: (() => void)[] = [];

  constructor(
    resampling: Resampling,
    rateHz: number,
    { lead, send }: { readonly lead: Lead; readonly send: (bytes: Uint8Array) => void },
  ) {
    this.#converter = resampling.open(CALL_HZ, rateHz);
    this.#lead = lead;
    this.#send = send;
    this.#frameSamples = (rateHz * FRAME_MS) / 1000;
    this.#frame = new Int16Array(this.#frameSamples);
  }

  /** Sends what is due; to be called every 20 ms. */
  pump(read: (into: Int16Array) => number): void {
    for (let turn = 0; turn < MAX_FRAMES_A_TURN; turn++) {
      if (!this.#lead.hasRoom) {
        this.#isBehind = true;
        return;
      }
      const count = read(this.#heard);
      const pcm = this.#heard.subarray(0, count);
      if (count > 0 && !(this.#isBehind && isQuiet(pcm))) this.#take(this.#converter.convert(pcm));
      this.#idleTurns = turn === 0 && count === 0 ? this.#idleTurns + 1 : 0;
      if (count < FRAME_SAMPLES) {
        this.#isBehind = false;
        break;
      }
    }
    if (this.#idleTurns >= IDLE_TURNS) this.flush();
  }

  /** The end: everything that is left, at once. */
  drain(read: (into: Int16Array) => number): void {
    for (let turn = 0; turn <= MAX_FRAMES_A_TURN; turn++) {
      const count = read(this.#heard);
      if (count === 0) break;
      this.#take(this.#converter.convert(this.#heard.subarray(0, count)));
    }
    this.flush();
  }

  /** Runs `tell` behind the audio so far: no frame is cut short for it. */
  after(tell: () => void): void {
    if (this.#filled === 0) tell();
    else this.#behind.push(tell);
  }

  /** The unfinished frame, filled up with silence. */
  flush(): void {
    if (this.#filled > 0) this.#give();
  }

  /** Forgets what has not been sent, and what was to be said behind it; what was sent the client forgets. */
  clear(): void {
    this.#filled = 0;
    this.#frame.fill(0);
    this.#behind = [];
    this.#lead.clear();
  }

  close(): void {
    this.#converter.close();
  }

  #take(pcm: Int16Array): void {
    for (let at = 0; at < pcm.length;) {
      const part = pcm.subarray(at, at + this.#frameSamples - this.#filled);
      this.#frame.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.#frameSamples) this.#give();
    }
  }

  #give(): void {
    this.#send(new Uint8Array(this.#frame.buffer));
    this.#lead.grow();
    // The socket keeps the bytes until they are gone.
    this.#frame = new Int16Array(this.#frameSamples);
    this.#filled = 0;
    for (const tell of this.#behind.splice(0)) tell();
  }
}

function isQuiet(pcm: Int16Array): boolean {
  return pcm.every((sample) => Math.abs(sample) <= QUIET);
}
