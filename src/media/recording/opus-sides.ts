/** Both sides of a recording as Opus, each by an encoder of its own: 0.7 % of a core for each call, so see opus-thread.ts. */
import { Application, createEncoder, Signal, type OpusEncoderHandle } from 'libopus-wasm';
import { joinSides, MAX_OPUS_FRAME_BYTES } from '#lib/ogg-opus.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** Packets of one recording, in order. */
export type SidesEncoder = {
  /** Samples by which what is decoded lags. */
  readonly lookahead: number;
  /** One packet for each 20 ms of `stereo` (interleaved; whole frames). Takes the buffer over. */
  encode(stereo: Int16Array<ArrayBuffer>): Promise<readonly Uint8Array[]>;
  close(): void;
};

export type OpenSidesEncoder = () => Promise<SidesEncoder>;

/** Of each side: speech of a telephone is as good as it gets, silence takes a third of it. */
const BITRATE = 14_000;
/** Of 10: above 3 it costs half as much again, and nobody hears it at 8 kHz. */
const COMPLEXITY = 3;

/** Encodes on the thread that calls it: half a second of call takes 4 ms. */
export const openSidesEncoder: OpenSidesEncoder = async () => {
  const left = await openSide();
  try {
    return new InlineEncoder(left, await openSide());
  } catch (error) {
    left.free();
    throw error;
  }
};

function openSide(): Promise<OpusEncoderHandle> {
  return createEncoder({
    ...{ channels: 1, sampleRate: SAMPLE_RATE_HZ, frameSize: FRAME_SAMPLES },
    ...{ application: Application.Voip, signal: Signal.Voice },
    ...{ bitrate: BITRATE, complexity: COMPLEXITY, vbr: true },
  });
}

class InlineEncoder implements SidesEncoder {
  readonly lookahead: number;
  readonly #left: OpusEncoderHandle;
  readonly #right: OpusEncoderHandle;
  readonly #frames = [new Int16Array(FRAME_SAMPLES), new Int16Array(FRAME_SAMPLES)] as const;
  #isClosed = false;

  constructor(left: OpusEncoderHandle, right: OpusEncoderHandle) {
    this.#left = left;
    this.#right = right;
    this.lookahead = left.getLookahead();
  }

  // oxlint-disable-next-line require-await -- what is thrown must reject
  async encode(stereo: Int16Array<ArrayBuffer>): Promise<readonly Uint8Array[]> {
    const packets: Uint8Array[] = [];
    const [left, right] = this.#frames;
    const options = { maxPacketBytes: MAX_OPUS_FRAME_BYTES };
    for (let from = 0; from < stereo.length; from += 2 * FRAME_SAMPLES) {
      for (let i = 0; i < FRAME_SAMPLES; i++) {
        left[i] = stereo[from + 2 * i] as number;
        right[i] = stereo[from + 2 * i + 1] as number;
      }
      packets.push(joinSides(this.#left.encode(left, options), this.#right.encode(right, options)));
    }
    return packets;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#left.free();
    this.#right.free();
  }
}
