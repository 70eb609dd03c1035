/** G.711 against tables made by another program, and against the definition's own landmarks. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { decodeG711, encodeG711, G711, type G711Codec } from '#lib/g711.ts';

const CODECS: readonly [G711Codec, string][] = [
  ['PCMA', 'a-law'],
  ['PCMU', 'mu-law'],
];

for (const [codec, name] of CODECS) {
  test(`${name}: every code decodes as SoX decodes it`, async () => {
    const golden = await readFile(new URL(`../data/g711/${name}-decode.s16le`, import.meta.url));
    for (let code = 0; code < 256; code++) {
      assert.equal(G711[codec].decode[code], golden.readInt16LE(code * 2), `code ${code}`);
    }
  });

  test(`${name}: encoding a decoded code gives the code back`, () => {
    const { decode, encode } = G711[codec];
    for (let code = 0; code < 256; code++) {
      const again = encode[(decode[code] ?? 0) & 0xffff];
      // Mu-law has two zeros; the positive one is sent.
      const expected = codec === 'PCMU' && code === 0x7f ? 0xff : code;
      assert.equal(again, expected, `code ${code}`);
    }
  });

  test(`${name}: no sample is off by more than half the largest step of its segment`, () => {
    const { decode, encode } = G711[codec];
    for (let sample = -32_768; sample < 32_768; sample++) {
      const back = decode[encode[sample & 0xffff] ?? 0] ?? 0;
      const clipped = Math.max(-32_635, Math.min(32_635, sample));
      const step = Math.max(16, 2 ** (Math.floor(Math.log2(Math.abs(clipped) + 132)) - 4));
      assert.ok(Math.abs(back - clipped) <= step, `${sample} came back as ${back}`);
    }
  });
}

test('landmarks of the definition', () => {
  const rows: [G711Codec, number, number][] = [
    ['PCMA', 0, 0xd5],
    ['PCMA', -1, 0x55],
    ['PCMA', 32_767, 0xaa],
    ['PCMA', -32_768, 0x2a],
    ['PCMU', 0, 0xff],
    ['PCMU', 32_767, 0x80],
    ['PCMU', -32_768, 0x00],
  ];
  for (const [codec, sample, code] of rows) {
    assert.equal(G711[codec].encode[sample & 0xffff], code, `${codec} ${sample}`);
  }
});

test('frames are coded into given buffers', () => {
  const pcm = Int16Array.from([0, 1000, -1000, 32_000]);
  const codes = new Uint8Array(4);
  encodeG711(G711.PCMU, pcm, codes);
  const back = new Int16Array(4);
  decodeG711(G711.PCMU, new DataView(codes.buffer), back);
  assert.deepEqual([...back], [0, 988, -988, 32_124]);
});
