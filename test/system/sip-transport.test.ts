/** The SIP transport on real loopback sockets: binding, flows, framing, keep-alives, caps, deadlines. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { SimulatedClock, systemClock } from '#lib/clock.ts';
import type { Clock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import {
  CONNECT_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  MAX_CONNECTIONS_PER_ADDRESS,
  MESSAGE_TIMEOUT_MS,
} from '#sip/server/limits.ts';
import { SipMessage } from '#sip/server/message.ts';
import { parseMessage } from '#sip/server/parse.ts';
import { createTransport } from '#sip/server/transport.ts';
import type { Transport } from '#sip/server/transport.ts';
import type { Flow } from '#sip/server/types.ts';

const HOST = '127.0.0.1';
const TEST = { timeout: 20_000 };

type Arrival = { readonly message: SipMessage; readonly flow: Flow };

type Listening = {
  readonly transport: Transport;
  readonly port: number;
  readonly next: () => Promise<Arrival>;
};

async function listen(
  t: TestContext,
  options: { hosts?: string[]; clock?: Clock } = {},
): Promise<Listening> {
  const { hosts = [HOST], clock = systemClock } = options;
  const transport = await createTransport({ hosts, port: 0, clock, log: silentLog });
  t.after(() => transport.close());
  const next = mailbox<Arrival>((put) => {
    transport.onMessage((message, flow) => put({ message, flow }));
  });
  return { transport, port: transport.listening[0]?.port ?? 0, next };
}

/** What a callback delivers, one at a time, however early it comes. */
function mailbox<T>(subscribe: (put: (item: T) => void) => void): () => Promise<T> {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  subscribe((item) => {
    const wanted = waiting.shift();
    if (wanted === undefined) items.push(item);
    else wanted(item);
  });
  return () => {
    const { promise, resolve } = Promise.withResolvers<T>();
    const item = items.shift();
    if (item === undefined) waiting.push(resolve);
    else resolve(item);
    return promise;
  };
}

async function udpPeer(t: TestContext, address = HOST): Promise<Datagrams> {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  t.after(() => void socket.close());
  return socket;
}

async function tcpPeer(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ host: HOST, port, noDelay: true });
  socket.on('error', () => undefined);
  t.after(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Text received so far, as soon as it satisfies `isEnough`. */
async function received(socket: Socket, isEnough: (text: string) => boolean): Promise<string> {
  let text = '';
  while (!isEnough(text)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text += chunk.toString();
  }
  return text;
}

function request(
  callId: string,
  via = 'SIP/2.0/UDP 192.0.2.1:9;rport;branch=z9hG4bK1',
): SipMessage {
  const message = SipMessage.request('OPTIONS', 'sip:b@127.0.0.1').add('Via', via);
  message.add('From', '<sip:a@192.0.2.1>;tag=1').add('To', '<sip:b@127.0.0.1>');
  return message.add('Call-ID', callId).add('CSeq', '1 OPTIONS');
}

function okTo({ message }: Arrival): Buffer {
  return SipMessage.responseTo(message, 200, 'OK').serialize();
}

test('UDP: a request arrives stamped, the answer leaves from where it came to', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  assert.deepEqual(transport.listening, [
    { protocol: 'udp', address: HOST, port },
    { protocol: 'tcp', address: HOST, port },
  ]);
  const peer = await udpPeer(t);
  peer.send(request('u1').serialize(), port, HOST);
  const arrival = await next();
  const peerPort = peer.address().port;
  assert.deepEqual(arrival.flow, {
    protocol: 'udp',
    localAddress: HOST,
    localPort: port,
    remoteAddress: HOST,
    remotePort: peerPort,
    connection: null,
  });
  const stamped = `SIP/2.0/UDP 192.0.2.1:9;rport=${peerPort};branch=z9hG4bK1;received=${HOST}`;
  assert.equal(arrival.message.get('Via'), stamped);
  const answer = once(peer, 'message');
  await transport.sendOn(arrival.flow, okTo(arrival));
  const [bytes, from] = (await answer) as [Buffer, AddressInfo];
  const parsed = parseMessage(bytes);
  assert.ok(parsed.ok && parsed.message.status === 200);
  assert.deepEqual([from.address, from.port], [HOST, port]);
});

test('each listening address answers for itself', TEST, async (t) => {
  if (process.platform !== 'linux') return t.skip('needs 127.0.0.2, which only Linux has unasked');
  const hosts = ['127.0.0.1', '127.0.0.2'];
  const { transport, port, next } = await listen(t, { hosts });
  assert.deepEqual(
    transport.listening.map(({ protocol, address, port: its }) => `${protocol}/${address}:${its}`),
    hosts.flatMap((host) => [`udp/${host}:${port}`, `tcp/${host}:${port}`]),
  );
  const peer = await udpPeer(t);
  for (const host of hosts) {
    peer.send(request('m1').serialize(), port, host);
    const arrival = await next();
    assert.equal(arrival.flow.localAddress, host);
    const answer = once(peer, 'message');
    await transport.sendOn(arrival.flow, okTo(arrival));
    const [, from] = (await answer) as [Buffer, AddressInfo];
    assert.equal(from.address, host);
    const found = await transport.localFor({ protocol: 'udp', address: host, port: 5060 });
    assert.deepEqual(found, { address: host, port });
  }
  return undefined;
});

test('0.0.0.0 opens both protocols on every IPv4 address at one port', TEST, async (t) => {
  const { transport, port } = await listen(t, { hosts: ['0.0.0.0'] });
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, address }) => family === 'IPv4' && !address.startsWith('169.254.'))
    .map(({ address }) => address);
  assert.ok(own.includes(HOST));
  assert.equal(transport.listening.length, new Set(own).size * 2);
  assert.ok(transport.listening.every((where) => where.port === port));
  for (const address of own) {
    const local = await transport.localFor({ protocol: 'udp', address, port: 5060 });
    assert.equal(local.address, address);
  }
});

test('IPv6, where it is configured', TEST, async (t) => {
  const hasV6 = Object.values(networkInterfaces()).some((list) =>
    list?.some(({ address }) => address === '::1'),
  );
  if (!hasV6) return t.skip('this machine has no ::1');
  const { transport, port, next } = await listen(t, { hosts: ['::1'] });
  for (const protocol of ['udp', 'tcp'] as const) {
    const via = `SIP/2.0/${protocol.toUpperCase()} [::1]:${port};branch=z9hG4bK6`;
    const target = { protocol, address: '::1', port };
    const flow = await transport.sendTo(target, request('v6', via).serialize());
    assert.equal(flow.localAddress, '::1');
    const arrival = await next();
    assert.equal(arrival.flow.remoteAddress, '::1');
    assert.equal(arrival.message.get('Via'), via);
  }
  return undefined;
});

test('a busy port names protocol, address and port, and leaves nothing open', TEST, async (t) => {
  const busyTcp = createServer();
  busyTcp.listen(0, HOST);
  await once(busyTcp, 'listening');
  t.after(() => void busyTcp.close());
  const { port } = busyTcp.address() as AddressInfo;
  const options = { hosts: [HOST], port, clock: systemClock, log: silentLog };
  await assert.rejects(createTransport(options), {
    code: 'E_PORT_IN_USE',
    message: new RegExp(`tcp/127\\.0\\.0\\.1:${port} `),
  });
  const free = createSocket('udp4');
  t.after(() => void free.close());
  free.bind(port, HOST);
  await once(free, 'listening');
  await assert.rejects(createTransport(options), {
    code: 'E_PORT_IN_USE',
    message: new RegExp(`udp/127\\.0\\.0\\.1:${port} `),
  });
  await assert.rejects(createTransport({ ...options, hosts: ['203.0.113.77'], port: 0 }), {
    code: 'E_CONFIG',
  });
});

test('UDP: malformed is answered, garbage and keep-alives are not', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  const peer = await udpPeer(t);
  const inbox = mailbox<Buffer>((put) => peer.on('message', (bytes) => put(bytes)));
  const send = (bytes: string | Buffer): void => peer.send(Buffer.from(bytes), port, HOST);
  send('\r\n\r\n');
  send('\0\0\0\0');
  send('');
  send('hello');
  send(request('bad').set('CSeq', 'x').serialize());
  const rejection = parseMessage(await inbox());
  assert.equal(rejection.message?.reason, 'Malformed CSeq');
  assert.equal(rejection.message?.status, 400);
  send(request('ack').serialize().toString().replace('OPTIONS', 'ACK'));
  send(request('big').add('X', 'x'.repeat(40_000)).serialize());
  const tooLarge = parseMessage(await inbox());
  assert.equal(tooLarge.message?.status, 513);
  send(request('good').serialize());
  assert.equal((await next()).message.callId, 'good');
  const { received: count, malformed, rejected, keepAlives } = transport.counters;
  assert.deepEqual(
    { count, malformed, rejected, keepAlives },
    { count: 5, malformed: 4, rejected: 2, keepAlives: 3 },
  );
});

test('a listener that throws costs one message, not the process', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  transport.onMessage((message) => {
    if (message.callId === 'f1') throw new Error('a fault of the layer above');
  });
  const peer = await udpPeer(t);
  for (const callId of ['f1', 'f2']) peer.send(request(callId).serialize(), port, HOST);
  assert.equal((await next()).message.callId, 'f1');
  assert.equal((await next()).message.callId, 'f2');
  assert.equal(transport.counters.failed, 1);
});

test('TCP: byte by byte, answered on the same connection, pings answered', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  const peer = await tcpPeer(t, port);
  const bytes = request('t1', 'SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1').serialize();
  const text = received(peer, (got) => got.endsWith('\r\n\r\n'));
  for (const byte of bytes) peer.write(Buffer.from([byte]));
  const arrival = await next();
  assert.equal(arrival.flow.protocol, 'tcp');
  assert.equal(arrival.flow.localPort, port);
  await transport.sendOn(arrival.flow, okTo(arrival));
  assert.match(await text, /^SIP\/2\.0 200 OK\r\n/);
  const pong = received(peer, (got) => got.length >= 2);
  peer.write('\r\n\r\n');
  assert.equal(await pong, '\r\n');
  // A target that is the other end of an accepted connection is reached through it.
  const target = { protocol: 'tcp', address: HOST, port: peer.localPort ?? 0 } as const;
  const flow = await transport.sendTo(target, request('t2').serialize());
  assert.equal(flow.connection, arrival.flow.connection);
});

test('TCP: the end of a connection is told, and nothing can be sent on it', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  const closed = mailbox<number>((put) => transport.onClosed(put));
  const peer = await tcpPeer(t, port);
  peer.write(request('t3').serialize());
  const arrival = await next();
  peer.destroy();
  assert.equal(await closed(), arrival.flow.connection);
  await assert.rejects(transport.sendOn(arrival.flow, okTo(arrival)), { code: 'E_SIP_ENGINE' });
  assert.equal(transport.counters.openConnections, 0);
});

test('TCP: what breaks the framing is answered, then the connection closes', TEST, async (t) => {
  const { port } = await listen(t);
  const peer = await tcpPeer(t, port);
  const text = received(peer, (got) => got.endsWith('\r\n\r\n'));
  const ended = once(peer, 'end');
  const raw = request('t4').serialize().toString();
  peer.write(raw.replace('Content-Length: 0', 'Content-Length: -1') + raw);
  assert.match(await text, /^SIP\/2\.0 400 Malformed Content-Length\r\n/);
  await ended;
});

async function tcpServer(t: TestContext): Promise<{ server: Server; port: number }> {
  const server = createServer();
  server.listen(0, HOST);
  await once(server, 'listening');
  t.after(() => void server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

test('TCP: our own connections are opened once and reused', TEST, async (t) => {
  const { transport, next } = await listen(t);
  const { server, port } = await tcpServer(t);
  const sockets: Socket[] = [];
  const accepted = mailbox<Socket>((put) => {
    server.on('connection', (socket) => {
      sockets.push(socket);
      put(socket);
    });
  });
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const target = { protocol: 'tcp', address: HOST, port } as const;
  const sends = ['o1', 'o2', 'o3'].map((callId) =>
    transport.sendTo(target, request(callId).serialize()),
  );
  const flows = await Promise.all(sends);
  assert.equal(new Set(flows.map((flow) => flow.connection)).size, 1);
  const socket = await accepted();
  const text = await received(socket, (got) => got.split('\r\n\r\n').length === 4);
  assert.deepEqual(text.match(/o\d/g), ['o1', 'o2', 'o3']);
  assert.equal(sockets.length, 1);
  socket.write(request('back').serialize());
  assert.equal((await next()).flow.connection, flows[0]?.connection);
  // After the peer closes, the next request opens a new one.
  const closed = mailbox<number>((put) => transport.onClosed(put));
  socket.destroy();
  await closed();
  const again = await transport.sendTo(target, request('o4').serialize());
  assert.notEqual(again.connection, flows[0]?.connection);
});

test('TCP: a refused and an unanswered connection', TEST, async (t) => {
  const clock = new SimulatedClock();
  const { transport } = await listen(t, { clock });
  const { server, port } = await tcpServer(t);
  const target = { protocol: 'tcp', address: HOST, port } as const;
  // The clock moves before the event loop can see the connection come up.
  const late = transport.sendTo(target, request('l1').serialize());
  while (clock.pending === 0) await Promise.resolve();
  clock.advance(CONNECT_TIMEOUT_MS);
  await assert.rejects(late, { code: 'E_SIP_ENGINE', message: /no answer within 5000 ms/ });
  server.close();
  await once(server, 'close');
  await assert.rejects(transport.sendTo(target, request('l2').serialize()), {
    code: 'E_SIP_ENGINE',
    message: /ECONNREFUSED/,
  });
  assert.equal(clock.pending, 0);
});

test('TCP: deadlines for the first message, for the rest of one, for silence', TEST, async (t) => {
  const clock = new SimulatedClock();
  const { transport, port, next } = await listen(t, { clock });
  const whole = request('d1').serialize();
  const rows: [string, Buffer[], number][] = [
    ['nothing said', [], MESSAGE_TIMEOUT_MS],
    ['half a message', [whole.subarray(0, 50)], MESSAGE_TIMEOUT_MS],
    ['one and a half', [whole, whole.subarray(0, 50)], MESSAGE_TIMEOUT_MS],
    ['silence after a message', [whole], IDLE_TIMEOUT_MS],
  ];
  for (const [name, writes, timeoutMs] of rows) {
    const peer = await tcpPeer(t, port);
    while (transport.counters.openConnections === 0) await new Promise(setImmediate);
    if (writes.length > 0) {
      const pong = received(peer, (got) => got === '\r\n');
      // The pong shows that all of it was read.
      peer.write(Buffer.concat([Buffer.from('\r\n\r\n'), ...writes]));
      await pong;
    }
    if (writes[0] === whole) await next();
    const ended = once(peer, 'end');
    clock.advance(timeoutMs - 1);
    const open = transport.counters.openConnections;
    clock.advance(1);
    assert.equal(open, 1, name);
    await ended;
    while (transport.counters.openConnections > 0) await new Promise(setImmediate);
    assert.equal(clock.pending, 0, name);
  }
});

test('TCP: a peer that does not read is cut off', TEST, async (t) => {
  const { transport, port, next } = await listen(t);
  const peer = await tcpPeer(t, port);
  peer.write(request('s1').serialize());
  const { flow } = await next();
  peer.pause();
  const chunk = Buffer.alloc(60_000, 'x');
  const flood = async (): Promise<void> => {
    for (let sent = 0; sent < 1_000; sent++) await transport.sendOn(flow, chunk);
  };
  await assert.rejects(flood(), { code: 'E_SIP_ENGINE', message: /does not read/ });
});

test('TCP: the cap for one address refuses the next and frees what is closed', TEST, async (t) => {
  const { transport, port } = await listen(t);
  const peers: Socket[] = [];
  for (let at = 0; at < MAX_CONNECTIONS_PER_ADDRESS; at++) peers.push(await tcpPeer(t, port));
  const extra = await tcpPeer(t, port);
  await once(extra, 'close');
  assert.equal(transport.counters.refusedConnections, 1);
  assert.equal(transport.counters.openConnections, MAX_CONNECTIONS_PER_ADDRESS);
  const closed = mailbox<number>((put) => transport.onClosed(put));
  peers[0]?.destroy();
  await closed();
  const again = await tcpPeer(t, port);
  const pong = received(again, (got) => got === '\r\n');
  again.write('\r\n\r\n');
  assert.equal(await pong, '\r\n');
});

test('what cannot be sent is an error, and close gives everything back', TEST, async (t) => {
  const clock = new SimulatedClock();
  const { transport, port, next } = await listen(t, { clock });
  const udp = { protocol: 'udp', address: HOST, port } as const;
  const rows: [Promise<unknown>, RegExp][] = [
    [transport.sendTo(udp, Buffer.alloc(65_536)), /cannot send 65536 bytes/],
    [transport.sendTo({ ...udp, port: 0 }, Buffer.alloc(1)), /not an address/],
    [transport.sendTo({ ...udp, address: 'localhost' }, Buffer.alloc(1)), /no listening address/],
    [transport.sendTo({ ...udp, address: '::1' }, Buffer.alloc(1)), /no listening address/],
  ];
  for (const [sent, message] of rows) await assert.rejects(sent, { code: 'E_SIP_ENGINE', message });
  const peer = await tcpPeer(t, port);
  peer.write(request('c1').serialize());
  const { flow } = await next();
  await Promise.all([transport.close(), transport.close()]);
  await transport.close();
  assert.deepEqual(transport.listening, []);
  assert.equal(clock.pending, 0);
  await assert.rejects(transport.sendOn(flow, Buffer.alloc(1)), { code: 'E_SIP_ENGINE' });
  await assert.rejects(transport.sendTo(udp, Buffer.alloc(1)), { code: 'E_SIP_ENGINE' });
  await assert.rejects(transport.sendTo({ ...udp, protocol: 'tcp' }, Buffer.alloc(1)), {
    code: 'E_SIP_ENGINE',
  });
  const rebound = await createTransport({ hosts: [HOST], port, clock, log: silentLog });
  await rebound.close();
});
