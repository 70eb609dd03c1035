/** Sound files as people send them: every kind of WAV, MP3, and what is neither. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeAudioFile, type AudioFileResult } from '#media/mix/audio-file-decode.ts';
import { G711 } from '#lib/g711.ts';

type Kind = { codec: number; bits: number; channels?: number; rate?: number; extensible?: boolean };

function wav(kind: Kind, data: Buffer, before: Buffer = Buffer.alloc(0)): Uint8Array {
  const { codec, bits, channels = 1, rate = 8000, extensible = false } = kind;
  const format = Buffer.alloc(extensible ? 40 : 16);
  format.writeUInt16LE(extensible ? 0xfffe : codec, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(rate, 4);
  format.writeUInt16LE(bits, 14);
  if (extensible) format.writeUInt16LE(codec, 24);
  const chunk = (tag: string, body: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    head.write(tag, 0);
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body]);
  };
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    chunk('fmt ', format),
    before,
    chunk('data', data),
  ]);
  return Buffer.concat([Buffer.from('RIFF'), Buffer.from([0, 0, 0, 0]), body]);
}

/** A second of a tone, as numbers of -1..1. */
function tone(rate: number): number[] {
  return Array.from({ length: rate }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 440 * i) / rate));
}

function packed(
  values: readonly number[],
  bytes: number,
  write: (buffer: Buffer, value: number, at: number) => void,
): Buffer {
  const buffer = Buffer.alloc(values.length * bytes);
  for (const [i, value] of values.entries()) write(buffer, value, i * bytes);
  return buffer;
}

const at16 = (values: readonly number[]): Buffer =>
  packed(values, 2, (buffer, value, at) => buffer.writeInt16LE(Math.round(value * 32_767), at));
const g711 =
  (tables: (typeof G711)['PCMA']) =>
  (values: readonly number[]): Buffer =>
    packed(values, 1, (buffer, value, at) =>
      buffer.writeUInt8(tables.encode[Math.round(value * 32_767) & 0xffff] ?? 0, at),
    );

function rmsOf(result: AudioFileResult): number {
  assert.ok(result.ok, JSON.stringify(result));
  const sum = result.pcm.reduce((total, sample) => total + sample * sample, 0);
  return Math.sqrt(sum / result.pcm.length) / 32_768;
}

test('WAV of every kind gives the same second of tone', async () => {
  const stereo = (values: readonly number[]): number[] => values.flatMap((value) => [value * 2, 0]);
  const rows: [name: string, kind: Kind, encode: (values: readonly number[]) => Buffer][] = [
    ['16 bits', { codec: 1, bits: 16 }, at16],
    [
      '8 bits',
      { codec: 1, bits: 8 },
      (values) =>
        packed(values, 1, (buffer, value, at) =>
          buffer.writeUInt8(128 + Math.round(value * 127), at),
        ),
    ],
    [
      '24 bits at 48 kHz',
      { codec: 1, bits: 24, rate: 48_000 },
      (values) =>
        packed(values, 3, (buffer, value, at) =>
          buffer.writeIntLE(Math.round(value * 8_388_607), at, 3),
        ),
    ],
    [
      '32 bits at 44.1 kHz',
      { codec: 1, bits: 32, rate: 44_100 },
      (values) =>
        packed(values, 4, (buffer, value, at) =>
          buffer.writeInt32LE(Math.round(value * 2_147_483_647), at),
        ),
    ],
    [
      'float at 16 kHz',
      { codec: 3, bits: 32, rate: 16_000 },
      (values) => packed(values, 4, (buffer, value, at) => buffer.writeFloatLE(value, at)),
    ],
    [
      'double at 11 kHz',
      { codec: 3, bits: 64, rate: 11_025 },
      (values) => packed(values, 8, (buffer, value, at) => buffer.writeDoubleLE(value, at)),
    ],
    ['A-law', { codec: 6, bits: 8 }, g711(G711.PCMA)],
    ['mu-law', { codec: 7, bits: 8 }, g711(G711.PCMU)],
    [
      'stereo, one side silent',
      { codec: 1, bits: 16, channels: 2, rate: 22_050 },
      (values) => at16(stereo(values)),
    ],
    ['extensible', { codec: 1, bits: 16, extensible: true }, at16],
  ];
  for (const [name, kind, encode] of rows) {
    const result = await decodeAudioFile(wav(kind, encode(tone(kind.rate ?? 8000))));
    const rms = rmsOf(result);
    assert.ok(Math.abs(rms - 0.354) < 0.01, `${name}: ${rms}`);
    assert.ok(result.ok && Math.abs(result.pcm.length - 8000) < 40, name);
  }
});

test('damaged WAV: what is there is read, and what is no number is silence', async () => {
  const whole = wav({ codec: 1, bits: 16 }, at16(tone(8000)), Buffer.from('LIST\u0003\0\0\0abc\0'));
  const cut = await decodeAudioFile(whole.subarray(0, whole.length - 8000));
  assert.ok(cut.ok && cut.pcm.length === 4000);
  const odd = packed([NaN, Infinity, -Infinity, 9], 4, (buffer, value, at) =>
    buffer.writeFloatLE(value, at),
  );
  const wild = await decodeAudioFile(wav({ codec: 3, bits: 32 }, odd));
  assert.deepEqual(wild, { ok: true, pcm: Int16Array.from([0, 32_767, -32_768, 32_767]) });
});

test('what cannot be played says why', async () => {
  const sound = at16(tone(8000));
  const rows: [name: string, file: Uint8Array, fault: string, found: string | null][] = [
    ['nothing', new Uint8Array(0), 'format', null],
    ['text', Buffer.from('Hello, this is a page'), 'format', null],
    ['an MP3 sync alone', Uint8Array.from([0xff, 0xfb, 0x90, 0x44, 1, 2, 3]), 'format', null],
    ['no fmt', Buffer.from('RIFF\0\0\0\0WAVEdata\0\0\0\0'), 'format', null],
    ['RIFF alone', Buffer.from('RIFF\0\0\0\0WAVE'), 'format', null],
    ['ADPCM', wav({ codec: 2, bits: 4 }, sound), 'codec', 'MS ADPCM'],
    ['12 bits', wav({ codec: 1, bits: 12 }, sound), 'codec', 'format 1, 12 bits'],
    ['no channel', wav({ codec: 1, bits: 16, channels: 0 }, sound), 'channels', '0'],
    ['many channels', wav({ codec: 1, bits: 16, channels: 64 }, sound), 'channels', '64'],
    ['1 Hz', wav({ codec: 1, bits: 16, rate: 1 }, sound), 'sample_rate', '1'],
    ['empty', wav({ codec: 1, bits: 16 }, Buffer.alloc(1)), 'empty', null],
    [
      'over an hour',
      wav({ codec: 6, bits: 8, rate: 4000 }, Buffer.alloc(4000 * 3601)),
      'seconds',
      null,
    ],
  ];
  for (const [name, file, fault, found] of rows) {
    assert.deepEqual(await decodeAudioFile(file), { ok: false, fault, found }, name);
  }
});

/** Frames of MPEG 1 layer III, 32 kHz, mono, 64 kbit/s, each with one spectral line: bytes written bit by bit. */
function mp3(frames: number): Uint8Array {
  const bytes = Buffer.alloc(frames * 288);
  for (let frame = 0; frame < frames; frame++) {
    let bit = frame * 288 * 8;
    const put = (value: number, bits: number): void => {
      for (let i = bits - 1; i >= 0; i--, bit++) {
        if (((value >> i) & 1) === 1)
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
      }
    };
    put(0xfffb58c0, 32); // header: no CRC, 64 kbit/s, 32 kHz, mono
    put(0, 9 + 5 + 4); // main data here, private bits, no shared scale factors
    for (let granule = 0; granule < 2; granule++) {
      put(16 + 4, 12); // bits of the spectrum
      put(8, 9); // eight pairs of large values
      put(190, 8); // gain
      put(0, 4 + 1); // no scale factors, long blocks
      put(1, 5); // Huffman table 1 in the first region
      put(1, 5);
      put(1, 5);
      put(0, 4 + 3); // regions
      put(0, 1 + 1 + 1);
    }
    for (let granule = 0; granule < 2; granule++) {
      for (let pair = 0; pair < 7; pair++) put(1, 1); // nothing
      put(0b01, 2); // the first line of the eighth pair
      put(frame % 2, 1); // its sign
      put(0, 10);
    }
  }
  return bytes;
}

test('MP3: its length and its sound, behind a tag too', async () => {
  const file = mp3(50);
  const tag = Buffer.concat([Buffer.from('ID3\u0004\0\0\0\0\0\u000a'), Buffer.alloc(10)]);
  for (const [name, bytes] of [
    ['plain', file],
    ['tagged', Buffer.concat([tag, file])],
  ] as const) {
    const result = await decodeAudioFile(bytes);
    assert.ok(result.ok, name);
    const ms = result.pcm.length / 8;
    assert.ok(ms > 1600 && ms <= 1800, `${name}: ${ms} ms of 50 frames of 36 ms`);
    assert.ok(rmsOf(result) > 0.001, `${name}: it is not silent`);
  }
});

test('bytes of any kind behind a header break nothing', async () => {
  let seed = 7;
  const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff) / 0x7fff_ffff;
  for (let run = 0; run < 60; run++) {
    const bytes = Buffer.from(Array.from({ length: 400 }, () => Math.floor(random() * 256)));
    if (run % 3 === 0) bytes.write('RIFF\0\0\0\0WAVEfmt ', 'latin1');
    if (run % 3 === 1) bytes.write('ID3', 'latin1');
    if (run % 3 === 2) bytes.set([0xff, 0xfb, 0x90]);
    const result = await decodeAudioFile(bytes);
    assert.ok(result.ok || result.fault !== 'busy');
  }
});
