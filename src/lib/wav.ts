/** The WAV form of recordings: RIFF, 16-bit PCM, stereo (caller left, agent right), 8 kHz. */

export const WAV_HEADER_BYTES = 44;
/** One sample of each channel. */
export const WAV_FRAME_BYTES = 4;
const SAMPLE_RATE_HZ = 8000;
const CHANNELS = 2;
const PCM = 1;

/** The 44 bytes before `dataBytes` bytes of 16-bit samples. */
export function wavHeader(
  dataBytes: number,
  { sampleRateHz = SAMPLE_RATE_HZ, channels = CHANNELS } = {},
): Uint8Array {
  const bytes = new Uint8Array(WAV_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const text = (at: number, tag: string): void => {
    for (let i = 0; i < tag.length; i++) bytes[at + i] = tag.charCodeAt(i);
  };
  text(0, 'RIFF');
  view.setUint32(4, WAV_HEADER_BYTES - 8 + dataBytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRateHz, true);
  view.setUint32(28, sampleRateHz * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, dataBytes, true);
  return bytes;
}

/** Length of `dataBytes` bytes of recording, whole milliseconds. */
export function wavDurationMs(dataBytes: number): number {
  return Math.round((dataBytes / WAV_FRAME_BYTES / SAMPLE_RATE_HZ) * 1000);
}
