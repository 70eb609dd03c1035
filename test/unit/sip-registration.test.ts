/** One registration against a registrar played by hand: every answer it can give, and every instant it can go wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { RegistrationState, TrunkLine } from '#lib/trunk.ts';
import { Registration } from '#sip/registration.ts';
import {
  CHALLENGE,
  FakeRegistrar,
  isRightLogin,
  lineOf,
  TRUNK_ID,
  type Asked,
} from './_fake-registrar.ts';
import { settle } from './_sip-link.ts';

function start(line: TrunkLine = lineOf(), random = 0.5) {
  const clock = new SimulatedClock();
  const peer = new FakeRegistrar();
  const states: RegistrationState[] = [];
  const registration = new Registration(
    line,
    {
      ...peer.ports,
      ...{ clock, log: silentLog, random: () => random },
      inTurn: (work) => work(),
    },
    (state) => void states.push(state),
  );
  registration.registerNow();
  return { clock, peer, states, registration, wallMs: () => clock.wallMs() };
}

type Run = ReturnType<typeof start>;

/** Answers the last request, and lets what follows from it happen. */
async function answer(
  { peer }: Pick<Run, 'peer'>,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  peer.last.answer(status, headers);
  await settle();
}

/** When the next REGISTER goes out, in seconds from now; null within the hour. */
async function nextAfterS({ clock, peer }: Run): Promise<number | null> {
  const before = peer.asked.length;
  for (let atS = 1; atS <= 3_600; atS++) {
    clock.advance(1_000);
    await settle();
    if (peer.asked.length > before) return atS;
  }
  return null;
}

const cseqOf = (asked: Asked): number => Number(/^\d+/.exec(asked.header('cseq'))?.[0]);

test('what is asked: the domain, our name, our Contact, the interval', async () => {
  const rows: [trunk: Partial<TrunkLine['trunk']>, line: Partial<TrunkLine>, expected: object][] = [
    [
      {},
      {},
      {
        uri: 'sip:sip.example.net',
        route: 'sip:sip.example.net:5060;transport=udp',
        From: '<sip:alice@sip.example.net>',
        Contact: `<sip:alice@localhost;line=${TRUNK_ID}>`,
        Expires: '600',
      },
    ],
    [
      { port: 5070, transport: 'tcp', domain: 'example.org' },
      { intervalS: 60 },
      {
        uri: 'sip:example.org',
        route: 'sip:sip.example.net:5070;transport=tcp',
        From: '<sip:alice@example.org>',
        Contact: `<sip:alice@localhost;line=${TRUNK_ID}>`,
        Expires: '60',
      },
    ],
    [
      { outboundProxy: '192.0.2.1:5080', port: 5070, username: 'a b@c' },
      { localPort: 15060 },
      {
        uri: 'sip:sip.example.net:5070',
        route: 'sip:192.0.2.1:5080;transport=udp',
        From: '<sip:a%20b%40c@sip.example.net>',
        Contact: `<sip:a%20b%40c@198.51.100.7:15060;line=${TRUNK_ID}>`,
        Expires: '600',
      },
    ],
  ];
  for (const [trunk, line, expected] of rows) {
    const run = start(lineOf(line, trunk));
    await settle();
    const { request } = run.peer.last;
    const { uri, route, headers } = request;
    const { From = '', Contact, Expires } = headers;
    assert.deepEqual({ uri, route, From: From.replace(/;tag=.*/, ''), Contact, Expires }, expected);
    assert.equal(request.method, 'REGISTER');
    await answer(run, 200);
    await stopped(run);
  }
});

async function stopped({ registration, peer }: Run): Promise<void> {
  const before = peer.asked.length;
  const stop = registration.stop();
  await settle();
  if (peer.asked.length > before) peer.last.answer(200);
  await stop;
}

test('for how long a binding is taken, and when it is refreshed', async () => {
  const own = `<sip:alice@198.51.100.7:5060;line=${TRUNK_ID}>`;
  const rows: [name: string, headers: Record<string, string>, lifeS: number, refreshS: number][] = [
    ['nothing said: what was asked', {}, 600, 510],
    ['Expires', { expires: '300' }, 300, 255],
    ['the parameter of Contact wins', { contact: `${own};expires=120`, expires: '3600' }, 120, 102],
    ['longer than asked: not refreshed later', { expires: '7200' }, 7200, 510],
    [
      'ours among others',
      { contact: `<sip:other@203.0.113.1>;expires=30, ${own};q=0.5;expires=200` },
      200,
      170,
    ],
    [
      'rewritten by a proxy, known by its line',
      { contact: `<sip:x@203.0.113.1>;expires=9, <sip:y@203.0.113.2;line=${TRUNK_ID}>;expires=90` },
      90,
      77,
    ],
    ['rewritten, the only one', { contact: '<sip:y@203.0.113.2>;expires="60"' }, 60, 51],
    ['very short', { expires: '1' }, 1, 1],
  ];
  for (const [name, headers, lifeS, refreshS] of rows) {
    const run = start();
    await settle();
    await answer(run, 200, headers);
    assert.deepEqual(
      run.states,
      [{ registered: true, expiresAtMs: run.wallMs() + lifeS * 1_000, error: null }],
      name,
    );
    assert.equal(await nextAfterS(run), refreshS, name);
    await answer(run, 200, headers);
    await stopped(run);
  }
});

test('the refresh comes between 80 and 90 % of what was granted', async () => {
  for (const [random, atS] of [
    [0, 480],
    [0.999, 540],
  ] as const) {
    const run = start(lineOf(), random);
    await settle();
    await answer(run, 200);
    assert.equal(await nextAfterS(run), atS);
    await answer(run, 200);
    await stopped(run);
  }
});

test('401: answered once, the nonce used again with the next count, Call-ID and tag kept', async () => {
  const run = start();
  await settle();
  assert.equal(run.peer.last.header('authorization'), '');
  await answer(run, 401, { 'www-authenticate': CHALLENGE });
  const first = run.peer.last.header('authorization');
  assert.ok(isRightLogin(first), first);
  assert.match(first, /nc=00000001/);
  await answer(run, 200, { expires: '600' });
  assert.equal(await nextAfterS(run), 510);
  const second = run.peer.last.header('authorization');
  assert.ok(isRightLogin(second), second);
  assert.match(second, /nc=00000002/);
  const [a, b, c] = run.peer.asked;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  assert.deepEqual([a, b, c].map(cseqOf), [1, 2, 3]);
  for (const name of ['call-id', 'from']) {
    assert.equal(new Set([a, b, c].map((each) => each.header(name))).size, 1, name);
  }
  // The nonce has grown old: whether it is called stale or not, a fresh one is answered once.
  await answer(run, 401, { 'www-authenticate': CHALLENGE.replace('n1', 'n2') });
  assert.match(run.peer.last.header('authorization'), /nonce="n2".*nc=00000001/);
  await answer(run, 200, { 'authentication-info': 'qop=auth, nextnonce="n3"' });
  assert.equal(run.states.at(-1)?.registered, true);
  await nextAfterS(run);
  assert.match(run.peer.last.header('authorization'), /nonce="n3".*nc=00000001/);
  await answer(run, 200);
  await stopped(run);
});

test('a proxy and the registrar behind it each get their own credentials, together', async () => {
  const run = start();
  await settle();
  await answer(run, 407, { 'proxy-authenticate': CHALLENGE.replace('n1', 'p1') });
  assert.match(run.peer.last.header('proxy-authorization'), /nonce="p1"/);
  await answer(run, 401, { 'www-authenticate': CHALLENGE });
  assert.match(run.peer.last.header('proxy-authorization'), /nonce="p1".*nc=00000002/);
  assert.match(run.peer.last.header('authorization'), /nonce="n1".*nc=00000001/);
  await answer(run, 200);
  assert.equal(run.states.at(-1)?.registered, true);
  await stopped(run);
});

type Step = readonly [status: number, headers?: Readonly<Record<string, string>>];

test('what an answer comes to, and how long until the next try', async () => {
  const challenge: Step = [401, { 'www-authenticate': CHALLENGE }];
  const stale: Step = [401, { 'www-authenticate': `${CHALLENGE.replace('n1', 'n2')}, stale=true` }];
  const rows: [
    name: string,
    steps: Step[],
    error: string | null,
    requests: number,
    nextS: number,
    trunk?: Partial<TrunkLine['trunk']>,
  ][] = [
    ['wrong password', [challenge, challenge], 'auth_failed', 2, 45],
    ['stale at once', [challenge, stale, [200]], null, 3, 510],
    ['stale without end', [challenge, stale, stale], 'auth_failed', 3, 45],
    ['no password', [challenge], 'password_missing', 1, 45, { password: null }],
    ['a realm of its own', [challenge], 'realm_mismatch', 1, 45, { realm: 'other.example' }],
    ['the realm that is set', [challenge, [200]], null, 2, 510, { realm: 'example.net' }],
    ['no digest', [[401, { 'www-authenticate': 'Basic realm="x"' }]], 'auth_failed', 1, 45],
    ['no challenge', [[401]], 'auth_failed', 1, 45],
    ['forbidden', [[403]], 'refused (403)', 1, 45],
    ['unknown', [[404]], 'refused (404)', 1, 45],
    ['moved', [[302, { contact: '<sip:evil@203.0.113.66>' }]], 'redirected (302)', 1, 45],
    ['too brief', [[423, { 'min-expires': '1800' }], [200]], null, 2, 1530],
    ['too brief without a word', [[423]], 'interval_refused (423)', 1, 45],
    ['too brief, less wanted', [[423, { 'min-expires': '60' }]], 'interval_refused (423)', 1, 45],
    [
      'too brief twice',
      [
        [423, { 'min-expires': '1800' }],
        [423, { 'min-expires': '3600' }],
      ],
      'interval_refused (423)',
      2,
      45,
    ],
    ['busy', [[503, { 'retry-after': '120 (later);duration=9' }]], 'refused (503)', 1, 120],
    ['busy for days', [[503, { 'retry-after': '999999' }]], 'refused (503)', 1, 3600],
    ['busy, no time', [[503]], 'refused (503)', 1, 45],
    ['declined', [[603]], 'refused (603)', 1, 45],
    ['taken for no time', [[200, { expires: '0' }]], 'refused (200)', 1, 45],
  ];
  for (const [name, steps, error, requests, nextS, trunk = {}] of rows) {
    const run = start(lineOf({}, trunk));
    await settle();
    for (const [status, headers] of steps) await answer(run, status, headers);
    assert.equal(run.peer.asked.length, requests, name);
    assert.deepEqual(
      [run.registration.state.registered, run.registration.state.error],
      [error === null, error],
      name,
    );
    assert.equal(await nextAfterS(run), nextS, name);
    assert.ok(
      run.peer.asked.every((one) => one.request.route.includes('sip.example.net')),
      name,
    );
    run.peer.last.answer(200);
    await settle();
    await stopped(run);
  }
});

test('silence, a name that does not resolve, a dead transport: patience grows to a quarter of an hour', async () => {
  const run = start(lineOf(), 1);
  await settle();
  const waits: (number | null)[] = [];
  for (let tries = 0; tries < 7; tries++) {
    run.peer.last.fail(tries % 2 === 0 ? 'timeout' : 'unsendable');
    await settle();
    const { registered, error } = run.registration.state;
    assert.deepEqual([registered, error], [false, tries % 2 === 0 ? 'timeout' : 'unreachable']);
    waits.push(await nextAfterS(run));
  }
  assert.deepEqual(waits, [60, 120, 240, 480, 900, 900, 900]);
  await answer(run, 200);
  assert.equal(run.registration.state.registered, true);
  run.peer.unknown.add('sip.example.net');
  const before = run.peer.asked.length;
  run.registration.registerNow();
  await settle();
  assert.equal(run.peer.asked.length, before, 'nothing is sent into the void');
  assert.equal(run.registration.state.error, 'dns');
  run.peer.unknown.clear();
  assert.equal(await nextAfterS(run), 60, 'patience begins anew after a success');
  await answer(run, 200);
  await stopped(run);
});

test('a binding stands while the registrar is silent, until it runs out', async () => {
  const run = start();
  await settle();
  await answer(run, 200, { expires: '100' });
  assert.equal(await nextAfterS(run), 85);
  run.peer.last.fail('timeout');
  await settle();
  assert.deepEqual(
    [run.registration.state.registered, run.registration.state.error],
    [true, 'timeout'],
  );
  run.clock.advance(14_000);
  assert.equal(run.registration.state.registered, true);
  run.clock.advance(1_000);
  assert.deepEqual(run.registration.state, {
    ...{ registered: false, expiresAtMs: null, error: 'timeout' },
  });
  assert.equal(await nextAfterS(run), 30);
  await answer(run, 403);
  assert.equal(run.registration.state.registered, false);
  await stopped(run);
});

test('a registrar that says no ends the binding at once', async () => {
  const run = start();
  await settle();
  await answer(run, 200);
  run.registration.registerNow();
  await settle();
  await answer(run, 403);
  assert.deepEqual(run.registration.state, {
    ...{ registered: false, expiresAtMs: null, error: 'refused (403)' },
  });
  await stopped(run);
});

test('our own engine is away: the binding stands, its return registers at once', async () => {
  const run = start();
  await settle();
  await answer(run, 200);
  run.registration.registerNow();
  await settle();
  run.peer.last.fail('engine');
  await settle();
  const { registered, error } = run.registration.state;
  assert.deepEqual([registered, error], [true, 'engine_down']);
  const before = run.peer.asked.length;
  run.registration.registerNow();
  await settle();
  assert.equal(run.peer.asked.length, before + 1);
  // Twice while one is under way: once more afterwards, not twice.
  run.registration.registerNow();
  run.registration.registerNow();
  await answer(run, 200);
  assert.equal(run.peer.asked.length, before + 2);
  await answer(run, 200);
  assert.equal(run.registration.state.error, null);
  await stopped(run);
});

test('stop takes the binding back with the credentials that are known, and waits 2 s at most', async () => {
  const run = start();
  await settle();
  await answer(run, 401, { 'www-authenticate': CHALLENGE });
  await answer(run, 200);
  const stop = run.registration.stop();
  await settle();
  const { last } = run.peer;
  assert.equal(last.header('expires'), '0');
  assert.equal(last.header('contact'), run.peer.asked[0]?.header('contact'));
  assert.ok(isRightLogin(last.header('authorization')));
  assert.equal(cseqOf(last), 3);
  run.clock.advance(2_000);
  await stop;
  assert.equal(run.clock.pending, 0, 'no timer is left');
  await run.registration.stop();
  run.registration.registerNow();
  await settle();
  assert.equal(run.peer.asked.length, 3);
});

test('stop while a REGISTER is under way: taken back behind it; before the first: nothing is said', async () => {
  const run = start();
  await settle();
  const stop = run.registration.stop();
  await settle();
  assert.equal(run.peer.asked.length, 1, 'not overtaken');
  await answer(run, 200);
  assert.deepEqual(run.states, [], 'nobody hears of it any more');
  assert.equal(run.peer.last.header('expires'), '0');
  await answer(run, 200);
  await stop;
  assert.equal(run.clock.pending, 0);

  const clock = new SimulatedClock();
  const peer = new FakeRegistrar();
  const turn = Promise.withResolvers<void>();
  const ports = { ...peer.ports, clock, log: silentLog };
  const registration = new Registration(
    lineOf(),
    {
      ...ports,
      inTurn: async (work) => {
        await turn.promise;
        return work();
      },
    },
    () => assert.fail('it never had its turn'),
  );
  registration.registerNow();
  await registration.stop();
  turn.resolve();
  await settle();
  assert.equal(peer.asked.length, 0);
  assert.equal(clock.pending, 0);
});

test('a REGISTER that is answered when the wait is over is not taken back: another may hold the binding by then', async () => {
  const run = start();
  await settle();
  const stop = run.registration.stop();
  await settle();
  run.clock.advance(2_000);
  await stop;
  await answer(run, 200);
  assert.equal(run.peer.asked.length, 1);
  assert.equal(run.clock.pending, 0);
});

test('a row whose host nobody could read sends nothing', async () => {
  const run = start(lineOf({}, { host: 'sip.example.net>;x' }));
  await settle();
  assert.equal(run.peer.asked.length, 0);
  assert.equal(run.registration.state.error, 'host_invalid');
  await run.registration.stop();
});
