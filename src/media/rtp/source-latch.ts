/**
 * Decides whose RTP a call listens to. The signalled address wins at once; a phone that sends from elsewhere (behind a
 * NAT, or with several addresses) is taken when the signalled one stays silent for the learning window. Until then
 * packets are held back, and only a source that keeps up a stream is taken: one stray packet decides nothing. Who has
 * signalled a public address is looked for in its network only: whoever else sends is a stranger, however long he does.
 */
import { BlockList, isIPv6 } from 'node:net';
import { isPublicAddress } from '#lib/public-address.ts';

/** What to do with a packet: it is the call's, it waits for the decision, or it is somebody else's. */
export type LatchVerdict = 'accept' | 'latch' | 'hold' | 'foreign';

export const LEARNING_WINDOW_MS = 500;

/** Sources watched at a time; a flood of made-up addresses costs no more than this. */
const MAX_SOURCES = 4;
/** A stream, not a stray: this many packets of one SSRC in sequence, the last of them just now. */
const MIN_PACKETS = 5;
const FRESH_MS = 100;
/** Lost packets a stream may miss at a time and still be in sequence. */
const MAX_STEP = 5;

/** Hosts that share a NAT's pool of addresses, or a carrier's rack, are neighbours: so many bits are the same. */
const NEAR_BITS_V4 = 24;
const NEAR_BITS_V6 = 64;

/** A packet as the latch sees it. */
export type SeenPacket = {
  readonly ssrc: number;
  readonly sequence: number;
};

/** A source on trial: its latest run of packets of one SSRC in sequence. */
type Candidate = {
  readonly address: string;
  readonly port: number;
  ssrc: number;
  sequence: number;
  packets: number;
  lastMs: number;
};

export class SourceLatch {
  #signalledAddress = '';
  #signalledPort = 0;
  #isAuthentic = false;
  /** Who may be learnt besides the signalled host; null: anybody; undefined: not asked yet. */
  #near: BlockList | null | undefined;
  #address = '';
  #port = 0;
  #state: 'open' | 'learning' | 'latched' = 'open';
  #decideAtMs = 0;
  #candidates: Candidate[] = [];

  get state(): 'open' | 'learning' | 'latched' {
    return this.#state;
  }

  /** The latched source; empty before. */
  get address(): string {
    return this.#address;
  }

  get port(): number {
    return this.#port;
  }

  /** The source was learnt; the signalled address has not spoken, and wins as soon as it does. */
  get isLearnt(): boolean {
    return this.#state === 'latched' && !this.#isSignalled(this.#address, this.#port);
  }

  /**
   * Sets the signalled address; true when it is a new one, which opens the latch again (re-INVITE). `isAuthentic`: packets
   * of strangers do not get here (SRTP), so the source may be anywhere.
   */
  signal(address: string, port: number, isAuthentic = false): boolean {
    if (isAuthentic !== this.#isAuthentic) this.#near = undefined;
    this.#isAuthentic = isAuthentic;
    if (address === this.#signalledAddress && port === this.#signalledPort) return false;
    this.#signalledAddress = address;
    this.#signalledPort = port;
    this.#near = undefined;
    this.#state = 'open';
    this.#address = '';
    this.#port = 0;
    this.#candidates = [];
    return true;
  }

  /** Judges one packet with the payload of a call. 'latch' means: accepted, and the source is now known. */
  judge(address: string, port: number, packet: SeenPacket, nowMs: number): LatchVerdict {
    if (this.#state === 'latched' && address === this.#address && port === this.#port) {
      return 'accept';
    }
    // Also when another one was quicker: who was told to send is who is meant.
    if (this.#isSignalled(address, port)) {
      this.#take(address, port);
      return 'latch';
    }
    if (this.#state === 'latched' || !this.#mayBePhone(address)) return 'foreign';
    if (this.#state === 'open') {
      this.#state = 'learning';
      this.#decideAtMs = nowMs + LEARNING_WINDOW_MS;
    }
    return this.#note(address, port, packet, nowMs) ? 'hold' : 'foreign';
  }

  /**
   * True once, when the learning window is over and a source has proved itself. While none has, the window goes on;
   * when all have fallen silent, the next packet opens another.
   */
  settle(nowMs: number): boolean {
    if (this.#state !== 'learning' || nowMs < this.#decideAtMs) return false;
    let best: Candidate | null = null;
    for (const each of this.#candidates) {
      if (each.packets < MIN_PACKETS || !isFresh(each, nowMs)) continue;
      if (best === null || this.#isBetter(each, best)) best = each;
    }
    if (best !== null) {
      this.#take(best.address, best.port);
      return true;
    }
    this.#candidates = this.#candidates.filter(({ lastMs }) => nowMs - lastMs < LEARNING_WINDOW_MS);
    if (this.#candidates.length === 0) this.#state = 'open';
    return false;
  }

  /** A public address is the phone's own, or that of its NAT; a private one tells nothing of where packets come from. */
  #mayBePhone(address: string): boolean {
    if (address === this.#signalledAddress) return true;
    if (this.#near === undefined) {
      this.#near = this.#isAuthentic ? null : networkOf(this.#signalledAddress);
    }
    return this.#near === null || this.#near.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }

  /** Books the packet with its source; false when there are too many sources already. */
  #note(address: string, port: number, packet: SeenPacket, nowMs: number): boolean {
    const { ssrc, sequence } = packet;
    const known = this.#candidates.find((each) => each.address === address && each.port === port);
    if (known === undefined) {
      if (!this.#makeRoom(address, nowMs)) return false;
      this.#candidates.push({ address, port, ssrc, sequence, packets: 1, lastMs: nowMs });
      return true;
    }
    known.lastMs = nowMs;
    const step = ((sequence - known.sequence) << 16) >> 16;
    if (ssrc === known.ssrc && step <= 0 && step >= -MAX_STEP) return true;
    known.packets = ssrc === known.ssrc && step > 0 && step <= MAX_STEP ? known.packets + 1 : 1;
    known.ssrc = ssrc;
    known.sequence = sequence;
    return true;
  }

  /** Who has gone quiet makes room for anybody, and a stranger for the signalled host. */
  #makeRoom(address: string, nowMs: number): boolean {
    if (this.#candidates.length < MAX_SOURCES) return true;
    let at = this.#candidates.findIndex((each) => !isFresh(each, nowMs));
    if (at < 0 && address === this.#signalledAddress) {
      at = this.#candidates.findIndex((each) => each.address !== this.#signalledAddress);
    }
    if (at < 0) return false;
    this.#candidates.splice(at, 1);
    return true;
  }

  /** The signalled host with another port (a NAT) is more likely the phone than a stranger is; then numbers count. */
  #isBetter(one: Candidate, other: Candidate): boolean {
    const isHost = one.address === this.#signalledAddress;
    if (isHost !== (other.address === this.#signalledAddress)) return isHost;
    return one.packets > other.packets;
  }

  #isSignalled(address: string, port: number): boolean {
    return address === this.#signalledAddress && port === this.#signalledPort;
  }

  #take(address: string, port: number): void {
    this.#state = 'latched';
    this.#address = address;
    this.#port = port;
    this.#candidates = [];
  }
}

/** The network of a public address; null for any other. */
function networkOf(address: string): BlockList | null {
  if (!isPublicAddress(address)) return null;
  const list = new BlockList();
  if (isIPv6(address)) list.addSubnet(address, NEAR_BITS_V6, 'ipv6');
  else list.addSubnet(address, NEAR_BITS_V4, 'ipv4');
  return list;
}

function isFresh(candidate: Candidate, nowMs: number): boolean {
  return nowMs - candidate.lastMs <= FRESH_MS;
}
