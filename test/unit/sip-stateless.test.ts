/** Via stamps (RFC 3581) and stateless answers to malformed requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { MAX_REJECTIONS_PER_S } from '#sip/server/limits.ts';
import { SipMessage } from '#sip/server/message.ts';
import { parseMessage } from '#sip/server/parse.ts';
import { Rejector, stampVia } from '#sip/server/stateless.ts';
import type { Flow } from '#sip/server/types.ts';

const FLOW: Flow = {
  protocol: 'udp',
  localAddress: '192.0.2.7',
  localPort: 5060,
  remoteAddress: '198.51.100.9',
  remotePort: 40_000,
  connection: null,
};

test('received and rport say where a request came from', () => {
  const rows: [string, string][] = [
    ['SIP/2.0/UDP 198.51.100.9;branch=a', 'SIP/2.0/UDP 198.51.100.9;branch=a'],
    ['SIP/2.0/UDP 10.0.0.1;branch=a', 'SIP/2.0/UDP 10.0.0.1;branch=a;received=198.51.100.9'],
    [
      'SIP/2.0/UDP 198.51.100.9:9;rport;branch=a',
      'SIP/2.0/UDP 198.51.100.9:9;rport=40000;branch=a;received=198.51.100.9',
    ],
    [
      'SIP/2.0/UDP h;rport=1;received=192.0.2.66;branch=a',
      'SIP/2.0/UDP h;rport=40000;branch=a;received=198.51.100.9',
    ],
    ['SIP/2.0/UDP 198.51.100.9;received=192.0.2.66', 'SIP/2.0/UDP 198.51.100.9'],
    [
      'SIP / 2.0 / UDP h , SIP/2.0/UDP two;rport',
      'SIP/2.0/UDP h;received=198.51.100.9, SIP/2.0/UDP two;rport',
    ],
  ];
  for (const [via, expected] of rows) {
    const message = SipMessage.request('OPTIONS', 'sip:a@192.0.2.7').add('Via', via);
    stampVia(message, FLOW);
    assert.equal(message.get('Via'), expected, via);
  }
  const v6 = SipMessage.request('OPTIONS', 'sip:a@h').add('Via', 'SIP/2.0/UDP [2001:DB8::9]');
  stampVia(v6, { ...FLOW, remoteAddress: '2001:db8::9' });
  assert.equal(v6.get('Via'), 'SIP/2.0/UDP [2001:DB8::9]');
});

function malformed(...headers: string[]): ReturnType<typeof parseMessage> & { ok: false } {
  const lines = ['OPTIONS sip:b@192.0.2.7 SIP/2.0', ...headers, 'CSeq: x', '', ''];
  const result = parseMessage(Buffer.from(lines.join('\r\n')));
  assert.ok(!result.ok);
  return result;
}

const HEADERS = [
  'Via: SIP/2.0/UDP h;rport;branch=z9hG4bK1',
  'From: <sip:a@h>;tag=1',
  'To: <sip:b@192.0.2.7>',
  'Call-ID: c1',
];

test('a malformed request gets its reason, the same To tag each time', () => {
  const rejector = new Rejector(new SimulatedClock());
  const bytes = rejector.answer(malformed(...HEADERS), FLOW);
  const [text, tag] = /;tag=([0-9a-f]{16})\r\nCall-ID/.exec(String(bytes)) ?? [];
  assert.ok(text !== undefined);
  assert.deepEqual(String(bytes).split('\r\n'), [
    'SIP/2.0 400 Malformed CSeq',
    'Via: SIP/2.0/UDP h;rport=40000;branch=z9hG4bK1;received=198.51.100.9',
    'From: <sip:a@h>;tag=1',
    `To: <sip:b@192.0.2.7>;tag=${tag}`,
    'Call-ID: c1',
    'CSeq: x',
    'Content-Length: 0',
    '',
    '',
  ]);
  assert.deepEqual(rejector.answer(malformed(...HEADERS), FLOW), bytes);
});

test('a To that has a tag or cannot be read is echoed as it is', () => {
  const rejector = new Rejector(new SimulatedClock());
  for (const to of ['To: <sip:b@h>;tag=9', 'To: "open <sip:b@h>']) {
    const headers = HEADERS.map((line) => (line.startsWith('To') ? to : line));
    assert.ok(String(rejector.answer(malformed(...headers), FLOW)).includes(`\r\n${to}\r\n`));
  }
});

test('nothing is sent where nothing may be answered', () => {
  const rejector = new Rejector(new SimulatedClock());
  assert.equal(rejector.answer(malformed(...HEADERS.slice(1)), FLOW), null);
});

test('a flood is answered at a bounded rate', () => {
  const clock = new SimulatedClock();
  const rejector = new Rejector(clock);
  const answered = (): number =>
    Array.from({ length: 500 }, () => rejector.answer(malformed(...HEADERS), FLOW)).filter(
      (bytes) => bytes !== null,
    ).length;
  assert.equal(answered(), MAX_REJECTIONS_PER_S);
  assert.equal(answered(), 0);
  clock.advance(100);
  assert.equal(answered(), MAX_REJECTIONS_PER_S / 10);
  clock.advance(3_600_000);
  assert.equal(answered(), MAX_REJECTIONS_PER_S);
});
