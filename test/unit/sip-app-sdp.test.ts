/** Offer and answer: golden descriptions, the direction table, holds, refusals, garbage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSdpSession, type Direction, type SdpAudio, type SdpLocal } from '#sip/sdp.ts';
import { AppError } from '#lib/errors.ts';
import type { NegotiatedAudio } from '#media/types.ts';

const LOCAL: SdpLocal = { address: '192.0.2.1', port: 20_000, codecs: ['PCMA', 'PCMU'] };

// The two types must stay the same shape: sip may not import media.
type OnTheWire = NegotiatedAudio;
const same: (audio: SdpAudio) => OnTheWire = (audio) => audio;
const back: (audio: OnTheWire) => SdpAudio = (audio) => audio;

function sdp(...lines: string[]): string {
  const head = ['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'];
  return [...head, ...lines, ''].join('\r\n');
}

test('our offer, byte for byte', () => {
  const session = createSdpSession(LOCAL, 77);
  const first = session.offer();
  assert.equal(
    first,
    [
      'v=0',
      'o=- 77 1 IN IP4 192.0.2.1',
      's=callyard',
      'c=IN IP4 192.0.2.1',
      't=0 0',
      'm=audio 20000 RTP/AVP 8 0 101',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:0 PCMU/8000',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
      '',
    ].join('\r\n'),
  );
  assert.equal(session.offer(), first, 'the same description keeps its version');
  assert.match(session.offer('sendonly'), /^o=- 77 2 [\s\S]*a=sendonly/m);
  const v6 = createSdpSession({ ...LOCAL, address: '2001:db8::1' }, 1).offer();
  assert.match(v6, /c=IN IP6 2001:db8::1/);
});

test('an answer: one codec, every m-line in its place, their payload types', () => {
  const session = createSdpSession(LOCAL, 5);
  const offer = sdp(
    'm=video 5000 RTP/AVP 96',
    'a=rtpmap:96 H264/90000',
    'm=audio 40000/2 RTP/AVP 0 98 8 96',
    'a=rtpmap:98 opus/48000/2',
    'a=rtpmap:96 telephone-event/8000',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  );
  const answer = session.answer(offer);
  assert.ok(answer);
  assert.deepEqual(
    answer.sdp.split('\r\n').filter((line) => /^[moa]=/.test(line)),
    [
      'o=- 5 1 IN IP4 192.0.2.1',
      'm=video 0 RTP/AVP 96',
      'm=audio 20000 RTP/AVP 8 96',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:96 telephone-event/8000',
      'a=fmtp:96 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
      'm=application 0 UDP/DTLS/SCTP webrtc-datachannel',
    ],
  );
  assert.deepEqual(back(same(answer.audio)), {
    codec: 'PCMA',
    payloadType: 8,
    receivePayloadType: 8,
    dtmfPayloadType: 96,
    dtmfSendPayloadType: 96,
    remoteAddress: '192.0.2.9',
    remotePort: 40_000,
    send: true,
    receive: true,
    ptimeMs: 20,
    dtmfClockHz: 8000,
    comfortNoisePayloadType: null,
    srtp: null,
    rtcpMux: false,
  });
  const reoffer = session.offer();
  assert.match(reoffer, /^o=- 5 2 /m, 'the version rises');
  assert.deepEqual(reoffer.match(/^m=\w+ \d+/gm), [
    'm=video 0',
    'm=audio 20000',
    'm=application 0',
  ]);
  assert.match(reoffer, /m=audio 20000 RTP\/AVP 8 0 96/, 'the codec in use first, their DTMF type');
});

test("where audio may come from is the call's all along, and stands in no description", () => {
  for (const mediaSource of ['strict', 'any'] as const) {
    const plain = createSdpSession(LOCAL, 5);
    const session = createSdpSession({ ...LOCAL, mediaSource }, 5);
    assert.equal(session.offer(), plain.offer());
    const theirs = sdp('m=audio 4000 RTP/AVP 8');
    assert.equal(session.accept(theirs)?.mediaSource, mediaSource);
    const again = session.answer(sdp('m=audio 4002 RTP/AVP 8'));
    assert.equal(again?.audio.mediaSource, mediaSource, 'and after a re-INVITE');
  }
  const auto = createSdpSession({ ...LOCAL, mediaSource: 'auto' });
  assert.equal('mediaSource' in (auto.answer(sdp('m=audio 4000 RTP/AVP 8'))?.audio ?? {}), false);
});

test('an address is told as the system writes it, however it was written', () => {
  const session = createSdpSession({ ...LOCAL, address: '2001:db8::1' });
  const theirs = 'c=IN IP6 2001:0DB8:0000:0:0:0:0:0009';
  const answer = session.answer(sdp('m=audio 4000 RTP/AVP 8', theirs));
  assert.equal(answer?.audio.remoteAddress, '2001:db8::9');
});

test('codecs: static types without rtpmap, odd numbers, our order, none in common', () => {
  const rows: [string[], string | null, number?, (number | null)?][] = [
    [['m=audio 4000 RTP/AVP 0'], 'PCMU', 0, null],
    [['m=audio 4000 RTP/AVP 8'], 'PCMA', 8, null],
    [['m=audio 4000 RTP/AVP 0 8'], 'PCMA', 8, null],
    [['m=audio 4000 RTP/AVP 110', 'a=rtpmap:110 pcmu/8000/1'], 'PCMU', 110, null],
    [['m=audio 4000 RTP/AVPF 0 101', 'a=rtpmap:101 TELEPHONE-EVENT/8000'], 'PCMU', 0, 101],
    [['m=audio 4000 RTP/AVP 0 101', 'a=rtpmap:101 telephone-event/48000'], 'PCMU', 0, null],
    [['m=audio 4000 RTP/AVP 8', 'a=rtpmap:8 G729/8000'], null],
    [['m=audio 4000 RTP/AVP 8', 'a=rtpmap:8 PCMA/16000'], null],
    [['m=audio 4000 RTP/AVP 97', 'a=rtpmap:97 PCMA/8000/2'], null],
    [['m=audio 4000 RTP/AVP 18 9'], null],
    [['m=audio 4000 RTP/AVP 101', 'a=rtpmap:101 telephone-event/8000'], null],
    [['m=audio 0 RTP/AVP 8'], null],
    [['m=audio 4000 RTP/SAVP 8'], null],
    [['m=audio 4000 UDP/TLS/RTP/SAVPF 8'], null],
    [['m=audio 4000 RTP/SAVP 8', 'm=audio 4002 RTP/AVP 8'], 'PCMA', 8, null],
    [['m=video 4000 RTP/AVP 96'], null],
    [['m=image 4000 udptl t38'], null],
    [['m=audio 4000 RTP/AVP 8', 'c=IN IP6 2001:db8::9'], null],
  ];
  for (const [lines, codec, payloadType, dtmf] of rows) {
    const answer = createSdpSession(LOCAL).answer(sdp(...lines));
    assert.equal(answer?.audio.codec ?? null, codec, lines.join());
    if (answer === null) continue;
    assert.equal(answer.audio.payloadType, payloadType, lines.join());
    assert.equal(answer.audio.dtmfPayloadType, dtmf, lines.join());
    assert.equal(
      answer.sdp.match(/^m=/gm)?.length,
      lines.filter((line) => line.startsWith('m=')).length,
    );
  }
  const ulaw = createSdpSession({ ...LOCAL, codecs: ['PCMU'] });
  assert.equal(ulaw.answer(sdp('m=audio 4000 RTP/AVP 8')), null);
});

test('the direction table of RFC 3264, and the old hold', () => {
  const rows: [string, string, 'sendrecv' | 'recvonly' | 'inactive', boolean, boolean][] = [
    ['sendrecv', 'sendrecv', 'sendrecv', true, true],
    ['sendonly', 'recvonly', 'sendrecv', false, true],
    ['recvonly', 'sendonly', 'sendrecv', true, false],
    ['inactive', 'inactive', 'sendrecv', false, false],
    ['sendrecv', 'recvonly', 'recvonly', false, true],
    ['recvonly', 'inactive', 'recvonly', false, false],
    ['sendonly', 'inactive', 'inactive', false, false],
  ];
  for (const [offered, answered, wanted, send, receive] of rows) {
    const offer = sdp('m=audio 4000 RTP/AVP 8', `a=${offered}`);
    const answer = createSdpSession(LOCAL).answer(offer, wanted);
    assert.match(answer?.sdp ?? '', new RegExp(`a=${answered}\r\n$`), `${offered} ${wanted}`);
    assert.deepEqual([answer?.audio.send, answer?.audio.receive], [send, receive]);
  }
  const session = `v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\na=sendonly\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.9\r\n`;
  assert.match(createSdpSession(LOCAL).answer(session)?.sdp ?? '', /a=recvonly/, 'session level');
  const old = sdp('m=audio 4000 RTP/AVP 8', 'c=IN IP4 0.0.0.0').replace('m=audio', 'm=audio');
  const held = createSdpSession(LOCAL).answer(old);
  assert.match(held?.sdp ?? '', /a=recvonly/);
  assert.deepEqual(
    [held?.audio.send, held?.audio.receive, held?.audio.remoteAddress],
    [false, true, '0.0.0.0'],
  );
});

test('hold and resume: the version rises with each change and not with a repeat', () => {
  const session = createSdpSession(LOCAL, 9);
  const versions: (string | undefined)[] = [];
  for (const direction of ['sendrecv', 'sendonly', 'sendonly', 'sendrecv']) {
    const answer = session.answer(sdp('m=audio 4000 RTP/AVP 8', `a=${direction}`));
    versions.push(/^o=- 9 (\d+)/m.exec(answer?.sdp ?? '')?.[1]);
  }
  assert.deepEqual(versions, ['1', '2', '2', '3']);
});

test('our hold: offers by direction with a rising version, answers of every direction, and the same again', () => {
  const rows: [string, string | null, boolean, boolean][] = [
    ['sendonly', 'recvonly', true, false],
    ['sendonly', 'inactive', false, false],
    ['sendonly', 'sendrecv', true, false],
    ['sendonly', null, true, false],
    ['sendonly', 'sendonly', false, false],
    ['inactive', 'inactive', false, false],
    ['inactive', 'sendrecv', false, false],
    ['sendrecv', 'sendrecv', true, true],
    ['sendrecv', 'recvonly', true, false],
  ];
  for (const began of ['caller', 'callee']) {
    const session = createSdpSession(LOCAL, 7);
    if (began === 'caller') {
      session.offer();
      session.accept(sdp('m=audio 4000 RTP/AVP 0 96', 'a=rtpmap:96 telephone-event/8000'));
    } else session.answer(sdp('m=audio 4000 RTP/AVP 0 96', 'a=rtpmap:96 telephone-event/8000'));
    const dtmf = began === 'caller' ? 101 : 96;
    let version = 1;
    let before = '';
    for (const [offered, answered, send, receive] of rows) {
      const offer = session.offer(offered as Direction);
      const body = offer.replace(/^o=.*$/m, '');
      if (body !== before) version++;
      before = body;
      assert.match(offer, new RegExp(`^o=- 7 ${version} `, 'm'), `${offered} ${began}`);
      assert.match(offer, new RegExp(`a=${offered}\r\n`));
      assert.match(
        offer,
        new RegExp(`m=audio 20000 RTP/AVP 0 8 ${dtmf}\r\n`),
        'codec in use first',
      );
      const lines = answered === null ? [] : [`a=${answered}`];
      const audio = session.accept(
        sdp('m=audio 4000 RTP/AVP 0 96', 'a=rtpmap:96 telephone-event/8000', ...lines),
      );
      assert.deepEqual([audio?.send, audio?.receive], [send, receive], `${offered} ${answered}`);
      assert.deepEqual([audio?.dtmfPayloadType, audio?.dtmfSendPayloadType], [dtmf, 96]);
    }
  }
});

test('answers to our offer', () => {
  const rows: [string[], Partial<SdpAudio> | null][] = [
    [
      ['m=audio 4000 RTP/AVP 0 101', 'a=rtpmap:101 telephone-event/8000', 'a=ptime:30'],
      { codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101, send: true },
    ],
    [
      ['m=audio 4000 RTP/AVP 100 96', 'a=rtpmap:100 PCMA/8000', 'a=rtpmap:96 telephone-event/8000'],
      {
        codec: 'PCMA',
        payloadType: 100,
        receivePayloadType: 8,
        dtmfPayloadType: 101,
        dtmfSendPayloadType: 96,
      },
    ],
    [
      ['m=audio 4000 RTP/AVP 8', 'a=recvonly'],
      { send: true, receive: false, dtmfPayloadType: null, dtmfSendPayloadType: null },
    ],
    [['m=audio 4000 RTP/AVP 8', 'a=inactive'], { send: false, receive: false }],
    [['m=audio 4000 RTP/AVP 8', 'a=sendonly'], { send: false, receive: true }],
    [['m=audio 0 RTP/AVP 8'], null],
    [['m=audio 4000 RTP/AVP 18'], null],
    [['m=video 4000 RTP/AVP 8'], null],
  ];
  for (const [lines, expected] of rows) {
    const session = createSdpSession(LOCAL);
    session.offer();
    const audio = session.accept(sdp(...lines));
    if (expected === null) assert.equal(audio, null, lines.join());
    else assert.deepEqual({ ...audio, ...expected }, audio, lines.join());
  }
  const holding = createSdpSession(LOCAL);
  holding.offer('sendonly');
  const held = holding.accept(sdp('m=audio 4000 RTP/AVP 8'));
  assert.deepEqual([held?.send, held?.receive], [true, false], 'no more than we offered');
});

test('what is no description is E_SDP', () => {
  const good = sdp('m=audio 4000 RTP/AVP 8');
  const rows = [
    '',
    'garbage',
    '<xml/>',
    'v=1\r\n',
    'v=0\r\n',
    good.replace('v=0', ''),
    good.replace('4000', '99999'),
    good.replace('4000', '-1'),
    good.replace('m=audio 4000 RTP/AVP 8', 'm=audio'),
    good.replace('c=IN IP4 192.0.2.9', 's=-'),
    good.replace('c=IN IP4 192.0.2.9', 'c=IN IP4 example.com'),
    good.replace('c=IN IP4 192.0.2.9', 'c=IN IP4 239.1.1.1/127'),
    good.replace('c=IN IP4 192.0.2.9', 'c=IN IP4 239.1.1.1'),
    good.replace('c=IN IP4 192.0.2.9', 'c=IN IP4 255.255.255.255'),
    `${good}${'a=x\r\n'.repeat(5000)}`,
    `${good}${'m=video 0 RTP/AVP 96\r\n'.repeat(20)}`,
  ];
  for (const text of rows) {
    assert.throws(
      () => createSdpSession(LOCAL).answer(text),
      { code: 'E_SDP' },
      text.slice(0, 120),
    );
  }
  const loose = good.replaceAll('\r\n', '\n');
  assert.ok(createSdpSession(LOCAL).answer(loose), 'bare newlines are read');
});

test('mutated offers end in an answer, a refusal or E_SDP, nothing else', () => {
  let seed = 20_261_121;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  const base = sdp(
    'm=audio 4000 RTP/AVP 8 0 101',
    'a=rtpmap:101 telephone-event/8000',
    'a=sendrecv',
    'm=video 5000 RTP/AVP 96',
  );
  for (let round = 0; round < 3000; round += 1) {
    const characters = base.split('');
    for (let edit = 0; edit <= random(6); edit += 1) {
      const at = random(characters.length);
      const choice = random(3);
      if (choice === 0) characters.splice(at, 1);
      else if (choice === 1) characters[at] = String.fromCharCode(random(256));
      else characters.splice(at, 0, characters[random(characters.length)] ?? '');
    }
    const text = characters.join('');
    try {
      const answer = createSdpSession(LOCAL, 1).answer(text);
      if (answer === null) continue;
      assert.equal(answer.sdp.match(/^m=/gm)?.length, text.match(/^m=/gm)?.length, text);
      assert.ok(answer.audio.remotePort > 0 && answer.audio.remotePort < 65_536);
    } catch (error) {
      assert.ok(
        error instanceof AppError && error.code === 'E_SDP',
        `round ${round}: ${String(error)}`,
      );
    }
  }
});
