/** The drachtio control protocol: framing, messages of the application, names for our address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameReader, decodePayload, encodeFrame, timeOf } from '#sip/server/control-frame.ts';
import { parseDraft } from '#sip/server/control-message.ts';
import { withOwnContact, withOwnHost } from '#sip/server/draft.ts';
import { LocalNames } from '#sip/server/local-names.ts';
import { inOrder, resolveRoute } from '#sip/server/outbound-route.ts';

test('frames survive any cut of the stream; lengths count bytes', () => {
  const stream = Buffer.concat([
    encodeFrame(['a', 'ping']),
    encodeFrame(['b', 'sip', '', ''], Buffer.from('OPTIONS sip:ü SIP/2.0\r\n\r\n')),
    encodeFrame(['c', 'route', 'invite']),
  ]);
  assert.equal(encodeFrame(['ü']).toString(), '2#ü');
  for (const size of [1, 2, 3, 7, stream.length]) {
    const reader = new FrameReader();
    const seen: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      const { frames, ...rest } = reader.push(stream.subarray(at, at + size));
      assert.deepEqual(rest, {});
      seen.push(...frames.map((frame) => decodePayload(frame).tokens.join('|')));
    }
    assert.deepEqual(seen, ['a|ping', 'b|sip||', 'c|route|invite'], `chunks of ${size}`);
  }
  const [, frame] = new FrameReader().push(stream).frames;
  assert.ok(frame !== undefined);
  assert.equal(decodePayload(frame).rest, 'OPTIONS sip:ü SIP/2.0\r\n\r\n');
});

test('streams that are no frames are errors, at once', () => {
  for (const bad of ['x#abc', '100000#', '0#', '-1#a', '123456', '1 #', '#abc', 'GET / HTTP/1.1']) {
    const { error } = { error: undefined, ...new FrameReader().push(Buffer.from(bad)) };
    assert.ok(error !== undefined, bad);
  }
  assert.deepEqual(new FrameReader().push(Buffer.from('12345')), { frames: [] });
});

test('messages of the application: few headers, any length, nothing smuggled', () => {
  const message = parseDraft(
    'SIP/2.0 200 OK\r\ncall-id: a\r\nX-Thing: b: c\r\ncontent-length: 3\r\n\r\nüüü\r\n\r\nmore',
  );
  assert.equal(message?.status, 200);
  assert.equal(message?.callId, 'a');
  assert.equal(message?.get('X-Thing'), 'b: c');
  assert.equal(message?.body.toString(), 'üüü\r\n\r\nmore');
  assert.equal(parseDraft('ACK sip:x SIP/2.0\r\n')?.method, 'ACK');
  assert.equal(parseDraft('SIP/2.0 180 Ringing')?.reason, 'Ringing');
  for (const bad of [
    '',
    'HELLO',
    'SIP/2.0 abc',
    'INVITE sip:a b SIP/2.0',
    'INVITE sip:x SIP/2.0\r\nno colon',
    'INVITE sip:x SIP/2.0\r\n: empty',
    'INVITE sip:x SIP/2.0\r\nX: a\nVia: smuggled',
    'INVITE sip:x SIP/2.0\r\nX y: a',
  ]) {
    assert.equal(parseDraft(bad), undefined, JSON.stringify(bad));
  }
});

test('localhost stands for our address', () => {
  const udp = { protocol: 'udp', host: '192.0.2.1', port: 5060 } as const;
  const tcp = { protocol: 'tcp', host: '2001:db8::1', port: 5070 } as const;
  const contacts: [string, typeof udp | typeof tcp, string][] = [
    ['sip:a@localhost', udp, '<sip:a@192.0.2.1:5060>'],
    ['"A" <sip:a@localhost:9>;x=1', udp, '"A" <sip:a@192.0.2.1:5060>;x=1'],
    ['<sip:localhost;ob>', tcp, '<sip:[2001:db8::1]:5070;transport=tcp;ob>'],
    ['<sip:a@example.com>', tcp, '<sip:a@example.com>'],
    ['<sip:a@localhost.example.com>', udp, '<sip:a@localhost.example.com>'],
  ];
  for (const [value, self, expected] of contacts) {
    assert.equal(withOwnContact(value, self), expected);
  }
  assert.equal(withOwnHost('<sip:a@localhost>;tag=b', udp), '<sip:a@192.0.2.1>;tag=b');
  assert.equal(withOwnHost('sip:a@localhost', tcp), 'sip:a@[2001:db8::1]');
});

test('the public address is for outsiders only', () => {
  const names = new LocalNames({
    publicAddress: '203.0.113.5',
    localNets: ['10.0.0.0/8', '192.0.2.77', '2001:db8::/32'],
    ownAddresses: ['192.0.2.1'],
  });
  const rows: [string, boolean][] = [
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['::1', true],
    ['10.1.2.3', true],
    ['192.0.2.77', true],
    ['192.0.2.78', false],
    ['192.0.2.1', true],
    ['198.51.100.4', false],
    ['2001:db8::5', true],
    ['2001:db9::5', false],
  ];
  for (const [peer, isInside] of rows) {
    assert.equal(names.hostFor('192.0.2.1', peer), isInside ? '192.0.2.1' : '203.0.113.5', peer);
  }
  const plain = new LocalNames({ publicAddress: null, localNets: [], ownAddresses: [] });
  assert.equal(plain.hostFor('192.0.2.1', '198.51.100.4'), '192.0.2.1');
  for (const net of ['10.0.0.0/33', 'nonsense', '10.0.0.0/x']) {
    assert.throws(() => new LocalNames({ publicAddress: null, localNets: [net] }), {
      code: 'E_CONFIG',
    });
  }
});

test('where a URI leads: numeric, by SRV, by name, with and without transport', async () => {
  const names = {
    addresses: (host: string) =>
      Promise.resolve(host.startsWith('b.') ? ['192.0.2.12'] : ['192.0.2.11', '2001:db8::11']),
    services: (name: string) =>
      Promise.resolve(
        name === '_sip._udp.srv.example.com'
          ? [
              { name: 'b.example.com', port: 5082, priority: 20, weight: 1 },
              { name: 'a.example.com', port: 5081, priority: 10, weight: 1 },
            ]
          : [],
      ),
  };
  const rows: [string, string[], boolean][] = [
    ['sip:x@192.0.2.1', ['udp 192.0.2.1 5060'], false],
    ['192.0.2.1:5070', ['udp 192.0.2.1 5070'], false],
    ['sip:[2001:db8::1]:5070;transport=TCP', ['tcp 2001:db8::1 5070'], true],
    ['sip:a.example.com:5099', ['udp 192.0.2.11 5099', 'udp 2001:db8::11 5099'], false],
    [
      'sip:x@srv.example.com',
      ['udp 192.0.2.11 5081', 'udp 2001:db8::11 5081', 'udp 192.0.2.12 5082'],
      false,
    ],
    ['sip:b.example.com;transport=tcp', ['tcp 192.0.2.12 5060'], true],
  ];
  for (const [uri, expected, isExplicit] of rows) {
    const route = await resolveRoute(uri, names);
    const targets = route.targets.map(
      ({ protocol, address, port }) => `${protocol} ${address} ${port}`,
    );
    assert.deepEqual(targets, expected, uri);
    assert.equal(route.isExplicit, isExplicit, uri);
  }
  const weighted = [
    { name: 'a', port: 1, priority: 1, weight: 0 },
    { name: 'b', port: 1, priority: 1, weight: 100 },
  ];
  assert.equal(inOrder(weighted, () => 0.5)[0]?.name, 'b');
});

test('times of frames are those of the day, with microseconds', () => {
  assert.equal(timeOf(Date.UTC(2026, 0, 1, 13, 4, 5, 67)), '13:04:05.067000');
});
