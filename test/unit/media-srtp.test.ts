/** SRTP: published vectors, another implementation both ways, indices, replays, forgeries, change of keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtpHeader, SrtcpSession, SrtpSession } from 'werift-rtp';
import type { SrtpKey, SrtpSuite } from '#lib/srtp-params.ts';
import { CounterModeCipher, GcmCipher } from '#media/srtp/srtp-cipher.ts';
import { guessIndex, REPLAY_WINDOW, ReplayWindow } from '#media/srtp/srtp-index.ts';
import { sessionKeys } from '#media/srtp/srtp-keys.ts';
import { FORGED, REPLAYED, SrtpOpener, SrtpSealer, UNREADABLE } from '#media/srtp/srtp.ts';
import { asHex, hex, keyOf, open, rtcp, rtp, seal, SUITES } from './_srtp.ts';

test('RFC 3711 B.3: the session keys of the published master key', () => {
  const master: SrtpKey = {
    suite: 'AES_CM_128_HMAC_SHA1_80',
    key: hex('E1F97A0D3E018BE0D64FA32C06DE4139'),
    salt: hex('0EC675AD498AFEEBB6960B3AABE6'),
  };
  const keys = sessionKeys(master, 'rtp');
  assert.equal(asHex(keys.encryption), 'c61e7a93744f39ee10734afe3ff7a087');
  assert.equal(asHex(keys.salt), '30cbbc08863d8c85d49db34a9ae1');
  assert.equal(asHex(keys.authentication), 'cebe321f6ff7716b6fd4ab49af256a156d38baa4');
  assert.throws(() => sessionKeys({ ...master, key: hex('00') }, 'rtp'), /wrong length/);
});

test('RFC 3711 B.2: the key stream of the published session key', () => {
  const encryption = hex('2B7E151628AED2A6ABF7158809CF4F3C');
  const salt = hex('F0F1F2F3F4F5F6F7F8F9FAFBFCFD');
  const cipher = new CounterModeCipher({ encryption, authentication: new Uint8Array(20), salt }, 0);
  const zeros = new Uint8Array(48);
  const place = { headerBytes: 0, length: 48, ssrc: 0, index: 0 };
  cipher.seal(zeros, place, new Uint8Array(4));
  assert.equal(
    asHex(zeros),
    'e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0',
  );
});

test('RFC 7714 16.1.1 and 16.2.1: AES-GCM on the published RTP packet', () => {
  const salt = hex('517569642070726f2071756f');
  const header = hex('8040f17b 8041f8d3 5501a0b2');
  const text = Buffer.from('Gallia est omnis divisa in partes tres');
  const rows: [string, string][] = [
    [
      '000102030405060708090a0b0c0d0e0f',
      'f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce',
    ],
    [
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      '32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13',
    ],
  ];
  for (const [key, expected] of rows) {
    const keys = { encryption: hex(key), authentication: new Uint8Array(0), salt };
    const cipher = new GcmCipher(keys, 'rtp');
    const bytes = new Uint8Array(12 + text.length + 16);
    bytes.set(header);
    bytes.set(text, 12);
    const place = { headerBytes: 12, length: 50, ssrc: 0x5501a0b2, index: 0xf17b };
    cipher.seal(bytes, place, new Uint8Array(4));
    assert.equal(asHex(bytes.subarray(0, 12)), asHex(header));
    assert.equal(asHex(bytes.subarray(12)), expected);
    assert.equal(cipher.open(bytes, place, new Uint8Array(4), 50), true);
    assert.equal(Buffer.from(bytes.subarray(12, 50)).toString(), text.toString());
  }
});

test('RFC 7714 17.1 and 17.2: AES-GCM on the published RTCP packet', () => {
  const salt = hex('517569642070726f2071756f');
  const header = '81c8000d4d617273';
  const body =
    '4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef';
  const trailer = hex('800005d4');
  const rows: [string, string][] = [
    [
      '000102030405060708090a0b0c0d0e0f',
      `63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
       0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade`,
    ],
    [
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      `d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047
       6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be`,
    ],
  ];
  for (const [key, expected] of rows) {
    const keys = { encryption: hex(key), authentication: new Uint8Array(0), salt };
    const cipher = new GcmCipher(keys, 'rtcp');
    const plain = hex(header + body);
    const bytes = new Uint8Array(plain.length + 16);
    bytes.set(plain);
    const place = { headerBytes: 8, length: plain.length, ssrc: 0x4d617273, index: 0x5d4 };
    cipher.seal(bytes, place, trailer);
    assert.equal(asHex(bytes), header + asHex(hex(expected)));
    assert.equal(cipher.open(bytes, place, hex('800005d5'), plain.length), false);
    assert.equal(cipher.open(bytes, place, trailer, plain.length), true);
    assert.deepEqual(bytes.subarray(0, plain.length), plain);
  }
});

const PROFILES: readonly [SrtpSuite, 1 | 7][] = [
  ['AES_CM_128_HMAC_SHA1_80', 1],
  ['AEAD_AES_128_GCM', 7],
];

test('another implementation reads what we send, and we what it sends, RTP and RTCP', () => {
  for (const [suite, profile] of PROFILES) {
    const [ours, theirs] = [keyOf(suite, 1), keyOf(suite, 2)];
    const keys = {
      localMasterKey: Buffer.from(theirs.key),
      localMasterSalt: Buffer.from(theirs.salt),
      remoteMasterKey: Buffer.from(ours.key),
      remoteMasterSalt: Buffer.from(ours.salt),
    };
    const peer = new SrtpSession({ keys, profile });
    const peerRtcp = new SrtcpSession({ keys, profile });
    const sealer = new SrtpSealer(ours);
    const opener = new SrtpOpener(theirs);
    // Over the end of the sequence: both count the cycle.
    for (let i = 65_400; i < 65_700; i++) {
      const plain = rtp(i, 1 + (i % 320));
      assert.deepEqual(
        new Uint8Array(peer.decrypt(Buffer.from(seal(sealer, plain)))),
        plain,
        `${suite} ${i}`,
      );
      const header = RtpHeader.deSerialize(Buffer.from(plain));
      const sealed = peer.encrypt(Buffer.from(plain.subarray(12)), header);
      assert.deepEqual(open(opener, new Uint8Array(sealed)), plain, `${suite} ${i}`);
      if (i % 10 !== 0) continue;
      const report = rtcp(0xdecafbad, 2 + (i % 20));
      assert.deepEqual(
        new Uint8Array(peerRtcp.decrypt(Buffer.from(seal(sealer, report, 'rtcp')))),
        report,
      );
      assert.deepEqual(
        open(opener, new Uint8Array(peerRtcp.encrypt(Buffer.from(report))), 'rtcp'),
        report,
      );
    }
  }
});

test('every suite: round trips, headers with CSRCs and extension, tags of the right length', () => {
  const tags: Record<SrtpSuite, [number, number]> = {
    AES_CM_128_HMAC_SHA1_80: [10, 14],
    AES_CM_128_HMAC_SHA1_32: [4, 14],
    AEAD_AES_128_GCM: [16, 20],
    AEAD_AES_256_GCM: [16, 20],
  };
  for (const suite of SUITES) {
    const sealer = new SrtpSealer(keyOf(suite));
    const opener = new SrtpOpener(keyOf(suite));
    const odd = rtp(1, 60);
    odd[0] = 0x92; // two CSRCs and an extension of two words
    odd.set([0xbe, 0xde, 0, 2], 20);
    const plains = [odd, rtp(2, 0), rtp(3, 1), rtp(4, 1500)];
    for (const plain of plains) {
      const sealed = seal(sealer, plain);
      assert.equal(sealed.length - plain.length, tags[suite][0], suite);
      const header = plain === odd ? 32 : 12;
      assert.deepEqual(sealed.subarray(0, header), plain.subarray(0, header), 'headers stay');
      if (plain.length > 40)
        assert.notDeepEqual(sealed.subarray(header, 40), plain.subarray(header, 40));
      assert.deepEqual(open(opener, sealed), plain, suite);
    }
    const report = rtcp();
    const sealed = seal(sealer, report, 'rtcp');
    assert.equal(sealed.length - report.length, tags[suite][1], suite);
    assert.deepEqual(open(opener, sealed, 'rtcp'), report);
    assert.equal(open(opener, sealed, 'rtcp'), REPLAYED);
  }
});

test('nothing that was changed anywhere, sent in plain or under another key is opened', () => {
  let seed = 20_261_121;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (const suite of SUITES) {
    const opener = new SrtpOpener(keyOf(suite));
    for (const kind of ['rtp', 'rtcp'] as const) {
      const sealer = new SrtpSealer(keyOf(suite));
      const sealed = seal(sealer, kind === 'rtp' ? rtp(7) : rtcp(), kind);
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        const forged = sealed.slice();
        forged[bit >> 3] = (forged[bit >> 3] as number) ^ (1 << (bit & 7));
        const verdict = open(opener, forged, kind);
        assert.ok(verdict === FORGED || verdict === UNREADABLE, `${suite} ${kind} bit ${bit}`);
      }
      assert.equal(open(new SrtpOpener(keyOf(suite, 9)), sealed, kind), FORGED);
      const plain = kind === 'rtp' ? rtp(7) : rtcp();
      assert.equal(typeof open(opener, plain, kind), 'number', 'plain');
      for (let round = 0; round < 500; round++) {
        const junk = Uint8Array.from({ length: random(80) }, () => random(256));
        assert.ok((open(opener, junk, kind) as number) < 0);
      }
      assert.deepEqual(typeof open(opener, sealed, kind), 'object', 'the real one still counts');
    }
  }
});

test('the index through losses, reorder and wrap; each packet once', () => {
  const rows: [number, number, number][] = [
    [0, 1, 1],
    [65_535, 0, 65_536],
    [65_536, 65_535, 65_535],
    [65_536 + 40_000, 7_231, 131_072 + 7_231],
    [65_536 + 40_000, 7_300, 65_536 + 7_300],
    [2 ** 40 + 5, 65_530, 2 ** 40 - 6],
    [10, 65_000, -536],
  ];
  for (const [highest, sequence, expected] of rows) {
    assert.equal(guessIndex(highest, sequence), expected, `${highest} ${sequence}`);
  }
  const suite = 'AES_CM_128_HMAC_SHA1_80';
  const sealer = new SrtpSealer(keyOf(suite));
  const opener = new SrtpOpener(keyOf(suite));
  // Twice round the 16 bits, 1 in 3 lost, every tenth late by 20.
  const late: Uint8Array[] = [];
  let opened = 0;
  for (let i = 60_000; i < 60_000 + 80_000; i += 7) {
    const sealed = seal(sealer, rtp(i, 20));
    if (i % 3 === 0) continue;
    if (i % 10 === 0) {
      late.push(sealed);
      continue;
    }
    assert.equal(typeof open(opener, sealed), 'object', String(i));
    opened++;
    if (late.length > 2) assert.equal(typeof open(opener, late.shift() as Uint8Array), 'object');
    if (i % 11 === 0) assert.equal(open(opener, sealed), REPLAYED);
  }
  assert.ok(opened > 5000);
});

test('the replay window: told apart for its whole width, refused behind it', () => {
  const window = new ReplayWindow();
  assert.equal(window.isFresh(-1), false);
  window.note(1000);
  assert.equal(window.isFresh(1000), false);
  assert.equal(window.isFresh(1000 - REPLAY_WINDOW + 1), true);
  assert.equal(window.isFresh(1000 - REPLAY_WINDOW), false, 'too old to know');
  const seen = new Set([1000]);
  let seed = 5;
  for (let round = 0; round < 20_000; round++) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    const index = Math.max(0, window.highest + (seed % 700) - 500);
    const isKnowable = window.highest - index < REPLAY_WINDOW;
    assert.equal(window.isFresh(index), isKnowable && !seen.has(index), `${round}: ${index}`);
    if (!window.isFresh(index)) continue;
    window.note(index);
    seen.add(index);
  }
});

test('a stream whose beginning was lost over the wrap is found; streams of several sources are kept apart', () => {
  for (const suite of SUITES) {
    const sealer = new SrtpSealer(keyOf(suite));
    seal(sealer, rtp(65_535));
    const wrapped = seal(sealer, rtp(65_536 + 3));
    const opener = new SrtpOpener(keyOf(suite));
    assert.deepEqual(open(opener, wrapped), rtp(65_536 + 3), suite);
    const other = seal(new SrtpSealer(keyOf(suite)), rtp(3, 160, 77));
    assert.deepEqual(open(opener, other), rtp(3, 160, 77), 'cycle 0 of another source');
  }
});

test('new keys: counters run on or begin anew, both are understood', () => {
  const suite = 'AES_CM_128_HMAC_SHA1_80';
  const before = new SrtpSealer(keyOf(suite, 1));
  const openerBefore = new SrtpOpener(keyOf(suite, 1));
  for (const i of [65_530, 65_535, 65_536, 65_540]) open(openerBefore, seal(before, rtp(i)));
  const runsOn = new SrtpSealer(keyOf(suite, 2), before);
  const anew = new SrtpSealer(keyOf(suite, 2));
  for (const sealer of [runsOn, anew]) {
    const opener = new SrtpOpener(keyOf(suite, 2), openerBefore);
    assert.deepEqual(open(opener, seal(sealer, rtp(65_541))), rtp(65_541));
    assert.deepEqual(open(opener, seal(sealer, rtp(65_542))), rtp(65_542));
  }
  const clock = seal(runsOn, rtp(65_543, 160, 99));
  assert.deepEqual(
    open(new SrtpOpener(keyOf(suite, 2)), clock),
    rtp(65_543, 160, 99),
    'a new source begins at cycle 0',
  );
  assert.equal(runsOn.rtp(new Uint8Array(300), 172), UNREADABLE, 'no RTP');
  const again = new Uint8Array(300);
  again.set(rtp(65_541));
  assert.equal(runsOn.rtp(again, 172), REPLAYED, 'a key stream is never used twice');
});
