/** A recording as Ogg/Opus: 20 ms packets of both sides, on the sample clock from the first sample to the last. */
import { OPUS_GRANULE_HZ } from '#lib/ogg-opus.ts';
import { SEALED_CHUNK_BYTES } from '#lib/sealed-audio.ts';
import { WAV_FRAME_BYTES } from '#lib/wav.ts';
import { OggMuxer } from './ogg-muxer.ts';
import type { OpenSidesEncoder, SidesEncoder } from './opus-sides.ts';
import type { RecordingForm } from './recording-form.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

const GRANULES = OPUS_GRANULE_HZ / SAMPLE_RATE_HZ;
/** Samples given to the encoder at a time: half a second. */
const MAX_SLICE = 25 * FRAME_SAMPLES;

export type OggFormOptions = {
  /** Of the stream, 32 bits. */
  readonly serial: number;
  readonly openEncoder: OpenSidesEncoder;
};

export class OggForm implements RecordingForm {
  readonly isDense = true;
  readonly #options: OggFormOptions;
  #encoder: SidesEncoder | null = null;
  #muxer: OggMuxer | null = null;
  #preSkip = 0;
  /** Samples of each side, and those of them that no packet holds yet. */
  #samples = 0;
  #rest = new Uint8Array(0);
  /** Granule position at the end of each whole chunk. */
  readonly #chunkEnds: number[] = [];
  #isClosed = false;

  constructor(options: OggFormOptions) {
    this.#options = options;
  }

  async add(samples: Uint8Array): Promise<readonly Uint8Array[]> {
    const all = new Uint8Array(this.#rest.length + samples.length);
    all.set(this.#rest);
    all.set(samples, this.#rest.length);
    const whole = all.length - (all.length % (FRAME_SAMPLES * WAV_FRAME_BYTES));
    const packets = await this.#encode(all.slice(0, whole));
    this.#rest = all.slice(whole);
    this.#samples += samples.length / WAV_FRAME_BYTES;
    return this.#pages(packets, null);
  }

  async end(): Promise<readonly Uint8Array[]> {
    const encoder = await this.#open();
    const pending = this.#rest.length / WAV_FRAME_BYTES;
    const frames = Math.ceil((pending + encoder.lookahead) / FRAME_SAMPLES);
    const stereo = new Uint8Array(frames * FRAME_SAMPLES * WAV_FRAME_BYTES);
    stereo.set(this.#rest);
    const packets = await this.#encode(stereo);
    this.#rest = new Uint8Array(0);
    return this.#pages(packets, this.#preSkip + this.#samples * GRANULES);
  }

  durationMs(bytes: number): number {
    const end = this.#muxer?.end;
    if (end === undefined) return 0;
    const granule =
      bytes >= end.bytes
        ? end.granule
        : (this.#chunkEnds[Math.floor(bytes / SEALED_CHUNK_BYTES) - 1] ?? 0);
    return oggDurationMs(granule, this.#preSkip);
  }

  readerBytes(bytes: number): number {
    return bytes;
  }

  close(): void {
    this.#isClosed = true;
    this.#encoder?.close();
    this.#encoder = null;
  }

  async #open(): Promise<SidesEncoder> {
    if (this.#encoder !== null) return this.#encoder;
    const encoder = await this.#options.openEncoder();
    // Closed while the encoder was on its way.
    if (this.#isClosed) encoder.close();
    this.#encoder = encoder;
    if (this.#muxer === null) {
      this.#preSkip = encoder.lookahead * GRANULES;
      this.#muxer = new OggMuxer({
        ...{ serial: this.#options.serial, preSkip: this.#preSkip, inputRateHz: SAMPLE_RATE_HZ },
        ...{ border: SEALED_CHUNK_BYTES, packetGranules: FRAME_SAMPLES * GRANULES },
      });
    }
    return encoder;
  }

  /** An encoder that fails is given up: the next try gets a fresh one, which costs a few ms of settling. */
  async #encode(stereo: Uint8Array<ArrayBuffer>): Promise<readonly Uint8Array[]> {
    const encoder = await this.#open();
    const samples = new Int16Array(stereo.buffer);
    const packets: Uint8Array[] = [];
    try {
      for (let at = 0; at < samples.length; at += 2 * MAX_SLICE) {
        packets.push(...(await encoder.encode(samples.slice(at, at + 2 * MAX_SLICE))));
      }
    } catch (error) {
      this.#encoder = null;
      encoder.close();
      throw error;
    }
    return packets;
  }

  #pages(packets: readonly Uint8Array[], endGranule: number | null): readonly Uint8Array[] {
    const muxer = this.#muxer;
    if (muxer === null) return [];
    for (const packet of packets) {
      muxer.add(packet);
      this.#noteChunk(muxer);
    }
    if (endGranule !== null) muxer.finish(endGranule);
    this.#noteChunk(muxer);
    return muxer.take();
  }

  #noteChunk(muxer: OggMuxer): void {
    const { bytes, granule } = muxer.end;
    if (bytes > 0 && bytes % SEALED_CHUNK_BYTES === 0) {
      this.#chunkEnds[bytes / SEALED_CHUNK_BYTES - 1] = granule;
    }
  }
}

/** What is heard up to a granule position, ms. */
export function oggDurationMs(granule: number, preSkip: number): number {
  return Math.round((Math.max(0, granule - preSkip) / OPUS_GRANULE_HZ) * 1000);
}
