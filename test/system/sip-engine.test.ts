/** The embedded engine under an unchanged drachtio-srf: calls that come in, over real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { createEngine } from '#sip/server/engine.ts';
import type { Engine } from '#sip/server/engine.ts';
import { DEFAULT_TIMERS } from '#sip/server/timers.ts';
import { connectSrf, heard } from './_srf.ts';
import type { SrfDialog, SrfInstance, SrfMessage, SrfRequest, SrfResponse } from './_srf.ts';
import { SDP, SipPeer, header } from './_sip-peer.ts';

const SECRET = 'system-test';
/** Short enough to wait for an ACK that never comes: 64 * 25 ms. */
const TIMERS = { ...DEFAULT_TIMERS, t1Ms: 25, t2Ms: 200, t4Ms: 50 };

let engine: Engine;
let srf: SrfInstance;
let server: { address: string; port: number };
let onInvite: (request: SrfRequest, response: SrfResponse) => void;

before(async () => {
  engine = await createEngine({
    hosts: ['127.0.0.1'],
    port: 0,
    secret: SECRET,
    log: silentLog,
    timers: TIMERS,
  });
  server = { address: '127.0.0.1', port: Number(engine.listening[0]?.split(':')[1]) };
  srf = await connectSrf(engine.controlPort, SECRET, (fresh) => {
    fresh.invite((request, response) => onInvite(request, response));
    fresh.message((_request, response) => response.send(202));
  });
});

after(async () => {
  srf.disconnect();
  await engine.close();
  assert.deepEqual(engine.census().transactions, {
    inviteClient: 0,
    client: 0,
    inviteServer: 0,
    server: 0,
  });
});

/** Answers the next INVITE and gives the dialog. */
function answerNext(headers: object = {}): Promise<{ dialog: SrfDialog; request: SrfRequest }> {
  return new Promise((resolve, reject) => {
    onInvite = (request, response) => {
      srf
        .createUAS(request, response, { localSdp: SDP(41_000), headers })
        .then((dialog) => resolve({ dialog, request }), reject);
    };
  });
}

async function withPeer(run: (peer: SipPeer) => Promise<void>): Promise<void> {
  const peer = await SipPeer.open(server);
  try {
    await run(peer);
  } finally {
    peer.close();
  }
}

const CALL = { body: SDP(), extra: ['Content-Type: application/sdp'] };

test('a call over UDP: 100, 200 with our SDP, ACK, INFO both ways, BYE by the caller', async () => {
  await withPeer(async (peer) => {
    const answering = answerNext({ 'X-Mine': 'ü' });
    const call = peer.start('INVITE', CALL);
    await peer.next('100', (message) => message.status === 100);
    const ok = await call.response('INVITE');
    assert.equal(ok.status, 200);
    assert.equal(ok.body, SDP(41_000));
    assert.equal(header(ok, 'x-mine'), 'ü');
    assert.equal(header(ok, 'contact'), `<sip:127.0.0.1:${server.port}>`);
    const { dialog, request } = await answering;
    assert.equal(request.receivedOn, `127.0.0.1:${server.port}`);
    assert.equal(dialog.sip.remoteTag, call.localTag);
    assert.equal(dialog.remote.sdp, SDP());
    const acknowledged = heard(dialog, 'ack');
    call.confirm(ok).ack();
    await acknowledged;
    assert.equal(dialog.sip.localTag, call.remoteTag);

    const info = heard<SrfRequest | SrfResponse>(dialog, 'info');
    call.send('INFO', 'Signal=5', ['Content-Type: application/dtmf-relay']);
    const [infoRequest, infoResponse] = await info;
    assert.equal(infoRequest?.body, 'Signal=5');
    (infoResponse as SrfResponse).send(200);
    assert.equal((await call.response('INFO')).status, 200);

    const ours = dialog.request({ method: 'INFO', body: 'x', headers: { 'Content-Type': 'a/b' } });
    peer.respond(await call.request('INFO'), '200 OK');
    assert.equal((await ours).status, 200);

    const destroyed = heard(dialog, 'destroy');
    call.send('BYE');
    assert.equal((await call.response('BYE')).status, 200);
    await destroyed;
  });
});

test('a call over TCP, written in pieces; our BYE comes on the same connection', async () => {
  const answering = answerNext();
  const socket = connect(server.port, server.address);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  const seen = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = pattern.exec(text);
      if (found !== null) return found;
      await once(socket, 'data', { signal: AbortSignal.timeout(8000) });
    }
  };
  const message = (method: string, cseq: string, tag: string, body: string): Buffer =>
    Buffer.from(
      [
        `${method} sip:bot@127.0.0.1:${server.port} SIP/2.0`,
        // The port is closed: only the connection leads back.
        `Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKtcp${method}`,
        'Max-Forwards: 70',
        'From: <sip:tcp@127.0.0.1>;tag=tcp',
        `To: <sip:bot@127.0.0.1>${tag}`,
        'Call-ID: tcp-call',
        `CSeq: ${cseq}`,
        'Contact: <sip:tcp@127.0.0.1:9;transport=tcp>',
        'Content-Type: application/sdp',
        `Content-Length: ${Buffer.byteLength(body)}`,
        '',
        body,
      ].join('\r\n'),
    );
  await once(socket, 'connect');
  const bytes = message('INVITE', '1 INVITE', '', SDP());
  for (let at = 0; at < bytes.length; at += 97) {
    socket.write(bytes.subarray(at, at + 97));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const [, tag] = await seen(/SIP\/2\.0 200 OK[\s\S]*?To: [^\r]*;tag=([^\r;]+)/);
  assert.match(text, /Contact: <sip:127\.0\.0\.1:\d+;transport=tcp>/);
  const { dialog } = await answering;
  const acknowledged = heard(dialog, 'ack');
  socket.write(message('ACK', '1 ACK', `;tag=${tag}`, ''));
  await acknowledged;
  const destroyed = dialog.destroy();
  const [, via, cseq] = await seen(/BYE sip:tcp@127[\s\S]*?Via: ([^\r]+)[\s\S]*?CSeq: ([^\r]+)/);
  socket.write(
    [
      'SIP/2.0 200 OK',
      `Via: ${via}`,
      `From: <sip:bot@127.0.0.1>;tag=${tag}`,
      'To: <sip:tcp@127.0.0.1>;tag=tcp',
      'Call-ID: tcp-call',
      `CSeq: ${cseq}`,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  );
  await destroyed;
  socket.destroy();
});

test('CANCEL while the application thinks: 487, and the late answer does no harm', async () => {
  await withPeer(async (peer) => {
    const pending = Promise.withResolvers<{ request: SrfRequest; response: SrfResponse }>();
    onInvite = (request, response) => pending.resolve({ request, response });
    const call = peer.start('INVITE', CALL);
    const { request, response } = await pending.promise;
    const cancelled = heard<SrfMessage>(request, 'cancel');
    call.cancel(['Reason: SIP;cause=200;text="elsewhere"']);
    assert.equal((await call.response('CANCEL')).status, 200);
    const refusal = await call.response('INVITE');
    assert.equal(refusal.status, 487);
    call.ackRefusal(refusal);
    const [cancel] = await cancelled;
    assert.match(cancel?.get('Reason') ?? '', /elsewhere/);
    await assert.rejects(srf.createUAS(request, response, { localSdp: SDP() }), (error) =>
      /unable to find transaction/.test(String(error)),
    );
  });
});

test('CANCEL after the 200 is answered 200; the call lives on', async () => {
  await withPeer(async (peer) => {
    const answering = answerNext();
    const call = peer.start('INVITE', CALL);
    const ok = await call.response('INVITE');
    const { dialog } = await answering;
    call.cancel();
    assert.equal((await call.response('CANCEL')).status, 200);
    call.confirm(ok).ack();
    call.send('INFO');
    assert.equal((await call.response('INFO')).status, 200);
    const gone = dialog.destroy();
    peer.respond(await call.request('BYE'), '200 OK');
    await gone;
  });
});

test('no ACK: the 200 is repeated, then BYE to the caller and destroy to the application', async () => {
  await withPeer(async (peer) => {
    const answering = answerNext();
    const call = peer.start('INVITE', CALL);
    await call.response('INVITE');
    const { dialog } = await answering;
    const destroyed = heard(dialog, 'destroy');
    const bye = await call.request('BYE');
    assert.match(header(bye, 'reason'), /ACK timeout/);
    peer.respond(bye, '200 OK');
    const [, reason] = await destroyed;
    assert.equal(reason, 'ACK timeout');
    const repeats = peer.unread.filter(({ status }) => status === 200).length;
    assert.ok(repeats >= 8, `${repeats} repeats of the 200`);
  });
});

test('lost 200s: the third one is acknowledged and the call is up', async () => {
  await withPeer(async (peer) => {
    const answering = answerNext();
    const call = peer.start('INVITE', CALL);
    await call.response('INVITE');
    await call.response('INVITE');
    const ok = await call.response('INVITE');
    const { dialog } = await answering;
    const acknowledged = heard(dialog, 'ack');
    call.confirm(ok).ack();
    await acknowledged;
    call.send('BYE');
    assert.equal((await call.response('BYE')).status, 200);
  });
});

test('re-INVITE both ways, UPDATE, and glare', async () => {
  await withPeer(async (peer) => {
    const answering = answerNext();
    const call = peer.start('INVITE', CALL);
    call.confirm(await call.response('INVITE')).ack();
    const { dialog } = await answering;

    const modify = heard<SrfRequest | SrfResponse>(dialog, 'modify');
    call.send('INVITE', SDP(40_002), ['Content-Type: application/sdp']);
    const [offer, response] = await modify;
    assert.equal(offer?.body, SDP(40_002));
    (response as SrfResponse).send(200, { body: SDP(41_002) });
    assert.equal((await call.response('INVITE')).body, SDP(41_002));
    const acknowledged = heard(dialog, 'ack');
    call.ack();
    await acknowledged;

    call.send('UPDATE', SDP(40_004), ['Content-Type: application/sdp']);
    assert.equal((await call.response('UPDATE')).status, 200);

    const ours = dialog.modify(SDP(41_004));
    const invite = await call.request('INVITE');
    assert.equal(invite.body, SDP(41_004));
    call.send('INVITE', SDP(40_006), ['Content-Type: application/sdp']);
    const glare = await call.response('INVITE');
    assert.equal(glare.status, 491);
    peer.respond(invite, '200 OK', { body: SDP(40_008) });
    await call.request('ACK');
    assert.equal(await ours, SDP(40_008));

    call.send('BYE');
    assert.equal((await call.response('BYE')).status, 200);
  });
});

test('outside dialogs: MESSAGE to the application, OPTIONS and unknown methods by the engine', async () => {
  await withPeer(async (peer) => {
    assert.equal((await peer.start('MESSAGE', { body: 'hi' }).response('MESSAGE')).status, 202);
    const options = await peer.start('OPTIONS').response('OPTIONS');
    assert.equal(options.status, 200);
    assert.match(header(options, 'allow'), /INVITE/);
    const foo = await peer.start('FOO').response('FOO');
    assert.equal(foo.status, 405);
    assert.match(header(foo, 'allow'), /MESSAGE/);
    const extension = await peer.start('INVITE', { extra: ['Require: 100rel'] }).response('INVITE');
    assert.equal(extension.status, 420);
    assert.equal(header(extension, 'unsupported'), '100rel');
  });
});

test('nothing is left behind', async () => {
  const deadline = Date.now() + 8000;
  for (;;) {
    const { clients, ...rest } = engine.census();
    assert.equal(clients, 1);
    const isIdle = Object.values(rest.transactions).every((count) => count === 0);
    if (isIdle && rest.dialogs === 0 && rest.waiting === 0 && rest.timers === 0) return;
    assert.ok(Date.now() < deadline, JSON.stringify(rest));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
