/**
 * Where packets are made: one buffer for all calls of a thread, so that it is in the processor's cache when the next call
 * writes into it. What was sent from it has been taken by the system when `send` returns, or else the buffer is left to it.
 */

export const HEADER_BYTES = 12;
/** 60 ms of L16, or of Opus at any rate that it can be asked for. */
const MAX_PAYLOAD_BYTES = 1200;

export class PacketBuffer {
  readonly bytes = new Uint8Array(HEADER_BYTES + MAX_PAYLOAD_BYTES);
  readonly payload = this.bytes.subarray(HEADER_BYTES);
  /** By length; made when first needed. */
  readonly #packets: (Uint8Array | undefined)[] = [];

  /** The packet in it that has a payload of so many bytes. */
  packet(payloadBytes: number): Uint8Array {
    return (this.#packets[payloadBytes] ??= this.bytes.subarray(0, HEADER_BYTES + payloadBytes));
  }
}

let buffer = new PacketBuffer();

/** For the packet at hand; ask anew for the next one. */
export function packetBuffer(): PacketBuffer {
  return buffer;
}

/** The system has not taken a packet yet: it goes on reading there, and nobody may write there any more. */
export function leavePacketBuffer(): void {
  buffer = new PacketBuffer();
}
