/** Offers as phones, PBXs, proxies and carriers write them, what we answer, and what the media plane is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CodecName } from '#lib/audio-codec.ts';
import { createSdpSession, type SdpAudio, type SdpLocal } from '#sip/sdp.ts';

const ALL: readonly CodecName[] = ['opus', 'G722', 'PCMA', 'PCMU', 'L16'];
const NODE: readonly CodecName[] = ['PCMA', 'PCMU', 'G722', 'opus'];
const local = (codecs: readonly CodecName[], rest: Partial<SdpLocal> = {}): SdpLocal => ({
  ...{ address: '192.0.2.1', port: 20_000, codecs, ...rest },
});

type Peer = {
  readonly name: string;
  readonly sdp: string;
  /** Attributes of our answer to it, with every codec spoken, `opus` first. */
  readonly answer: readonly string[];
  readonly audio: Partial<SdpAudio>;
};

const KEY = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5';
const OPUS_96 = { useInbandFec: true, useDtx: false, maxAverageBitrate: null };

const PEERS: readonly Peer[] = [
  {
    name: 'Linphone: opus, both clocks of telephone-event, feedback lines',
    sdp: `v=0
o=alice 3283 1754 IN IP4 192.0.2.9
s=Talk
c=IN IP4 192.0.2.9
t=0 0
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
a=record:off
m=audio 7078 RTP/AVPF 96 97 98 0 8 18 101 99 100
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=fmtp:18 annexb=yes
a=rtpmap:101 telephone-event/48000
a=rtpmap:99 telephone-event/16000
a=rtpmap:100 telephone-event/8000
a=rtcp:7079
a=rtcp-fb:* trr-int 1000
a=rtcp-fb:* ccm tmmbr
`,
    answer: [
      'm=audio 20000 RTP/AVPF 96 101',
      'a=rtpmap:96 opus/48000/2',
      'a=rtpmap:101 telephone-event/48000',
      'a=fmtp:96 useinbandfec=1',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: {
      codec: 'opus',
      payloadType: 96,
      dtmfPayloadType: 101,
      dtmfClockHz: 48_000,
      opus: OPUS_96,
    },
  },
  {
    name: 'baresip: opus with stereo, events at 8000 alone, keys beside plain RTP',
    sdp: `v=0
o=- 3863210 1234 IN IP4 192.0.2.9
s=-
c=IN IP4 192.0.2.9
t=0 0
a=tool:baresip 1.0.0
m=audio 14462 RTP/AVP 96 9 0 8 101
b=AS:125
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=1;sprop-stereo=1;useinbandfec=1;usedtx=1;maxaveragebitrate=28000
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:${KEY}
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:${KEY}
a=rtcp:14463
a=rtcp-mux
a=sendrecv
a=label:1
a=rtcp-rsize
a=ptime:20
`,
    answer: [
      'm=audio 20000 RTP/AVP 96 101',
      'a=rtpmap:96 opus/48000/2',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:96 useinbandfec=1',
      'a=fmtp:101 0-16',
      'a=ptime:20',
      'a=sendrecv',
      'a=rtcp-mux',
    ],
    audio: {
      ...{ codec: 'opus', payloadType: 96, dtmfPayloadType: 101, dtmfClockHz: 8000, rtcpMux: true },
      opus: { useInbandFec: true, useDtx: true, maxAverageBitrate: 28_000 },
      srtp: null,
    },
  },
  {
    name: 'rtpengine behind Kamailio: its own address, rtcp, ptime 20',
    sdp: `v=0
o=- 1690 3 IN IP4 192.0.2.9
s=Asterisk
c=IN IP4 198.51.100.7
t=0 0
m=audio 30034 RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=sendrecv
a=rtcp:30035
a=ptime:20
`,
    answer: [
      'm=audio 20000 RTP/AVP 0 101',
      'a=rtpmap:0 PCMU/8000',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: { codec: 'PCMU', remoteAddress: '198.51.100.7', remotePort: 30_034 },
  },
  {
    name: 'FreeSWITCH: both events, comfort noise, old-style codec order',
    sdp: `v=0
o=FreeSWITCH 1700000000 1700000001 IN IP4 192.0.2.9
s=FreeSWITCH
c=IN IP4 192.0.2.9
t=0 0
m=audio 27316 RTP/AVP 102 9 0 8 103 101 13
a=rtpmap:102 opus/48000/2
a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; maxptime=40
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:103 telephone-event/48000
a=fmtp:103 0-15
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtpmap:13 CN/8000
a=ptime:20
`,
    answer: [
      'm=audio 20000 RTP/AVP 102 103',
      'a=rtpmap:102 opus/48000/2',
      'a=rtpmap:103 telephone-event/48000',
      'a=fmtp:102 useinbandfec=1',
      'a=fmtp:103 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: {
      ...{ codec: 'opus', payloadType: 102, dtmfPayloadType: 103, dtmfClockHz: 48_000 },
      opus: { useInbandFec: true, useDtx: false, maxAverageBitrate: 30_000 },
      comfortNoisePayloadType: null,
    },
  },
  {
    name: 'Asterisk (PJSIP): opus at 107, maxptime 150',
    sdp: `v=0
o=- 1089365466 1089365466 IN IP4 192.0.2.9
s=Asterisk
c=IN IP4 192.0.2.9
t=0 0
m=audio 13532 RTP/AVP 8 107 101
a=rtpmap:8 PCMA/8000
a=rtpmap:107 opus/48000/2
a=fmtp:107 useinbandfec=1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:60
a=sendrecv
`,
    answer: [
      'm=audio 20000 RTP/AVP 107 101',
      'a=rtpmap:107 opus/48000/2',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:107 useinbandfec=1',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: { codec: 'opus', payloadType: 107, dtmfClockHz: 8000, ptimeMs: 20 },
  },
  {
    name: 'Cisco gateway: G.729 first, 30 ms, events at 101, comfort noise at 19 and 13',
    sdp: `v=0
o=CiscoSystemsSIP-GW-UserAgent 9084 5637 IN IP4 192.0.2.9
s=SIP Call
c=IN IP4 192.0.2.9
t=0 0
m=audio 16642 RTP/AVP 18 0 8 101 19 13
c=IN IP4 192.0.2.10
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=rtpmap:19 CN/8000
a=ptime:30
`,
    answer: [
      'm=audio 20000 RTP/AVP 8 19 101',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:19 CN/8000',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: {
      ...{ codec: 'PCMA', ptimeMs: 30, comfortNoisePayloadType: 19, dtmfPayloadType: 101 },
      remoteAddress: '192.0.2.10',
    },
  },
  {
    name: 'IMS carrier: AMR first, events at two clocks, precondition and bandwidth lines',
    sdp: `v=0
o=- 100200 1 IN IP4 192.0.2.9
s=-
c=IN IP4 192.0.2.9
b=AS:80
t=0 0
m=audio 49120 RTP/AVP 104 102 8 0 105 100
b=AS:80
b=RS:800
b=RR:2400
a=rtpmap:104 AMR-WB/16000/1
a=fmtp:104 mode-change-capability=2;max-red=0
a=rtpmap:102 AMR/8000/1
a=fmtp:102 mode-change-capability=2;max-red=0
a=rtpmap:8 PCMA/8000/1
a=rtpmap:0 PCMU/8000/1
a=rtpmap:105 telephone-event/16000
a=fmtp:105 0-15
a=rtpmap:100 telephone-event/8000
a=fmtp:100 0-15
a=curr:qos local none
a=curr:qos remote none
a=des:qos mandatory local sendrecv
a=des:qos optional remote sendrecv
a=maxptime:240
a=ptime:20
a=sendrecv
`,
    answer: [
      'm=audio 20000 RTP/AVP 8 100',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:100 telephone-event/8000',
      'a=fmtp:100 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: { codec: 'PCMA', dtmfPayloadType: 100, ptimeMs: 20 },
  },
  {
    name: 'softswitch of a carrier: no rtpmap, no attributes, session without a name',
    sdp: `v=0
o=HuaweiSoftX3000 1073741831 1073741832 IN IP4 192.0.2.9
s=Sip Call
c=IN IP4 192.0.2.9
t=0 0
m=audio 31232 RTP/AVP 8 0 18 97
a=rtpmap:97 telephone-event/8000
`,
    answer: [
      'm=audio 20000 RTP/AVP 8 97',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:97 telephone-event/8000',
      'a=fmtp:97 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
    ],
    audio: { codec: 'PCMA', dtmfPayloadType: 97 },
  },
  {
    name: 'desk phone: G.722, RTCP elsewhere, packets of 40 ms, video refused in its place',
    sdp: `v=0
o=- 20038 20038 IN IP4 192.0.2.9
s=SDP data
c=IN IP4 192.0.2.9
t=0 0
m=audio 11780 RTP/AVP 9 0 101
a=rtpmap:9 g722/8000
a=rtpmap:0 pcmu/8000
a=rtpmap:101 Telephone-Event/8000
a=rtcp:11900 IN IP4 192.0.2.9
a=ptime:40
m=video 11782 RTP/AVP 99
a=rtpmap:99 H264/90000
`,
    answer: [
      'm=audio 20000 RTP/AVP 9 101',
      'a=rtpmap:9 G722/8000',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-16',
      'a=rtcp:20001',
      'a=ptime:20',
      'a=sendrecv',
      'm=video 0 RTP/AVP 99',
    ],
    audio: { codec: 'G722', remoteRtcpPort: 11_900, ptimeMs: 40 },
  },
];

test('what each of them offers is answered, line by line', () => {
  for (const { name, sdp, answer, audio } of PEERS) {
    const codecs = name.startsWith('Cisco') ? NODE : ALL;
    const result = createSdpSession(local(codecs), 1).answer(sdp.replaceAll('\n', '\r\n'));
    assert.ok(result, name);
    const lines = result.sdp.trimEnd().split('\r\n');
    assert.deepEqual(lines.slice(lines.findIndex((line) => line.startsWith('m='))), answer, name);
    assert.deepEqual({ ...result.audio, ...audio }, result.audio, name);
    assert.equal(result.audio.receivePayloadType, result.audio.payloadType, name);
  }
});

test('the same offers under the codecs of a node: A-law wherever it is offered', () => {
  const codecs = PEERS.map(({ sdp }) => createSdpSession(local(NODE)).answer(sdp)?.audio.codec);
  assert.deepEqual(codecs, [
    ...['PCMA', 'PCMA', 'PCMU', 'PCMA', 'PCMA', 'PCMA', 'PCMA', 'PCMA', 'PCMU'],
  ]);
});

test('our offer with every codec', () => {
  const offer = createSdpSession(local(ALL, { rtcpMux: true }), 1).offer();
  const lines = offer.trimEnd().split('\r\n');
  assert.deepEqual(lines.slice(5), [
    'm=audio 20000 RTP/AVP 96 9 8 0 97 101 100',
    'a=rtpmap:96 opus/48000/2',
    'a=rtpmap:9 G722/8000',
    'a=rtpmap:8 PCMA/8000',
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:97 L16/8000',
    'a=rtpmap:101 telephone-event/8000',
    'a=rtpmap:100 telephone-event/48000',
    'a=fmtp:96 useinbandfec=1',
    'a=fmtp:101 0-16',
    'a=fmtp:100 0-16',
    'a=rtcp:20001',
    'a=ptime:20',
    'a=sendrecv',
    'a=rtcp-mux',
  ]);
  const only = createSdpSession(local(['opus']), 1).offer();
  assert.match(only, /m=audio 20000 RTP\/AVP 96 100\r\n/, 'Opus alone: events on its clock alone');
  assert.doesNotMatch(only, /rtcp-mux/);
  const largest = createSdpSession(local(ALL, { srtp: 'preferred', rtcpMux: true })).offer();
  assert.ok(largest.length < 900, `${largest.length} bytes: fits a datagram with its headers`);
});

const head = ['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'];
const theirs = (...lines: string[]): string => [...head, ...lines, ''].join('\r\n');

test('answers: numbers of each side, their first codec, ptime, what was not offered is not agreed', () => {
  const rows: [string[], Partial<SdpAudio> | null][] = [
    [
      [
        ...['m=audio 4000 RTP/AVP 111 110', 'a=rtpmap:111 OPUS/48000/2'],
        ...['a=rtpmap:110 telephone-event/48000', 'a=fmtp:111 usedtx=1'],
      ],
      {
        ...{ codec: 'opus', payloadType: 111, receivePayloadType: 96 },
        ...{ dtmfPayloadType: 100, dtmfSendPayloadType: 110, dtmfClockHz: 48_000 },
        opus: { useInbandFec: false, useDtx: true, maxAverageBitrate: null },
      },
    ],
    [
      ['m=audio 4000 RTP/AVP 0 8 101 13', 'a=rtpmap:101 telephone-event/8000', 'a=ptime:25'],
      {
        ...{ codec: 'PCMU', dtmfPayloadType: 101, ptimeMs: 20, comfortNoisePayloadType: null },
        alternatives: [{ codec: 'PCMA', payloadType: 8 }],
      },
    ],
    [['m=audio 4000 RTP/AVP 9', 'a=ptime:60'], { codec: 'G722', payloadType: 9, ptimeMs: 60 }],
    [
      ['m=audio 4000 RTP/AVP 120', 'a=rtpmap:120 L16/8000'],
      { codec: 'L16', receivePayloadType: 97 },
    ],
    [['m=audio 4000 RTP/AVP 120', 'a=rtpmap:120 L16/16000'], null],
    [['m=audio 4000 RTP/AVP 120', 'a=rtpmap:120 L16/8000/2'], null],
    [['m=audio 4000 RTP/AVP 111', 'a=rtpmap:111 opus/48000'], null],
    [['m=audio 4000 RTP/AVP 111', 'a=rtpmap:111 opus/16000/2'], null],
    [['m=audio 4000 RTP/AVP 8', 'a=rtcp-mux'], { rtcpMux: false }],
    [['m=audio 4000 RTP/AVP 8', 'a=rtcp:4001'], { codec: 'PCMA' }],
    [['m=audio 4000 RTP/AVP 8', 'a=rtcp:5001'], { remoteRtcpPort: 5001 }],
    [['m=audio 4000 RTP/AVP 8', 'a=rtcp:99999'], { codec: 'PCMA' }],
  ];
  for (const [lines, expected] of rows) {
    const session = createSdpSession(local(ALL));
    session.offer();
    const audio = session.accept(theirs(...lines));
    if (expected === null) assert.equal(audio, null, lines.join());
    else assert.deepEqual({ ...audio, ...expected }, audio, lines.join());
    const isOther = lines.some((line) => line.includes('5001'));
    if (!isOther) assert.equal(audio?.remoteRtcpPort, undefined, lines.join());
  }
  const muxed = createSdpSession(local(ALL, { rtcpMux: true }));
  muxed.offer();
  assert.equal(muxed.accept(theirs('m=audio 4000 RTP/AVP 8', 'a=rtcp-mux'))?.rtcpMux, true);
  assert.match(muxed.offer('sendonly'), /a=rtcp-mux/, 'and stays');
});

test('length of packets: what they ask, as near as we come', () => {
  const rows: [string[], pcma: number, opus: number][] = [
    [[], 20, 20],
    [['a=ptime:10'], 10, 10],
    [['a=ptime:30'], 30, 20],
    [['a=ptime:50'], 50, 40],
    [['a=ptime:60'], 60, 60],
    [['a=ptime:5'], 10, 10],
    [['a=ptime:25'], 20, 20],
    [['a=ptime:200'], 60, 60],
    [['a=ptime:2.5'], 10, 10],
    [['a=ptime:0'], 20, 20],
    [['a=ptime:x'], 20, 20],
    [['a=ptime:-20'], 20, 20],
    [['a=maxptime:10'], 10, 10],
    [['a=maxptime:40', 'a=ptime:60'], 40, 40],
    [['a=minptime:30'], 30, 20],
    [['a=minptime:30', 'a=maxptime:10'], 10, 10],
    [['a=fmtp:111 minptime=40;useinbandfec=1'], 40, 40],
  ];
  for (const [lines, pcma, opus] of rows) {
    const offer = theirs('m=audio 4000 RTP/AVP 8 111', 'a=rtpmap:111 opus/48000/2', ...lines);
    for (const [codec, ms] of [['PCMA', pcma] as const, ['opus', opus] as const]) {
      const audio = createSdpSession(local([codec])).answer(offer)?.audio;
      assert.equal(audio?.ptimeMs, ms, `${codec} ${lines.join()}`);
    }
  }
});

test('in mid-call the codec stays, and no dynamic number ever means another format', () => {
  const session = createSdpSession(local(NODE), 1);
  const maps = ['a=rtpmap:96 telephone-event/8000', 'a=rtpmap:97 AMR/8000'];
  const first = session.answer(theirs('m=audio 4000 RTP/AVP 0 97 96', ...maps));
  assert.equal(first?.audio.codec, 'PCMU');
  const again = session.answer(theirs('m=audio 4000 RTP/AVP 8 0 97 96 13', ...maps));
  assert.equal(again?.audio.codec, 'PCMU', 'A-law is liked better, but it is not in use');
  assert.equal(again?.audio.comfortNoisePayloadType, 13);
  const offer = session.offer();
  assert.match(offer, /m=audio 20000 RTP\/AVP 0 8 9 127 13 96 100\r\n/);
  assert.match(offer, /a=rtpmap:127 opus\/48000\/2/, '96 and 97 have had a meaning');
  const moved = session.answer(
    theirs(
      'm=audio 4000 RTP/AVP 111 110',
      'a=rtpmap:111 opus/48000/2',
      'a=rtpmap:110 telephone-event/48000',
    ),
  );
  assert.equal(moved?.audio.codec, 'opus', 'unless nothing else is left');
  assert.match(session.offer(), /m=audio 20000 RTP\/AVP 111 8 0 9 96 110\r\n/);
  const numbers = new Map<string, string>();
  for (const body of [first?.sdp, again?.sdp, offer, moved?.sdp, session.offer()]) {
    for (const [, type = '', format = ''] of (body ?? '').matchAll(/^a=rtpmap:(\d+) (\S+)/gm)) {
      assert.equal(numbers.get(type) ?? format, format, `${type} meant ${numbers.get(type)}`);
      numbers.set(type, format);
    }
  }
});

test('which of several audio lines: the one in use, and all keep their places', () => {
  const session = createSdpSession(local(NODE), 1);
  const offer = theirs('m=audio 0 RTP/AVP 8', 'm=audio 4000 RTP/AVP 8', 'm=audio 4002 RTP/AVP 0');
  assert.equal(session.answer(offer)?.audio.remotePort, 4000);
  const other = theirs('m=audio 4004 RTP/AVP 8', 'm=audio 4006 RTP/AVP 8', 'm=audio 0 RTP/AVP 0');
  const answer = session.answer(other);
  assert.equal(answer?.audio.remotePort, 4006);
  assert.deepEqual(answer?.sdp.match(/^m=audio \d+/gm), [
    ...['m=audio 0', 'm=audio 20000', 'm=audio 0'],
  ]);
});
