/**
 * Decides whose RTP a call listens to. The signalled address wins at once; a phone that sends from elsewhere (behind a
 * NAT, or with several addresses) is taken when the signalled one stays silent for the learning window. Until then
 * packets are held back, and only a source that keeps up a stream is taken: one stray packet decides nothing. Who has
 * signalled a public address is looked for in its network only: whoever else sends is a stranger, however long he does.
 * The trunk may narrow that to the signalled address and port (`strict`), or open it to any network (`any`).
 */
import { BlockList, isIPv6 } from 'node:net';
import type { MediaSource } from '#lib/media-source.ts';
import { isPublicAddress } from '#lib/public-address.ts';

/** What to do with a packet: it is the call's, it waits for the decision, or it is somebody else's. */
export type LatchVerdict = 'accept' | 'latch' | 'hold' | 'foreign';

export const LEARNING_WINDOW_MS = 500;

/** Sources watched at a time; a flood of made-up addresses costs no more than this. */
const MAX_SOURCES = 4;
/** A stream, not a stray: this many packets of one SSRC in sequence over this time, the last of them just now. */
const MIN_PACKETS = 5;
const MIN_RUN_MS = 80;
const FRESH_MS = 100;
/** Lost packets a stream may miss at a time and still be in sequence. */
const MAX_STEP = 5;
/** The shortest packets there are, and how many may have piled up on the way: who keeps sending more is no phone. */
const MIN_PACKET_MS = 2.5;
const MAX_PILE = 5;

/** Hosts that share a NAT's pool of addresses, or a carrier's rack, are neighbours: so many bits are the same. */
const NEAR_BITS_V4 = 24;
const NEAR_BITS_V6 = 64;

/** A packet as the latch sees it. */
export type SeenPacket = {
  readonly ssrc: number;
  readonly sequence: number;
};

/** Whom to believe. */
export type LatchTrust = {
  /** Packets of strangers do not get here (SRTP), so the source may be anywhere. Absent: false. */
  readonly isAuthentic?: boolean;
  readonly mediaSource?: MediaSource | undefined;
};

/** A source on trial: its latest run of packets of one SSRC in sequence, and since when. */
type Candidate = {
  readonly address: string;
  readonly port: number;
  ssrc: number;
  sequence: number;
  packets: number;
  sinceMs: number;
  lastMs: number;
};

export class SourceLatch {
  #signalledAddress = '';
  #signalledPort = 0;
  #isAuthentic = false;
  #mediaSource: MediaSource = 'auto';
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

  /** Sets the signalled address; true when it is a new one, which opens the latch again (re-INVITE). */
  signal(address: string, port: number, trust: LatchTrust = {}): boolean {
    const { isAuthentic = false, mediaSource = 'auto' } = trust;
    if (isAuthentic !== this.#isAuthentic) this.#near = undefined;
    this.#isAuthentic = isAuthentic;
    const isSame = this.#isSignalled(address, port) && mediaSource === this.#mediaSource;
    if (isSame) return false;
    this.#mediaSource = mediaSource;
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
      if (!this.#mayTakeOver(address, port, packet, nowMs)) return 'foreign';
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
      if (!isStream(each, nowMs) || !isFresh(each, nowMs)) continue;
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

  /**
   * Where audio is expected from elsewhere, some of it from the signalled address (a tone, a probe of its NAT) is no
   * reason to give up a source that was learnt: a stream is.
   */
  #mayTakeOver(address: string, port: number, packet: SeenPacket, nowMs: number): boolean {
    if (this.#mediaSource !== 'any' || this.#state !== 'latched') return true;
    this.#note(address, port, packet, nowMs);
    const [candidate] = this.#candidates;
    return candidate !== undefined && isStream(candidate, nowMs);
  }

  /** A public address is the phone's own, or that of its NAT; a private one tells nothing of where packets come from. */
  #mayBePhone(address: string): boolean {
    if (this.#mediaSource === 'strict') return false;
    if (this.#mediaSource === 'any' || address === this.#signalledAddress) return true;
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
      const run = { packets: 1, sinceMs: nowMs, lastMs: nowMs };
      this.#candidates.push({ address, port, ssrc, sequence, ...run });
      return true;
    }
    // What comes now and then with numbers in sequence keeps a NAT open, and is no stream.
    const isSteady = nowMs - known.lastMs < LEARNING_WINDOW_MS;
    known.lastMs = nowMs;
    const step = ((sequence - known.sequence) << 16) >> 16;
    if (ssrc === known.ssrc && step <= 0 && step >= -MAX_STEP) return true;
    const goesOn = isSteady && ssrc === known.ssrc && step > 0 && step <= MAX_STEP;
    known.packets = goesOn ? known.packets + 1 : 1;
    if (!goesOn) known.sinceMs = nowMs;
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

  /**
   * The signalled host with another port (a NAT) is more likely the phone than a stranger is; then who began first, at
   * whatever rate.
   */
  #isBetter(one: Candidate, other: Candidate): boolean {
    const isHost = one.address === this.#signalledAddress;
    if (isHost !== (other.address === this.#signalledAddress)) return isHost;
    return one.sinceMs < other.sinceMs;
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

function isStream({ packets, sinceMs }: Candidate, nowMs: number): boolean {
  const runMs = nowMs - sinceMs;
  return (
    packets >= MIN_PACKETS && runMs >= MIN_RUN_MS && packets <= MAX_PILE + runMs / MIN_PACKET_MS
  );
}

function isFresh(candidate: Candidate, nowMs: number): boolean {
  return nowMs - candidate.lastMs <= FRESH_MS;
}
