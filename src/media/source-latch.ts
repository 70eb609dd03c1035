/**
 * Decides whose RTP a call listens to. The signalled address wins at once; a phone that sends from elsewhere (behind a
 * NAT, or with several addresses) is taken when the signalled one stays silent for the learning window. Until then its
 * packets are held back, so that nobody can talk into a call whose phone is about to speak.
 */

/** What to do with a packet: it is the call's, it waits for the decision, or it is somebody else's. */
export type LatchVerdict = 'accept' | 'latch' | 'hold' | 'foreign';

export const LEARNING_WINDOW_MS = 500;

export class SourceLatch {
  #signalledAddress = '';
  #signalledPort = 0;
  #address = '';
  #port = 0;
  #state: 'open' | 'learning' | 'latched' = 'open';
  #decideAtMs = 0;

  get state(): 'open' | 'learning' | 'latched' {
    return this.#state;
  }

  /** The latched source, or while learning the candidate. */
  get address(): string {
    return this.#address;
  }

  get port(): number {
    return this.#port;
  }

  /** Sets the signalled address; true when it is a new one, which opens the latch again (re-INVITE). */
  signal(address: string, port: number): boolean {
    if (address === this.#signalledAddress && port === this.#signalledPort) return false;
    this.#signalledAddress = address;
    this.#signalledPort = port;
    this.#state = 'open';
    this.#address = '';
    this.#port = 0;
    return true;
  }

  /** Judges one packet with the payload of a call. 'latch' means: accepted, and the source is now known. */
  judge(address: string, port: number, nowMs: number): LatchVerdict {
    if (this.#state === 'latched') {
      return address === this.#address && port === this.#port ? 'accept' : 'foreign';
    }
    if (address === this.#signalledAddress && port === this.#signalledPort) {
      this.#take(address, port);
      this.#state = 'latched';
      return 'latch';
    }
    if (this.#state === 'open' || this.#outranks(address)) {
      this.#take(address, port);
      if (this.#state === 'open') this.#decideAtMs = nowMs + LEARNING_WINDOW_MS;
      this.#state = 'learning';
      return 'hold';
    }
    return address === this.#address && port === this.#port ? 'hold' : 'foreign';
  }

  /** True once, when the learning window is over and the candidate becomes the source. */
  settle(nowMs: number): boolean {
    if (this.#state !== 'learning' || nowMs < this.#decideAtMs) return false;
    this.#state = 'latched';
    return true;
  }

  /** The signalled host with another port (a NAT) is more likely the phone than a stranger is. */
  #outranks(address: string): boolean {
    return address === this.#signalledAddress && this.#address !== this.#signalledAddress;
  }

  #take(address: string, port: number): void {
    this.#address = address;
    this.#port = port;
  }
}
