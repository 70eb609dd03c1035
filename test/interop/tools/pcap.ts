/** Reads what tcpdump wrote: UDP datagrams and TCP segments with the kernel's time stamps. */
import { readFileSync } from 'node:fs';

export type Datagram = {
  /** Kernel time stamp, unix seconds as milliseconds with a fraction. */
  readonly atMs: number;
  readonly protocol: 'udp' | 'tcp';
  readonly source: string;
  readonly sourcePort: number;
  readonly target: string;
  readonly targetPort: number;
  readonly payload: Buffer;
};

/** Link-layer header bytes by pcap link type: Ethernet, raw IP, Linux cooked v1 and v2. */
const LINK_BYTES: Readonly<Record<number, number>> = { 1: 14, 101: 0, 113: 16, 276: 20 };

/** All IPv4 UDP and TCP packets with a payload, in order; fragments and other packets are passed over. */
export function readPcap(path: string): Datagram[] {
  const file = readFileSync(path);
  const magic = file.readUInt32LE(0);
  const subMs = magic === 0xa1b2c3d4 ? 1e3 : magic === 0xa1b23c4d ? 1e6 : 0;
  if (subMs === 0) throw new Error(`${path} is no little-endian pcap file`);
  const linkBytes = LINK_BYTES[file.readUInt32LE(20) & 0xffff];
  if (linkBytes === undefined) throw new Error(`${path}: unknown link type`);
  const datagrams: Datagram[] = [];
  for (let at = 24; at + 16 <= file.length;) {
    const length = file.readUInt32LE(at + 8);
    const end = at + 16 + length;
    if (end > file.length) break;
    const atMs = file.readUInt32LE(at) * 1000 + file.readUInt32LE(at + 4) / subMs;
    const datagram = readTransport(file.subarray(at + 16 + linkBytes, end), atMs);
    if (datagram !== undefined) datagrams.push(datagram);
    at = end;
  }
  return datagrams;
}

function readTransport(packet: Buffer, atMs: number): Datagram | undefined {
  const first = packet[0] ?? 0;
  const protocol = packet[9] === 17 ? 'udp' : packet[9] === 6 ? 'tcp' : undefined;
  if (packet.length < 28 || first >> 4 !== 4 || protocol === undefined) return undefined;
  // A fragment's payload is no whole datagram (more fragments, or an offset).
  if ((packet.readUInt16BE(6) & 0x3fff) !== 0) return undefined;
  const start = (first & 0x0f) * 4;
  if (packet.length < start + (protocol === 'udp' ? 8 : 20)) return undefined;
  const payload =
    protocol === 'udp'
      ? packet.subarray(start + 8, start + packet.readUInt16BE(start + 4))
      : packet.subarray(start + ((packet[start + 12] ?? 0) >> 4) * 4, packet.readUInt16BE(2));
  if (payload.length === 0) return undefined;
  return {
    atMs,
    protocol,
    source: [...packet.subarray(12, 16)].join('.'),
    target: [...packet.subarray(16, 20)].join('.'),
    sourcePort: packet.readUInt16BE(start),
    targetPort: packet.readUInt16BE(start + 2),
    payload,
  };
}
