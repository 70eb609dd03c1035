/** WAV files of our own: 16-bit mono at 8 kHz, nothing else is read. */
import { AppError } from '#lib/errors.ts';

const RATE_HZ = 8000;
const HEADER_BYTES = 44;

export function encodeWav(pcm: Int16Array): Buffer {
  const dataBytes = pcm.length * 2;
  const wav = Buffer.alloc(HEADER_BYTES + dataBytes);
  wav.write('RIFF', 0, 'latin1');
  wav.writeUInt32LE(HEADER_BYTES - 8 + dataBytes, 4);
  wav.write('WAVEfmt ', 8, 'latin1');
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE_HZ, 24);
  wav.writeUInt32LE(RATE_HZ * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36, 'latin1');
  wav.writeUInt32LE(dataBytes, 40);
  for (const [i, sample] of pcm.entries()) wav.writeInt16LE(sample, HEADER_BYTES + i * 2);
  return wav;
}

/** Samples of a WAV file. Errors: E_CONFIG when it is not 16-bit mono PCM at 8 kHz. */
export function decodeWav(wav: Buffer, name: string): Int16Array {
  const refuse = (what: string): AppError => new AppError('E_CONFIG', `${name}: ${what}`);
  if (
    wav.length < 12 ||
    wav.toString('latin1', 0, 4) + wav.toString('latin1', 8, 12) !== 'RIFFWAVE'
  )
    throw refuse('not a WAV file');
  let isFormatRight = false;
  for (let at = 12; at + 8 <= wav.length;) {
    const chunk = wav.toString('latin1', at, at + 4);
    const bytes = wav.readUInt32LE(at + 4);
    const body = wav.subarray(at + 8, at + 8 + bytes);
    if (chunk === 'fmt ' && body.length >= 16) {
      isFormatRight =
        body.readUInt16LE(0) === 1 &&
        body.readUInt16LE(2) === 1 &&
        body.readUInt32LE(4) === RATE_HZ &&
        body.readUInt16LE(14) === 16;
    }
    if (chunk === 'data') {
      if (!isFormatRight) throw refuse('not 16-bit mono PCM at 8 kHz');
      const pcm = new Int16Array(body.length >> 1);
      for (let i = 0; i < pcm.length; i++) pcm[i] = body.readInt16LE(i * 2);
      return pcm;
    }
    at += 8 + bytes + (bytes % 2);
  }
  throw refuse('no audio in it');
}
