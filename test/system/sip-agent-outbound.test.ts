/** The SIP application side against a running engine and a scripted UDP peer: outbound calls and lost connections. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { createSipAgent } from '#sip/agent.ts';
import { createEngine } from '#sip/server/engine.ts';
import type { Trunk } from '#lib/trunk.ts';
import { parseTrunk } from '#sip/trunk.ts';
import type { OutboundResult, SipAgent, SipDialog, SipEnd } from '#sip/types.ts';
import { connectAgent, startEngine, type TestEngine } from './_sip-engine.ts';
import { header, SDP, SipPeer, type PeerMessage } from './_sip-peer.ts';

let engine: TestEngine;
let agent: SipAgent;
let peer: SipPeer;
let trunk: Trunk;

before(async () => {
  engine = await startEngine();
  const connected = await connectAgent(engine);
  ({ agent } = connected);
  peer = await SipPeer.open(connected.server);
  trunk = trunkTo(peer.port, 'alice', 's3cret');
});

after(async () => {
  await agent.close();
  peer.close();
  await engine.close();
});

const OFFER = SDP(30_000);
type Progress = { status: number; sdp: string | null };

function trunkTo(port: number, user: string | null, password: string | null): Trunk {
  const uri = `sip:127.0.0.1:${port};transport=udp`;
  return { ...parseTrunk({ uri, user, password, localHost: null, displayName: 'Desk "1"' }) };
}

function dial(
  options: { trunk?: Trunk; ringTimeoutMs?: number; signal?: AbortSignal; seen?: Progress[] } = {},
): Promise<OutboundResult> {
  const { ringTimeoutMs = 20_000, signal = new AbortController().signal, seen = [] } = options;
  return agent.call(
    {
      trunk: options.trunk ?? trunk,
      to: '+15550123#4',
      from: '+15550199',
      offer: OFFER,
      ringTimeoutMs,
      onProgress: (progress) => seen.push(progress),
    },
    signal,
  );
}

function of(message: PeerMessage, method: string): Promise<PeerMessage> {
  const callId = header(message, 'call-id');
  return peer.next(method, (one) => one.method === method && header(one, 'call-id') === callId);
}

function dialogOf(result: OutboundResult): SipDialog {
  assert.ok(result.ok, JSON.stringify(result));
  return result.dialog;
}

function endOf(dialog: SipDialog): Promise<SipEnd> {
  const { promise, resolve } = Promise.withResolvers<SipEnd>();
  dialog.onEnd(resolve);
  return promise;
}

async function hangUp(result: OutboundResult, invite: PeerMessage): Promise<void> {
  const done = dialogOf(result).bye();
  peer.respond(await of(invite, 'BYE'), '200 OK');
  await done;
}

test('an answered call: who calls whom, ringing, early media, answer, BYE from the far end', async () => {
  const seen: Progress[] = [];
  const calling = dial({ seen });
  const invite = await peer.invite();
  assert.equal(invite.startLine, `INVITE sip:+15550123%234@127.0.0.1:${peer.port} SIP/2.0`);
  assert.match(header(invite, 'from'), /^"Desk \\"1\\"" <sip:\+15550199@127\.0\.0\.1>;tag=/);
  assert.match(header(invite, 'to'), /^<sip:\+15550123%234@127\.0\.0\.1>$/);
  assert.match(header(invite, 'contact'), /^<sip:/);
  assert.match(invite.body, /m=audio 30000/);
  peer.respond(invite, '180 Ringing', { toTag: 'b1' });
  peer.respond(invite, '183 Session Progress', { toTag: 'b1', body: SDP(40_020) });
  peer.respond(invite, '200 OK', { toTag: 'b1', body: SDP(40_022) });
  const result = await calling;
  const dialog = dialogOf(result);
  assert.match(result.ok ? result.answer : '', /m=audio 40022/);
  assert.deepEqual(
    seen.map(({ status, sdp }) => [status, sdp?.includes('40020') ?? false]),
    [
      [180, false],
      [183, true],
    ],
  );
  const ack = await of(invite, 'ACK');
  assert.equal(header(ack, 'cseq').split(' ')[0], header(invite, 'cseq').split(' ')[0]);
  const ending = endOf(dialog);
  sendBye(invite, 'b1', ['Reason: Q.850;cause=16']);
  assert.deepEqual(await ending, { by: 'remote', status: null, reason: null, q850: 16 });
  await dialog.bye();
});

/** A BYE of the called party in the dialog that `invite` began. */
function sendBye(invite: PeerMessage, tag: string, extra: readonly string[] = []): void {
  peer.send([
    `BYE ${/<([^>]+)>/.exec(header(invite, 'contact'))?.[1]} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${peer.port};rport;branch=z9hG4bKbye${tag}`,
    'Max-Forwards: 70',
    `From: ${header(invite, 'to')};tag=${tag}`,
    `To: ${header(invite, 'from')}`,
    `Call-ID: ${header(invite, 'call-id')}`,
    'CSeq: 7 BYE',
    ...extra,
  ]);
}

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
const CHALLENGE =
  'Proxy-Authenticate: Digest realm="a, b", nonce="n1", algorithm=MD5, qop="auth,auth-int", opaque="o"';

function field(authorization: string, name: string): string {
  return new RegExp(`[ ,]${name}="?([^",]*(?:, b)?)"?`).exec(authorization)?.[1] ?? '';
}

/** Checks a Proxy-Authorization as a server would. */
function isRight(request: PeerMessage, password: string): boolean {
  const value = header(request, 'proxy-authorization');
  const [method = '', uri = ''] = request.startLine.split(' ');
  assert.equal(field(value, 'uri'), uri);
  const a1 = md5(`alice:a, b:${password}`);
  const nonce = `${field(value, 'nonce')}:${field(value, 'nc')}:${field(value, 'cnonce')}:auth`;
  return field(value, 'response') === md5(`${a1}:${nonce}:${md5(`${method}:${uri}`)}`);
}

test('407 is answered with digest: same call, next CSeq; a BYE that is challenged too', async () => {
  const calling = dial();
  const first = await peer.invite();
  assert.equal(header(first, 'proxy-authorization'), '');
  peer.respond(first, '407 Proxy Authentication Required', { toTag: 'p', extra: [CHALLENGE] });
  await of(first, 'ACK');
  const second = await of(first, 'INVITE');
  assert.ok(isRight(second, 's3cret'));
  assert.equal(header(second, 'from'), header(first, 'from'));
  assert.equal(
    Number.parseInt(header(second, 'cseq'), 10),
    Number.parseInt(header(first, 'cseq'), 10) + 1,
  );
  assert.ok(!header(second, 'to').includes('tag='), 'still outside a dialog');
  peer.respond(second, '200 OK', { toTag: 'b2', body: SDP() });
  const dialog = dialogOf(await calling);
  await of(first, 'ACK');
  const done = dialog.bye();
  const bye = await of(first, 'BYE');
  peer.respond(bye, '407 Proxy Authentication Required', { extra: [CHALLENGE] });
  const again = await of(first, 'BYE');
  assert.ok(isRight(again, 's3cret'));
  peer.respond(again, '200 OK');
  await done;
});

test('a re-INVITE and an INFO that are challenged get the trunk`s login; a final refusal leaves the call alone', async () => {
  const calling = dial();
  const invite = await peer.invite();
  peer.respond(invite, '200 OK', { toTag: 'b3', body: SDP() });
  const result = await calling;
  const dialog = dialogOf(result);
  await of(invite, 'ACK');
  const offering = dialog.reinvite(OFFER);
  const first = await of(invite, 'INVITE');
  peer.respond(first, '407 Proxy Authentication Required', { extra: [CHALLENGE] });
  await of(invite, 'ACK');
  const second = await of(invite, 'INVITE');
  assert.ok(isRight(second, 's3cret'));
  assert.equal(second.body, first.body);
  peer.respond(second, '200 OK', { body: SDP(40_030) });
  assert.match(await offering, /m=audio 40030/);
  await of(invite, 'ACK');

  const digit = dialog.sendDtmf('7', 100);
  const info = await of(invite, 'INFO');
  assert.equal(info.body, 'Signal=7\r\nDuration=100\r\n');
  peer.respond(info, '407 Proxy Authentication Required', { extra: [CHALLENGE] });
  const again = await of(invite, 'INFO');
  assert.ok(isRight(again, 's3cret'));
  peer.respond(again, '200 OK');
  await digit;

  const refused = assert.rejects(dialog.reinvite(OFFER), { code: 'E_SIP_REJECTED' });
  const third = await of(invite, 'INVITE');
  peer.respond(third, '407 Proxy Authentication Required', { extra: [CHALLENGE] });
  await of(invite, 'ACK');
  const fourth = await of(invite, 'INVITE');
  peer.respond(fourth, '407 Proxy Authentication Required', { extra: [CHALLENGE] });
  await refused;
  await of(invite, 'ACK');
  await hangUp(result, invite);
});

test('a wrong password is tried once; without one the challenge is final; a stale nonce is tried again', async () => {
  const wrong = dial();
  const first = await peer.invite();
  peer.respond(first, '401 Unauthorized', {
    toTag: 'w',
    extra: ['WWW-Authenticate: Digest realm="r", nonce="1"'],
  });
  const second = await of(first, 'INVITE');
  assert.match(
    header(second, 'authorization'),
    /^Digest username="alice", realm="r", nonce="1", uri=/,
  );
  peer.respond(second, '401 Unauthorized', {
    toTag: 'w',
    extra: ['WWW-Authenticate: Digest realm="r", nonce="2"'],
  });
  const refused = await wrong;
  assert.ok(!refused.ok && refused.authFailed && refused.cause === 'refused');
  assert.equal(refused.status, 401);

  const without = dial({ trunk: trunkTo(peer.port, null, null) });
  const only = await peer.invite();
  peer.respond(only, '407 Proxy Authentication Required', { toTag: 'x', extra: [CHALLENGE] });
  const none = await without;
  assert.ok(!none.ok && none.authFailed);

  const stale = dial();
  const one = await peer.invite();
  peer.respond(one, '407 Proxy Authentication Required', { toTag: 'y', extra: [CHALLENGE] });
  const two = await of(one, 'INVITE');
  const fresh = `${CHALLENGE.replace('n1', 'n2')}, stale=true`;
  peer.respond(two, '407 Proxy Authentication Required', { toTag: 'y', extra: [fresh] });
  const three = await of(one, 'INVITE');
  assert.equal(field(header(three, 'proxy-authorization'), 'nonce'), 'n2');
  assert.ok(isRight(three, 's3cret'));
  peer.respond(three, '200 OK', { toTag: 'b3', body: SDP() });
  await hangUp(await stale, one);
});

test('refusals are values with status, cause and reason', async () => {
  const rows: [string, string[], Partial<Extract<OutboundResult, { ok: false }>>][] = [
    [
      '486 Busy Here',
      ['Reason: Q.850;cause=17;text="User busy"'],
      { status: 486, q850: 17, reason: 'User busy' },
    ],
    ['503 Service Unavailable', ['Retry-After: 30'], { status: 503, retryAfter: true, q850: null }],
    [
      '302 Moved Temporarily',
      ['Contact: <sip:other@127.0.0.1>'],
      { status: 302, reason: 'Moved Temporarily' },
    ],
    ['408 Request Timeout', [], { status: 408 }],
    ['603 Decline', [], { status: 603 }],
  ];
  for (const [status, extra, expected] of rows) {
    const calling = dial();
    const invite = await peer.invite();
    peer.respond(invite, status, { toTag: 'r', extra });
    const result = await calling;
    assert.ok(!result.ok);
    assert.deepEqual(
      { ...result, ...expected, cause: 'refused', authFailed: false },
      result,
      status,
    );
    await of(invite, 'ACK');
  }
});

test('nobody answers within the ring time: CANCEL, and the result says no answer', async () => {
  const calling = dial({ ringTimeoutMs: 300 });
  const invite = await peer.invite();
  peer.respond(invite, '180 Ringing', { toTag: 'n' });
  const cancel = await of(invite, 'CANCEL');
  assert.equal(header(cancel, 'via'), header(invite, 'via'));
  peer.respond(cancel, '200 OK', { toTag: 'n' });
  peer.respond(invite, '487 Request Terminated', { toTag: 'n' });
  const result = await calling;
  assert.ok(!result.ok);
  assert.deepEqual([result.cause, result.status], ['no_answer', 487]);
  await of(invite, 'ACK');
});

test('aborting sends CANCEL; an answer that crosses it is acknowledged and hung up', async () => {
  const early = new AbortController();
  early.abort();
  const never = await dial({ signal: early.signal });
  assert.ok(!never.ok && never.cause === 'cancelled');

  const abort = new AbortController();
  const calling = dial({ signal: abort.signal });
  const invite = await peer.invite();
  peer.respond(invite, '180 Ringing', { toTag: 'c' });
  abort.abort();
  const cancel = await of(invite, 'CANCEL');
  peer.respond(cancel, '200 OK', { toTag: 'c' });
  peer.respond(invite, '200 OK', { toTag: 'c', body: SDP() });
  await of(invite, 'ACK');
  peer.respond(await of(invite, 'BYE'), '200 OK');
  const result = await calling;
  assert.ok(!result.ok && result.cause === 'cancelled');
});

test('silence is unreachable, whatever the ring time', async () => {
  const calling = dial({ ringTimeoutMs: 200 });
  const invite = await peer.invite();
  const result = await calling;
  assert.ok(!result.ok && result.cause === 'unreachable', JSON.stringify(result));
  // The far end wakes up late: what it answers is acknowledged and ended behind the result's back.
  peer.respond(invite, '200 OK', { toTag: 's', body: SDP() });
  await of(invite, 'ACK');
  peer.respond(await of(invite, 'BYE'), '200 OK');
});

test('an answer without SDP is none, unless early media brought it', async () => {
  const bare = dial();
  const first = await peer.invite();
  peer.respond(first, '200 OK', { toTag: 'd' });
  await of(first, 'ACK');
  peer.respond(await of(first, 'BYE'), '200 OK');
  const refused = await bare;
  assert.ok(!refused.ok && refused.cause === 'refused');

  const early = dial();
  const second = await peer.invite();
  peer.respond(second, '183 Session Progress', { toTag: 'e', body: SDP(40_030) });
  peer.respond(second, '200 OK', { toTag: 'e' });
  const result = await early;
  assert.match(result.ok ? result.answer : '', /m=audio 40030/);
  await hangUp(result, second);
});

test('our own address towards a trunk, and a name that is none', async () => {
  assert.equal(await agent.localAddressFor(trunk), '127.0.0.1');
  const lost = { ...trunk, host: 'no-such-host.invalid' };
  await assert.rejects(agent.localAddressFor(lost), { code: 'E_SIP_REJECTED' });
});

/** What needs an engine of our own: short timers, and its death. */
const own = { skip: (process.env['CALLYARD_SIP_ENGINE'] ?? 'embedded') !== 'embedded' };

test('a lost ACK: the answer fails with E_TIMEOUT, the engine hangs up', own, async () => {
  const quick = await startEngine(20);
  const { agent: answering, server } = await connectAgent(quick);
  const caller = await SipPeer.open(server);
  const outcome = Promise.withResolvers<unknown>();
  answering.onCall((call) => {
    call.answer(SDP()).then(() => outcome.resolve('answered'), outcome.resolve);
  });
  const call = caller.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  await call.response('INVITE');
  caller.respond(await call.request('BYE'), '200 OK');
  assert.equal(toAppError(await outcome.promise).code, 'E_TIMEOUT');
  await answering.close();
  caller.close();
  await quick.close();
});

test(
  'the engine dies: every call ends once, and the agent finds the next engine by itself',
  own,
  async () => {
    const options = { hosts: ['127.0.0.1'], port: 0, secret: 's', log: silentLog };
    const first = await createEngine(options);
    const { controlPort } = first;
    const survivor = await createSipAgent({
      host: '127.0.0.1',
      port: controlPort,
      secret: 's',
      log: silentLog,
      clock: systemClock,
      allow: () => true,
    });
    const [, address = '', port = ''] = /^udp\/(.+):(\d+)$/.exec(survivor.listening[0] ?? '') ?? [];
    const caller = await SipPeer.open({ address, port: Number(port) });
    const dialog = Promise.withResolvers<SipDialog>();
    survivor.onCall((call) => dialog.resolve(call.answer(SDP())));
    const call = caller.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
    call.confirm(await call.response('INVITE')).ack();
    const ending = endOf(await dialog.promise);
    assert.equal(survivor.isUp, true);
    await first.close();
    assert.equal((await ending).by, 'engine');
    const second = await createEngine({ ...options, controlPort });
    while (!survivor.isUp) await delay(20);
    await survivor.close();
    caller.close();
    await second.close();
  },
);

test('no engine, or the wrong secret: one clear error', own, async () => {
  const options = { host: '127.0.0.1', log: silentLog, clock: systemClock, allow: () => true };
  const spare = await createEngine({ hosts: ['127.0.0.1'], port: 0, secret: 's', log: silentLog });
  const wrong = createSipAgent({ ...options, port: spare.controlPort, secret: 'other' });
  await assert.rejects(wrong, { code: 'E_SIP_ENGINE', message: /secret|closed/ });
  await spare.close();
  const nobody = createSipAgent({ ...options, port: spare.controlPort, secret: 's' });
  await assert.rejects(nobody, { code: 'E_SIP_ENGINE', message: /cannot be reached/ });
});
