/** The WAV header of recordings (RIFF, 16-bit PCM, stereo, 8 kHz), and its repair after a crash. */
import { open } from 'node:fs/promises';
import { AppError, toAppError } from '#lib/errors.ts';
import { SAMPLE_RATE_HZ } from './types.ts';

export const WAV_HEADER_BYTES = 44;
/** One sample of each channel. */
export const WAV_FRAME_BYTES = 4;
const CHANNELS = 2;
const PCM = 1;

/** The 44 bytes before `dataBytes` bytes of samples. */
export function wavHeader(dataBytes: number): Uint8Array {
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
  view.setUint16(22, CHANNELS, true);
  view.setUint32(24, SAMPLE_RATE_HZ, true);
  view.setUint32(28, SAMPLE_RATE_HZ * WAV_FRAME_BYTES, true);
  view.setUint16(32, WAV_FRAME_BYTES, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, dataBytes, true);
  return bytes;
}

/** Length of `dataBytes` bytes of recording, whole milliseconds. */
export function wavDurationMs(dataBytes: number): number {
  return Math.round((dataBytes / WAV_FRAME_BYTES / SAMPLE_RATE_HZ) * 1000);
}

/**
 * Makes the header of a recording agree with the file's length, for a file left open by a crash. Idempotent.
 * Errors: E_MEDIA when the file cannot be opened or is not one of our recordings.
 */
export async function repairWav(path: string): Promise<{ durationMs: number; bytes: number }> {
  try {
    await using file = await open(path, 'r+');
    const { size } = await file.stat();
    const header = new Uint8Array(WAV_HEADER_BYTES);
    const { bytesRead } = await file.read(header, 0, WAV_HEADER_BYTES, 0);
    if (bytesRead > 0 && !startsLikeOurs(header.subarray(0, Math.min(bytesRead, 40)))) {
      throw new AppError('E_MEDIA', 'not a recording: the header is of another kind');
    }
    const frames = Math.floor(Math.max(0, size - WAV_HEADER_BYTES) / WAV_FRAME_BYTES);
    const dataBytes = frames * WAV_FRAME_BYTES;
    await file.write(wavHeader(dataBytes), 0, WAV_HEADER_BYTES, 0);
    await file.truncate(WAV_HEADER_BYTES + dataBytes);
    return { durationMs: wavDurationMs(dataBytes), bytes: WAV_HEADER_BYTES + dataBytes };
  } catch (error) {
    throw toAppError(error, 'E_MEDIA');
  }
}

/** Compares all but the two length fields. */
function startsLikeOurs(found: Uint8Array): boolean {
  const ours = wavHeader(0);
  return found.every((byte, at) => (at >= 4 && at < 8) || byte === ours[at]);
}
