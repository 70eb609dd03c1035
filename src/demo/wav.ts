/** Reads the WAV files the caller speaks with: 16-bit PCM, any channel count, the rate as it is. */
import { AppError } from '#lib/errors.ts';

export type WavAudio = {
  readonly sampleRateHz: number;
  readonly channels: readonly Int16Array[];
};

/** Errors: E_MEDIA when `bytes` is no RIFF/WAVE file of 16-bit PCM. */
export function parseWav(bytes: Buffer): WavAudio {
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE') {
    throw new AppError('E_MEDIA', 'not a WAV file');
  }
  let format: { channels: number; sampleRateHz: number } | undefined;
  for (let at = 12; at + 8 <= bytes.length;) {
    const id = bytes.toString('latin1', at, at + 4);
    const length = bytes.readUInt32LE(at + 4);
    const body = at + 8;
    if (id === 'fmt ') format = readFormat(bytes, body);
    if (id === 'data' && format !== undefined) {
      const end = Math.min(body + length, bytes.length);
      return {
        sampleRateHz: format.sampleRateHz,
        channels: deinterleave(bytes.subarray(body, end), format.channels),
      };
    }
    at = body + length + (length & 1);
  }
  throw new AppError('E_MEDIA', 'the WAV file has no audio data');
}

function readFormat(bytes: Buffer, at: number): { channels: number; sampleRateHz: number } {
  const coding = bytes.readUInt16LE(at);
  const bits = bytes.readUInt16LE(at + 14);
  // 0xFFFE is WAVE_FORMAT_EXTENSIBLE, which some writers use for plain PCM too.
  if ((coding !== 1 && coding !== 0xfffe) || bits !== 16) {
    throw new AppError('E_MEDIA', `WAV coding ${coding} with ${bits} bits is not 16-bit PCM`);
  }
  return { channels: bytes.readUInt16LE(at + 2), sampleRateHz: bytes.readUInt32LE(at + 4) };
}

function deinterleave(data: Buffer, channelCount: number): Int16Array[] {
  const length = Math.floor(data.length / 2 / channelCount);
  return Array.from({ length: channelCount }, (_, channel) =>
    Int16Array.from({ length }, (_unused, at) =>
      data.readInt16LE((at * channelCount + channel) * 2),
    ),
  );
}
