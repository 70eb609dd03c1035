/** SRTP against those who keep, repeat and make up packets, and with keys that are marked by an identifier. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SrtpKey } from '#lib/srtp-params.ts';
import { SecureTransport } from '#media/srtp/secure-transport.ts';
import { FORGED, REPLAYED, SrtpOpener, SrtpSealer } from '#media/srtp/srtp.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { FakeTransport, PHONE } from './_media.ts';
import { keyOf, open, rtcp, rtp, seal, SUITES } from './_srtp.ts';

const SUITE = 'AES_CM_128_HMAC_SHA1_80';
const marked = (key: SrtpKey, ...mki: number[]): SrtpKey => ({ ...key, mki: Uint8Array.from(mki) });

test('an identifier stands where the RFCs have it, is asked for and taken off', () => {
  for (const suite of SUITES) {
    for (const mki of [[7], [0, 1], [1, 2, 3, 4]]) {
      const key = marked(keyOf(suite), ...mki);
      const bare = { rtp: new SrtpSealer(keyOf(suite)), rtcp: new SrtpSealer(keyOf(suite)) };
      const isAead = suite.includes('GCM');
      for (const kind of ['rtp', 'rtcp'] as const) {
        const plain = kind === 'rtp' ? rtp(5, 1500) : rtcp();
        const sealed = seal(new SrtpSealer(key), plain, kind);
        const without = seal(bare[kind], plain, kind);
        const tag = isAead ? 0 : kind === 'rtcp' || suite === SUITE ? 10 : 4;
        const at = sealed.length - tag - mki.length;
        assert.deepEqual([...sealed.subarray(at, at + mki.length)], mki, `${suite} ${kind}`);
        const rest = Uint8Array.of(...sealed.subarray(0, at), ...sealed.subarray(at + mki.length));
        assert.deepEqual(rest, without, 'and changes nothing else');
        assert.deepEqual(open(new SrtpOpener(key), sealed, kind), plain);
        // Without it, with another one, or one where none was agreed.
        assert.ok((open(new SrtpOpener(key), without, kind) as number) < 0);
        const other = marked(keyOf(suite), ...mki.map((byte) => byte ^ 1));
        assert.equal(open(new SrtpOpener(other), sealed, kind), FORGED);
        assert.ok((open(new SrtpOpener(keyOf(suite)), sealed, kind) as number) < 0);
      }
    }
  }
});

test('what was kept is refused after the sequence has gone round, once and twice', () => {
  for (const suite of SUITES) {
    const sealer = new SrtpSealer(keyOf(suite));
    const opener = new SrtpOpener(keyOf(suite));
    const kept: Uint8Array[] = [];
    for (let i = 65_000; i < 65_000 + 2 * 65_536; i += 500) {
      const sealed = seal(sealer, rtp(i, 20));
      if (i < 66_000) kept.push(sealed);
      assert.equal(typeof open(opener, sealed), 'object');
      // The same number under another cycle fails, the same cycle is known or too old.
      if (i % 7000 === 0) for (const each of kept) assert.ok((open(opener, each) as number) < 0);
    }
    assert.equal(typeof open(opener, seal(sealer, rtp(65_000 + 2 * 65_536 + 1, 20))), 'object');
  }
});

test('sources: two at once are kept apart, a forged one costs no place, the 65th finds none', () => {
  const opener = new SrtpOpener(keyOf(SUITE));
  const [one, two] = [new SrtpSealer(keyOf(SUITE)), new SrtpSealer(keyOf(SUITE))];
  for (let i = 0; i < 300; i++) {
    const [a, b] = [seal(one, rtp(65_400 + i, 20, 1)), seal(two, rtp(10 + i, 20, 2))];
    assert.equal(typeof open(opener, a), 'object');
    assert.equal(typeof open(opener, b), 'object');
    assert.equal(open(opener, a), REPLAYED);
    // A stranger who names another source at every packet.
    assert.equal(open(opener, rtp(i, 40, 1000 + i)), FORGED);
  }
  for (let ssrc = 3; ssrc <= 64; ssrc++)
    assert.equal(
      typeof open(opener, seal(new SrtpSealer(keyOf(SUITE)), rtp(1, 20, ssrc))),
      'object',
    );
  const last = seal(new SrtpSealer(keyOf(SUITE)), rtp(1, 20, 65));
  assert.equal(opener.rtp(last), REPLAYED, 'its books could not be kept');
  assert.equal(typeof open(opener, seal(one, rtp(65_700, 20, 1))), 'object', 'the others go on');
});

test('on the wire: keys before and after a change, a change of the identifier alone, plain and back', () => {
  const inner = new FakeTransport(new SimulatedClock());
  const heard: number[] = [];
  const secure = new SecureTransport(inner);
  secure.onDatagram((bytes) => heard.push(((bytes[2] as number) << 8) | (bytes[3] as number)));
  const receive = (bytes: Uint8Array): void => inner.listener?.(bytes, PHONE.address, PHONE.port);
  const ours = keyOf(SUITE, 3);
  const [first, second] = [keyOf(SUITE, 1), keyOf(SUITE, 2)];
  const before = new SrtpSealer(first);
  secure.secure({ send: ours, receive: first });
  const [early, crossing, kept] = [1, 2, 3].map((i) => seal(before, rtp(i)));
  receive(early?.slice() as Uint8Array);
  secure.secure({ send: ours, receive: second });
  receive(crossing?.slice() as Uint8Array);
  receive(early?.slice() as Uint8Array);
  assert.deepEqual(heard, [1, 2], 'what was under way is heard once');
  const after = new SrtpSealer(second);
  receive(seal(after, rtp(4)));
  receive(kept as Uint8Array);
  assert.deepEqual(heard, [1, 2, 4], 'the key before is over with the first packet of the new one');
  assert.deepEqual(
    { ...secure.counters },
    { forged: 1, forgedRun: 1, replayed: 1, unreadable: 0, unsent: 0 },
  );
  // Ours: the same key under an identifier never encrypts a number twice.
  secure.send(rtp(9));
  secure.secure({ send: marked(ours, 1), receive: second });
  secure.send(rtp(9));
  secure.send(rtp(10));
  assert.deepEqual(
    inner.sent.map(({ sequence, payload }) => [sequence, payload.length]),
    [
      [9, 170],
      [10, 171],
    ],
  );
  assert.equal(secure.counters.unsent, 1);
  secure.secure(null);
  receive(rtp(20));
  secure.secure({ send: keyOf(SUITE, 4), receive: second });
  receive(rtp(21));
  receive(seal(after, rtp(22)));
  assert.deepEqual(heard, [1, 2, 4, 20, 22]);
});
