/**
 * Reads RTCP that came from outside (RFC 3550 6.4, A.2; RFC 3611). A compound packet is judged as a whole before any of
 * it is told, and nothing is thrown whatever arrives. rtp.js, which writes ours, is not used to read: it throws on every
 * lying length, and cuts the number of lost packets to 12 bits.
 */
import { readVoipMetrics, VOIP_METRICS_BYTES, type VoipMetrics } from './rtcp-xr.ts';

/** A reception report block: what somebody received of source `ssrc`. */
export type ReceptionBlock = {
  ssrc: number;
  /** Of the packets since the report before, in 1/256. */
  fractionLost: number;
  /** Since the beginning; below 0 when more came than were sent (duplicates). */
  totalLost: number;
  highestSequence: number;
  /** In RTP time units. */
  jitterUnits: number;
  /** Middle 32 bits of the NTP time of the last sender report, and 1/65536 s since it; both 0: none came. */
  lastReport: number;
  delaySinceReport: number;
};

/** What a compound packet says, in its order. Objects are reused: valid until the call returns. */
export type RtcpSink = {
  /** A report of either kind begins; `blocks` of it follow. `ntp`: middle 32 bits of a sender's clock, else null. */
  report(ssrc: number, ntp: number | null, blocks: number): void;
  /** `from`: who reports. */
  reception(from: number, block: Readonly<ReceptionBlock>): void;
  voip(from: number, metrics: Readonly<VoipMetrics>): void;
  bye(ssrc: number): void;
};

const SENDER_REPORT = 200;
const RECEIVER_REPORT = 201;
const SOURCE_DESCRIPTION = 202;
const BYE = 203;
const EXTENDED_REPORT = 207;
/** Types that RTCP keeps to itself (RFC 5761 4). */
const FIRST_TYPE = 192;
const LAST_TYPE = 223;
const VOIP_BLOCK = 7;

const HEADER_BYTES = 4;
const SENDER_BYTES = 28;
const RECEIVER_BYTES = 8;
const BLOCK_BYTES = 24;
/** More than this is no RTCP of a telephone call: an Ethernet frame's worth. */
const MAX_BYTES = 1500;

export class RtcpReader {
  readonly #block: ReceptionBlock = {
    ssrc: 0,
    fractionLost: 0,
    totalLost: 0,
    highestSequence: 0,
    jitterUnits: 0,
    lastReport: 0,
    delaySinceReport: 0,
  };

  /** Tells `sink` what is in the packet; false, and nothing is told, when it is not well formed. */
  read(bytes: Uint8Array, sink: RtcpSink): boolean {
    if (bytes.length < HEADER_BYTES + 4 || bytes.length > MAX_BYTES) return false;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!isCompound(view)) return false;
    for (let at = 0; at < view.byteLength; at += lengthAt(view, at)) this.#tell(view, at, sink);
    return true;
  }

  #tell(view: DataView, at: number, sink: RtcpSink): void {
    const count = view.getUint8(at) & 31;
    const type = view.getUint8(at + 1);
    const from = view.byteLength - at >= 8 ? view.getUint32(at + 4) : 0;
    if (type === SENDER_REPORT || type === RECEIVER_REPORT) {
      const isSender = type === SENDER_REPORT;
      sink.report(from, isSender ? view.getUint32(at + 10) : null, count);
      const first = at + (isSender ? SENDER_BYTES : RECEIVER_BYTES);
      for (let i = 0; i < count; i++) {
        this.#readBlock(view, first + i * BLOCK_BYTES);
        sink.reception(from, this.#block);
      }
    } else if (type === BYE) {
      for (let i = 0; i < count; i++) sink.bye(view.getUint32(at + HEADER_BYTES + i * 4));
    } else if (type === EXTENDED_REPORT) {
      const end = at + lengthAt(view, at) - paddingAt(view, at);
      for (let block = at + 8; block < end; block += blockLength(view, block)) {
        if (view.getUint8(block) === VOIP_BLOCK) sink.voip(from, readVoipMetrics(view, block));
      }
    }
  }

  #readBlock(view: DataView, at: number): void {
    const block = this.#block;
    block.ssrc = view.getUint32(at);
    block.fractionLost = view.getUint8(at + 4);
    block.totalLost = (view.getInt32(at + 4) << 8) >> 8;
    block.highestSequence = view.getUint32(at + 8);
    block.jitterUnits = view.getUint32(at + 12);
    block.lastReport = view.getUint32(at + 16);
    block.delaySinceReport = view.getUint32(at + 20);
  }
}

/** Whether lengths, counts and padding of all packets agree with each other and with the datagram. */
function isCompound(view: DataView): boolean {
  const end = view.byteLength;
  if (end % 4 !== 0) return false;
  const first = view.getUint8(1);
  // A.2: a report comes first, and is not padded. Reduced-size RTCP (RFC 5506) is never negotiated.
  if (first !== SENDER_REPORT && first !== RECEIVER_REPORT) return false;
  for (let at = 0; at < end;) {
    const length = lengthAt(view, at);
    const type = view.getUint8(at + 1);
    if (view.getUint8(at) >> 6 !== 2 || type < FIRST_TYPE || type > LAST_TYPE) return false;
    if (at + length > end) return false;
    const isPadded = (view.getUint8(at) & 0x20) !== 0;
    const isLast = at + length === end;
    if (isPadded && !isLast) return false;
    const padding = isPadded ? view.getUint8(end - 1) : 0;
    if (isPadded && (padding === 0 || padding % 4 !== 0 || padding > length - HEADER_BYTES)) {
      return false;
    }
    if (!isWhole(view, at, length - padding, type)) return false;
    at += length;
  }
  return true;
}

/** Whether a packet of `length` bytes, padding left out, holds what it says. */
function isWhole(view: DataView, at: number, length: number, type: number): boolean {
  const count = view.getUint8(at) & 31;
  switch (type) {
    // Reports may end in an extension of the profile (6.4.3).
    case SENDER_REPORT:
      return length >= SENDER_BYTES + count * BLOCK_BYTES;
    case RECEIVER_REPORT:
      return length >= RECEIVER_BYTES + count * BLOCK_BYTES;
    case SOURCE_DESCRIPTION:
      return hasChunks(view, at + HEADER_BYTES, at + length, count);
    case BYE:
      return isBye(view, at + HEADER_BYTES + count * 4, at + length);
    case EXTENDED_REPORT:
      return length >= 8 && hasBlocks(view, at + 8, at + length);
    default:
      return true;
  }
}

/**
 * 6.5: each chunk is a source and items, ended by a zero and filled up to 32 bits. Senders that leave the zero out where
 * the last item ends the packet are taken as they are: nothing of this is used.
 */
function hasChunks(view: DataView, start: number, end: number, count: number): boolean {
  let at = start;
  for (let chunk = 0; chunk < count; chunk++) {
    at += 4;
    if (at > end) return false;
    while (at < end && view.getUint8(at) !== 0) {
      if (at + 1 >= end) return false;
      at += 2 + view.getUint8(at + 1);
    }
    if (at > end) return false;
    if (at < end) at += 4 - ((at - start) % 4);
  }
  return at === end;
}

/** 6.6: the sources, and perhaps a reason with its length. */
function isBye(view: DataView, reason: number, end: number): boolean {
  if (reason > end) return false;
  return reason === end || reason + 1 + view.getUint8(reason) <= end;
}

function hasBlocks(view: DataView, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    if (at + 4 > end) return false;
    const length = blockLength(view, at);
    if (at + length > end) return false;
    if (view.getUint8(at) === VOIP_BLOCK && length !== VOIP_METRICS_BYTES) return false;
    at += length;
  }
  return true;
}

function lengthAt(view: DataView, at: number): number {
  return (view.getUint16(at + 2) + 1) * 4;
}

function blockLength(view: DataView, at: number): number {
  return (view.getUint16(at + 2) + 1) * 4;
}

function paddingAt(view: DataView, at: number): number {
  return (view.getUint8(at) & 0x20) === 0 ? 0 : view.getUint8(view.byteLength - 1);
}
