/** Dialogs and attempts on a simulated clock: deadlines, glare, races that a socket cannot time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { Trunk } from '#lib/trunk.ts';
import type { DialogLeg } from '#sip/dialog.ts';
import { createInbound } from '#sip/inbound.ts';
import { placeCall } from '#sip/outbound.ts';
import { parseTrunk } from '#sip/trunk.ts';
import type { OutboundResult } from '#sip/types.ts';
import { CHALLENGE, codeOf, rig, SDP, TYPE, type Rig } from './_sip-dialog.ts';
import { FakeLink, incoming, settle } from './_sip-link.ts';

test('BYE: answered, unanswered, refused by the engine, crossing theirs: one end, no timer left', async () => {
  const acts: [string, (made: Rig) => void][] = [
    ['answered', ({ link }) => link.last.respond(200)],
    ['answered by 481', ({ link }) => link.last.respond(481)],
    ['unanswered', ({ clock }) => clock.advance(2000)],
    ['crossed by theirs', ({ leg }) => leg.handle(incoming('BYE').request)],
    ['engine lost', ({ leg }) => leg.lost()],
    ['challenged without credentials', ({ link }) => link.last.respond(407, CHALLENGE)],
  ];
  for (const [name, act] of acts) {
    const made = rig();
    const done = made.leg.bye({ q850: 16, text: 'done' });
    assert.equal(made.link.last.request.headers?.['Reason'], 'Q.850;cause=16;text="done"');
    act(made);
    await done;
    assert.deepEqual(made.ends, [{ by: 'local', status: null, reason: 'done', q850: 16 }], name);
    assert.equal(made.overs, 1, name);
    assert.equal(made.clock.pending, 0, name);
    await made.leg.bye();
    assert.equal(made.link.taken.length, 1, name);
  }
  const refused = rig();
  refused.link.refuseWith = new AppError('E_SIP_DIALOG_GONE', 'no such dialog');
  await refused.leg.bye();
  assert.equal(refused.ends[0]?.by, 'local');
});

test('ends that are not ours', () => {
  const remote = rig();
  const bye = incoming('BYE', { headers: { reason: 'Q.850;cause=31' } });
  remote.leg.handle(bye.request);
  assert.equal(bye.answers[0]?.status, 200);
  assert.deepEqual(remote.ends, [{ by: 'remote', status: null, reason: null, q850: 31 }]);
  const engine = rig();
  const own = incoming('BYE', {
    byEngine: true,
    headers: { reason: 'SIP;cause=408;text="ACK timeout"' },
  });
  engine.leg.handle(own.request);
  assert.equal(own.answers.length, 0, 'nobody waits for an answer to it');
  assert.deepEqual(engine.ends, [
    { by: 'engine', status: null, reason: 'ACK timeout', q850: null },
  ]);
  const lost = rig();
  lost.leg.lost();
  lost.leg.lost();
  assert.equal(lost.ends.length, 1);
});

test('crossing offers: 491 to theirs while ours is out, 500 while theirs is being answered', async () => {
  const made = rig();
  const offering = codeOf(made.leg.reinvite(SDP));
  await settle();
  const crossed = incoming('INVITE', { headers: TYPE, body: SDP });
  made.leg.handle(crossed.request);
  assert.equal(crossed.answers[0]?.status, 491);
  made.link.last.respond(200, TYPE, SDP);
  assert.equal(await offering, 'fulfilled');

  made.leg.onOffer(async () => ({ sdp: SDP }));
  const first = incoming('INVITE', { headers: TYPE, body: SDP });
  const second = incoming('UPDATE', { headers: TYPE, body: SDP });
  made.leg.handle(first.request);
  made.leg.handle(second.request);
  assert.equal(second.answers[0]?.status, 500);
  assert.ok(second.answers[0]?.headers['Retry-After']);
  made.clock.advance(0);
  await settle();
  assert.equal(first.answers[0]?.status, 200);
  assert.equal(made.clock.pending, 0);
});

test('an offer whose handler fails, hangs or finds no SDP', async () => {
  const rows: [string, () => Promise<never>, number][] = [
    ['fails', () => Promise.reject(new Error('boom')), 500],
    ['bad SDP', () => Promise.reject(new AppError('E_SDP', 'garbage')), 400],
    ['hangs', () => new Promise<never>(() => undefined), 500],
  ];
  for (const [name, handler, status] of rows) {
    const made = rig();
    made.leg.onOffer(handler);
    const offer = incoming('INVITE', { headers: TYPE, body: SDP });
    made.leg.handle(offer.request);
    made.clock.advance(0);
    await settle();
    made.clock.advance(5000);
    await settle();
    assert.equal(offer.answers[0]?.status, status, name);
    const next = incoming('UPDATE', { headers: TYPE, body: SDP });
    made.leg.handle(next.request);
    assert.equal(next.answers.length, 0, `${name}: the next offer is taken again`);
    made.leg.lost();
  }
});

test('our re-INVITE: glare is tried again, challenges answered, silence and a vanished dialog end it', async () => {
  const glare = rig({ role: 'caller' });
  const first = glare.leg.reinvite(SDP);
  await settle();
  glare.link.last.respond(491);
  glare.clock.advance(2000);
  assert.equal(glare.link.taken.length, 1, 'the owner of the Call-ID waits at least 2.1 s');
  glare.clock.advance(2000);
  await settle();
  assert.equal(glare.link.taken.length, 2);
  glare.link.last.respond(200, TYPE, SDP);
  assert.equal(await first, SDP);
  assert.equal(glare.link.taken[0]?.acks, 1, 'the 491 has its ACK too');
  assert.equal(glare.clock.pending, 0);

  const login = rig({ credentials: { username: 'u', password: 'p', realm: null } });
  const challenged = login.leg.reinvite(SDP);
  await settle();
  login.link.last.respond(407, CHALLENGE);
  assert.match(login.link.last.request.headers?.['Proxy-Authorization'] ?? '', /^Digest /);
  login.link.last.respond(200, TYPE, SDP);
  assert.equal(await challenged, SDP);

  const rows: [string, (made: Rig) => void, string, number][] = [
    ['silence', ({ clock }) => clock.advance(32_000), 'E_TIMEOUT', 0],
    ['488', ({ link }) => link.last.respond(488), 'E_SIP_REJECTED', 0],
    ['200 without SDP', ({ link }) => link.last.respond(200), 'E_SIP_REJECTED', 0],
    ['481', ({ link }) => link.last.respond(481), 'E_SIP_DIALOG_GONE', 1],
    ['their BYE', ({ leg }) => leg.handle(incoming('BYE').request), 'E_SIP_DIALOG_GONE', 0],
  ];
  for (const [name, act, code, byes] of rows) {
    const made = rig();
    const offering = codeOf(made.leg.reinvite(SDP));
    await settle();
    act(made);
    assert.equal(await offering, code, name);
    await settle();
    assert.equal(made.link.taken.filter((one) => one.request.method === 'BYE').length, byes, name);
    if (code === 'E_SIP_DIALOG_GONE') continue;
    const next = codeOf(made.leg.reinvite(SDP));
    await settle();
    made.link.last.respond(200, TYPE, SDP);
    assert.equal(await next, 'fulfilled', `${name}: the next one works`);
    assert.equal(made.clock.pending, 0, name);
  }
});

test('two re-INVITEs of ours go one after the other', async () => {
  const made = rig();
  const both = [made.leg.reinvite(SDP), codeOf(made.leg.reinvite(SDP))];
  await settle();
  assert.equal(made.link.taken.length, 1);
  made.link.last.respond(200, TYPE, SDP);
  await both[0];
  await settle();
  assert.equal(made.link.taken.length, 2);
  made.link.last.respond(200, TYPE, SDP);
  assert.equal(await both[1], 'fulfilled');
});

test('an answer to a late offer waits for its listener', () => {
  const made = rig({ lateOffer: true });
  made.leg.handle(incoming('ACK', { headers: TYPE, body: SDP }).request);
  const answers: string[] = [];
  made.leg.onAnswer((sdp) => answers.push(sdp));
  made.leg.handle(incoming('ACK', { headers: TYPE, body: SDP }).request);
  assert.deepEqual(answers, [SDP], 'once, and no repeat');
});

test('answering: ACK in the same breath, BYE instead of ACK, the engine`s refusal, no ACK at all', async () => {
  const answer = (options: { refuse?: AppError } = {}) => {
    const link = new FakeLink();
    const clock = new SimulatedClock();
    const legs: DialogLeg[] = [];
    const { request, answers } = incoming('INVITE', {
      headers: { ...TYPE, to: '<sip:us@h>' },
      body: SDP,
    });
    const { refuse } = options;
    const inbound = createInbound({
      request: refuse
        ? { ...request, respond: (_status, _options, sent) => sent?.(refuse) }
        : request,
      offer: SDP,
      link,
      clock,
      log: silentLog,
      trustAsserted: false,
      addLeg: (leg) => void legs.push(leg),
      removeLeg: (leg) => void legs.splice(legs.indexOf(leg), 1),
      onDecided: () => undefined,
    });
    return {
      link,
      clock,
      legs,
      answers,
      call: inbound.call,
      answering: codeOf(inbound.call.answer(SDP)),
    };
  };
  const quick = answer();
  quick.legs[0]?.handle(incoming('ACK').request);
  assert.equal(await quick.answering, 'fulfilled');
  assert.equal(quick.clock.pending, 0);
  assert.equal(quick.legs.length, 1);

  const gone = answer();
  gone.legs[0]?.handle(incoming('BYE').request);
  assert.equal(await gone.answering, 'fulfilled', 'answered, and over at once');
  assert.equal(gone.legs.length, 0);

  const late = answer({ refuse: new AppError('E_SIP_CANCELLED', 'unknown transaction') });
  assert.equal(await late.answering, 'E_SIP_CANCELLED');
  assert.equal(late.clock.pending, 0);

  const silent = answer();
  await settle();
  silent.clock.advance(45_000);
  assert.equal(await silent.answering, 'E_TIMEOUT');
  assert.equal(silent.link.last.request.method, 'BYE');
  silent.link.last.respond(200);
  assert.equal(silent.legs.length, 0);
  assert.equal(silent.clock.pending, 0);
});

test('attempts: whatever happens there is one result and no timer left', async () => {
  const attempt = (ringTimeoutMs = 60_000, fields: Partial<Trunk> = {}, to = '1') => {
    const link = new FakeLink();
    const clock = new SimulatedClock();
    const uri = 'sip:192.0.2.9';
    const trunk = parseTrunk({ uri, user: 'u', password: 'p', localHost: null, displayName: null });
    const request = {
      trunk: { ...trunk, ...fields },
      to,
      from: null,
      offer: SDP,
      ringTimeoutMs,
      onProgress: () => undefined,
    };
    const table = { addLeg: () => undefined, removeLeg: () => undefined };
    const placed = placeCall({ request, link, clock, log: silentLog, userAgent: 'test', ...table });
    return { link, clock, placed };
  };
  assert.throws(() => attempt(1, { domain: 'd e' }), { code: 'E_CONFIG' });
  assert.throws(() => attempt(1, {}, 'sip:a@b>'), { code: 'E_CONFIG' });
  const { link: trimmed, placed: unheard } = attempt(1, { domain: 'd.example ' });
  assert.equal('uri' in trimmed.last.request && trimmed.last.request.uri, 'sip:1@d.example');
  assert.match(trimmed.last.request.headers?.['From'] ?? '', /@d\.example>;tag=/);
  unheard.cancel();
  type Made = ReturnType<typeof attempt>;
  const rows: [string, (made: Made) => void, string, number][] = [
    ['no answer at all', ({ clock }) => clock.advance(33_000), 'unreachable', 1],
    [
      'timer B of the engine',
      ({ link }) => link.last.respond(408, { 'x-local': 'yes' }),
      'unreachable',
      0,
    ],
    [
      'transport error',
      ({ link }) => link.last.respond(503, { 'x-local': 'yes' }),
      'unreachable',
      0,
    ],
    ['408 of the far end', ({ link }) => link.last.respond(408), 'refused', 0],
    [
      'rings for ever, the CANCEL unanswered',
      ({ link, clock }) => {
        link.last.respond(180);
        clock.advance(59_999);
        assert.equal(link.last.cancels, 0);
        clock.advance(5001);
      },
      'no_answer',
      1,
    ],
    ['cancelled before anything came', ({ placed }) => placed.cancel(), 'cancelled', 1],
    [
      'cancelled, refused otherwise meanwhile',
      ({ link, placed }) => {
        link.last.respond(180);
        placed.cancel();
        link.last.respond(486);
      },
      'cancelled',
      1,
    ],
    [
      'challenged after the cancel',
      ({ link, placed }) => {
        link.last.respond(100);
        placed.cancel();
        link.last.respond(407, CHALLENGE);
      },
      'cancelled',
      1,
    ],
    [
      'another 2xx than 200',
      ({ link }) => {
        link.last.respond(202, TYPE, SDP);
        link.last.respond(200);
      },
      'refused',
      0,
    ],
  ];
  for (const [name, act, cause, cancels] of rows) {
    const made = attempt();
    act(made);
    const result: OutboundResult = await made.placed.result;
    assert.ok(!result.ok, name);
    assert.equal(result.cause, cause, name);
    assert.equal(made.link.taken[0]?.cancels, cancels, name);
    made.placed.cancel();
    made.clock.advance(10);
    assert.equal(made.clock.pending, 0, name);
  }
  const late = attempt();
  late.clock.advance(33_000);
  await late.placed.result;
  late.link.last.respond(200, TYPE, SDP);
  assert.equal(late.link.taken[0]?.acks, 1);
  assert.equal(late.link.last.request.method, 'BYE', 'a late answer is ended');
  const lost = attempt();
  lost.placed.lost();
  await assert.rejects(lost.placed.result, { code: 'E_SIP_ENGINE' });
  assert.equal(lost.clock.pending, 0);
});

test('100 is told once, also after a challenge; a trunk that must be heard soon is given up soon', async () => {
  const link = new FakeLink();
  const clock = new SimulatedClock();
  const uri = 'sip:192.0.2.9';
  const trunk = parseTrunk({ uri, user: 'u', password: 'p', localHost: null, displayName: null });
  const tried: number[] = [];
  const request = {
    ...{ trunk, to: '1', from: null, offer: SDP, ringTimeoutMs: 60_000, silenceTimeoutMs: 5000 },
    onProgress: () => undefined,
    onTrying: () => void tried.push(clock.now()),
  };
  const table = { addLeg: () => undefined, removeLeg: () => undefined };
  const options = { request, link, clock, log: silentLog, userAgent: 'test', ...table };
  const heard = placeCall(options);
  link.last.respond(100);
  link.last.respond(407, CHALLENGE);
  link.last.respond(100);
  assert.equal(tried.length, 1);
  clock.advance(5000);
  link.last.respond(486);
  assert.equal((await heard.result).ok, false);
  const unheard = placeCall(options);
  clock.advance(4999);
  assert.equal(link.last.cancels, 0);
  clock.advance(1);
  const result = await unheard.result;
  assert.ok(!result.ok);
  assert.deepEqual([result.cause, link.last.cancels, tried.length], ['unreachable', 1, 1]);
});
