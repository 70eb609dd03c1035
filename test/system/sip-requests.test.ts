/** Single requests of ours over a real engine: REGISTER as it goes out, its answers, the engine's death and return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createSipAgent } from '#sip/agent.ts';
import { createEngine } from '#sip/server/engine.ts';
import { header, SipPeer } from './_sip-peer.ts';

/** An engine of our own: its death is part of the test. */
const own = { skip: (process.env['CALLYARD_SIP_ENGINE'] ?? 'embedded') !== 'embedded' };

test('REGISTER over the engine, lost with it, possible again when it is back', own, async () => {
  const options = { hosts: ['127.0.0.1'], port: 0, secret: 's', log: silentLog };
  const first = await createEngine(options);
  const { controlPort } = first;
  const agent = await createSipAgent({
    ...{ host: '127.0.0.1', port: controlPort, secret: 's', log: silentLog },
    ...{ clock: systemClock, allow: () => true },
  });
  const back = Promise.withResolvers<void>();
  agent.onReconnected(() => back.resolve());
  const [, address = '', port = ''] = /^udp\/(.+):(\d+)$/.exec(agent.listening[0] ?? '') ?? [];
  const peer = await SipPeer.open({ address, port: Number(port) });
  const request = {
    method: 'REGISTER' as const,
    uri: 'sip:registrar.test',
    route: `sip:127.0.0.1:${peer.port};transport=udp`,
    headers: {
      From: '<sip:alice@registrar.test>;tag=t1',
      To: '<sip:alice@registrar.test>',
      'Call-ID': 'c-1',
      CSeq: '7 REGISTER',
      Contact: '<sip:alice@localhost;line=x>',
      Expires: '60',
    },
    timeoutMs: 4_000,
  };
  const asked = agent.request(request);
  const seen = await peer.next('REGISTER', (one) => one.method === 'REGISTER');
  assert.equal(seen.startLine, 'REGISTER sip:registrar.test SIP/2.0');
  assert.deepEqual(
    ['call-id', 'cseq', 'from', 'contact', 'expires'].map((name) => header(seen, name)),
    [
      ...['c-1', '7 REGISTER', '<sip:alice@registrar.test>;tag=t1'],
      ...[`<sip:alice@127.0.0.1:${port};line=x>`, '60'],
    ],
  );
  peer.respond(seen, '423 Interval Too Brief', { toTag: 'r', extra: ['Min-Expires: 90'] });
  const result = await asked;
  assert.ok(result.ok);
  assert.deepEqual([result.response.status, result.response.header('min-expires')], [423, '90']);
  assert.equal(result.response.sentHeader('contact'), `<sip:alice@127.0.0.1:${port};line=x>`);

  const unanswered = agent.request({
    ...request,
    headers: { ...request.headers, CSeq: '8 REGISTER' },
  });
  await peer.next('REGISTER', (one) => header(one, 'cseq') === '8 REGISTER');
  await first.close();
  assert.deepEqual(await unanswered, { ok: false, cause: 'engine' });
  assert.deepEqual(await agent.request(request), { ok: false, cause: 'engine' });
  const second = await createEngine({ ...options, controlPort });
  await back.promise;
  const again = agent.request({ ...request, headers: { ...request.headers, CSeq: '9 REGISTER' } });
  const last = await peer.next('REGISTER', (one) => header(one, 'cseq') === '9 REGISTER');
  // The peer aims at the first engine's port; the answer goes where the request came from.
  const [, newPort = ''] = /^SIP\/2\.0\/UDP 127\.0\.0\.1:(\d+)/.exec(header(last, 'via')) ?? [];
  peer.aim({ address, port: Number(newPort) });
  peer.respond(last, '200 OK', { toTag: 'r' });
  const registered = await again;
  assert.ok(registered.ok && registered.response.status === 200);
  await agent.close();
  assert.deepEqual(await agent.request(request), { ok: false, cause: 'engine' });
  peer.close();
  await second.close();
});
