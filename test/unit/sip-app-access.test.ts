/** Who may call, the environment trunk, and bodies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAccess } from '#sip/access.ts';
import { dtmfOf, sdpOf } from '#sip/body.ts';
import { targetOf } from '#sip/outbound.ts';
import type { Trunk } from '#lib/trunk.ts';
import { checkedTrunk, nextHopOf, parseTrunk } from '#sip/trunk.ts';

const NONE = { allow: '', ownAddresses: ['198.51.100.7'], trunkAddresses: [], hasTrunk: false };

test('who may call', () => {
  const alone = createAccess(NONE);
  const trunked = createAccess({ ...NONE, trunkAddresses: ['203.0.113.5'], hasTrunk: true });
  const allowing = createAccess({
    ...NONE,
    hasTrunk: true,
    allow: '192.0.2.0/24, 2001:db8::/32 203.0.113.9',
  });
  const rows: [string, boolean, boolean, boolean][] = [
    ['127.0.0.1', true, true, true],
    ['127.8.9.1', true, true, true],
    ['::1', true, true, true],
    ['198.51.100.7', true, true, true],
    ['::ffff:198.51.100.7', true, true, true],
    ['10.1.2.3', true, false, false],
    ['172.31.0.1', true, false, false],
    ['172.32.0.1', false, false, false],
    ['192.168.1.1', true, false, false],
    ['fd00::1', true, false, false],
    ['fe80::1%eth0', true, false, false],
    ['203.0.113.5', false, true, false],
    ['192.0.2.77', false, false, true],
    ['2001:db8:1::2', false, false, true],
    ['203.0.113.9', false, false, true],
    ['8.8.8.8', false, false, false],
    ['', false, false, false],
    ['not-an-address', false, false, false],
  ];
  for (const [address, a, b, c] of rows) {
    assert.deepEqual([alone(address), trunked(address), allowing(address)], [a, b, c], address);
  }
  for (const allow of [
    '10.0.0.0/33',
    'example.com',
    '10.0.0.0/8/8',
    '10.0.0/8',
    '::/129',
    '1.2.3.4/x',
    '1.2.3.4/',
  ]) {
    assert.throws(() => createAccess({ ...NONE, allow }), { code: 'E_CONFIG' }, allow);
  }
});

const ENV = { user: null, password: null, localHost: null, displayName: null };

test('the environment trunk', () => {
  const rows: [string, string, number, 'udp' | 'tcp'][] = [
    ['sip:192.0.2.9:5070;transport=tcp', '192.0.2.9', 5070, 'tcp'],
    ['sip:sip.example.com', 'sip.example.com', 5060, 'udp'],
    ['sip.example.com:5080', 'sip.example.com', 5080, 'udp'],
    ['127.0.0.1:5090;transport=UDP', '127.0.0.1', 5090, 'udp'],
    ['sip:[2001:db8::9]:5061', '2001:db8::9', 5061, 'udp'],
  ];
  for (const [uri, host, port, transport] of rows) {
    const trunk = parseTrunk({ ...ENV, uri });
    assert.deepEqual([trunk.host, trunk.port, trunk.transport], [host, port, transport], uri);
  }
  const full = parseTrunk({
    uri: 'sip:alice@h.example',
    user: '',
    password: 'p',
    localHost: '192.0.2.1',
    displayName: ' ',
  });
  assert.deepEqual(
    [full.username, full.password, full.localHost, full.displayName],
    ['alice', 'p', '192.0.2.1', null],
  );
  for (const uri of [
    '',
    'sip:',
    'tel:+1555',
    'http://x',
    'sip:h:0',
    'sip:h:70000',
    'sips:h',
    'sip:h;transport=tls',
    'sip:a b',
  ]) {
    assert.throws(() => parseTrunk({ ...ENV, uri }), { code: 'E_CONFIG' }, uri);
  }
  assert.throws(
    () => parseTrunk({ ...ENV, uri: 'sip:u:hunter2@h;transport=tls' }),
    (error: Error) => !error.message.includes('hunter2'),
  );
});

const HOP = 'sip:192.0.2.9:5070';

test('where an INVITE goes', () => {
  const trunk = parseTrunk({ ...ENV, uri: 'sip:192.0.2.9:5070' });
  const rows: [Partial<Trunk>, string, string, string | null, string][] = [
    [{}, '1000', 'sip:1000@192.0.2.9:5070', `${HOP};transport=udp`, '192.0.2.9:5070'],
    [{ transport: 'tcp' }, '1000', 'sip:1000@192.0.2.9:5070;transport=tcp', null, '192.0.2.9:5070'],
    [
      { domain: 'voip.example' },
      '1',
      'sip:1@voip.example',
      `${HOP};transport=udp`,
      '192.0.2.9:5070',
    ],
    [
      { outboundProxy: 'px.example:5099' },
      '1',
      'sip:1@192.0.2.9:5070',
      'sip:px.example:5099;transport=udp',
      'px.example:5099',
    ],
    [
      { outboundProxy: '<sip:px.example;lr>', transport: 'tcp' },
      '1',
      'sip:1@192.0.2.9:5070;transport=tcp',
      'sip:px.example;lr;transport=tcp',
      'px.example:5060',
    ],
    [
      {},
      'sip:bob@other.example',
      'sip:bob@other.example',
      `${HOP};transport=udp`,
      '192.0.2.9:5070',
    ],
  ];
  for (const [fields, to, uri, route, hop] of rows) {
    const wanted = { ...trunk, ...fields };
    assert.deepEqual(targetOf({ trunk: wanted, to }), { uri, route }, uri);
    const { host, port } = nextHopOf(wanted);
    assert.equal(`${host}:${port}`, hop);
  }
});

test('a trunk is trimmed, and refused where a field is no host', () => {
  const trunk = parseTrunk({ ...ENV, uri: 'sip:192.0.2.9:5070' });
  const good: [Partial<Trunk>, Partial<Trunk>][] = [
    [{ host: ' sip.example ' }, { host: 'sip.example' }],
    [{ domain: 'd.example ' }, { domain: 'd.example' }],
    [{ domain: 'd.example\r\n' }, { domain: 'd.example' }],
    [{ domain: 'd.example:5070' }, { domain: 'd.example:5070' }],
    [{ domain: '[2001:db8::1]:5070' }, { domain: '[2001:db8::1]:5070' }],
    [
      { host: '2001:db8::1', domain: ' ' },
      { host: '2001:db8::1', domain: null },
    ],
    [{ outboundProxy: ' <sip:px.example;lr> ' }, { outboundProxy: '<sip:px.example;lr>' }],
    [{ outboundProxy: '192.0.2.1:5070' }, { outboundProxy: '192.0.2.1:5070' }],
  ];
  for (const [fields, expected] of good) {
    assert.deepEqual(checkedTrunk({ ...trunk, ...fields }), { ...trunk, ...expected });
  }
  const bad: Partial<Trunk>[] = [
    { host: '' },
    { host: 'a b' },
    { domain: 'd.example\r\nEvil: 1' },
    { domain: 'd example' },
    { domain: 'd>' },
    { outboundProxy: 'px example' },
    { outboundProxy: 'sip:px.example;x="y"' },
    { outboundProxy: '<<px>>' },
  ];
  for (const fields of bad) {
    const wanted = { ...trunk, ...fields };
    assert.throws(() => checkedTrunk(wanted), { code: 'E_CONFIG' }, JSON.stringify(fields));
  }
});

test('bodies', () => {
  const sdp = 'v=0\r\nm=audio 1 RTP/AVP 0\r\n';
  const multi = `preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\nxx\r\n--b1\r\ncontent-type: application/sdp\r\n\r\n${sdp}\r\n--b1--\r\n`;
  const rows: [string | undefined, string, string | null][] = [
    ['application/sdp', sdp, sdp],
    ['Application/SDP; charset=utf-8', sdp, sdp],
    [undefined, sdp, sdp],
    [undefined, '', null],
    ['application/sdp', '\r\n', null],
    ['text/plain', 'x', 'unsupported'],
    [undefined, 'x', 'unsupported'],
    ['multipart/mixed; boundary=b1', multi, sdp],
    ['multipart/mixed;boundary="b1"', multi, sdp],
    ['multipart/mixed;boundary=zz', multi, 'unsupported'],
    ['multipart/mixed', multi, 'unsupported'],
  ];
  for (const [type, body, expected] of rows) {
    const found = sdpOf(type, body);
    assert.equal(found === 'unsupported' ? found : found.sdp, expected, `${type} ${body}`);
  }
});

test('DTMF in INFO', () => {
  const rows: [string, string, string | null, number?][] = [
    ['application/dtmf-relay', 'Signal=5\r\nDuration=160\r\n', '5', 160],
    ['application/dtmf-relay', 'Signal= *\nDuration = 90', '*', 90],
    ['application/dtmf-relay', 'signal=11\r\n', '#', 250],
    ['application/dtmf-relay', 'Signal="a"', 'A', 250],
    ['application/dtmf', ' 7 \r\n', '7', 250],
    ['application/dtmf', '10', '*', 250],
    ['application/dtmf', '16', null],
    ['application/dtmf-relay', 'Signal=flash', null],
    ['application/dtmf-relay', '', null],
    ['text/plain', '5', 'none'],
  ];
  for (const [type, body, digit, durationMs] of rows) {
    const found = dtmfOf(type, body);
    if (found === null || found === 'none') assert.equal(found, digit, body);
    else assert.deepEqual([found.digit, found.durationMs], [digit, durationMs], body);
  }
});
