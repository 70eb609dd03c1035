/** What a capture says about RTP: one report per stream (SSRC and both ends), and the sound as a perfect ear hears it. */
import { codecOfPayloadType, decodeG711 } from '#src/demo/g711.ts';
import { parseRtp, type ReceivedPacket } from '#src/demo/rtp-stream.ts';
import { isSpeech } from '#src/demo/voice-meter.ts';
import type { Datagram } from './pcap.ts';

export type RtpStreamReport = {
  readonly ssrc: number;
  readonly source: string;
  readonly target: string;
  readonly packets: readonly ReceivedPacket[];
  readonly firstMs: number;
  readonly lastMs: number;
  /** Sequence numbers between first and last that never came. */
  readonly missing: number;
  readonly duplicated: number;
  readonly reordered: number;
  /** |inter-arrival - 20 ms| in ms. */
  readonly deviation: { readonly p50: number; readonly p99: number; readonly max: number };
  /** RFC 3550 6.4.1 jitter at the end, ms. */
  readonly jitterMs: number;
};

/** Streams of at least `minPackets` packets in order of their first packet. */
export function rtpStreams(datagrams: readonly Datagram[], minPackets = 5): RtpStreamReport[] {
  const streams = new Map<string, { source: string; target: string; packets: ReceivedPacket[] }>();
  for (const datagram of datagrams) {
    if (datagram.protocol !== 'udp') continue;
    const packet = parseRtp(datagram.payload, datagram.atMs);
    if (packet === undefined || packet.payload.length > 400) continue;
    const source = `${datagram.source}:${datagram.sourcePort}`;
    const target = `${datagram.target}:${datagram.targetPort}`;
    const key = `${packet.ssrc} ${source} ${target}`;
    const stream = streams.get(key) ?? { source, target, packets: [] };
    stream.packets.push(packet);
    streams.set(key, stream);
  }
  return [...streams.values()]
    .filter((stream) => stream.packets.length >= minPackets)
    .map(({ source, target, packets }) => report(source, target, packets))
    .sort((a, b) => a.firstMs - b.firstMs);
}

function report(source: string, target: string, packets: ReceivedPacket[]): RtpStreamReport {
  const seen = new Set<number>();
  const deviations: number[] = [];
  let highest = packets[0]?.sequence ?? 0;
  const lowest = highest;
  let reordered = 0;
  let duplicated = 0;
  let jitter = 0;
  let previous: ReceivedPacket | undefined;
  for (const packet of packets) {
    // Sequence numbers are unwrapped to the nearest value of the running highest (RFC 3550 A.1).
    const extended = highest + signed16(packet.sequence - highest);
    if (seen.has(extended)) duplicated += 1;
    else if (extended < highest) reordered += 1;
    seen.add(extended);
    highest = Math.max(highest, extended);
    if (previous !== undefined) {
      const gapMs = packet.atMs - previous.atMs;
      deviations.push(Math.abs(gapMs - 20));
      const transitMs = gapMs - ((packet.timestamp - previous.timestamp) | 0) / 8;
      jitter += (Math.abs(transitMs) - jitter) / 16;
    }
    previous = packet;
  }
  return {
    ssrc: packets[0]?.ssrc ?? 0,
    source,
    target,
    packets,
    firstMs: packets[0]?.atMs ?? 0,
    lastMs: packets.at(-1)?.atMs ?? 0,
    missing: highest - Math.min(lowest, ...seen) + 1 - seen.size,
    duplicated,
    reordered,
    deviation: spread(deviations),
    jitterMs: jitter,
  };
}

function signed16(difference: number): number {
  return (((difference % 65536) + 98304) % 65536) - 32768;
}

export function spread(values: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

/** The stream as sound, placed by RTP time stamp; what never came is silence. Non-audio payloads are left out. */
export function decodeStream(stream: Pick<RtpStreamReport, 'packets'>): Int16Array {
  const audio = stream.packets.filter(
    (packet) => codecOfPayloadType(packet.payloadType) !== undefined,
  );
  const start = audio[0]?.timestamp ?? 0;
  const offsets = audio.map((packet) => (packet.timestamp - start) | 0);
  const lengths = audio.map((packet, at) => (offsets[at] ?? 0) + packet.payload.length);
  const pcm = new Int16Array(lengths.reduce((most, length) => Math.max(most, length), 0));
  for (const [at, packet] of audio.entries()) {
    const offset = offsets[at] ?? 0;
    const codec = codecOfPayloadType(packet.payloadType);
    if (offset >= 0 && codec !== undefined) pcm.set(decodeG711(codec, packet.payload), offset);
  }
  return pcm;
}

/** Capture times of the packets that carry sound above the speech level. */
export function speechTimes(stream: Pick<RtpStreamReport, 'packets'>): number[] {
  return stream.packets.flatMap((packet) => {
    const codec = codecOfPayloadType(packet.payloadType);
    if (codec === undefined) return [];
    return isSpeech(decodeG711(codec, packet.payload)) ? [packet.atMs] : [];
  });
}
