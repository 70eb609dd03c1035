/**
 * Puts the packets of a recording into Ogg pages: one about every second, none across a border of the file's chunks, so
 * that wherever a crash or a full disk ends the file, it ends with a whole page.
 */
import {
  OGG_FIRST,
  OGG_HEADER_BYTES,
  OGG_LAST,
  OGG_MAX_SEGMENTS,
  oggPage,
  oggSegments,
} from '#lib/ogg.ts';
import { MAX_SIDES_BYTES, opusHead, opusTags, padSides, type OpusHead } from '#lib/ogg-opus.ts';

export type OggMuxerOptions = OpusHead & {
  readonly serial: number;
  /** Of the file's chunks, bytes. */
  readonly border: number;
  /** Of one packet. */
  readonly packetGranules: number;
};

const PAGE_PACKETS = 50;
/** A page that begins has room for two packets at least: one alone cannot be padded to every length. */
const LEAST_ROOM = OGG_HEADER_BYTES + 2 * (MAX_SIDES_BYTES + 1);

export class OggMuxer {
  readonly #options: OggMuxerOptions;
  readonly #ready: Uint8Array[] = [];
  #packets: Uint8Array[] = [];
  /** Of the page being gathered. */
  #segments = 0;
  #bytes = OGG_HEADER_BYTES;
  #sequence = 0;
  #count = 0;
  /** Bytes of all pages so far. */
  #end = 0;
  #granule = 0;

  constructor(options: OggMuxerOptions) {
    this.#options = options;
    this.#page([opusHead(options)], 0, OGG_FIRST);
    this.#page([opusTags()], 0, 0);
  }

  /** Pages that are complete since the last call. */
  take(): Uint8Array[] {
    return this.#ready.splice(0);
  }

  /** Bytes of all pages so far, and the granule position at their end. */
  get end(): { readonly bytes: number; readonly granule: number } {
    return { bytes: this.#end, granule: this.#granule };
  }

  add(packet: Uint8Array): void {
    const segments = oggSegments(packet.length);
    if (this.#packets.length > 0 && this.#mustClose(packet.length, segments)) this.#close();
    this.#packets.push(packet);
    this.#segments += segments;
    this.#bytes += segments + packet.length;
    this.#count++;
  }

  /** The last page, which ends at granule position `granule`: within the last packet. */
  finish(granule: number): void {
    this.#page(this.#packets, granule, OGG_LAST);
    this.#packets = [];
  }

  get #room(): number {
    return this.#options.border - (this.#end % this.#options.border);
  }

  #mustClose(bytes: number, segments: number): boolean {
    if (this.#segments + segments > OGG_MAX_SEGMENTS) return true;
    const room = this.#room - this.#bytes;
    if (segments + bytes > room) return true;
    // What is left before the border must be enough for a page, or become part of this one.
    return this.#packets.length >= PAGE_PACKETS && (room === 0 || room >= LEAST_ROOM);
  }

  #close(): void {
    const room = this.#room - this.#bytes;
    if (room < LEAST_ROOM) padTo(this.#packets, room);
    this.#page(this.#packets, this.#count * this.#options.packetGranules, 0);
    this.#packets = [];
    this.#segments = 0;
    this.#bytes = OGG_HEADER_BYTES;
  }

  #page(packets: readonly Uint8Array[], granule: number, flags: number): void {
    const { serial } = this.#options;
    const page = oggPage({ flags, granule, serial, sequence: this.#sequence++, packets });
    this.#end += page.length;
    this.#granule = granule;
    this.#ready.push(page);
  }
}

/** Makes a page of two packets or more `room` bytes longer. */
function padTo(packets: Uint8Array[], room: number): void {
  const [before, last] = packets.slice(-2) as [Uint8Array, Uint8Array];
  // An entry of the segment table may come with it, so that the last packet may not do by itself.
  for (let by = room; by >= 0; by--) {
    const other = paddingFor(before.length, room - growth(last.length, by));
    if (other < 0) continue;
    packets.splice(-2, 2, padSides(before, other), padSides(last, by));
    return;
  }
}

/** Padding that makes a page exactly `bytes` longer; -1: none does. */
function paddingFor(packetBytes: number, bytes: number): number {
  let by = bytes;
  while (by > 0 && growth(packetBytes, by) > bytes) by--;
  return by >= 0 && growth(packetBytes, by) === bytes ? by : -1;
}

/** Bytes of a page that a packet's padding costs. */
function growth(bytes: number, by: number): number {
  return by + oggSegments(bytes + by) - oggSegments(bytes);
}
