/** Upgrades that are made to hurt: pipelined, broken off, malformed. The server goes on, and nothing is left behind. */
import assert from 'node:assert/strict';
import { on } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { OTHER_ACCOUNT, ACCOUNT } from '../unit/_api-fakes.ts';
import { startSocketServer, WEB, type SocketServer } from './_socket-server.ts';
import { openSocket, trySocket } from './_ws-client.ts';

const CALL = `/ws/call/${WEB}`;

function upgradeTo(path: string, lines: readonly string[]): string {
  const head = [
    `GET ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ];
  return `${[...head, ...lines].join('\r\n')}\r\n\r\n`;
}

function dial(t: TestContext, { url }: SocketServer): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/** All that comes until the server ends the connection. */
async function answerOf(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => (text += String(chunk)));
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('close', () => resolve());
  const late = setTimeout(() => resolve(), 5_000);
  await promise;
  clearTimeout(late);
  return socket.destroyed ? text : `still open: ${text}`;
}

test('an upgrade behind a request that is still in work is an ordinary request', async (t) => {
  const server = await startSocketServer(t);
  const authorization = `Authorization: ${server.auth.headers['authorization']}`;
  const plain = `GET /v1/phone/calls/${WEB} HTTP/1.1\r\nHost: 127.0.0.1\r\n${authorization}\r\n`;
  const socket = dial(t, server);
  const last = `${plain}Connection: close\r\n\r\n`;
  socket.write(`${plain}\r\n${upgradeTo(CALL, [authorization])}`);
  const answered = answerOf(socket);
  let answers = 0;
  for await (const chunk of on(socket, 'data')) {
    answers += String(chunk).split('HTTP/1.1 ').length - 1;
    if (answers === 2) break;
  }
  socket.write(last);
  const text = await answered;
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '426', '200']);
  const { client } = await server.join(t);
  await client.settle();
  assert.equal(server.api.sockets.size, 1);
});

test('a client that breaks off while it is being let in holds no place', async (t) => {
  const server = await startSocketServer(t, { limits: { maxInFlight: 1 } });
  const authorization = `Authorization: ${server.auth.headers['authorization']}`;
  for (let round = 0; round < 5; round++) {
    const socket = dial(t, server);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(upgradeTo(`${CALL}?role=listen`, [authorization]));
    if (round % 2 === 0) socket.resetAndDestroy();
    else socket.destroy();
  }
  for (let turn = 0; ; turn++) {
    const { status } = await fetch(`${server.url}/api/call/${WEB}`, server.auth);
    if (status === 200) break;
    assert.equal(status, 503);
    assert.ok(turn < 200, 'a place is held for ever');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  while (server.api.sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('a list of subprotocols that is none is refused in the envelope, and the connection ends', async (t) => {
  const server = await startSocketServer(t, { limits: { maxInFlight: 1 } });
  const authorization = `Authorization: ${server.auth.headers['authorization']}`;
  for (const list of ['callyard.v1,,x', 'callyard.v1, callyard.v1', 'a b', 'callyard.v1,']) {
    const socket = dial(t, server);
    socket.write(upgradeTo(CALL, [authorization, `Sec-WebSocket-Protocol: ${list}`]));
    const text = await answerOf(socket);
    assert.match(text, /^HTTP\/1\.1 400 .*"code":"VALIDATION_FAILED"/s, list);
  }
  const { client } = await server.join(t);
  await client.settle();
});

test('X-Account-Id must match the account of a ticket', async (t) => {
  const server = await startSocketServer(t);
  const grant = {
    caller: { accountId: ACCOUNT, role: 'owner', actor: 'user:x', agentIds: null },
    ...{ expiresAtMs: null, recheck: async () => true, recheckMs: 30_000, callId: null },
  } as const;
  const enter = (accountId: string) => {
    const { ticket } = server.api.sockets.tickets.issue({
      ...{ path: CALL, role: 'caller', grant, callId: null },
    });
    const headers = { 'x-account-id': accountId };
    return trySocket(t, `${server.url}${CALL}?ticket=${ticket}`, { headers });
  };
  const foreign = await enter(OTHER_ACCOUNT);
  assert.deepEqual('code' in foreign ? foreign.code : null, 'ACCOUNT_FORBIDDEN');
  const none = await enter('nobody');
  assert.deepEqual('code' in none ? none.code : null, 'VALIDATION_FAILED');
  assert.ok('frames' in (await enter(ACCOUNT.toUpperCase())));
});

test('a ticket is good for one of many that come at the same time', async (t) => {
  const server = await startSocketServer(t);
  const made = await fetch(`${server.url}/api/call/initiate`, {
    method: 'POST',
    headers: { ...server.auth.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ phone_number: '+15550100', media: 'websocket' }),
  });
  const { data } = (await made.json()) as { data: { ws_url: string; ticket: string } };
  const url = `${data.ws_url}?ticket=${data.ticket}`;
  const tried = await Promise.all(Array.from({ length: 10 }, () => trySocket(t, url)));
  const codes = tried.map((each) => ('code' in each ? each.code : 'in'));
  assert.deepEqual(
    codes.filter((code) => code !== 'UNAUTHENTICATED'),
    ['in'],
  );
});

test('a client that asks and never reads is let go, whatever it asks with', async (t) => {
  const server = await startSocketServer(t);
  const frame = Buffer.alloc(6 + 125);
  frame.set([0x89, 0x80 | 125]); // a ping, masked with zeros
  const authorization = `Authorization: ${server.auth.headers['authorization']}`;
  const socket = dial(t, server);
  socket.write(upgradeTo(CALL, [authorization]));
  await new Promise((resolve) => socket.once('data', resolve));
  socket.pause();
  const flood = Buffer.concat(Array.from({ length: 1_000 }, () => frame));
  let isClosed = false;
  socket.on('close', () => (isClosed = true));
  const [call] = server.fakes.sockets.attachments;
  for (let round = 0; round < 500 && call?.isDetached === false && !isClosed; round++) {
    await new Promise((resolve) => socket.write(flood, resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(call?.isDetached, true, 'pongs pile up in the server');
});

test('the sockets are closed once, however often they are told to', async (t) => {
  const server = await startSocketServer(t);
  const { client } = await server.join(t);
  const { sockets } = server.api;
  await Promise.all([sockets.close(), sockets.close(), client.closed]);
  await sockets.close();
  assert.equal((await client.closed).code, 1001);
});

test('a socket that cannot be set up leaves its place on the call to others', async (t) => {
  const server = await startSocketServer(t);
  const { ports, attachments } = server.fakes.sockets;
  const open = ports.resampling.open.bind(ports.resampling);
  const broken = {
    open: (): never => {
      throw new Error('no memory for a converter');
    },
  };
  for (const path of [CALL, '/v1/voice/ws']) {
    Object.assign(ports.resampling, broken);
    const lost = await openSocket(t, server.url + path, server.auth);
    if (path !== CALL) lost.send({ type: 'start', call_id: WEB });
    assert.equal((await lost.closed).code, 1011, path);
    assert.equal(attachments.at(-1)?.isDetached, true, path);
    Object.assign(ports.resampling, { open });
    const { client } = await server.join(t);
    client.socket.close();
    await client.closed;
    while (attachments.at(-1)?.isDetached !== true)
      await new Promise((next) => setTimeout(next, 2));
  }
});
