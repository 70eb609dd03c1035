/** WAV files of the interop suite: 16-bit PCM, read by the demo's reader, written here. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseWav, type WavAudio } from '#src/demo/wav.ts';

export function readWav(path: string): WavAudio {
  return parseWav(readFileSync(path));
}

/** One 8 kHz channel of a WAV file. Throws when the file has another rate or lacks the channel. */
export function readChannel(path: string, channel = 0): Int16Array {
  const wav = readWav(path);
  const pcm = wav.channels[channel];
  if (wav.sampleRateHz !== 8000 || pcm === undefined) {
    throw new Error(`${path}: ${wav.sampleRateHz} Hz, ${wav.channels.length} channels`);
  }
  return pcm;
}

export function wavBytes(channels: readonly Int16Array[], sampleRateHz = 8000): Buffer {
  const count = channels.length;
  const length = Math.max(0, ...channels.map((pcm) => pcm.length));
  const bytes = Buffer.alloc(44 + length * count * 2);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(count, 22);
  bytes.writeUInt32LE(sampleRateHz, 24);
  bytes.writeUInt32LE(sampleRateHz * count * 2, 28);
  bytes.writeUInt16LE(count * 2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(bytes.length - 44, 40);
  for (const [channel, pcm] of channels.entries()) {
    for (const [at, sample] of pcm.entries())
      bytes.writeInt16LE(sample, 44 + (at * count + channel) * 2);
  }
  return bytes;
}

export function writeWav(path: string, channels: readonly Int16Array[], sampleRateHz = 8000): void {
  writeFileSync(path, wavBytes(channels, sampleRateHz));
}

export function concatPcm(...parts: readonly Int16Array[]): Int16Array {
  const joined = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function silence(ms: number): Int16Array {
  return new Int16Array(ms * 8);
}
