/**
 * Opus in Ogg (RFC 7845) with each side of a call as a stream of its own: two mono streams, no coupling (mapping family
 * 1), so that nothing of one side is ever heard on the other. Headers and packets; pages are in ogg.ts.
 */
import { AppError } from './errors.ts';

/** Granule positions count samples of this rate, whatever was encoded. */
export const OPUS_GRANULE_HZ = 48_000;
/** Of one side (50 kbit/s, more than speech of a telephone ever takes): two sides are one entry of a page's table. */
export const MAX_OPUS_FRAME_BYTES = 125;
/** Of both in one packet, before padding. */
export const MAX_SIDES_BYTES = 2 * MAX_OPUS_FRAME_BYTES + 1;

const CHANNELS = 2;
const FAMILY = 1;
const VENDOR = 'callyard';
const TWO_BYTE_LENGTH = 252;

export type OpusHead = {
  /** Granule units to be left out at the start. */
  readonly preSkip: number;
  readonly inputRateHz: number;
};

/** The first packet (RFC 7845 5.1): two channels, left and right, each its own stream. */
export function opusHead({ preSkip, inputRateHz }: OpusHead): Uint8Array {
  const bytes = new Uint8Array(21 + CHANNELS);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from('OpusHead', 'latin1'));
  bytes[8] = 1;
  bytes[9] = CHANNELS;
  view.setUint16(10, preSkip, true);
  view.setUint32(12, inputRateHz, true);
  bytes[18] = FAMILY;
  bytes[19] = CHANNELS; // streams
  bytes[20] = 0; // coupled ones
  bytes.set([0, 1], 21);
  return bytes;
}

/** The second packet (RFC 7845 5.2): who wrote it, and nothing about whom. */
export function opusTags(): Uint8Array {
  const vendor = Buffer.from(VENDOR, 'latin1');
  const bytes = new Uint8Array(8 + 4 + vendor.length + 4);
  bytes.set(Buffer.from('OpusTags', 'latin1'));
  new DataView(bytes.buffer).setUint32(8, vendor.length, true);
  bytes.set(vendor, 12);
  return bytes;
}

/** What a first packet says; null when it is not one that opusHead() makes. */
export function readOpusHead(bytes: Uint8Array): OpusHead | null {
  if (bytes.length !== 21 + CHANNELS) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = { preSkip: view.getUint16(10, true), inputRateHz: view.getUint32(12, true) };
  return opusHead(head).every((byte, at) => byte === bytes[at]) ? head : null;
}

/** One packet of one frame for each side, as one of two streams: the first tells its length (RFC 6716 appendix B). */
export function joinSides(left: Uint8Array, right: Uint8Array): Uint8Array {
  const frame = left.length - 1;
  const isFramed = [left, right].every(
    (packet) => ((packet[0] ?? 3) & 3) === 0 && packet.length <= MAX_OPUS_FRAME_BYTES,
  );
  if (!isFramed) throw new AppError('E_INTERNAL', 'a side is one short packet of one frame');
  const bytes = new Uint8Array(2 + frame + right.length);
  bytes[0] = left[0] as number;
  bytes[1] = frame;
  bytes.set(left.subarray(1), 2);
  bytes.set(right, 2 + frame);
  return bytes;
}

/** What joinSides() and padSides() made, for two decoders. Errors: E_MEDIA when it is something else. */
export function splitSides(packet: Uint8Array): { left: Uint8Array; right: Uint8Array } {
  const frame = packet[1] ?? TWO_BYTE_LENGTH;
  const start = 2 + frame;
  if (((packet[0] ?? 3) & 3) !== 0 || frame >= TWO_BYTE_LENGTH || start >= packet.length) {
    throw new AppError('E_MEDIA', 'a recording is damaged: a packet does not hold two sides');
  }
  const left = new Uint8Array(1 + frame);
  left[0] = packet[0] as number;
  left.set(packet.subarray(2, start), 1);
  return { left, right: packet.subarray(start) };
}

/** The same sound in `by` more bytes (RFC 6716 3.2.5). A packet is padded once. */
export function padSides(packet: Uint8Array, by: number): Uint8Array {
  if (by === 0) return packet;
  const start = 2 + (packet[1] as number);
  const frame = packet.subarray(start + 1);
  const bytes = new Uint8Array(packet.length + by);
  bytes.set(packet.subarray(0, start));
  bytes[start] = (packet[start] as number) | 3;
  if (by === 1) {
    bytes[start + 1] = 1; // one frame, no padding
    bytes.set(frame, start + 2);
    return bytes;
  }
  bytes[start + 1] = 0x41; // one frame, and padding
  // Each 255 stands for 254 bytes at the end and itself; the last one counts for what it says.
  const more = Math.floor((by - 2) / 255);
  bytes.fill(255, start + 2, start + 2 + more);
  bytes[start + 2 + more] = (by - 2) % 255;
  bytes.set(frame, start + 3 + more);
  return bytes;
}
