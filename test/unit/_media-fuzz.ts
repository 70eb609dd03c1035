/**
 * What a broken or hostile phone makes of its own packets: a live call gets its true stream, and between the true packets
 * any number of mutated ones from the same source. What the caller is heard to say is compared with a call without them.
 */
import { encodeG711, G711 } from '#lib/g711.ts';
import { PHONE, AUDIO, rtp, testChain, type TestChain } from './_media.ts';

/** Deterministic (xorshift32): whole numbers below `below`. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed === 0 ? 1 : seed | 0;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Random = ReturnType<typeof randomOf>;
type Mutation = (packet: Uint8Array, random: Random) => Uint8Array;

const HEADER = 12;

const flipped = (packet: Uint8Array, random: Random, bytes: number, most: number): Uint8Array => {
  for (let k = 1 + random(most); k > 0 && bytes > 0; k--) {
    const at = random(bytes);
    packet[at] = (packet[at] as number) ^ (1 << random(8));
  }
  return packet;
};

const wordAt = (packet: Uint8Array, at: number, value: number): Uint8Array => {
  new DataView(packet.buffer, packet.byteOffset).setUint32(at, value >>> 0);
  return packet;
};

const numbered = (packet: Uint8Array, change: (sequence: number) => number): Uint8Array => {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint16(2, change(view.getUint16(2)) & 0xffff);
  return packet;
};

const longer = (packet: Uint8Array, by: number, random: Random): Uint8Array => {
  const long = new Uint8Array(packet.length + by);
  long.set(packet);
  for (let i = packet.length; i < long.length; i += 1 + random(8)) long[i] = random(256);
  return long;
};

/** By name, so that a failure can say which. All take a whole packet that they may change. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  truncated: (packet, random) => packet.subarray(0, random(packet.length)),
  oversize: (packet, random) =>
    longer(packet, 1 + random(random(50) === 0 ? 60_000 : 1400), random),
  'wrong version': (packet, random) => {
    packet[0] = ((packet[0] as number) & 0x3f) | (([0, 1, 3][random(3)] as number) << 6);
    return packet;
  },
  'CSRC liar': (packet, random) => {
    packet[0] = ((packet[0] as number) & 0xf0) | (1 + random(15));
    return random(2) === 0 ? packet : packet.subarray(0, HEADER + random(64));
  },
  'extension liar': (packet, random) => {
    packet[0] = (packet[0] as number) | 0x10;
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    if (packet.length >= 16) view.setUint16(14, random(2) === 0 ? random(65_536) : random(64));
    return packet;
  },
  'padding liar': (packet, random) => {
    packet[0] = (packet[0] as number) | 0x20;
    packet[packet.length - 1] = random(256);
    return packet;
  },
  'another SSRC': (packet, random) =>
    wordAt(packet, 8, random(2) === 0 ? random(4) : random(2 ** 32)),
  'sequence ahead': (packet, random) => numbered(packet, (sequence) => sequence + 1 + random(3500)),
  'sequence behind': (packet, random) => numbered(packet, (sequence) => sequence - random(3500)),
  'sequence at the wrap': (packet, random) => numbered(packet, () => 65_533 + random(6)),
  'time jump': (packet, random) => wordAt(packet, 4, random(2 ** 32)),
  'payload flips': (packet, random) => flipped(packet, random, packet.length, 20),
  'header flips': (packet, random) => flipped(packet, random, Math.min(HEADER, packet.length), 8),
  'another payload type': (packet, random) => {
    packet[1] = [13, 101, random(128), random(256)][random(4)] as number;
    return packet;
  },
  'zero bytes': (packet, random) => new Uint8Array(random(2) === 0 ? 0 : random(packet.length)),
  noise: (_packet, random) => Uint8Array.from({ length: random(220) }, () => random(256)),
};

const NAMES = Object.keys(MUTATIONS);
const KEPT = 50;
const SSRC = 7;
/** One mutated packet in so many is RTCP. */
const RTCP_SHARE = 8;

/** Speech-like: swept tones with a syllable's swing. */
export function caller(frames: number): Uint8Array[] {
  const pcm = new Int16Array(160);
  const codes = Array.from({ length: frames }, () => new Uint8Array(160));
  let phase = 0;
  for (const [frame, payload] of codes.entries()) {
    for (let i = 0; i < 160; i++) {
      const t = (frame * 160 + i) / 8000;
      phase += (2 * Math.PI * (500 + 300 * Math.sin(t * 2.1))) / 8000;
      const swing = 0.55 + 0.45 * Math.sin(2 * Math.PI * 3.3 * t);
      pcm[i] = 7000 * swing * (Math.sin(phase) + 0.4 * Math.sin(2.7 * phase));
    }
    encodeG711(G711.PCMU, pcm, payload);
  }
  return codes;
}

/** SR, SDES and BYE of the phone, as one compound packet (RFC 3550 6.1). */
function rtcpOf(sequence: number, timestamp: number): Uint8Array {
  const bytes = new Uint8Array(28 + 24 + 16 + 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x81c8_000c);
  view.setUint32(4, SSRC);
  view.setUint32(16, timestamp);
  view.setUint32(28, 1);
  view.setUint32(36, sequence);
  view.setUint32(52, 0x81ca_0003);
  view.setUint32(56, SSRC);
  bytes.set([1, 4, 116, 101, 115, 116, 0, 0], 60);
  view.setUint32(68, 0x81cb_0001);
  view.setUint32(72, SSRC);
  return bytes;
}

export type FuzzOptions = {
  readonly seed: number;
  readonly frames: number;
  /** Mutated packets between two true ones. */
  readonly perFrame: number;
};

export type FuzzReport = {
  readonly mutated: number;
  /** Packets that a parser has seen, by the call's own counters. */
  readonly reached: number;
  readonly sent: number;
  readonly thrown: string[];
  readonly failed: number;
  readonly keys: number;
  readonly heard: Int16Array;
};

/** One call of `frames` frames of speech with its mutated packets in between. */
export async function fuzzCall(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, frames, perFrame } = options;
  const random = randomOf(seed);
  const call = testChain({ recordsOnCommand: true });
  call.transport.keep = false;
  call.chain.start(AUDIO);
  const voice = caller(500);
  const heard: Int16Array[] = [];
  const chunk = new Int16Array(1600);
  const history: Uint8Array[] = [];
  const thrown: string[] = [];
  let [mutated, sent] = [0, 0];
  for (let frame = 0; frame < frames; frame++) {
    const payload = voice[frame % voice.length] as Uint8Array;
    const packet = rtp({ sequence: frame + 65_000, timestamp: frame * 160, payload, ssrc: SSRC });
    history[frame % KEPT] = packet;
    call.transport.listener?.(packet, PHONE.address, PHONE.port);
    sent++;
    for (let i = 0; i < perFrame; i++) {
      const name = NAMES[random(NAMES.length)] as string;
      const isRtcp = random(RTCP_SHARE) === 0;
      const base = isRtcp
        ? rtcpOf(frame, frame * 160)
        : (history[random(Math.min(KEPT, frame + 1))] as Uint8Array).slice();
      const bytes = (MUTATIONS[name] as Mutation)(base, random);
      try {
        // RTCP also where it does not belong.
        if (isRtcp && random(4) > 0) {
          call.transport.rtcpListener?.(bytes, PHONE.address, PHONE.port + 1);
        } else call.transport.listener?.(bytes, PHONE.address, PHONE.port);
      } catch (error) {
        thrown.push(`${name}: ${String(error)}`);
      }
      mutated++;
      sent++;
    }
    call.clock.advance(20);
    for (let n = call.callerRing.read(chunk); n > 0; n = call.callerRing.read(chunk)) {
      heard.push(chunk.slice(0, n));
    }
    if (frame % 250 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { mutated, sent, thrown, ...(await endOf(call)), heard: joined(heard) };
}

async function endOf(call: TestChain) {
  const { stats } = await call.chain.close();
  const failed = call.events.filter(({ type }) => type === 'media.failed').length;
  const keys = call.events.filter(({ type }) => type === 'dtmf').length;
  const rtp = stats.packetsReceived + stats.malformedDropped + stats.foreignDropped;
  const rtcp = (stats.rtcpReceived ?? 0) + (stats.rtcpMalformed ?? 0) + (stats.rtcpForeign ?? 0);
  return { failed, keys, reached: rtp + rtcp };
}

function joined(parts: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Normalised correlation, sample by sample: both began at the same call time. */
export function likeness(one: Int16Array, other: Int16Array): number {
  const length = Math.max(one.length, other.length);
  let [product, a, b] = [0, 0, 0];
  for (let i = 0; i < length; i++) {
    const [x, y] = [one[i] ?? 0, other[i] ?? 0];
    product += x * y;
    a += x * x;
    b += y * y;
  }
  return product / Math.sqrt(Math.max(1, a * b));
}
