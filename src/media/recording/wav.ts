/** Mends plain WAV recordings that a crash left open; versions before sealing wrote them. */
import { open } from 'node:fs/promises';
import { AppError, toAppError } from '#lib/errors.ts';
import { WAV_FRAME_BYTES, WAV_HEADER_BYTES, wavDurationMs, wavHeader } from '#lib/wav.ts';

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
