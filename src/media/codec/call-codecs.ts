/**
 * The coders of one call. Opus coders are made of memory of the WASM module and come by a promise: `prepare` is awaited
 * before a call starts, so that nothing of the call's own path ever waits. All of them live until `free`.
 */
import type { OpusWishes } from '#lib/audio-codec.ts';
import { newDecoder, newEncoder, type PayloadDecoder, type PayloadEncoder } from './codecs.ts';
import { createOpusDecoder, createOpusEncoder, type OpusEncoder } from './opus-codec.ts';
import type { Codec, NegotiatedAudio } from '../types.ts';

export class CallCodecs {
  readonly #decoders = new Map<Codec, PayloadDecoder>();
  #codec: Codec | null = null;
  #encoder: PayloadEncoder | null = null;
  /** The one before, which the sender may need for a last packet. */
  #previous: PayloadEncoder | null = null;
  /** Made and not yet in use. */
  #opusEncoder: OpusEncoder | null = null;
  #opus: OpusEncoder | null = null;
  #isFree = false;

  /** What must be awaited before `audio` can be started; null: nothing. Errors: of the WASM module. */
  prepare(audio: NegotiatedAudio): Promise<void> | null {
    const needsEncoder =
      audio.codec === 'opus' && this.#codec !== 'opus' && this.#opusEncoder === null;
    const needsDecoder = receivedCodecs(audio).has('opus') && !this.#decoders.has('opus');
    if (!needsEncoder && !needsDecoder) return null;
    return this.#make(needsEncoder, needsDecoder, audio.opus);
  }

  /**
   * The encoder from now on. The codec of before keeps its encoder and with it its state; another one begins anew, as the
   * other side's decoder does. Errors: E_MEDIA when it does not exist or was not prepared.
   */
  encoder(audio: NegotiatedAudio): PayloadEncoder {
    if (this.#encoder !== null && audio.codec === this.#codec) {
      this.#opus?.follow(audio.opus);
      return this.#encoder;
    }
    const next = (audio.codec === 'opus' && this.#opusEncoder) || newEncoder(audio.codec);
    this.#opus = next === this.#opusEncoder ? this.#opusEncoder : null;
    this.#opus?.follow(audio.opus);
    if (next === this.#opusEncoder) this.#opusEncoder = null;
    this.#previous?.free();
    this.#previous = this.#encoder;
    this.#encoder = next;
    this.#codec = audio.codec;
    return next;
  }

  /** The far end lost so much of what we sent of late, 0..100. */
  farLoss(lossPct: number): void {
    this.#opus?.farLoss(lossPct);
  }

  /** One for each codec, for the whole call. Errors: E_MEDIA as above. */
  decoder(codec: Codec): PayloadDecoder {
    const known = this.#decoders.get(codec);
    if (known !== undefined) return known;
    const made = newDecoder(codec);
    this.#decoders.set(codec, made);
    return made;
  }

  /** Gives all memory back. Idempotent. */
  free(): void {
    this.#isFree = true;
    for (const decoder of this.#decoders.values()) decoder.free();
    this.#decoders.clear();
    this.#encoder?.free();
    this.#previous?.free();
    this.#opusEncoder?.free();
    this.#encoder = null;
    this.#previous = null;
    this.#opusEncoder = null;
    this.#opus = null;
    this.#codec = null;
  }

  async #make(
    needsEncoder: boolean,
    needsDecoder: boolean,
    wishes: OpusWishes | undefined,
  ): Promise<void> {
    if (needsDecoder) {
      const decoder = await createOpusDecoder();
      // Somebody may have been quicker, or the call is over.
      if (this.#isFree || this.#decoders.has('opus')) decoder.free();
      else this.#decoders.set('opus', decoder);
    }
    if (!needsEncoder) return;
    const encoder = await createOpusEncoder(wishes);
    if (this.#isFree || this.#opusEncoder !== null) encoder.free();
    else this.#opusEncoder = encoder;
  }
}

/** Every codec that the other side may send. */
function receivedCodecs(audio: NegotiatedAudio): ReadonlySet<Codec> {
  return new Set([audio.codec, ...(audio.alternatives ?? []).map(({ codec }) => codec)]);
}
