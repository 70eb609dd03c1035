/** Recordings of ours in Ogg/Opus, read back: both sides as one mono sound at 8 kHz. */
import { createDecoder, type OpusDecoderHandle } from 'libopus-wasm';
import { readOggPage } from '#lib/ogg.ts';
import { OPUS_GRANULE_HZ, readOpusHead, splitSides } from '#lib/ogg-opus.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

const GRANULES = OPUS_GRANULE_HZ / SAMPLE_RATE_HZ;

/**
 * The sound up to the first page that is damaged; null when the file does not begin as one of our recordings, and
 * `tooLong` when it lasts longer than `maxSamples`. Errors: E_MEDIA, those of the decoder.
 */
export async function decodeOggRecording(
  bytes: Uint8Array,
  maxSamples: number,
): Promise<Int16Array | 'tooLong' | null> {
  const first = readOggPage(bytes, 0);
  const head = readOpusHead(first?.packets[0] ?? new Uint8Array(0));
  const tags = first === null ? null : readOggPage(bytes, first.end);
  if (head === null || tags === null) return null;
  const packets: Uint8Array[] = [];
  let granule = 0;
  for (
    let page = readOggPage(bytes, tags.end);
    page !== null;
    page = readOggPage(bytes, page.end)
  ) {
    for (const packet of page.packets) packets.push(packet);
    granule = page.granule;
  }
  if (packets.length * FRAME_SAMPLES > maxSamples + SAMPLE_RATE_HZ) return 'tooLong';
  const skip = head.preSkip / GRANULES;
  const end = Math.min(
    packets.length * FRAME_SAMPLES,
    Math.max(skip, Math.floor(granule / GRANULES)),
  );
  using left = await createDecoder({ channels: 1, sampleRate: SAMPLE_RATE_HZ });
  using right = await createDecoder({ channels: 1, sampleRate: SAMPLE_RATE_HZ });
  return mixed(packets, [left, right]).slice(skip, end);
}

function mixed(
  packets: readonly Uint8Array[],
  [left, right]: readonly [OpusDecoderHandle, OpusDecoderHandle],
): Int16Array {
  const pcm = new Int16Array(packets.length * FRAME_SAMPLES);
  for (const [at, packet] of packets.entries()) {
    const sides = splitSides(packet);
    // The first is a copy: the decoders share what they decode into.
    const one = left.decode(sides.left).slice();
    const other = right.decode(sides.right);
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      pcm[at * FRAME_SAMPLES + i] = ((one[i] ?? 0) + (other[i] ?? 0)) / 2;
    }
  }
  return pcm;
}
