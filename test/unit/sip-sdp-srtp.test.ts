/** SRTP in offer and answer: modes, profiles, what makes a line of keys unusable, keys that stay and keys that change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SRTP_MODES, srtpModeOf, type SrtpKey, type SrtpMode } from '#lib/srtp-params.ts';
import { readCryptos } from '#sip/sdp-crypto.ts';
import { whyRefused } from '#sip/sdp-pick.ts';
import { readSdp } from '#sip/sdp-read.ts';
import { createSdpSession, type SdpLocal, type SdpSession } from '#sip/sdp.ts';

const KEY_30 = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5';
const KEY_28 = `${'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nw'}==`;
const KEY_44 = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM=';
const CM = `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:${KEY_30}`;

const local = (srtp: SrtpMode): SdpLocal => ({
  ...{ address: '192.0.2.1', port: 20_000, codecs: ['PCMA', 'PCMU'], srtp },
});

function sdp(...lines: string[]): string {
  const head = ['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'];
  return [...head, ...lines, ''].join('\r\n');
}

const cryptosIn = (text: string): string[] => text.match(/^a=crypto:.*$/gm) ?? [];
const bytesOf = (line: string | undefined): string =>
  /inline:([^|\s]+)/.exec(line ?? '')?.[1] ?? '';
const inline = ({ key, salt }: SrtpKey): string => Buffer.concat([key, salt]).toString('base64');

test('which lines of keys can be used', () => {
  const suites: [string, string, number | null][] = [
    ['AES_CM_128_HMAC_SHA1_80', KEY_30, 16],
    ['AES_CM_128_HMAC_SHA1_32', KEY_30, 16],
    ['AEAD_AES_128_GCM', KEY_28, 16],
    ['AEAD_AES_128_GCM', KEY_28.replace(/=+$/, ''), 16],
    ['AEAD_AES_256_GCM', KEY_44, 32],
    ['AEAD_AES_256_GCM', KEY_30, null],
    ['AES_CM_128_HMAC_SHA1_80', KEY_28, null],
    ['AES_CM_128_HMAC_SHA1_80', KEY_44, null],
    ['AES_256_CM_HMAC_SHA1_80', KEY_44, null],
    ['F8_128_HMAC_SHA1_80', KEY_30, null],
    ['NULL_HMAC_SHA1_80', KEY_30, null],
    ['aes_cm_128_hmac_sha1_80', KEY_30, null],
    ['toString', KEY_30, null],
  ];
  for (const [suite, key, bytes] of suites) {
    const [found] = readCryptos([`1 ${suite} inline:${key}`]);
    assert.equal(found?.key.key.length ?? null, bytes, `${suite} ${key.length}`);
    if (found !== undefined) {
      assert.equal(inline(found.key).replace(/=+$/, ''), key.replace(/=+$/, ''));
    }
  }
  const good = `AES_CM_128_HMAC_SHA1_80 inline:${KEY_30}`;
  const rows: [string, boolean][] = [
    [`1 ${good}`, true],
    [`999999999 ${good}`, true],
    [`1\t${good}`, true],
    [`1 ${good}|2^31`, true],
    [`1 ${good}|1048576`, true],
    [`1 ${good}|2^48`, true],
    [`1 ${good}|2^49`, false],
    [`1 ${good}|0`, false],
    [`1 ${good}|2^`, false],
    [`1 ${good}|2^31|1:1`, true],
    [`1 ${good}|1:4`, true],
    [`1 ${good}|4294967295:4`, true],
    [`1 ${good}|4294967296:4`, false],
    [`1 ${good}|256:1`, false],
    [`1 ${good}|1:5`, false],
    [`1 ${good}|1:0`, false],
    [`1 ${good}|1:1|2^31`, false],
    [`1 ${good}|2^31|1:1|1:1`, false],
    [`1 ${good}|1:`, false],
    [`1 ${good}|:1`, false],
    [`1 ${good}|-1:1`, false],
    [`1 ${good};inline:${KEY_30}`, false],
    [`1 ${good} WSH=128`, true],
    [`1 ${good} -mine=1`, true],
    [`1 ${good} UNENCRYPTED_SRTP`, false],
    [`1 ${good} UNAUTHENTICATED_SRTP`, false],
    [`1 ${good} KDR=1`, false],
    [`1 ${good} WSH=64 UNENCRYPTED_SRTCP`, false],
    [`1 ${good} FEC_ORDER=SRTP_FEC`, false],
    [`01 ${good}`, false],
    [`-1 ${good}`, false],
    [`1234567890 ${good}`, false],
    [good, false],
    [`1 AES_CM_128_HMAC_SHA1_80 ${KEY_30}`, false],
    ['1 AES_CM_128_HMAC_SHA1_80 uri:https://example.invalid/key', false],
    [`1 AES_CM_128_HMAC_SHA1_80 inline:${KEY_30.replace('M', '!')}`, false],
    [`1 AES_CM_128_HMAC_SHA1_80 inline:${KEY_30.slice(0, -1)}`, false],
    ['', false],
  ];
  for (const [line, isUsable] of rows) {
    assert.equal(readCryptos([line]).length, isUsable ? 1 : 0, line);
  }
  const twice = readCryptos([`1 ${good};${good}`, `1 ${good}`, `2 ${good}`]);
  assert.deepEqual(
    twice.map(({ tag }) => tag),
    [2],
    'a tag names one line',
  );
  assert.ok(readCryptos(Array.from({ length: 500 }, (_, i) => `${i} ${good}`)).length <= 32);
});

test('who gets SRTP: mode against offer', () => {
  const rows: [offer: string[], off: string, preferred: string, required: string][] = [
    [['m=audio 4000 RTP/AVP 8'], 'plain', 'plain', '488'],
    [['m=audio 4000 RTP/SAVP 8', CM], '488', 'srtp', 'srtp'],
    [['m=audio 4000 RTP/SAVPF 8', CM], '488', 'srtp', 'srtp'],
    [['m=audio 4000 RTP/AVP 8', CM], 'plain', 'srtp', 'srtp'],
    [['m=audio 4000 RTP/SAVP 8'], '488', '488', '488'],
    [['m=audio 4000 RTP/SAVP 8', `${CM}|2^20|1:5`], '488', '488', '488'],
    [['m=audio 4000 RTP/AVP 8', `${CM}|2^20|1:5`], 'plain', 'plain', '488'],
    [['m=audio 4000 UDP/TLS/RTP/SAVPF 8', CM], '488', '488', '488'],
    [['m=audio 4000 RTP/AVP 8', 'm=audio 4002 RTP/SAVP 8', CM], 'plain', 'srtp', 'srtp'],
    [['m=audio 4002 RTP/SAVP 8', CM, 'm=audio 4000 RTP/AVP 8'], 'plain', 'srtp', 'srtp'],
  ];
  for (const [offer, ...expected] of rows) {
    for (const [i, mode] of SRTP_MODES.entries()) {
      const answer = createSdpSession(local(mode)).answer(sdp(...offer));
      const came = answer === null ? '488' : answer.audio.srtp === null ? 'plain' : 'srtp';
      assert.equal(came, expected[i], `${mode}: ${offer.join(' ')}`);
      if (answer === null) continue;
      assert.equal(cryptosIn(answer.sdp).length, came === 'srtp' ? 1 : 0);
      const lines = answer.sdp.match(/^m=audio (\d+) (\S+)/gm);
      assert.equal(lines?.length, offer.filter((line) => line.startsWith('m=')).length);
      assert.equal(lines?.filter((line) => line.includes(' 20000 ')).length, 1);
    }
  }
});

test('the answer takes the first suite of theirs that we speak, under its tag, with a key of our own', () => {
  const offer = sdp(
    'm=audio 4000 RTP/SAVP 8',
    `a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:${KEY_44}`,
    `a=crypto:4 AEAD_AES_256_GCM inline:${KEY_44}|2^48`,
    `a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:${KEY_30}|2^31`,
  );
  const answer = createSdpSession(local('required')).answer(offer);
  const [line = ''] = cryptosIn(answer?.sdp ?? '');
  assert.match(line, /^a=crypto:4 AEAD_AES_256_GCM inline:[A-Za-z0-9+/]{59}=\s*$/);
  assert.match(answer?.sdp ?? '', /m=audio 20000 RTP\/SAVP 8/);
  const { srtp } = answer?.audio ?? {};
  assert.equal(inline(srtp?.receive as SrtpKey), KEY_44);
  assert.equal(inline(srtp?.send as SrtpKey), bytesOf(line));
  assert.notEqual(bytesOf(line), KEY_44);
  const other = createSdpSession(local('required')).answer(offer);
  assert.notEqual(bytesOf(cryptosIn(other?.sdp ?? '')[0]), bytesOf(line), 'each call its own');
});

test('our offer by mode, and what answers to it come to', () => {
  assert.deepEqual(cryptosIn(createSdpSession(local('off')).offer()), []);
  const rows: [SrtpMode, (ours: string[]) => string[], string | null][] = [
    ['preferred', () => ['m=audio 4000 RTP/AVP 8'], 'plain'],
    [
      'preferred',
      ([first]) => ['m=audio 4000 RTP/AVP 8', theirs(first)],
      'AES_CM_128_HMAC_SHA1_80',
    ],
    [
      'preferred',
      ([, second]) => ['m=audio 4000 RTP/AVP 8', theirs(second, KEY_28)],
      'AEAD_AES_128_GCM',
    ],
    ['preferred', () => ['m=audio 4000 RTP/AVP 8', CM.replace(':1 ', ':9 ')], null],
    [
      'preferred',
      ([first]) => ['m=audio 4000 RTP/AVP 8', theirs(first), CM.replace(':1 ', ':2 ')],
      null,
    ],
    [
      'preferred',
      ([first]) => ['m=audio 4000 RTP/AVP 8', `${theirs(first)} UNENCRYPTED_SRTP`],
      null,
    ],
    [
      'required',
      ([first]) => ['m=audio 4000 RTP/SAVP 8', theirs(first)],
      'AES_CM_128_HMAC_SHA1_80',
    ],
    ['required', () => ['m=audio 4000 RTP/SAVP 8'], null],
    ['required', () => ['m=audio 4000 RTP/AVP 8'], null],
    ['required', () => ['m=audio 4000 RTP/SAVP 8', CM.replace('_80', '_32')], null],
  ];
  for (const [mode, answerOf, expected] of rows) {
    const session = createSdpSession(local(mode));
    const offer = session.offer();
    assert.match(offer, mode === 'required' ? /m=audio \d+ RTP\/SAVP / : /m=audio \d+ RTP\/AVP /);
    const ours = cryptosIn(offer);
    assert.equal(ours.length, 2);
    const lines = answerOf(ours);
    const audio = session.accept(sdp(...lines));
    const came = audio === null ? null : (audio.srtp?.send.suite ?? 'plain');
    assert.equal(came, expected, `${mode}: ${lines.join(' ')}`);
    if (audio?.srtp == null) continue;
    const sent = ours.find((line) => line.includes(audio.srtp?.send.suite ?? ''));
    assert.equal(inline(audio.srtp.send), bytesOf(sent));
    assert.notDeepEqual(audio.srtp.send.key, audio.srtp.receive.key);
  }
});

/** The answer to a line of ours: its tag and suite, another key. */
function theirs(line = '', key = KEY_30): string {
  return line.replace(/inline:\S+/, `inline:${key}`);
}

test('later offers of either side keep our key while the suite stays', () => {
  const began: [string, (session: SdpSession) => void][] = [
    ['callee', (session) => void session.answer(sdp('m=audio 4000 RTP/SAVP 8', CM))],
    [
      'caller',
      (session) => {
        const [first] = cryptosIn(session.offer());
        assert.equal(session.offer(), session.offer(), 'asked twice, the same offer');
        session.accept(sdp('m=audio 4000 RTP/SAVP 8', theirs(first)));
      },
    ],
  ];
  for (const [who, begin] of began) {
    const session = createSdpSession(local('required'), 7);
    begin(session);
    const [own, ...rest] = cryptosIn(session.offer('sendonly'));
    assert.equal(rest.length, 0, 'the suite in use alone');
    const held = session.accept(sdp('m=audio 4000 RTP/SAVP 8', theirs(own), 'a=recvonly'));
    assert.equal(inline(held?.srtp?.send as SrtpKey), bytesOf(own), who);

    const same = session.answer(sdp('m=audio 4000 RTP/SAVP 8', CM.replace(':1 ', ':7 ')));
    assert.equal(bytesOf(cryptosIn(same?.sdp ?? '')[0]), bytesOf(own), 'a new tag');
    assert.match(same?.sdp ?? '', /a=crypto:7 /);

    const changed = KEY_30.replace('MDEy', 'ODEy');
    const rekeyed = session.answer(
      sdp(
        'm=audio 4000 RTP/SAVP 8',
        `a=crypto:1 AEAD_AES_128_GCM inline:${KEY_28}`,
        `a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:${changed}`,
      ),
    );
    assert.equal(inline(rekeyed?.audio.srtp?.receive as SrtpKey), changed, 'the suite in use');
    assert.equal(inline(rekeyed?.audio.srtp?.send as SrtpKey), bytesOf(own));

    const gcm = session.answer(
      sdp('m=audio 4000 RTP/SAVP 8', `a=crypto:1 AEAD_AES_128_GCM inline:${KEY_28}`),
    );
    assert.equal(gcm?.audio.srtp?.send.suite, 'AEAD_AES_128_GCM');
    assert.notEqual(inline(gcm?.audio.srtp?.send as SrtpKey), bytesOf(own));
    assert.equal(session.answer(sdp('m=audio 4000 RTP/AVP 8')), null, 'never back to plain');
  }
});

test('why an offer is refused, in words without addresses and keys', () => {
  const rows: [SrtpMode, string[], RegExp][] = [
    [
      'off',
      ['m=audio 4000 RTP/AVP 18 101', 'a=rtpmap:101 telephone-event/8000'],
      /^G729, telephone-event offered; PCMA, PCMU spoken$/,
    ],
    ['off', ['m=audio 4000 RTP/AVP 96', 'a=rtpmap:96 AMR/8000'], /^AMR offered/],
    ['off', ['m=audio 4000 RTP/AVP 96', 'a=rtpmap:96 "quo\x07te/8000'], /^type 96 offered/],
    ['off', ['m=audio 4000 RTP/SAVP 8', CM], /srtp is off/],
    ['preferred', ['m=audio 4000 RTP/SAVP 8'], /without a key that can be used/],
    ['required', ['m=audio 4000 RTP/AVP 8'], /SRTP is required/],
    ['off', ['m=audio 4000 UDP/TLS/RTP/SAVPF 8'], /DTLS/],
    ['off', ['m=audio 4000 RTP/AVP 8', 'c=IN IP6 2001:db8::9'], /IP version/],
    ['off', ['m=audio 0 RTP/AVP 8'], /no audio/],
    ['off', ['m=video 4000 RTP/AVP 96'], /no audio/],
    ['off', ['m=audio 4000 TCP/RTP/AVP 8'], /none of RTP/],
  ];
  for (const [mode, lines, expected] of rows) {
    const text = sdp(...lines);
    assert.equal(createSdpSession(local(mode)).answer(text), null, lines.join());
    const reason = whyRefused(readSdp(text), local(mode));
    assert.match(reason, expected);
    assert.doesNotMatch(reason, /["\\]|192\.0\.2|MDEy|\p{Cc}/u);
  }
});

test('a mode written past the API is taken as the strictest', () => {
  const rows: [unknown, SrtpMode][] = [
    ...SRTP_MODES.map((mode): [unknown, SrtpMode] => [mode, mode]),
    [undefined, 'off'],
    [null, 'off'],
    ['mandatory', 'required'],
    [true, 'required'],
  ];
  for (const [value, mode] of rows) assert.equal(srtpModeOf(value), mode, String(value));
});

test('mutated lines of keys: an answer, a refusal or E_SDP, and never SRTP that is none', () => {
  let seed = 20_261_121;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  const base = sdp(
    'm=audio 4000 RTP/SAVP 8 111 13 101',
    'a=rtpmap:111 opus/48000/2',
    'a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=24000',
    'a=rtpmap:101 telephone-event/8000',
    CM,
    `a=crypto:2 AEAD_AES_256_GCM inline:${KEY_44}|2^31`,
    'a=rtcp:4005 IN IP4 192.0.2.9',
    'a=rtcp-mux',
    'a=ptime:30',
    'a=maxptime:60',
    'm=audio 5000 RTP/AVP 8',
  );
  for (let round = 0; round < 4000; round++) {
    const characters = base.split('');
    for (let edit = 0; edit <= random(8); edit++) {
      const at = random(characters.length);
      const choice = random(3);
      if (choice === 0) characters.splice(at, 1);
      else if (choice === 1) characters[at] = String.fromCharCode(random(256));
      else characters.splice(at, 0, characters[random(characters.length)] ?? '');
    }
    const text = characters.join('');
    const codecs = ['opus', 'PCMA'] as const;
    try {
      const mode = SRTP_MODES[random(3)] ?? 'off';
      const answer = createSdpSession({ ...local(mode), codecs }, 1).answer(text);
      if (answer === null) continue;
      const { audio } = answer;
      assert.ok([10, 20, 30, 40, 50, 60].includes(audio.ptimeMs ?? 0), text);
      assert.ok(audio.payloadType >= 0 && audio.payloadType < 128);
      assert.equal(audio.srtp !== null, cryptosIn(answer.sdp).length === 1, text);
      if (mode === 'required') assert.notEqual(audio.srtp, null);
      if (mode === 'off') assert.equal(audio.srtp, null);
      const { key, salt, suite } = audio.srtp?.receive ?? {};
      if (suite === undefined) continue;
      const lengths = [key?.length, salt?.length].join();
      assert.equal(lengths, { A: '16,14', G: '32,12' }[suite.includes('GCM') ? 'G' : 'A'], text);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'E_SDP', `round ${round}: ${String(error)}`);
    }
  }
});
