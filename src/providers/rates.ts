/** PCM at every contract of this folder: 16-bit mono at 8 kHz. */
export const SAMPLE_RATE_HZ = 8000;
export const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;

/** 16-bit little-endian samples of a vendor's bytes; an odd last byte is left out. */
export function samplesOf(bytes: Uint8Array): Int16Array {
  const count = bytes.byteLength >> 1;
  const pcm = new Int16Array(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) pcm[i] = view.getInt16(i * 2, true);
  return pcm;
}

/** The samples as little-endian bytes, copied. */
export function bytesOf(pcm: Int16Array): Uint8Array {
  const bytes = new Uint8Array(pcm.length * 2);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < pcm.length; i++) view.setInt16(i * 2, pcm[i] as number, true);
  return bytes;
}
