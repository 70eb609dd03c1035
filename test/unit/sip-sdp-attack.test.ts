/** Offers and answers that no phone makes by accident: what they get, and that they cost next to nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SrtpMode } from '#lib/srtp-params.ts';
import { readSdp } from '#sip/sdp-read.ts';
import { createSdpSession, type SdpAudio, type SdpLocal } from '#sip/sdp.ts';

const KEY = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5';
const OTHER_KEY = KEY.replace('MDEy', 'ODEy');
const SUITE = 'AES_CM_128_HMAC_SHA1_80';
const CRYPTO = `a=crypto:1 ${SUITE} inline:${KEY}`;

const local = (more: Partial<SdpLocal> = {}): SdpLocal => ({
  ...{ address: '192.0.2.1', port: 20_000, codecs: ['opus', 'PCMA', 'PCMU'] },
  ...more,
});

function sdp(...lines: string[]): string {
  const head = ['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'];
  return [...head, ...lines, ''].join('\r\n');
}

const agreed = (more: Partial<SdpLocal>, ...lines: string[]): SdpAudio | null =>
  createSdpSession(local(more)).answer(sdp(...lines))?.audio ?? null;
const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
const keysOf = (text: string): string[] => text.match(/^a=crypto:.*$/gm) ?? [];

test('16 KiB of whatever is read in a moment', () => {
  const filled = (before: string, piece: string, after = 'x'): string => {
    const room = 16_384 - sdp('m=audio 4000 RTP/AVP 8', before, after).length;
    const filling = piece.repeat(Math.floor(room / piece.length));
    return sdp('m=audio 4000 RTP/AVP 8', `${before}${filling}${after}`);
  };
  const rows = [
    ...['ptime', 'maxptime', 'crypto', 'rtcp', 'fmtp', 'rtpmap'].map((each) => `a=${each}:`),
    ...['a=rtcp-mux', 'm=audio', 'm=audio 4000 RTP/AVP', 'a=crypto:1 ', 'a=fmtp:8 '],
  ].flatMap((before) => [filled(before, ' '), filled(before, '\t'), filled(before, '; ')]);
  rows.push(filled('', 'a=x\r\n', ''), filled('', 'a=crypto:1 \r\n', ''), filled('', '\r\n', ''));
  const before = process.cpuUsage();
  for (const text of rows) {
    try {
      readSdp(text);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'E_SDP', String(error));
    }
  }
  const { user } = process.cpuUsage(before);
  // A pattern that runs back over the spaces takes a second for each.
  assert.ok(user / 1000 < 30 * rows.length, `${user / 1000} ms for ${rows.length}`);
});

test('sixteen m-lines are all answered, one of them with audio; seventeen are refused', () => {
  const kinds = [
    'video 5000 RTP/AVP 96',
    'audio 0 RTP/AVP 8',
    'audio 4000 RTP/AVP 18',
    'image 6 udptl t38',
  ];
  const lines = Array.from({ length: 15 }, (_, i) => `m=${kinds[i % 4]}`);
  const text = sdp(...lines, 'm=audio 4002 RTP/AVP 8');
  const answer = createSdpSession(local()).answer(text);
  assert.equal(count(answer?.sdp ?? '', /^m=/gm), 16);
  assert.equal(count(answer?.sdp ?? '', /^m=\S+ 0 /gm), 15);
  assert.match(answer?.sdp ?? '', /m=audio 20000 RTP\/AVP 8\r\n(?:a=.*\r\n)*$/);
  assert.equal(answer?.audio.remotePort, 4002);
  assert.throws(() => readSdp(sdp(...lines, 'm=audio 1 RTP/AVP 8', 'm=audio 2 RTP/AVP 8')), {
    code: 'E_SDP',
  });
});

test('payload types and clocks that mean nothing are passed over', () => {
  assert.equal(agreed({}, 'm=audio 4000 RTP/AVP 200', 'a=rtpmap:200 PCMA/8000'), null);
  assert.equal(agreed({}, 'm=audio 4000 RTP/AVP 96', 'a=rtpmap:96 opus/48000/1'), null);
  assert.equal(agreed({}, 'm=audio 4000 RTP/AVP 96', 'a=rtpmap:96 opus/16000/2'), null);
  const mixed = agreed(
    {},
    'm=audio 4000 RTP/AVP 96 200 8 97 97',
    ...['a=rtpmap:96 opus/48000/1', 'a=rtpmap:200 PCMU/8000', 'a=rtpmap:97 telephone-event/48000'],
  );
  assert.equal(mixed?.codec, 'PCMA');
  // RFC 4733 2.1: events at 48 kHz go with a codec of 48 kHz, and there is none.
  assert.deepEqual([mixed?.dtmfPayloadType, mixed?.dtmfSendPayloadType], [null, null]);
  const opus = agreed(
    {},
    'm=audio 4000 RTP/AVP 96 97',
    ...['a=rtpmap:96 opus/48000/2', 'a=rtpmap:97 telephone-event/48000'],
  );
  assert.deepEqual([opus?.codec, opus?.dtmfPayloadType, opus?.dtmfClockHz], ['opus', 97, 48_000]);
});

test('lengths of packets that nobody could mean', () => {
  const rows: [string, number][] = [
    ['a=ptime:0', 20],
    ['a=ptime:-20', 20],
    ['a=ptime:1e1', 20],
    ['a=ptime:9999', 60],
    ['a=ptime:99999999999', 20],
    ['a=ptime:1', 10],
    ['a=maxptime:0', 20],
    ['a=maxptime:1', 10],
  ];
  for (const [line, ptimeMs] of rows)
    assert.equal(agreed({}, 'm=audio 4000 RTP/AVP 8', line)?.ptimeMs, ptimeMs, line);
});

test('rtcp-mux: not agreed unless offered, nor with payload types that look like RTCP', () => {
  const session = createSdpSession(local());
  session.offer();
  const answered = session.accept(sdp('m=audio 4000 RTP/AVP 8', 'a=rtcp-mux'));
  assert.equal(answered?.rtcpMux, false);
  const dubious = sdp('m=audio 4000 RTP/AVP 8 72', 'a=rtpmap:72 PCMU/8000', 'a=rtcp-mux');
  const answer = createSdpSession(local()).answer(dubious);
  assert.equal(answer?.audio.rtcpMux, false);
  assert.doesNotMatch(answer?.sdp ?? '', /rtcp-mux/);
  const offering = createSdpSession(local({ rtcpMux: true }));
  offering.offer();
  assert.equal(offering.accept(dubious)?.rtcpMux, false);
});

const SRTP = (mode: SrtpMode): Partial<SdpLocal> => ({ srtp: mode, codecs: ['PCMA'] });

test('tags: one that is there twice names its first line, one that was not offered none', () => {
  const twice = createSdpSession(local(SRTP('required'))).answer(
    sdp('m=audio 4000 RTP/SAVP 8', CRYPTO, CRYPTO.replace(KEY, OTHER_KEY)),
  );
  const receive = twice?.audio.srtp?.receive;
  assert.equal(
    Buffer.concat([receive?.key ?? [], receive?.salt ?? []] as Uint8Array[]).toString('base64'),
    KEY,
  );
  for (const [what, ...lines] of [
    ['a tag of nobody', CRYPTO.replace(':1 ', ':9 ')],
    ['the tag of the other suite', CRYPTO.replace(':1 ', ':2 ')],
    ['two lines', CRYPTO, CRYPTO.replace(':1 ', ':2 ')],
    ['none at all'],
  ] as const) {
    for (const mode of ['required', 'preferred'] as const) {
      const session = createSdpSession(local(SRTP(mode)));
      const profile = /RTP\/S?AVP/.exec(session.offer())?.[0] ?? '';
      const answered = session.accept(sdp(`m=audio 4000 ${profile} 8`, ...lines));
      // RFC 8643: who leaves the keys out wants plain RTP, and may where it is offered.
      if (mode === 'preferred' && lines.length === 0) assert.equal(answered?.srtp, null, what);
      else assert.equal(answered, null, `${mode}: ${what}`);
    }
  }
});

test('a call under SRTP is not talked down to plain RTP by a changed profile', () => {
  const begun = (mode: SrtpMode) => {
    const session = createSdpSession(local(SRTP(mode)));
    assert.ok(session.answer(sdp('m=audio 4000 RTP/SAVP 8', CRYPTO))?.audio.srtp);
    return session;
  };
  // Our own offer under RTP/SAVP: an answer without a key is none, in whichever profile it hides.
  for (const mode of ['required', 'preferred'] as const) {
    for (const profile of ['RTP/AVP', 'RTP/SAVP']) {
      const session = begun(mode);
      assert.match(session.offer('sendonly'), /RTP\/SAVP 8/);
      assert.equal(session.accept(sdp(`m=audio 4000 ${profile} 8`)), null, `${mode} ${profile}`);
      const [own] = keysOf(session.offer('sendonly'));
      assert.ok(own, 'and the keys stand as they were');
    }
  }
  // Their offer: as the trunk wishes, which is what `required` and `preferred` are for.
  assert.equal(begun('required').answer(sdp('m=audio 4000 RTP/AVP 8')), null);
  const open = begun('preferred');
  const plain = open.answer(sdp('m=audio 4000 RTP/AVP 8'));
  assert.equal(plain?.audio.srtp, null);
  assert.deepEqual(keysOf(plain?.sdp ?? ''), []);
  const sealed = open.answer(sdp('m=audio 4000 RTP/SAVP 8', CRYPTO));
  assert.ok(sealed?.audio.srtp, 'and back');
});

test('hold keeps the keys, in both directions and by either way of holding', () => {
  const session = createSdpSession(local(SRTP('required')));
  const [own] = keysOf(session.answer(sdp('m=audio 4000 RTP/SAVP 8', CRYPTO))?.sdp ?? '');
  const holds = [['a=sendonly'], ['a=inactive'], ['c=IN IP4 0.0.0.0'], ['a=sendrecv']];
  for (const lines of holds) {
    const held = session.answer(sdp('m=audio 4000 RTP/SAVP 8', CRYPTO, ...lines));
    assert.deepEqual(keysOf(held?.sdp ?? ''), [own], lines.join());
    assert.ok(held?.audio.srtp);
  }
  assert.deepEqual(keysOf(session.offer('sendonly')), [own]);
  const answered = session.accept(sdp('m=audio 4000 RTP/SAVP 8', CRYPTO, 'a=recvonly'));
  assert.deepEqual([answered?.send, answered?.receive], [true, false]);
  assert.ok(answered?.srtp);
});

test('a key with an identifier: theirs is expected, ours carries one of the same kind', () => {
  const session = createSdpSession(local(SRTP('required')));
  const marked = (mki: string): string => sdp('m=audio 4000 RTP/SAVP 8', `${CRYPTO}|2^31|${mki}`);
  const first = session.answer(marked('258:4'));
  assert.deepEqual([...(first?.audio.srtp?.receive.mki ?? [])], [0, 0, 1, 2]);
  assert.deepEqual([...(first?.audio.srtp?.send.mki ?? [])], [0, 0, 1, 2]);
  assert.match(keysOf(first?.sdp ?? '')[0] ?? '', /\|2\^31\|258:4$/);
  const bare = (text: string | undefined): string => /inline:[^|\s]+/.exec(text ?? '')?.[0] ?? '';
  const own = bare(keysOf(first?.sdp ?? '')[0]);
  const later = session.answer(marked('1:1'));
  assert.equal(keysOf(later?.sdp ?? '')[0]?.endsWith('|2^31|1:1'), true);
  assert.equal(bare(keysOf(later?.sdp ?? '')[0]), own, 'the key itself stays');
  assert.match(keysOf(session.offer())[0] ?? '', /\|1:1$/);
  // An answer to our own offer marks its own direction alone.
  const caller = createSdpSession(local(SRTP('required')));
  caller.offer();
  const answered = caller.accept(marked('7:1'));
  assert.deepEqual([...(answered?.srtp?.receive.mki ?? [])], [7]);
  assert.equal(answered?.srtp?.send.mki, undefined);
});
