/**
 * Opus (RFC 6716, RFC 7587) at the plane's own 8 kHz: libopus codes and decodes at that rate itself, whatever bandwidth
 * the other side uses. One encoder and one decoder take 116 KB of a worker's memory while their call speaks Opus.
 */
import {
  Application,
  createDecoder,
  createEncoder,
  loadLibopus,
  Signal,
  type OpusDecoderHandle,
  type OpusEncoderHandle,
} from 'libopus-wasm';
import type { OpusWishes } from '#lib/audio-codec.ts';
import type { PayloadDecoder, PayloadEncoder } from './codecs.ts';
import { ExpectedLoss } from './expected-loss.ts';
import { hasOpusFec, isOpusInactive, opusUnits } from './opus-packet.ts';
import { SAMPLE_RATE_HZ } from '../types.ts';

const CLOCK_HZ = 48_000;
const CLOCK_STEPS = CLOCK_HZ / SAMPLE_RATE_HZ;
const FORMAT = { sampleRate: SAMPLE_RATE_HZ, channels: 1 } as const;
/** Of 20 ms of speech: 38 us at 1, 55 at 2, 74 at 5, 128 at 10. What 10 gains over 1, 4 kbit/s more gain for nothing. */
const COMPLEXITY = 1;
const BITRATE = 24_000;
/** With the sound of the packet before in it; below 24 kbit/s libopus leaves that out. */
const BITRATE_WITH_FEC = 32_000;
const LEAST_BITRATE = 6000;
/** What libopus gives when DTX leaves a packet out. */
const MAX_UNSENT_BYTES = 2;
/** Packet lengths in samples, longest first. */
const LENGTHS = [480, 320, 160, 80] as const;
/** 2.5 ms: recovery is made of such pieces, up to 120 ms of them. */
const RECOVERY_STEP = 20;
const MAX_RECOVERY = 960;

/** Loads the code, once in a thread; 30 ms, so that the first call need not wait for it. */
export async function loadOpus(): Promise<void> {
  await loadLibopus();
}

export async function createOpusEncoder(wishes: OpusWishes | undefined): Promise<OpusEncoder> {
  const application = Application.Voip;
  const signal = Signal.Voice;
  const options = { ...FORMAT, application, signal, complexity: COMPLEXITY };
  return new OpusEncoder(await createEncoder(options), wishes);
}

export async function createOpusDecoder(): Promise<OpusDecoder> {
  return new OpusDecoder(await createDecoder(FORMAT));
}

export class OpusEncoder implements PayloadEncoder {
  readonly clockHz = CLOCK_HZ;
  readonly delay: number;
  readonly #handle: OpusEncoderHandle;
  readonly #options = { frameSize: 0, maxPacketBytes: 0 };
  readonly #loss = new ExpectedLoss();
  #usesFec = false;
  #usesDtx = false;
  /** A part of the buffer that was encoded last. */
  #view: Int16Array = new Int16Array(0);

  constructor(handle: OpusEncoderHandle, wishes: OpusWishes | undefined) {
    this.#handle = handle;
    this.delay = handle.getLookahead();
    this.follow(wishes);
  }

  /** What the other side asks for (RFC 7587 6.1), also in the middle of a call. */
  follow(wishes: OpusWishes | undefined): void {
    const { useInbandFec = false, useDtx = false, maxAverageBitrate = null } = wishes ?? {};
    const ours = useInbandFec ? BITRATE_WITH_FEC : BITRATE;
    this.#handle.setBitrate(Math.max(LEAST_BITRATE, Math.min(ours, maxAverageBitrate ?? ours)));
    this.#handle.setFec(useInbandFec);
    this.#handle.setPacketLossPercent(useInbandFec ? this.#loss.percent : 0);
    this.#usesFec = useInbandFec;
    this.#handle.setDtx(useDtx);
    this.#usesDtx = useDtx;
  }

  /** The far end lost so much of late, 0..100: by it is chosen how good the redundancy is. */
  farLoss(lossPct: number): void {
    const isNew = this.#loss.report(lossPct);
    if (isNew && this.#usesFec) this.#handle.setPacketLossPercent(this.#loss.percent);
  }

  fit(samples: number): number {
    for (const length of LENGTHS) if (length <= samples) return length;
    return 0;
  }

  encode(pcm: Int16Array, samples: number, payload: Uint8Array): number {
    if (this.#view.length !== samples || this.#view.buffer !== pcm.buffer) {
      this.#view = pcm.subarray(0, samples);
    }
    this.#options.frameSize = samples;
    this.#options.maxPacketBytes = payload.length;
    const packet = this.#handle.encode(this.#view, this.#options);
    if (this.#usesDtx && packet.length <= MAX_UNSENT_BYTES) return 0;
    payload.set(packet);
    return packet.length;
  }

  free(): void {
    this.#handle.free();
  }
}

export class OpusDecoder implements PayloadDecoder {
  readonly clockHz = CLOCK_HZ;
  readonly hasState = true;
  readonly #handle: OpusDecoderHandle;

  constructor(handle: OpusDecoderHandle) {
    this.#handle = handle;
  }

  samplesIn(payload: DataView): number {
    return opusUnits(payload) / CLOCK_STEPS;
  }

  decode(payload: DataView, pcm: Int16Array): number {
    return this.#run(payload, pcm, 0);
  }

  /** Sound before `next`: its last packet from the redundancy in `next` when there is one, the rest made up. */
  recover(next: DataView, pcm: Int16Array, samples: number): number {
    const wanted = samples - (samples % RECOVERY_STEP);
    if (wanted === 0 || wanted > MAX_RECOVERY) return 0;
    return this.#run(next, pcm, wanted);
  }

  hasRedundancy(payload: DataView): boolean {
    return hasOpusFec(payload);
  }

  isInactive(payload: DataView): boolean {
    return isOpusInactive(payload);
  }

  free(): void {
    this.#handle.free();
  }

  /** `lost`: samples before the packet rather than its own. */
  #run(payload: DataView, pcm: Int16Array, lost: number): number {
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
    try {
      const made =
        lost === 0
          ? this.#handle.decode(bytes)
          : this.#handle.decode(bytes, { decodeFec: true, frameSize: lost });
      pcm.set(made);
      // -32,768 marks holes.
      for (let i = 0; i < made.length; i++) if (pcm[i] === -32_768) pcm[i] = -32_767;
      return made.length;
    } catch (error) {
      // Checked before, so this is a corner that the check does not know; the packet counts as malformed.
      if (error instanceof Error) return 0;
      throw error;
    }
  }
}
