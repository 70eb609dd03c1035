/** Every socket's limits (contract 1.2, 2.5): who gets in, and each close code, with a real client. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { createSecretKey } from 'node:crypto';
import { SignJWT } from 'jose';
import { Problem } from '#api/problem.ts';
import { ACCOUNT, AGENT, LIVE, MISSING, OTHER_ACCOUNT, OTHER_AGENT } from '../unit/_api-fakes.ts';
import { startSocketServer, WEB, type SocketServer } from './_socket-server.ts';
import { openSocket, trySocket, type Client, type Refusal } from './_ws-client.ts';

const CALL = `/ws/call/${WEB}`;

/** Lets the event loop turn until `ready`. */
async function until(ready: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2_000 && !ready(); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(ready());
}

function refused(result: Client | Refusal): [number, string | null] {
  assert.ok('status' in result, 'the socket was opened');
  return [result.status, result.code];
}

test('the key in the header, beside the protocol, or a ticket opens; nothing else does', async (t) => {
  const { url, fakes, api } = await startSocketServer(t);
  const key = fakes.addKey();
  const bearer = { authorization: `Bearer ${key}` };
  const byHeader = await openSocket(t, url + CALL, { headers: bearer });
  assert.equal(byHeader.socket.protocol, '');
  byHeader.socket.close();
  await byHeader.closed;
  const protocols = ['callyard.v1', `bearer.${key}`];
  const byProtocol = await openSocket(t, url + CALL, { protocols });
  assert.equal(byProtocol.socket.protocol, 'callyard.v1');
  byProtocol.socket.close();
  await byProtocol.closed;
  const wrongKey = `cy_nobody00_${'x'.repeat(43)}`;
  const viewer = fakes.addKey({ role: 'viewer' });
  const elsewhere = fakes.addKey({ ipAllow: ['192.0.2.0/24'] });
  const rows: [string, Parameters<typeof trySocket>[2], string, number, string][] = [
    ['nothing', {}, '', 401, 'UNAUTHENTICATED'],
    [
      'a wrong key',
      { protocols: ['callyard.v1', `bearer.${wrongKey}`] },
      '',
      401,
      'UNAUTHENTICATED',
    ],
    ['bearer alone', { protocols: [`bearer.${key}`] }, '', 401, 'UNAUTHENTICATED'],
    ['a token as ?token', {}, `?token=${key}`, 401, 'UNAUTHENTICATED'],
    ['a token as ?access_token', {}, `?access_token=${key}`, 401, 'UNAUTHENTICATED'],
    ['a token as ?ticket', {}, `?ticket=${key}`, 401, 'UNAUTHENTICATED'],
    ['an unknown ticket', {}, `?ticket=tk_${'a'.repeat(43)}`, 401, 'UNAUTHENTICATED'],
    ['a token in both', { headers: bearer }, `?token=${key}`, 400, 'VALIDATION_FAILED'],
    ['two proofs', { headers: bearer, protocols }, '', 400, 'VALIDATION_FAILED'],
    ['a viewer', { headers: { authorization: `Bearer ${viewer}` } }, '', 403, 'FORBIDDEN'],
    [
      'from elsewhere',
      { headers: { authorization: `Bearer ${elsewhere}` } },
      '',
      403,
      'IP_NOT_ALLOWED',
    ],
    [
      'another account',
      { headers: { ...bearer, 'x-account-id': OTHER_ACCOUNT } },
      '',
      403,
      'ACCOUNT_FORBIDDEN',
    ],
    ['an unknown role', { headers: bearer }, '?role=boss', 400, 'VALIDATION_FAILED'],
  ];
  for (const [name, wish, query, status, code] of rows) {
    assert.deepEqual(refused(await trySocket(t, url + CALL + query, wish)), [status, code], name);
  }
  const path = await trySocket(t, `${url}/ws/call/1`, { headers: bearer });
  assert.deepEqual(refused(path), [400, 'VALIDATION_FAILED'], 'an id that is none');
  assert.equal(api.sockets.size, 0);
});

test('a plain GET is 426 and spends no ticket; an upgrade elsewhere is an ordinary request', async (t) => {
  const { url, auth, api } = await startSocketServer(t);
  const made = await fetch(`${url}/api/call/initiate`, {
    method: 'POST',
    headers: { ...auth.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ phone_number: '+15550100', media: 'websocket' }),
  });
  const { data } = (await made.json()) as { data: { ws_url: string; ticket: string } };
  assert.match(data.ws_url, /^ws:\/\/127\.0\.0\.1:\d+\/ws\/call\/[0-9a-f-]{36}$/);
  const plain = `${data.ws_url.replace(/^ws/, 'http')}`;
  for (const answer of [
    await fetch(plain, auth),
    await fetch(`${plain}?ticket=${data.ticket}`),
    await fetch(`${url}/v1/voice/ws`, auth),
  ]) {
    const body = (await answer.json()) as { error: { code: string } };
    assert.deepEqual([answer.status, body.error.code], [426, 'UPGRADE_REQUIRED']);
    assert.equal(answer.headers.get('upgrade'), 'websocket');
  }
  const opened = await openSocket(t, `${data.ws_url}?ticket=${data.ticket}`);
  assert.equal((await opened.frame('ready'))['call_id'], data.ws_url.split('/').at(-1));
  const again = await trySocket(t, `${data.ws_url}?ticket=${data.ticket}`);
  assert.deepEqual(refused(again), [401, 'UNAUTHENTICATED'], 'a ticket is good once');
  assert.deepEqual(refused(await trySocket(t, `${url}/api/call/${LIVE}`)), [
    401,
    'UNAUTHENTICATED',
  ]);
  assert.deepEqual(refused(await trySocket(t, `${url}/nowhere`)), [404, 'ROUTE_NOT_FOUND']);
  const ordinary = await trySocket(t, `${url}/api/call/${LIVE}`, auth);
  assert.equal((ordinary as Refusal).status, 200);
  assert.equal(api.sockets.size, 1);
});

test('a ticket is for its path, its role and 60 s, and falls with the key that it was made with', async (t) => {
  const { url, fakes, clock } = await startSocketServer(t);
  const make = async (key: string): Promise<{ path: string; ticket: string; expires: number }> => {
    const made = await fetch(`${url}/api/call/initiate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ phone_number: '+15550100', media: 'websocket' }),
    });
    const { data } = (await made.json()) as {
      data: { call_id: string; ticket: string; expires_at: number };
    };
    return { path: `/ws/call/${data.call_id}`, ticket: data.ticket, expires: data.expires_at };
  };
  const key = fakes.addKey();
  const enter = async (path: string, ticket: string): Promise<Client | Refusal> =>
    trySocket(t, `${url}${path}${path.includes('?') ? '&' : '?'}ticket=${ticket}`);
  const first = await make(key);
  assert.equal(first.expires, Math.floor(clock.wallMs() / 1000) + 60);
  assert.deepEqual(refused(await enter(CALL, first.ticket)), [401, 'UNAUTHENTICATED'], 'path');
  const second = await make(key);
  const listening = await enter(`${second.path}?role=listen`, second.ticket);
  assert.deepEqual(refused(listening), [401, 'UNAUTHENTICATED'], 'role');
  assert.equal(
    'status' in (await enter(second.path, second.ticket)),
    true,
    'a tried ticket is spent',
  );
  const third = await make(key);
  clock.advance(60_000);
  assert.deepEqual(refused(await enter(third.path, third.ticket)), [401, 'TOKEN_EXPIRED'], 'time');
  const fourth = await make(key);
  clock.advance(59_999);
  const inTime = await enter(fourth.path, fourth.ticket);
  assert.equal('status' in inTime, false, 'just in time');
  const fifth = await make(key);
  for (const [prefix, stored] of fakes.keys) {
    fakes.keys.set(prefix, { ...stored, revokedAtMs: clock.wallMs() - 1 });
  }
  clock.advance(3_001);
  assert.deepEqual(refused(await enter(fifth.path, fifth.ticket)), [401, 'UNAUTHENTICATED'], 'key');
});

test('pages: those of the configured origins and of this host', async (t) => {
  const { url, auth } = await startSocketServer(t, { corsOrigins: ['https://desk.example.net'] });
  const { host } = new URL(url);
  const rows: [string, boolean][] = [
    ['https://desk.example.net', true],
    [`http://${host}`, true],
    [`https://${host}`, true],
    ['http://127.0.0.1', false],
    ['https://desk.example.net.evil.example', false],
    ['http://evil.example', false],
    ['null', false],
  ];
  for (const [origin, isAllowed] of rows) {
    const headers = { ...auth.headers, origin };
    const result = await trySocket(t, `${url}/ws/call/${MISSING}`, { headers });
    if (isAllowed) assert.equal((await (result as Client).closed).code, 4404, origin);
    else assert.deepEqual(refused(result), [403, 'FORBIDDEN'], origin);
  }
});

test('4404: no such call, alike for a missing, a foreign, another agent’s and an ended one', async (t) => {
  const { url, fakes, auth } = await startSocketServer(t);
  const foreign = { authorization: `Bearer ${fakes.addKey({ accountId: OTHER_ACCOUNT })}` };
  const bound = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  const own = { authorization: `Bearer ${fakes.addKey({ agentIds: [AGENT] })}` };
  const tell = async (headers: Record<string, string>, path: string) => {
    const client = await openSocket(t, url + path, { headers });
    return { ...(await client.closed), told: client.order };
  };
  const expected = { code: 4404, reason: 'NOT_FOUND', told: [] };
  for (const query of ['', '?role=listen']) {
    assert.deepEqual(await tell(auth.headers, `/ws/call/${MISSING}${query}`), expected);
    assert.deepEqual(await tell(foreign, CALL + query), expected);
    assert.deepEqual(await tell(bound, CALL + query), expected);
  }
  assert.deepEqual(fakes.sockets.listened, [], 'nobody was heard');
  const mine = await openSocket(t, url + CALL, { headers: own });
  await mine.frame('ready');
  fakes.sockets.refusals.set(LIVE, 'OVER');
  assert.deepEqual(await tell(auth.headers, `/ws/call/${LIVE}?role=listen`), expected);
});

test('4409: a caller on a phone call, and a second one on a web call', async (t) => {
  const { url, auth, join } = await startSocketServer(t);
  const phone = await openSocket(t, `${url}/ws/call/${LIVE}`, auth);
  assert.deepEqual(await phone.closed, { code: 4409, reason: 'WRONG_ROLE' });
  const { client, call } = await join(t);
  const second = await openSocket(t, url + CALL, auth);
  assert.deepEqual(await second.closed, { code: 4409, reason: 'TAKEN' });
  await client.settle();
  assert.equal(call.isDetached, false, 'the first one is not disturbed');
});

test('1008: ten frames that are no JSON or of no known type; each before is told', async (t) => {
  const { join } = await startSocketServer(t);
  const { client, call } = await join(t);
  const bad = [
    'x',
    '[]',
    '{"type":1}',
    '{}',
    '{"type":"nonsense"}',
    '{"type":"ping","type":"ping"}',
    '""',
    `${'['.repeat(40)}`,
    '{"type":"__proto__"}',
    '{"type":"toString"}',
  ];
  for (const text of bad) client.send(text);
  assert.deepEqual(await client.closed, { code: 1008, reason: 'BAD_FRAME' });
  const told = client.frames.filter((frame) => frame.type === 'error');
  assert.equal(told.length, 9);
  for (const { code, fatal } of told) assert.deepEqual([code, fatal], ['BAD_FRAME', false]);
  await until(() => call.isDetached);
  assert.deepEqual(call.done, [['detach']], 'the call is only left');
});

test('1009: a frame above 64 KiB, of either kind; one of 64 KiB is read', async (t) => {
  const { join } = await startSocketServer(t);
  for (const frame of [Buffer.alloc(65_537), 'x'.repeat(65_537)]) {
    const { client, call } = await join(t);
    client.send('y'.repeat(65_536));
    client.send(Buffer.alloc(65_536));
    await client.frame('error', 2);
    client.send(frame);
    assert.equal((await client.closed).code, 1009);
    await until(() => call.isDetached);
  }
});

test('1003: audio where none belongs', async (t) => {
  const { url, auth } = await startSocketServer(t);
  const voice = await openSocket(t, `${url}/v1/voice/ws`, auth);
  voice.send(Buffer.alloc(320));
  assert.equal((await voice.closed).code, 1003);
});

test('4408: 15 s without a frame; audio, any JSON frame and a ping of the protocol count', async (t) => {
  const { clock, join } = await startSocketServer(t);
  const { client, call } = await join(t);
  let probes = 0;
  let pongs = 0;
  client.socket.on('ping', () => probes++).on('pong', () => pongs++);
  // An answered probe shows that the client reads, not that it has anything to say.
  const passProbe = async (): Promise<void> => {
    const before = probes;
    clock.advance(5_000);
    await until(() => probes > before);
    // The answer has still to reach the server; nothing on this side tells when it has.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const signs: [() => void, () => boolean][] = [
    [() => client.send({ type: 'ping' }), () => client.order.includes('pong')],
    [() => client.send(Buffer.alloc(320)), () => call.heard.length > 0],
    [() => client.socket.ping(), () => pongs > 0],
    [() => client.send('no JSON'), () => client.order.includes('error')],
  ];
  for (const [sign, isHeard] of signs) {
    await passProbe();
    await passProbe();
    clock.advance(4_900);
    sign();
    await until(isHeard);
  }
  await passProbe();
  await passProbe();
  clock.advance(5_000);
  assert.deepEqual(await client.closed, { code: 4408, reason: 'silent for 15 s' });
  await until(() => call.isDetached);
});

test('4401: at the end of a token, and within 5 s of a revocation; not for what a ticket opened', async (t) => {
  const secret = Buffer.from('a secret of at least thirty-two bytes');
  const { url, fakes, clock } = await startSocketServer(t, {
    jwt: { key: { kind: 'secret', secret }, issuer: null, audience: null },
  });
  const user = ACCOUNT;
  fakes.roles.set(`${user} ${ACCOUNT}`, 'owner');
  const nowS = Math.floor(clock.wallMs() / 1000);
  const jwt = await new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setExpirationTime(nowS + 10)
    .sign(createSecretKey(secret));
  const headers = { authorization: `Bearer ${jwt}` };
  const person = await openSocket(t, url + CALL, { headers });
  await person.frame('ready');
  const ticketed = await ticketFor(t, { url }, headers);
  for (let second = 0; second < 39; second++) {
    clock.advance(1_000);
    if (second % 5 === 0) await Promise.all([person.settle(), ticketed.settle()]);
  }
  await person.settle();
  clock.advance(1_001);
  assert.deepEqual(await person.closed, { code: 4401, reason: 'TOKEN_EXPIRED' });
  await ticketed.settle();

  const key = fakes.addKey();
  const program = await openSocket(t, url + CALL, { headers: { authorization: `Bearer ${key}` } });
  await program.frame('ready');
  const [prefix = ''] = /(?<=^cy_)\w{8}/.exec(key) ?? [];
  const stored = fakes.keys.get(prefix);
  assert.ok(stored);
  fakes.keys.set(prefix, { ...stored, revokedAtMs: clock.wallMs() });
  for (let step = 0; step < 10; step++) {
    clock.advance(500);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(await program.closed, { code: 4401, reason: 'KEY_REVOKED' });
});

async function ticketFor(
  t: Parameters<typeof openSocket>[0],
  { url }: Pick<SocketServer, 'url'>,
  headers: Record<string, string>,
): Promise<Client> {
  const made = await fetch(`${url}/api/call/initiate`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ phone_number: '+15550100', media: 'websocket' }),
  });
  const { data } = (await made.json()) as { data: { ws_url: string; ticket: string } };
  const client = await openSocket(t, `${data.ws_url}?ticket=${data.ticket}`);
  await client.frame('ready');
  return client;
}

test('4429: too many sockets of an account, of the node', async (t) => {
  const { url, auth, fakes, api } = await startSocketServer(t, {
    limits: { maxSockets: 3, maxAccountSockets: 2 },
  });
  const open = async (headers: Record<string, string>) =>
    openSocket(t, `${url}/v1/voice/ws`, { headers });
  const other = { authorization: `Bearer ${fakes.addKey({ accountId: OTHER_ACCOUNT })}` };
  const first = await open(auth.headers);
  await open(auth.headers);
  assert.equal((await (await open(auth.headers)).closed).code, 4429, 'of the account');
  await open(other);
  assert.equal((await (await open(other)).closed).code, 4429, 'of the node');
  first.socket.close();
  await first.closed;
  await until(() => api.sockets.size === 2);
  await (await open(auth.headers)).settle();
});

test('1011: our fault closes the socket and leaves the call', async (t) => {
  const { join } = await startSocketServer(t);
  const { client, call } = await join(t);
  call.fault = new Error('broken');
  client.send({ type: 'text', text: 'hello' });
  assert.deepEqual(await client.closed, { code: 1011, reason: 'INTERNAL' });
  await until(() => call.isDetached);
  assert.deepEqual(call.done, [['detach']]);
});

test('1001: a server that closes tells every socket, refuses new ones, and waits 2 s for the deaf', async (t) => {
  const { api, url, auth, clock, join } = await startSocketServer(t);
  const { client, call } = await join(t);
  const deaf = await openSocket(t, `${url}/v1/voice/ws`, auth);
  deaf.socket.pause();
  const refusedLate = api.sockets.close().then(() => 'closed');
  assert.deepEqual(await client.closed, { code: 1001, reason: 'DRAINING' });
  assert.equal(call.isDetached, true);
  assert.deepEqual(refused(await trySocket(t, url + CALL, auth)), [503, 'DRAINING']);
  assert.equal(api.sockets.size, 1);
  clock.advance(2_000);
  assert.equal(await refusedLate, 'closed');
  await api.close();
  assert.equal(api.sockets.size, 0);
  assert.equal(clock.pending, 0, 'no timer is left');
});

test('a client that does not read is closed with 4408, and the call goes on', async (t) => {
  const { clock, join } = await startSocketServer(t);
  const { client, call } = await join(t);
  const deaf = client.socket as unknown as { _socket: { pause(): void } };
  deaf._socket.pause();
  // It speaks all the time: only reading is what it does not do.
  for (let second = 0; second < 16 && !call.isDetached; second++) {
    client.send(Buffer.alloc(320));
    await until(() => call.heard.length >= 160 * (second + 1) || call.isDetached);
    clock.advance(1_000);
  }
  assert.deepEqual(call.done, [['detach']], 'left, not hung up');
});

test('bad handshakes are refused in the envelope', async (t) => {
  const { url, auth } = await startSocketServer(t);
  const { port } = new URL(url);
  const base = [
    `GET ${CALL} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: ${auth.headers['authorization']}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
  ];
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
  const rows: [string[], RegExp][] = [
    [[key], /^HTTP\/1\.1 426 .*sec-websocket-version: 13\r\n.*UPGRADE_REQUIRED/is],
    [[key, 'Sec-WebSocket-Version: 12'], /^HTTP\/1\.1 426 .*UPGRADE_REQUIRED/s],
    [['Sec-WebSocket-Version: 13'], /^HTTP\/1\.1 426 .*UPGRADE_REQUIRED/s],
    [['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: short'], /^HTTP\/1\.1 426 /s],
    [[key, 'Sec-WebSocket-Version: 13'], /^HTTP\/1\.1 101 /],
  ];
  for (const [lines, expected] of rows) {
    const socket = connect(Number(port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.write(`${[...base, ...lines].join('\r\n')}\r\n\r\n`);
    let text = '';
    for await (const chunk of socket) {
      text += String(chunk);
      if (expected.test(text)) break;
    }
    assert.match(text, expected);
  }
  assert.equal(new Problem('UPGRADE_REQUIRED').status, 426);
});
