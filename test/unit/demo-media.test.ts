/** The built-in caller's ears and mouth: G.711, RTP and WAV bytes, and telling speech from silence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeG711, encodeG711, type G711Name } from '#src/demo/g711.ts';
import { parseRtp } from '#src/demo/rtp-stream.ts';
import { readSdp, writeSdp } from '#src/demo/sdp.ts';
import { isSpeech, trimSilence, VoiceMeter } from '#src/demo/voice-meter.ts';
import { parseWav } from '#src/demo/wav.ts';

function tone(frames: number, amplitude: number): Int16Array {
  const sample = (at: number): number => amplitude * Math.sin((2 * Math.PI * 400 * at) / 8000);
  return Int16Array.from({ length: frames * 160 }, (_, at) => Math.round(sample(at)));
}

test('G.711 has the values of ITU-T G.711 at its corners', () => {
  const rows: [G711Name, number, number, number][] = [
    ['PCMU', 0, 0xff, 0],
    ['PCMU', 32767, 0x80, 32124],
    ['PCMU', -32768, 0x00, -32124],
    ['PCMU', 1000, 0xce, 988],
    ['PCMA', 0, 0xd5, 8],
    ['PCMA', -1, 0x55, -8],
    ['PCMA', 32767, 0xaa, 32256],
    ['PCMA', -32768, 0x2a, -32256],
    ['PCMA', 1000, 0xfa, 1008],
  ];
  for (const [codec, sample, byte, back] of rows) {
    assert.equal(encodeG711(codec, Int16Array.of(sample))[0], byte, `${codec} ${sample}`);
    assert.equal(decodeG711(codec, Uint8Array.of(byte))[0], back, `${codec} ${byte}`);
  }
});

test('every G.711 byte survives decoding and encoding', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const codec of ['PCMU', 'PCMA'] as const) {
    const again = encodeG711(codec, decodeG711(codec, bytes));
    // mu-law has two zeros, and the negative one comes back as the positive.
    const expected = codec === 'PCMU' ? bytes.map((byte) => (byte === 0x7f ? 0xff : byte)) : bytes;
    assert.deepEqual(again, expected, codec);
  }
});

test('RTP packets are read as RFC 3550 5.1 draws them', () => {
  const plain = [0x80, 0x80, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 0xaa, 0xbb];
  const rows: [string, number[], number[] | undefined][] = [
    ['plain', plain, [0xaa, 0xbb]],
    ['with a CSRC', [0x81, 0, ...plain.slice(2, 12), 9, 9, 9, 9, 0xcc], [0xcc]],
    ['with an extension', [0x90, 0, ...plain.slice(2, 12), 0, 0, 0, 1, 5, 5, 5, 5, 0xdd], [0xdd]],
    ['with padding', [0xa0, 0, ...plain.slice(2, 12), 0xee, 0, 0, 3], [0xee]],
    ['an RTCP sender report', [0x80, 200, ...plain.slice(2)], undefined],
    ['version 1', [0x40, ...plain.slice(1)], undefined],
    ['too short', plain.slice(0, 11), undefined],
    ['an extension beyond the end', [0x90, 0, ...plain.slice(2, 12), 0, 0], undefined],
    ['padding beyond the end', [0xa0, 0, ...plain.slice(2, 12), 99], undefined],
  ];
  for (const [name, bytes, payload] of rows) {
    const packet = parseRtp(Buffer.from(bytes), 5);
    assert.deepEqual(packet && [...packet.payload], payload, name);
  }
  const packet = parseRtp(Buffer.from(plain), 5);
  assert.deepEqual(
    [packet?.marker, packet?.sequence, packet?.timestamp, packet?.ssrc, packet?.atMs],
    [true, 7, 160, 0x01020304, 5],
  );
});

test('SDP answers are read, and offers are read back', () => {
  const offer = writeSdp({
    address: '192.0.2.7',
    port: 4000,
    codecs: ['PCMA', 'PCMU'],
    version: 1,
  });
  assert.deepEqual(readSdp(offer), {
    address: '192.0.2.7',
    port: 4000,
    codec: 'PCMA',
    direction: 'sendrecv',
  });
  const held =
    'v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9000 RTP/AVP 101 0\r\nc=IN IP4 192.0.2.2\r\na=sendonly\r\n';
  assert.deepEqual(readSdp(held), {
    address: '192.0.2.2',
    port: 9000,
    codec: 'PCMU',
    direction: 'sendonly',
  });
  for (const bad of [
    '',
    'm=audio 9000 RTP/AVP 18',
    'c=IN IP4 192.0.2.1\r\nm=video 1 RTP/AVP 0',
    'm=audio 1 RTP/AVP 0',
  ]) {
    assert.throws(() => readSdp(bad), { code: 'E_SDP' }, bad);
  }
});

test('WAV files: channels apart, odd chunks skipped, other codings refused', () => {
  const wav = (coding: number, bits: number): Buffer => {
    const head = Buffer.alloc(46);
    head.write('RIFF....WAVE', 0, 'latin1');
    head.write('fmt ', 12, 'latin1');
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(coding, 20);
    head.writeUInt16LE(2, 22);
    head.writeUInt32LE(8000, 24);
    head.writeUInt16LE(bits, 34);
    // A chunk of one byte is padded to two.
    head.write('junk', 36, 'latin1');
    head.writeUInt32LE(1, 40);
    const data = Buffer.alloc(16);
    data.write('data', 0, 'latin1');
    data.writeUInt32LE(8, 4);
    [1, -1, 2, -2].forEach((sample, at) => data.writeInt16LE(sample, 8 + at * 2));
    return Buffer.concat([head, data]);
  };
  const { sampleRateHz, channels } = parseWav(wav(1, 16));
  assert.deepEqual([sampleRateHz, ...channels.map((pcm) => [...pcm])], [8000, [1, 2], [-1, -2]]);
  for (const bad of [Buffer.from('RIFX'), wav(6, 8), wav(1, 16).subarray(0, 46)]) {
    assert.throws(() => parseWav(bad), { code: 'E_MEDIA' });
  }
});

test('silence is trimmed to whole frames, speech is told by level', () => {
  const quiet = tone(3, 40);
  const loud = tone(5, 6000);
  assert.deepEqual(
    [isSpeech(quiet), isSpeech(loud), isSpeech(new Int16Array(0))],
    [false, true, false],
  );
  const padded = new Int16Array(11 * 160);
  padded.set(quiet);
  padded.set(loud, 3 * 160);
  assert.deepEqual(trimSilence(padded, 160), loud);
  assert.equal(trimSilence(quiet, 160).length, 0);
});

test('the meter groups speech into stretches and answers when', () => {
  const meter = new VoiceMeter();
  const [loud, quiet] = [tone(1, 6000), tone(1, 0)];
  // Two words with a short pause, a long pause, a third word.
  for (let at = 0; at < 2400; at += 20) {
    const speaks = at < 200 || (at >= 500 && at < 700) || (at >= 2000 && at < 2100);
    meter.write(at, speaks ? loud : quiet);
  }
  assert.deepEqual(meter.spans, [
    { startMs: 0, lastMs: 680 },
    { startMs: 2000, lastMs: 2080 },
  ]);
  assert.equal(meter.firstAfter(-1), 0);
  assert.equal(meter.firstAfter(0), 2000);
  assert.equal(meter.firstAfter(2000), undefined);
  assert.equal(meter.lastOfSpanAt(600), 680);
  assert.equal(meter.quietMs(2380), 300);
  assert.equal(new VoiceMeter().quietMs(1), undefined);
  assert.equal(meter.runMs(2380), 0);
  meter.write(2400, loud);
  assert.equal(meter.runMs(2440), 40);
});
