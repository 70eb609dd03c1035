/** Ogg pages (RFC 3533): written and read. Knows nothing of what is in them. */

export const OGG_HEADER_BYTES = 27;
export const OGG_FIRST = 0x02;
export const OGG_LAST = 0x04;
/** Of one page. */
export const OGG_MAX_SEGMENTS = 255;
const SEGMENT_BYTES = 255;
const CAPTURE = 0x4f676753; // OggS
const CRC_AT = 22;

export type OggPage = {
  readonly flags: number;
  /** What the codec counts, up to the end of the page's last packet. */
  readonly granule: number;
  readonly serial: number;
  readonly sequence: number;
  /** Whole packets: pages of ours never break one. */
  readonly packets: readonly Uint8Array[];
};

/** Entries of the segment table that a packet of so many bytes takes. */
export function oggSegments(bytes: number): number {
  return Math.floor(bytes / SEGMENT_BYTES) + 1;
}

/** The bytes of one page. The packets must fit its segment table. */
export function oggPage(page: OggPage): Uint8Array {
  const segments = page.packets.reduce((sum, packet) => sum + oggSegments(packet.length), 0);
  if (segments > OGG_MAX_SEGMENTS) throw new RangeError('too much for one page');
  const payload = page.packets.reduce((sum, packet) => sum + packet.length, 0);
  const bytes = new Uint8Array(OGG_HEADER_BYTES + segments + payload);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, CAPTURE);
  bytes[5] = page.flags;
  view.setBigUint64(6, BigInt(page.granule), true);
  view.setUint32(14, page.serial, true);
  view.setUint32(18, page.sequence, true);
  bytes[26] = segments;
  let entry = OGG_HEADER_BYTES;
  let at = OGG_HEADER_BYTES + segments;
  for (const packet of page.packets) {
    const whole = Math.floor(packet.length / SEGMENT_BYTES);
    bytes.fill(SEGMENT_BYTES, entry, entry + whole);
    bytes[entry + whole] = packet.length % SEGMENT_BYTES;
    entry += whole + 1;
    bytes.set(packet, at);
    at += packet.length;
  }
  view.setUint32(CRC_AT, crcOf(bytes), true);
  return bytes;
}

/** A page found in a file, and where it ends there. */
export type FoundPage = OggPage & { readonly end: number };

/** The page that begins at `at`; null when none does, it is cut off, or a bit of it is wrong. */
export function readOggPage(bytes: Uint8Array, at: number): FoundPage | null {
  if (at + OGG_HEADER_BYTES > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at) !== CAPTURE || bytes[at + 4] !== 0) return null;
  const tableEnd = at + OGG_HEADER_BYTES + (bytes[at + 26] as number);
  if (tableEnd > bytes.length) return null;
  const packets: Uint8Array[] = [];
  let end = tableEnd;
  let start = tableEnd;
  for (let entry = at + OGG_HEADER_BYTES; entry < tableEnd; entry++) {
    const length = bytes[entry] as number;
    end += length;
    if (length === SEGMENT_BYTES) continue;
    packets.push(bytes.subarray(start, end));
    start = end;
  }
  if (end > bytes.length) return null;
  const page = new Uint8Array(bytes.subarray(at, end));
  page.fill(0, CRC_AT, CRC_AT + 4);
  if (crcOf(page) !== view.getUint32(at + CRC_AT, true)) return null;
  return {
    flags: bytes[at + 5] as number,
    granule: Number(view.getBigInt64(at + 6, true)),
    serial: view.getUint32(at + 14, true),
    sequence: view.getUint32(at + 18, true),
    packets,
    end,
  };
}

/** The polynomial of Ethernet, without its reflections and complements. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte << 24;
  for (let bit = 0; bit < 8; bit++) rest = rest < 0 ? (rest << 1) ^ 0x04c11db7 : rest << 1;
  return rest;
});

function crcOf(bytes: Uint8Array): number {
  let crc = 0;
  for (let i = 0; i < bytes.length; i++) {
    crc = (crc << 8) ^ (CRC_TABLE[(crc >>> 24) ^ (bytes[i] as number)] as number);
  }
  return crc >>> 0;
}
