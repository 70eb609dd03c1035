/**
 * What an Opus packet says of itself before it is decoded (RFC 6716 clause 3): its length in time, and whether it is well
 * formed, so that the decoder is never handed anything that it would refuse with an exception.
 */

/** Longest packet, RFC 6716 3.2.5 [R5]: 120 ms. In units of 48 kHz. */
const MAX_UNITS = 5760;
const MAX_FRAME_BYTES = 1275;
const SILK_UNITS = [480, 960, 1920, 2880] as const;
const HYBRID_UNITS = [480, 960] as const;
const CELT_UNITS = [120, 240, 480, 960] as const;

/** Samples of 48 kHz that the packet stands for; 0 when it is malformed ([R1] to [R7]). */
export function opusUnits(packet: DataView): number {
  if (packet.byteLength === 0) return 0;
  const units = frameUnits(packet.getUint8(0)) * frameCount(packet);
  return units <= MAX_UNITS ? units : 0;
}

/** Frames without coded sound: what a sender with DTX puts between (2 bytes at most). */
export function isOpusEmpty(packet: DataView): boolean {
  return packet.byteLength <= 2;
}

/**
 * Whether the sender took the sound for silence: every SILK frame of the packet has its voice flag down (RFC 6716 4.2.3).
 * CELT frames have no such flag; of those only the empty ones count.
 */
export function isOpusInactive(packet: DataView): boolean {
  if (isOpusEmpty(packet)) return true;
  const flags = silkFlags(packet);
  if (flags < 0) return false;
  return flags >> (8 - silkFrames(packet.getUint8(0))) === 0;
}

/** Whether the packet carries the sound of the one before it (RFC 6716 4.2.5, low bit-rate redundancy). */
export function hasOpusFec(packet: DataView): boolean {
  const flags = silkFlags(packet);
  if (flags < 0) return false;
  return ((flags >> (7 - silkFrames(packet.getUint8(0)))) & 1) === 1;
}

function frameUnits(toc: number): number {
  const config = toc >> 3;
  if (config < 12) return SILK_UNITS[config & 3] as number;
  if (config < 16) return HYBRID_UNITS[config & 1] as number;
  return CELT_UNITS[config & 3] as number;
}

/** SILK frames of 20 ms in one Opus frame of this kind. */
function silkFrames(toc: number): number {
  return Math.max(1, frameUnits(toc) / 960);
}

/** First byte of the first frame, whose leading bits are plain flags; -1 when it has none or is not SILK. */
function silkFlags(packet: DataView): number {
  if (packet.byteLength < 2 || packet.getUint8(0) >= 0x80) return -1;
  const code = packet.getUint8(0) & 3;
  let at = 1;
  if (code === 2) at += lengthBytes(packet, 1);
  if (code === 3) at = firstFrameOfMany(packet);
  return at < packet.byteLength ? packet.getUint8(at) : -1;
}

/** Frames in a well-formed packet, else 0. */
function frameCount(packet: DataView): number {
  const bytes = packet.byteLength;
  switch (packet.getUint8(0) & 3) {
    case 0:
      return bytes - 1 <= MAX_FRAME_BYTES ? 1 : 0;
    case 1:
      return (bytes - 1) % 2 === 0 && (bytes - 1) / 2 <= MAX_FRAME_BYTES ? 2 : 0;
    case 2: {
      const head = lengthBytes(packet, 1);
      if (head === 0) return 0;
      const second = bytes - 1 - head - lengthAt(packet, 1);
      return second >= 0 && second <= MAX_FRAME_BYTES ? 2 : 0;
    }
    default:
      return countMany(packet);
  }
}

/** Code 3: a count byte, padding, and frames of one length or of lengths that are given (3.2.5). */
function countMany(packet: DataView): number {
  if (packet.byteLength < 2) return 0;
  const head = packet.getUint8(1);
  const count = head & 0x3f;
  if (count === 0) return 0;
  let at = paddingEnd(packet);
  let left = packet.byteLength - at - paddingBytes(packet);
  if (left < 0) return 0;
  if ((head & 0x80) === 0) {
    return left % count === 0 && left / count <= MAX_FRAME_BYTES ? count : 0;
  }
  for (let i = 1; i < count; i++) {
    const size = lengthBytes(packet, at);
    if (size === 0) return 0;
    left -= size + lengthAt(packet, at);
    at += size;
    if (left < 0) return 0;
  }
  return left <= MAX_FRAME_BYTES ? count : 0;
}

function firstFrameOfMany(packet: DataView): number {
  let at = paddingEnd(packet);
  if (packet.byteLength < 2 || (packet.getUint8(1) & 0x80) === 0) return at;
  for (let i = 1; i < (packet.getUint8(1) & 0x3f); i++) at += lengthBytes(packet, at);
  return at;
}

/** Where the bytes that count the padding end. */
function paddingEnd(packet: DataView): number {
  if (packet.byteLength < 2 || (packet.getUint8(1) & 0x40) === 0) return 2;
  let at = 2;
  while (at < packet.byteLength && packet.getUint8(at) === 255) at++;
  return at + 1;
}

function paddingBytes(packet: DataView): number {
  if ((packet.getUint8(1) & 0x40) === 0) return 0;
  let sum = 0;
  let at = 2;
  for (; at < packet.byteLength && packet.getUint8(at) === 255; at++) sum += 254;
  return at < packet.byteLength ? sum + packet.getUint8(at) : packet.byteLength;
}

/** Bytes that a frame length takes (3.2.1): one or two; 0 when they are cut off. */
function lengthBytes(packet: DataView, at: number): number {
  if (at >= packet.byteLength) return 0;
  if (packet.getUint8(at) < 252) return 1;
  return at + 1 < packet.byteLength ? 2 : 0;
}

function lengthAt(packet: DataView, at: number): number {
  const first = packet.getUint8(at);
  return first < 252 ? first : first + 4 * packet.getUint8(at + 1);
}
