/** Trying a trunk out: what OPTIONS and REGISTER come to within the deadline, and single requests over the engine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { TrunkLine, TrunkTest } from '#lib/trunk.ts';
import { PlainRequests, type PlainRequest } from '#sip/plain-requests.ts';
import { probeTrunk } from '#sip/trunk-probe.ts';
import { CHALLENGE, FakeRegistrar, isRightLogin, lineOf } from './_fake-registrar.ts';
import { FakeLink, settle } from './_sip-link.ts';

function probe(line: TrunkLine, keepsBinding = false) {
  const clock = new SimulatedClock();
  const peer = new FakeRegistrar();
  const options = { ports: peer.ports, clock, timeoutMs: 5_000, keepsBinding: () => keepsBinding };
  const result = probeTrunk(line, options);
  return { clock, peer, result };
}

const plain = (changes: Partial<TrunkLine['trunk']> = {}): TrunkLine =>
  lineOf({ register: false }, changes);

test('a trunk that is not registered is asked for its OPTIONS', async () => {
  const none = { sipStatus: null, roundTripMs: null };
  const rows: [answer: number | 'timeout' | 'unsendable' | 'engine', expected: TrunkTest][] = [
    [200, { ok: true, sipStatus: 200, roundTripMs: 40, error: null }],
    [405, { ok: true, sipStatus: 405, roundTripMs: 40, error: null }],
    [404, { ok: true, sipStatus: 404, roundTripMs: 40, error: null }],
    [403, { ok: false, sipStatus: 403, roundTripMs: 40, error: 'refused' }],
    [503, { ok: false, sipStatus: 503, roundTripMs: 40, error: 'refused' }],
    [302, { ok: false, sipStatus: 302, roundTripMs: 40, error: 'redirected' }],
    ['timeout', { ok: false, ...none, error: 'timeout' }],
    ['unsendable', { ok: false, ...none, error: 'unreachable' }],
    ['engine', { ok: false, ...none, error: 'engine_down' }],
  ];
  for (const [answer, expected] of rows) {
    const { clock, peer, result } = probe(plain());
    await settle();
    assert.equal(peer.last.request.method, 'OPTIONS');
    clock.advance(40);
    if (typeof answer === 'number') peer.last.answer(answer);
    else peer.last.fail(answer);
    assert.deepEqual(await result, expected, String(answer));
    assert.equal(peer.asked.length, 1);
    assert.equal(clock.pending, 0);
  }
});

test('OPTIONS that wants a login gets it; a name that does not resolve is told', async () => {
  const { peer, result } = probe(plain());
  await settle();
  peer.last.answer(407, { 'proxy-authenticate': CHALLENGE });
  await settle();
  const login = peer.last.header('proxy-authorization');
  assert.ok(isRightLogin(login, 'secret', 'OPTIONS'), login);
  peer.last.answer(407, { 'proxy-authenticate': CHALLENGE });
  const { ok, sipStatus, error } = await result;
  assert.deepEqual([ok, sipStatus, error], [false, 407, 'auth_failed']);

  const clock = new SimulatedClock();
  const nobody = new FakeRegistrar();
  nobody.unknown.add('sip.example.net');
  const options = { ports: nobody.ports, clock, timeoutMs: 5_000, keepsBinding: () => false };
  assert.equal((await probeTrunk(plain(), options)).error, 'dns');
});

test('REGISTER decides where there is one, and its binding is taken back unless it is kept', async () => {
  for (const keepsBinding of [true, false]) {
    const { peer, result } = probe(lineOf(), keepsBinding);
    await settle();
    const [options, register] = peer.asked;
    assert.deepEqual([options?.request.method, register?.request.method], ['OPTIONS', 'REGISTER']);
    options?.answer(403);
    register?.answer(401, { 'www-authenticate': CHALLENGE });
    await settle();
    peer.last.answer(200);
    const { ok, sipStatus, error } = await result;
    assert.deepEqual([ok, sipStatus, error], [true, 200, null]);
    await settle();
    assert.equal(peer.last.header('expires'), keepsBinding ? '600' : '0');
    peer.last.answer(200);
  }
});

test('too short an interval is asked again; a wrong password is told with its status', async () => {
  const { peer, result } = probe(lineOf());
  await settle();
  peer.last.answer(423, { 'min-expires': '900' });
  await settle();
  assert.equal(peer.last.header('expires'), '900');
  for (let times = 0; times < 2; times++) {
    peer.last.answer(401, { 'www-authenticate': CHALLENGE });
    await settle();
  }
  const { ok, sipStatus, error } = await result;
  assert.deepEqual([ok, sipStatus, error], [false, 401, 'auth_failed']);
});

test('5 s in all, however often the far end asks again', async () => {
  const { clock, peer, result } = probe(lineOf());
  await settle();
  clock.advance(4_000);
  peer.last.answer(401, { 'www-authenticate': CHALLENGE });
  await settle();
  assert.equal(peer.last.request.timeoutMs, 1_000);
  clock.advance(1_000);
  assert.deepEqual(await result, {
    ...{ ok: false, sipStatus: null, roundTripMs: 4_000, error: 'timeout' },
  });
});

const REQUEST: PlainRequest = {
  ...{ method: 'OPTIONS', uri: 'sip:h', route: 'sip:h:5060', headers: {}, timeoutMs: 1_000 },
};

test('a single request ends once: answered, late, refused, or with the connection', async () => {
  const clock = new SimulatedClock();
  const requests = new PlainRequests(clock);
  const link = Object.assign(new FakeLink(), { isOpen: true });
  const ends: [name: string, act: () => void, cause: string | number][] = [
    ['a final response', () => link.last.respond(404), 404],
    ['the engine’s own timeout', () => link.last.respond(408, { 'x-local': 'yes' }), 'timeout'],
    ['the engine’s own 503', () => link.last.respond(503, { 'x-local': 'yes' }), 'unsendable'],
    ['the far end’s 503', () => link.last.respond(503), 503],
    ['nothing in time', () => clock.advance(1_000), 'timeout'],
    ['the connection is lost', () => requests.lost(), 'engine'],
  ];
  for (const [name, act, expected] of ends) {
    const sent = requests.send(link, REQUEST);
    link.last.respond(100);
    act();
    link.last.respond(200);
    const result = await sent;
    assert.equal(result.ok ? result.response.status : result.cause, expected, name);
    assert.equal(clock.pending, 0, name);
  }
  link.refuseWith = new AppError('E_SIP_ENGINE', 'no route');
  assert.deepEqual(await requests.send(link, REQUEST), { ok: false, cause: 'unsendable' });
  link.isOpen = false;
  assert.deepEqual(await requests.send(link, REQUEST), { ok: false, cause: 'engine' });
  assert.deepEqual(await requests.send(null, REQUEST), { ok: false, cause: 'engine' });
});
