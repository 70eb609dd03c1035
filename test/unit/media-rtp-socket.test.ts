/** The real sockets of a call, where the system refuses to connect them. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { openRtpSocket, openSocketCount } from '#media/rtp/rtp-socket.ts';

test('a source that cannot be connected to: sending and receiving go on, and connecting later works', async () => {
  const before = openSocketCount();
  const transport = await openRtpSocket('127.0.0.1', 23_920);
  const phone = createSocket('udp4');
  try {
    phone.bind(0, '127.0.0.1');
    await once(phone, 'listening');
    const { port } = phone.address();
    // Port 0 is refused by Node, a broadcast address by the system.
    for (const [address, at] of [
      ['127.0.0.1', 0],
      ['255.255.255.255', 4000],
    ] as const) {
      transport.connect(address, at);
      transport.send(Uint8Array.of(1));
      const heard = Promise.withResolvers<number>();
      transport.onDatagram((_bytes, _from, source) => heard.resolve(source));
      phone.send('x', 23_920, '127.0.0.1');
      assert.equal(await heard.promise, port);
    }
    assert.ok(transport.sendErrors >= 2);
    transport.connect('127.0.0.1', port);
    transport.send(Uint8Array.of(7));
    const [bytes] = (await once(phone, 'message')) as [Buffer];
    assert.deepEqual([...bytes], [7]);
  } finally {
    transport.close();
    phone.close();
  }
  assert.equal(openSocketCount(), before);
});

test('RTCP: to the port above, to one of its own, on RTP’s; in by whichever way was agreed', async () => {
  const transport = await openRtpSocket('127.0.0.1', 23_930);
  const phones = [createSocket('udp4'), createSocket('udp4'), createSocket('udp4')] as const;
  const [rtp, above, own] = phones;
  try {
    // A pair of ports, and a third one somewhere.
    const first = 23_940;
    rtp.bind(first, '127.0.0.1');
    above.bind(first + 1, '127.0.0.1');
    own.bind(0, '127.0.0.1');
    await Promise.all(phones.map((phone) => once(phone, 'listening')));
    const kinds: string[] = [];
    const arrived = { now: Promise.withResolvers<void>() };
    const note = (kind: string) => (): void => {
      kinds.push(kind);
      arrived.now.resolve();
    };
    transport.onDatagram(note('rtp'));
    transport.onRtcp(note('rtcp'));
    transport.aimAt('127.0.0.1', first);
    const report = Uint8Array.of(0x80, 201, 0, 1, 0, 0, 0, 1);
    const rows = [
      [above, { isMuxed: false, port: null }],
      [own, { isMuxed: false, port: own.address().port }],
      [rtp, { isMuxed: true, port: null }],
    ] as const;
    for (const [phone, { isMuxed, port }] of rows) {
      transport.routeRtcp(isMuxed, port);
      const heard = once(phone, 'message');
      transport.sendRtcp(report);
      const [bytes, from] = (await heard) as [Buffer, { port: number }];
      assert.deepEqual([...bytes], [...report]);
      assert.equal(from.port, isMuxed ? 23_930 : 23_931);
      for (const to of [23_930, 23_931]) {
        arrived.now = Promise.withResolvers();
        phone.send(report, to, '127.0.0.1');
        await arrived.now.promise;
      }
    }
    // RTP's port is RTCP's only when that was agreed.
    assert.deepEqual(kinds, ['rtp', 'rtcp', 'rtp', 'rtcp', 'rtcp', 'rtcp']);
  } finally {
    transport.close();
    for (const phone of phones) phone.close();
  }
});
