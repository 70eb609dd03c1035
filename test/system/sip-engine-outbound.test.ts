/** The embedded engine under an unchanged drachtio-srf: calls and registrations that go out; the control port itself. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { createEngine } from '#sip/server/engine.ts';
import type { Engine } from '#sip/server/engine.ts';
import { startEngineWorker } from '#sip/server/engine-host.ts';
import { connectSrf as connectLink } from '#sip/srf.ts';
import { DEFAULT_TIMERS } from '#sip/server/timers.ts';
import { connectSrf, heard } from './_srf.ts';
import type { SrfDialog, SrfInstance, SrfRequest, SrfResponse } from './_srf.ts';
import { SDP, SipPeer, header } from './_sip-peer.ts';
import type { PeerMessage } from './_sip-peer.ts';

const SECRET = 'system-test';
const TIMERS = { ...DEFAULT_TIMERS, t1Ms: 25, t2Ms: 200, t4Ms: 50 };
const CHALLENGE = 'Digest realm="test", nonce="abc", algorithm=MD5, qop="auth"';

let engine: Engine;
let srf: SrfInstance;
let peer: SipPeer;
let target: string;

before(async () => {
  engine = await createEngine({
    hosts: ['127.0.0.1'],
    port: 0,
    secret: SECRET,
    log: silentLog,
    timers: TIMERS,
  });
  const port = Number(engine.listening[0]?.split(':')[1]);
  peer = await SipPeer.open({ address: '127.0.0.1', port });
  target = `sip:callee@127.0.0.1:${peer.port}`;
  srf = await connectSrf(engine.controlPort, SECRET);
});

after(async () => {
  srf.disconnect();
  peer.close();
  await engine.close();
});

/** Polls for at most 8 s. */
async function settleTo(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 8000; !isSo();) {
    assert.ok(Date.now() < deadline, JSON.stringify(engine.census()));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function next(method: string): Promise<PeerMessage> {
  return peer.next(method, (message) => message.method === method);
}

test('an outbound call with 407: same Call-ID and From, next CSeq, then 200, ACK, BYE', async () => {
  const statuses: number[] = [];
  const calling = srf.createUAC(
    target,
    { localSdp: SDP(41_000), callingNumber: 'bot', auth: { username: 'bot', password: 'made-up' } },
    { cbProvisional: (response) => void statuses.push(response.status) },
  );
  const first = await next('INVITE');
  peer.respond(first, '407 Proxy Authentication Required', {
    toTag: 'a',
    extra: [`Proxy-Authenticate: ${CHALLENGE}`],
  });
  assert.equal(header(await next('ACK'), 'cseq'), '1 ACK');
  const second = await next('INVITE');
  assert.match(header(second, 'proxy-authorization'), /username="bot"/);
  assert.equal(header(second, 'call-id'), header(first, 'call-id'));
  assert.equal(header(second, 'from'), header(first, 'from'));
  assert.equal(header(second, 'cseq'), '2 INVITE');
  assert.match(header(second, 'contact'), /bot@127\.0\.0\.1:\d+/);
  assert.equal(second.body, SDP(41_000));
  peer.respond(second, '100 Trying');
  peer.respond(second, '180 Ringing', { toTag: 'b' });
  peer.respond(second, '200 OK', { toTag: 'b', body: SDP(42_000) });
  const dialog = await calling;
  const ack = await next('ACK');
  assert.equal(header(ack, 'cseq'), '2 ACK');
  assert.match(ack.startLine, new RegExp(`^ACK sip:peer@127.0.0.1:${peer.port} `));
  assert.deepEqual(statuses, [100, 180]);
  assert.equal(dialog.remote.sdp, SDP(42_000));

  // The 200 again, as if the ACK was lost.
  peer.respond(second, '200 OK', { toTag: 'b', body: SDP(42_000) });
  assert.equal(header(await next('ACK'), 'cseq'), '2 ACK');

  const gone = dialog.destroy();
  const bye = await next('BYE');
  assert.equal(header(bye, 'cseq'), '3 BYE');
  peer.respond(bye, '200 OK');
  await gone;
});

test('a refused call, and one that nobody answers', async () => {
  const refused = srf.createUAC(target, { localSdp: SDP() });
  peer.respond(await next('INVITE'), '486 Busy Here', { toTag: 'x' });
  await assert.rejects(refused, { status: 486 });
  await next('ACK');
  const silent = srf.createUAC(target, { localSdp: SDP() });
  await assert.rejects(silent, { status: 408 });
  assert.ok(peer.unread.length >= 6, 'timer A repeated the INVITE');
  while (peer.unread.length > 0) await next('INVITE');
});

test('CANCEL of an outbound call: held until it rings, then 487', async () => {
  const sent = Promise.withResolvers<SrfRequest>();
  const calling = srf.createUAC(
    target,
    { localSdp: SDP() },
    { cbRequest: (_error, request) => sent.resolve(request) },
  );
  const outcome = assert.rejects(calling, { status: 487 });
  (await sent.promise).cancel();
  const invite = await next('INVITE');
  peer.respond(invite, '180 Ringing', { toTag: 'x' });
  const cancel = await next('CANCEL');
  assert.equal(header(cancel, 'via'), header(invite, 'via'));
  peer.respond(cancel, '200 OK');
  peer.respond(invite, '487 Request Terminated', { toTag: 'x' });
  await outcome;
  await next('ACK');
});

test('a 200 that crosses our CANCEL: ACK, then BYE, and the application is told', async () => {
  const sent = Promise.withResolvers<SrfRequest>();
  const calling = srf.createUAC(
    target,
    { localSdp: SDP() },
    { cbRequest: (_error, request) => sent.resolve(request) },
  );
  const invite = await next('INVITE');
  peer.respond(invite, '180 Ringing', { toTag: 'x' });
  (await sent.promise).cancel();
  await next('CANCEL');
  peer.respond(invite, '200 OK', { toTag: 'x', body: SDP() });
  const dialog = await calling;
  const destroyed = heard(dialog, 'destroy');
  await next('ACK');
  peer.respond(await next('BYE'), '200 OK');
  await destroyed;
});

test('REGISTER with 401, and OPTIONS', async () => {
  const answered = Promise.withResolvers<number>();
  const options = {
    method: 'REGISTER',
    headers: { Contact: '<sip:bot@localhost>', From: '<sip:bot@localhost>', Expires: '60' },
    auth: { username: 'bot', password: 'made-up' },
  };
  srf.request(target, options, (error, request) => {
    if (error !== null) answered.reject(error);
    else request.on('response', (response: SrfResponse) => answered.resolve(response.status));
  });
  const first = await next('REGISTER');
  assert.match(header(first, 'contact'), /^<sip:bot@127\.0\.0\.1:\d+>$/);
  peer.respond(first, '401 Unauthorized', {
    toTag: 'r',
    extra: [`WWW-Authenticate: ${CHALLENGE}`],
  });
  const second = await next('REGISTER');
  assert.match(header(second, 'authorization'), /response="[0-9a-f]{32}"/);
  assert.equal(header(second, 'call-id'), header(first, 'call-id'));
  peer.respond(second, '200 OK', { toTag: 'r' });
  assert.equal(await answered.promise, 200);
});

test('the control port: wrong secrets, garbage and silence are turned away; proxying gets a NOK', async () => {
  const talk = async (payloads: readonly string[]): Promise<string> => {
    const socket = connect(engine.controlPort, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    for (const payload of payloads) socket.write(`${Buffer.byteLength(payload)}#${payload}`);
    socket.end();
    await once(socket, 'close', { signal: AbortSignal.timeout(8000) });
    return text;
  };
  assert.equal(await talk(['1|route|invite']), '', 'not without authentication');
  assert.match(
    await talk(['1|authenticate|wrong', '2|ping']),
    /^\d+#[^|]+\|response\|1\|NO\|incorrect secret$/,
  );
  const hello = `1|authenticate|${SECRET}|a,b`;
  const listening = engine.listening.join();
  assert.match(
    await talk([hello, '2|ping', '3|route|cdr:start', '4|remove_route|invite']),
    new RegExp(
      `\\|response\\|1\\|OK\\|${listening}\\|v1\\.0\\.0\\|${listening}.*\\|response\\|2\\|OK\\|pong.*\\|response\\|3\\|OK.*\\|response\\|4\\|OK$`,
    ),
  );
  assert.match(await talk([hello, '2|proxy|x|||||||sip:a']), /\|response\|2\|NOK\|/);
  assert.match(await talk([hello, '2|sip|x|\r\nSIP/2.0 200 OK\r\n\r\n']), /2\|NOK\|unable to find/);
  assert.doesNotMatch(await talk([hello, '2|unknown']), /response\|2/);
  const smuggling = '2|sip||\r\nOPTIONS sip:a SIP/2.0\r\nX: a\nVia: b';
  for (const unreadable of ['2|sip||\r\nnonsense', smuggling]) {
    assert.match(
      await talk([hello, unreadable, '3|ping']),
      /\|response\|2\|NOK\|unreadable SIP message.*\|response\|3\|OK\|pong$/,
    );
  }
});

test('a request nobody could read fails alone; the engine`s own 503 is marked as such', async () => {
  const link = await connectLink({
    host: '127.0.0.1',
    port: engine.controlPort,
    secret: SECRET,
    log: silentLog,
    onRequest: () => undefined,
    onClosed: () => undefined,
  });
  const codeOf = (uri: string, headers = {}): Promise<string> =>
    new Promise((resolve) => {
      link.send(
        { method: 'OPTIONS', uri, headers },
        {
          onResponse: ({ status, isLocal }) => resolve(`${status} ${isLocal}`),
          onError: ({ code }) => resolve(code),
        },
      );
    });
  try {
    const far = 'sip:127.0.0.1:9;transport=tcp';
    for (const uri of ['sip:1@d.example ', 'sip:1@d\r\nX: 1', 'sip:<1>@d', 'sip:"1"@d']) {
      assert.equal(await codeOf(uri), 'E_CONFIG', uri);
    }
    assert.equal(await codeOf(far, { 'X-A': 'a\r\nVia: b' }), 'E_CONFIG');
    assert.equal(await codeOf(far), '503 true');
    assert.ok(link.isOpen);
  } finally {
    link.close();
  }
});

test('a call of this server to itself: both ends are told of the BYE', async () => {
  const own = `sip:self@${(engine.listening[0] ?? '').slice('udp/'.length)}`;
  const inbound = Promise.withResolvers<SrfDialog>();
  srf.invite((request, response) => {
    srf
      .createUAS(request, response, { localSdp: SDP(41_000) })
      .then(inbound.resolve, inbound.reject);
  });
  const outbound = await srf.createUAC(own, { localSdp: SDP(42_000) });
  assert.equal(outbound.remote.sdp, SDP(41_000));
  await inbound.promise;
  await outbound.destroy();
  await settleTo(() => engine.census().dialogs === 0);
});

test('close: 503 to who waits, BYE to who talks, and the ports are free again', async () => {
  const closing = await createEngine({
    hosts: ['127.0.0.1'],
    port: 0,
    secret: SECRET,
    log: silentLog,
    timers: TIMERS,
  });
  const port = Number(closing.listening[0]?.split(':')[1]);
  const caller = await SipPeer.open({ address: '127.0.0.1', port });
  const talking = Promise.withResolvers<SrfDialog>();
  let calls = 0;
  await connectSrf(closing.controlPort, SECRET, (fresh) => {
    fresh.invite((request, response) => {
      if (++calls > 1) return;
      fresh.createUAS(request, response, { localSdp: SDP() }).then(talking.resolve, talking.reject);
    });
  });
  const first = caller.start('INVITE', { body: SDP() });
  first.confirm(await first.response('INVITE')).ack();
  const dialog = await talking.promise;
  const destroyed = heard(dialog, 'destroy');
  const second = caller.start('INVITE', { body: SDP() });
  await caller.next('100 of the second', ({ status, headers }) => {
    return status === 100 && headers.get('call-id')?.[0] === second.callId;
  });
  await settleTo(() => closing.census().waiting === 1);
  await closing.close();
  await closing.close();
  assert.equal((await second.response('INVITE')).status, 503);
  assert.match(header(await first.request('BYE'), 'reason'), /shutdown/);
  await destroyed;
  assert.deepEqual(Object.values(closing.census()).slice(1), [0, 0, 0, 0, 0]);
  const again = await createEngine({
    hosts: ['127.0.0.1'],
    port,
    secret: SECRET,
    log: silentLog,
    controlPort: closing.controlPort,
  });
  await again.close();
  caller.close();
});

test('in a worker thread: the same engine, its errors by name, its end reported', async () => {
  const lines: string[] = [];
  const log = { ...silentLog, debug: (event: string) => void lines.push(event) };
  const options = { hosts: ['127.0.0.1'], port: 0, log, timers: TIMERS };
  const host = await startEngineWorker(options);
  const exit = Promise.withResolvers<AppError | null>();
  host.onExit(exit.resolve);
  const far = await connectSrf(host.controlPort, host.secret);
  assert.equal((await host.census()).clients, 1);
  const port = Number(host.listening[0]?.split(':')[1]);
  await assert.rejects(startEngineWorker({ ...options, port }), (error) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, 'E_PORT_IN_USE');
    assert.match(error.message, new RegExp(`udp/127\\.0\\.0\\.1:${port} is in use`));
    return true;
  });
  far.disconnect();
  await host.close();
  await host.close();
  assert.equal(await exit.promise, null);
  assert.ok(lines.includes('engine.closed'), 'logs cross over');
  await assert.rejects(host.census(), { code: 'E_SIP_ENGINE' });

  const dying = new URL(
    `data:text/javascript,import { parentPort } from 'node:worker_threads';
    parentPort.postMessage({ type: 'ready', listening: [], controlPort: 1 });
    parentPort.once('message', () => { throw new Error('a fault'); });`,
  );
  const doomed = await startEngineWorker(options, dying);
  const death = Promise.withResolvers<AppError | null>();
  doomed.onExit(death.resolve);
  await assert.rejects(doomed.census(), { code: 'E_SIP_ENGINE' });
  assert.equal((await death.promise)?.code, 'E_SIP_ENGINE');
  assert.match(String((await death.promise)?.cause), /a fault/);
});
