/** Audio between a socket and a call: frames of the client's rate outside, samples at 8 kHz inside. */

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
/** What one turn may catch up after a stall: all that a call keeps for a client. */
const MAX_FRAMES_A_TURN = 100;
/** After so many turns without a sample the last, unfinished frame is sent as it is. */
const IDLE_TURNS = 3;

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

/** Call to client: whole frames of 20 ms. */
export class Downlink {
  readonly #converter: RateConverter;
  readonly #frameSamples: number;
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  #frame: Int16Array<ArrayBuffer>;
  #filled = 0;
  #idleTurns = 0;

  constructor(resampling: Resampling, rateHz: number) {
    this.#converter = resampling.open(CALL_HZ, rateHz);
    this.#frameSamples = (rateHz * FRAME_MS) / 1000;
    this.#frame = new Int16Array(this.#frameSamples);
  }

  /** Sends what is due; to be called every 20 ms. */
  pump(read: (into: Int16Array) => number, send: (bytes: Uint8Array) => void): void {
    for (let turn = 0; turn < MAX_FRAMES_A_TURN; turn++) {
      const count = read(this.#heard);
      if (count > 0) this.#take(this.#converter.convert(this.#heard.subarray(0, count)), send);
      this.#idleTurns = turn === 0 && count === 0 ? this.#idleTurns + 1 : 0;
      if (count < FRAME_SAMPLES) break;
    }
    if (this.#idleTurns >= IDLE_TURNS) this.flush(send);
  }

  /** The unfinished frame, filled up with silence: what is said next belongs behind it. */
  flush(send: (bytes: Uint8Array) => void): void {
    if (this.#filled === 0) return;
    this.#give(send);
  }

  /** Forgets what has not been sent. */
  clear(): void {
    this.#filled = 0;
    this.#frame.fill(0);
  }

  close(): void {
    this.#converter.close();
  }

  #take(pcm: Int16Array, send: (bytes: Uint8Array) => void): void {
    for (let at = 0; at < pcm.length;) {
      const part = pcm.subarray(at, at + this.#frameSamples - this.#filled);
      this.#frame.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.#frameSamples) this.#give(send);
    }
  }

  #give(send: (bytes: Uint8Array) => void): void {
    send(new Uint8Array(this.#frame.buffer));
    // The socket keeps the bytes until they are gone.
    this.#frame = new Int16Array(this.#frameSamples);
    this.#filled = 0;
  }
}
