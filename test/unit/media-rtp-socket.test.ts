/** The real sockets of a call, where the system refuses to connect them. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { openRtpSocket, openSocketCount } from '#media/rtp-socket.ts';

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
