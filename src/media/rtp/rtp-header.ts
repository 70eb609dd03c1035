/**
 * The header of a received RTP packet (RFC 3550 5.1), read where the datagram lies: one object for all packets of a call,
 * and no exception for what is not RTP. Header extensions are passed over, whatever is in them.
 */

const VERSION = 2;
const FIXED_BYTES = 12;
const WORD_BYTES = 4;
const HAS_PADDING = 0x20;
const HAS_EXTENSION = 0x10;
const CSRC_COUNT = 0x0f;
const NOTHING = new Uint8Array(0);

export class RtpHeader {
  payloadType = 0;
  isMarked = false;
  sequence = 0;
  timestamp = 0;
  ssrc = 0;
  #bytes: Uint8Array = NOTHING;
  #from = 0;
  #length = 0;

  /** Reads another packet; false when it is none, or shorter than it says: the fields then mean nothing. */
  read(bytes: Uint8Array): boolean {
    const size = bytes.length;
    if (size < FIXED_BYTES) return false;
    const first = bytes[0] as number;
    if (first >> 6 !== VERSION) return false;
    let from = FIXED_BYTES + (first & CSRC_COUNT) * WORD_BYTES;
    if ((first & HAS_EXTENSION) !== 0) {
      if (from + WORD_BYTES > size) return false;
      from += WORD_BYTES + uint16(bytes, from + 2) * WORD_BYTES;
    }
    let length = size - from;
    if ((first & HAS_PADDING) !== 0) length -= bytes[size - 1] as number;
    if (length < 0) return false;
    this.payloadType = (bytes[1] as number) & 0x7f;
    this.isMarked = (bytes[1] as number) > 0x7f;
    this.sequence = uint16(bytes, 2);
    this.timestamp = uint32(bytes, 4);
    this.ssrc = uint32(bytes, 8);
    this.#bytes = bytes;
    this.#from = from;
    this.#length = length;
    return true;
  }

  /** Without padding; valid as long as the datagram. */
  get payload(): DataView {
    const { buffer, byteOffset } = this.#bytes;
    return new DataView(buffer, byteOffset + this.#from, this.#length);
  }

  /** Of a packet that is kept: the buffer it came in may be used again. */
  copy(): RtpHeader {
    const copy = new RtpHeader();
    // Not slice(): that of a Buffer copies nothing.
    copy.read(new Uint8Array(this.#bytes));
    return copy;
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((uint16(bytes, at) << 16) | uint16(bytes, at + 2)) >>> 0;
}
