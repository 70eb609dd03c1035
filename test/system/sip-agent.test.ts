/** The SIP application side against a running engine and a scripted UDP peer: inbound calls. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { toAppError } from '#lib/errors.ts';
import type { InboundCall, SipAgent, SipDialog, SipEnd } from '#sip/types.ts';
import { connectAgent, startEngine, type TestEngine } from './_sip-engine.ts';
import { header, SDP, SipPeer, type PeerCall, type PeerMessage } from './_sip-peer.ts';

let engine: TestEngine;
let agent: SipAgent;
let peer: SipPeer;
let server: { address: string; port: number };
let allowed = true;

before(async () => {
  engine = await startEngine();
  ({ agent, server } = await connectAgent(engine, () => allowed));
  peer = await SipPeer.open(server);
});

after(async () => {
  await agent.close();
  peer.close();
  await engine.close();
});

const ANSWER = SDP(30_000, 'm=audio 30000 RTP/AVP 8');
const TYPE = ['Content-Type: application/sdp'];

function nextCall(): Promise<InboundCall> {
  const { promise, resolve } = Promise.withResolvers<InboundCall>();
  agent.onCall(resolve);
  return promise;
}

function endOf(source: { onEnd(listener: (end: SipEnd) => void): void }): Promise<SipEnd> {
  const { promise, resolve } = Promise.withResolvers<SipEnd>();
  source.onEnd(resolve);
  return promise;
}

type Answered = { dialog: SipDialog; call: PeerCall; ok: PeerMessage };

/** A call from the peer, answered and acknowledged. */
async function answered(offer: string = SDP()): Promise<Answered> {
  const arriving = nextCall();
  const call = peer.start('INVITE', { body: offer, extra: offer === '' ? [] : TYPE });
  const inbound = await arriving;
  const answering = inbound.answer(ANSWER);
  const ok = await call.response('INVITE');
  assert.equal(ok.status, 200);
  call.confirm(ok).ack(offer === '' ? ANSWER : '');
  return { dialog: await answering, call, ok };
}

test('an answered call tells who calls, whom and where it arrived, and ends by the BYE of the caller', async () => {
  const arriving = nextCall();
  const call = peer.start('INVITE', { body: SDP(), extra: [...TYPE, 'X-Tenant: 7'] });
  const inbound = await arriving;
  assert.equal(inbound.called, '1000');
  assert.equal(inbound.from.user, '+15550100');
  assert.equal(inbound.from.displayName, 'Peer');
  assert.equal(inbound.from.anonymous, false);
  assert.equal(inbound.to.user, '1000');
  assert.equal(inbound.transport, 'udp');
  assert.equal(inbound.sourceAddress, '127.0.0.1');
  assert.equal(inbound.sourcePort, peer.port);
  assert.equal(inbound.receivedAddress, server.address);
  assert.equal(inbound.header('x-tenant'), '7');
  assert.match(inbound.offer ?? '', /m=audio 40000/);
  inbound.progress(180);
  assert.equal((await call.response('INVITE')).status, 180);
  const answering = inbound.answer(ANSWER);
  const ok = await call.response('INVITE');
  assert.equal(ok.status, 200);
  assert.match(ok.body, /m=audio 30000/);
  assert.equal(header(ok, 'content-type'), 'application/sdp');
  assert.match(header(ok, 'contact'), /^<sip:/);
  call.confirm(ok).ack();
  const dialog = await answering;
  assert.equal(dialog.sipCallId, call.callId);
  const ending = endOf(dialog);
  call.send('BYE', '', ['Reason: Q.850;cause=16;text="Normal call clearing"']);
  assert.equal((await call.response('BYE')).status, 200);
  const end = { by: 'remote', status: null, reason: 'Normal call clearing', q850: 16 };
  assert.deepEqual(await ending, end);
  assert.deepEqual(await endOf(dialog), end, 'a late listener hears it too');
});

test('our BYE ends the call once, with a reason, and is answered', async () => {
  const here = await answered();
  const { dialog, call } = here;
  const ends: SipEnd[] = [];
  dialog.onEnd((end) => ends.push(end));
  const done = dialog.bye({ q850: 16, text: 'agent hung up' });
  const bye = await call.request('BYE');
  assert.match(header(bye, 'reason'), /Q\.850;cause=16;text="agent hung up"/);
  peer.respond(bye, '200 OK');
  await Promise.all([done, dialog.bye()]);
  assert.deepEqual(ends, [{ by: 'local', status: null, reason: 'agent hung up', q850: 16 }]);
});

test('a BYE that nobody answers is given up after 2 s', async () => {
  const here = await answered();
  const { dialog, call } = here;
  await dialog.bye();
  assert.equal((await endOf(dialog)).by, 'local');
  peer.respond(await call.request('BYE'), '200 OK');
});

test('CANCEL while it rings: the caller gets 487, the call hears it once, an answer comes too late', async () => {
  const arriving = nextCall();
  const call = peer.start('INVITE', { body: SDP(), extra: TYPE });
  const inbound = await arriving;
  inbound.progress(180);
  await call.response('INVITE');
  const { promise, resolve } = Promise.withResolvers<SipEnd>();
  inbound.onCancel(resolve);
  call.cancel(['Reason: SIP;cause=200;text="Call completed elsewhere"']);
  assert.equal((await call.response('CANCEL')).status, 200);
  const refused = await call.response('INVITE');
  assert.equal(refused.status, 487);
  call.ackRefusal(refused);
  const end = await promise;
  assert.equal(end.by, 'remote');
  await assert.rejects(inbound.answer(ANSWER), { code: 'E_SIP_CANCELLED' });
});

test('CANCEL against the answer: whoever wins, no dialog is left behind', async () => {
  for (let round = 0; round < 10; round += 1) {
    const arriving = nextCall();
    const call = peer.start('INVITE', { body: SDP(), extra: TYPE });
    const inbound = await arriving;
    const answering = inbound.answer(ANSWER).then(
      (dialog) => ({ dialog }),
      (error: unknown) => ({ code: toAppError(error).code }),
    );
    call.cancel();
    await call.response('CANCEL');
    const final = await call.response('INVITE');
    if (final.status === 200) {
      call.confirm(final).ack();
      const outcome = await answering;
      assert.ok('dialog' in outcome, 'answered on the wire means answered for the call');
      // An engine may itself hang up what was answered after its CANCEL.
      const done = outcome.dialog.bye();
      peer.respond(await call.request('BYE'), '200 OK');
      await done;
    } else {
      call.ackRefusal(final);
      assert.equal(final.status, 487);
      const outcome = await answering;
      assert.ok('code' in outcome && outcome.code === 'E_SIP_CANCELLED', JSON.stringify(outcome));
    }
    call.confirm(final).send('OPTIONS');
    const probe = await call.response('OPTIONS');
    assert.equal(probe.status, 481, 'the dialog is gone on both sides');
  }
});

test('what cannot become a call is refused with the right status and never heard of', async () => {
  const rows: [string, Parameters<SipPeer['start']>[1], number, RegExp?][] = [
    ['no Contact', { body: SDP(), extra: TYPE, without: 'contact' }, 400],
    ['body of another type', { body: '<x/>', extra: ['Content-Type: text/xml'] }, 415, /accept/],
    [
      'a dialog that is none',
      { body: SDP(), extra: [...TYPE, 'To: <sip:a@b>;tag=9'], without: 'to' },
      481,
    ],
  ];
  agent.onCall((call) => assert.fail(`a call came through: ${call.sipCallId}`));
  for (const [name, options, status, wants] of rows) {
    const call = peer.start('INVITE', options);
    const refused = await call.response('INVITE');
    assert.equal(refused.status, status, name);
    if (wants) assert.match([...refused.headers.keys()].join(), wants, name);
    call.ackRefusal(refused);
  }
});

test('a source that may not call gets 403', async () => {
  allowed = false;
  const call = peer.start('INVITE', { body: SDP(), extra: TYPE });
  const refused = await call.response('INVITE');
  allowed = true;
  assert.equal(refused.status, 403);
  call.ackRefusal(refused);
});

test('a refusal goes out with its status, reason and headers, once', async () => {
  const arriving = nextCall();
  const call = peer.start('INVITE', { body: 'garbage', extra: TYPE });
  const inbound = await arriving;
  assert.equal(inbound.offer, 'garbage', 'what the offer is worth is the session`s to say');
  inbound.reject(488, 'No Codec', { Warning: '305 callyard "Incompatible media format"' });
  inbound.reject(486);
  await assert.rejects(inbound.answer(ANSWER), { code: 'E_SIP_CANCELLED' });
  const refused = await call.response('INVITE');
  assert.equal(refused.startLine, 'SIP/2.0 488 No Codec');
  assert.match(header(refused, 'warning'), /^305/);
  call.ackRefusal(refused);
});

test('an INVITE without SDP: our offer in the 200, the answer in the ACK', async () => {
  const here = await answered('');
  const { dialog } = here;
  const { promise, resolve } = Promise.withResolvers<string>();
  dialog.onAnswer(resolve);
  assert.match(await promise, /m=audio 30000/);
  await hangUp(here);
});

test('an ACK without the answer it owes ends the call', async () => {
  const arriving = nextCall();
  const call = peer.start('INVITE');
  const answering = (await arriving).answer(ANSWER);
  const ok = await call.response('INVITE');
  assert.equal(ok.status, 200);
  call.confirm(ok).ack();
  await assert.rejects(answering, { code: 'E_SDP' });
  peer.respond(await call.request('BYE'), '200 OK');
});

async function hangUp({ dialog, call }: Answered): Promise<void> {
  const done = dialog.bye();
  peer.respond(await call.request('BYE'), '200 OK');
  await done;
}

test('re-INVITE and UPDATE: offers reach the call, refusals keep the session, no SDP is handled', async () => {
  const here = await answered();
  const { dialog, call } = here;
  call.send('INVITE', SDP(40_002), TYPE);
  const early = await call.response('INVITE');
  assert.equal(early.status, 488, 'nobody listens yet');
  call.ackRefusal(early);

  const offers: (string | null)[] = [];
  dialog.onOffer(async (offer) => {
    offers.push(offer);
    return offer?.includes('video') === true ? { status: 488 } : { sdp: ANSWER };
  });
  const hold = SDP(40_002, 'm=audio 40000 RTP/AVP 8\r\na=sendonly');
  call.send('INVITE', hold, TYPE);
  const held = await call.response('INVITE');
  assert.equal(held.status, 200);
  assert.match(held.body, /m=audio 30000/);
  call.ack();

  call.send('UPDATE', SDP(40_004), TYPE);
  const updated = await call.response('UPDATE');
  assert.equal(updated.status, 200);
  assert.match(updated.body, /m=audio 30000/);

  call.send('UPDATE');
  const refresh = await call.response('UPDATE');
  assert.equal(refresh.status, 200);
  assert.equal(refresh.body, '', 'a refresh without SDP is not an offer');

  call.send('INVITE', SDP(40_006, 'm=video 40000 RTP/AVP 96'), TYPE);
  const video = await call.response('INVITE');
  assert.equal(video.status, 488);
  call.ackRefusal(video);

  const answer = Promise.withResolvers<string>();
  dialog.onAnswer(answer.resolve);
  call.send('INVITE');
  const late = await call.response('INVITE');
  assert.equal(late.status, 200);
  assert.match(late.body, /m=audio 30000/);
  call.ack(SDP(40_008));
  assert.match(await answer.promise, /m=audio 40008/);

  call.send('INVITE', '<x/>', ['Content-Type: text/xml']);
  const unknown = await call.response('INVITE');
  assert.equal(unknown.status, 415);
  call.ackRefusal(unknown);
  assert.deepEqual(
    offers.map((offer) => /m=(\w+) (\d+)/.exec(offer ?? '')?.[0] ?? null),
    ['m=audio 40002', 'm=audio 40004', 'm=video 40006', null],
  );
  await hangUp(here);
});

test('requests inside a dialog are answered as what they are', async () => {
  const here = await answered();
  const { dialog, call } = here;
  const digits: [string, number][] = [];
  dialog.onDtmf((digit, durationMs) => digits.push([digit, durationMs]));
  const relay = ['Content-Type: application/dtmf-relay'];
  const rows: [string, string, string[], number][] = [
    ['OPTIONS', '', [], 200],
    ['INFO', 'Signal=5\r\nDuration=160\r\n', relay, 200],
    ['INFO', '#', ['Content-Type: application/dtmf'], 200],
    ['INFO', 'Signal=zzz\r\n', relay, 400],
    ['INFO', '', [], 200],
    ['INFO', '<media_control/>', ['Content-Type: application/media_control+xml'], 415],
    ['REFER', '', ['Refer-To: <sip:2000@127.0.0.1>'], 603],
    ['MESSAGE', 'hello', ['Content-Type: text/plain'], 405],
    ['NOTIFY', '', ['Event: x', 'Subscription-State: active'], 489],
  ];
  for (const [method, body, extra, status] of rows) {
    call.send(method, body, extra);
    assert.equal((await call.response(method)).status, status, `${method} ${body}`);
  }
  assert.deepEqual(digits, [
    ['5', 160],
    ['#', 250],
  ]);
  await hangUp(here);
});

test('our re-INVITE brings the answer, or says why there is none, and the next one works again', async () => {
  const here = await answered();
  const { dialog, call } = here;
  const offering = dialog.reinvite(ANSWER);
  const invite = await call.request('INVITE');
  assert.match(invite.body, /m=audio 30000/);
  peer.respond(invite, '200 OK', { body: SDP(40_010) });
  assert.match(await offering, /m=audio 40010/);
  await call.request('ACK');

  const refused = assert.rejects(dialog.reinvite(ANSWER), { code: 'E_SIP_REJECTED' });
  peer.respond(await call.request('INVITE'), '488 Not Acceptable Here');
  await refused;
  await call.request('ACK');

  const again = dialog.reinvite(ANSWER);
  peer.respond(await call.request('INVITE'), '200 OK', { body: SDP(40_012) });
  assert.match(await again, /m=audio 40012/);
  await call.request('ACK');
  await hangUp(here);
  await assert.rejects(dialog.reinvite(ANSWER), { code: 'E_SIP_DIALOG_GONE' });
});

test('outside a dialog: OPTIONS 200, REGISTER 405, others as they are; 503 while draining', async () => {
  const rows: [string, number][] = [
    ['OPTIONS', 200],
    ['REGISTER', 405],
    ['MESSAGE', 405],
    ['NOTIFY', 489],
    ['SUBSCRIBE', 489],
  ];
  for (const [method, status] of rows) {
    const call = peer.start(method);
    const response = await call.response(method);
    assert.equal(response.status, status, method);
    if (status === 405) assert.match(header(response, 'allow'), /INVITE/);
  }
  agent.setDraining(true);
  const probe = peer.start('OPTIONS');
  const busy = await probe.response('OPTIONS');
  assert.equal(busy.status, 503);
  assert.notEqual(header(busy, 'retry-after'), '');
  const call = peer.start('INVITE', { body: SDP(), extra: TYPE });
  const refused = await call.response('INVITE');
  assert.equal(refused.status, 503);
  assert.notEqual(header(refused, 'retry-after'), '');
  call.ackRefusal(refused);
  agent.setDraining(false);
});
