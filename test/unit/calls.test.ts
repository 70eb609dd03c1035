/** The call service's decisions before a call exists: who may be called, over which trunk, how many at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type { CallRefusal, PlaceCall } from '#sessions/call-service-types.ts';
import type { OutboundResult } from '#sip/types.ts';
import {
  ACCOUNT,
  createService,
  OFFER,
  OTHER_ACCOUNT,
  REFUSED,
  SECOND,
  SQUAD,
  TRUNK_A,
  TRUNK_B,
  trunkOf,
  type ServiceOptions,
} from './_call-service.ts';
import { AGENT, AUDIO, FakeDialog, settle } from './_fakes.ts';

const NOBODY = '00000000-0000-4000-8000-00000000dead';
const TO = { accountId: ACCOUNT, to: '+15550100' };
const unreachable = new AppError('E_DATABASE_UNREACHABLE', 'away');

type Row = [
  name: string,
  options: ServiceOptions,
  request: Partial<PlaceCall>,
  code: CallRefusal['code'],
  field?: CallRefusal['field'],
];

const gone = new AbortController();
gone.abort();
const URI = 'sip:someone@pbx.example';

const REFUSALS: Row[] = [
  ['unknown agent', {}, { agentId: NOBODY }, 'REFERENCE_NOT_FOUND', 'agent'],
  ['unknown agent, emergency', {}, { agentId: NOBODY, to: '110' }, 'REFERENCE_NOT_FOUND', 'agent'],
  [
    'not for this key',
    {},
    { agentId: SECOND.id, allowedAgentIds: [AGENT.id] },
    'REFERENCE_NOT_FOUND',
    'agent',
  ],
  [
    'default not for this key',
    {},
    { allowedAgentIds: [SECOND.id] },
    'REFERENCE_NOT_FOUND',
    'agent',
  ],
  ['unknown squad', {}, { squadId: NOBODY }, 'REFERENCE_NOT_FOUND', 'squad'],
  [
    'squad not for this key',
    {},
    { squadId: SQUAD, allowedAgentIds: [AGENT.id] },
    'REFERENCE_NOT_FOUND',
    'squad',
  ],
  ['unknown trunk', {}, { trunkId: NOBODY }, 'REFERENCE_NOT_FOUND', 'trunk'],
  ['emergency', {}, { to: '110' }, 'NUMBER_NOT_ALLOWED', 'to'],
  ['emergency with a plus', {}, { to: '+112' }, 'NUMBER_NOT_ALLOWED', 'to'],
  [
    'emergency with the country',
    { settings: { countryCode: '86' } },
    { to: '+86120' },
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  [
    'emergency in a URI',
    { trunks: [trunkOf({ allowUri: true })] },
    { to: 'sip:911@pbx.example' },
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  ['emergency without a trunk', { trunks: [] }, { to: '119' }, 'NUMBER_NOT_ALLOWED', 'to'],
  ['URI', {}, { to: URI }, 'NUMBER_NOT_ALLOWED', 'to'],
  [
    'denied prefix',
    { trunks: [trunkOf({ denyPrefixes: ['+1555'] })] },
    {},
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  [
    'a denial wins',
    { trunks: [trunkOf({ allowPrefixes: ['+1'], denyPrefixes: ['+1555'] })] },
    {},
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  [
    'no allowed prefix',
    { trunks: [trunkOf({ allowPrefixes: ['+86'] })] },
    {},
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  [
    'national prefix, international number',
    { trunks: [trunkOf({ denyPrefixes: ['0900'] })], settings: { countryCode: '44' } },
    { to: '+449001234567' },
    'NUMBER_NOT_ALLOWED',
    'to',
  ],
  ['premium', {}, { to: '+1 900 555 0100'.replaceAll(' ', '') }, 'NUMBER_NOT_ALLOWED', 'to'],
  ['somebody else as caller', {}, { from: '+15550122' }, 'NUMBER_NOT_ALLOWED', 'from'],
  ['do not call', {}, { to: '+15550166' }, 'CONSENT_MISSING', 'to'],
  ['do not call, no trunk', { trunks: [] }, { to: '+15550166' }, 'CONSENT_MISSING', 'to'],
  ['no trunk', { trunks: [] }, {}, 'NO_ROUTE', 'trunk'],
  ['trunk that is not usable', {}, { trunkId: TRUNK_B }, 'NO_ROUTE', 'trunk'],
  ['no such transport', {}, { trunkTransport: 'tls' }, 'NO_ROUTE', 'trunk'],
  // Whose number it is cannot be said while the trunk is off: that is no reason to call it somebody else's.
  [
    'the number of a trunk that is off',
    {},
    { trunkId: TRUNK_B, from: '+15550122' },
    'NO_ROUTE',
    'trunk',
  ],
  [
    'a URI that wants TLS',
    { trunks: [trunkOf({ allowUri: true })] },
    { to: 'sips:someone@pbx.example' },
    'NO_ROUTE',
    'trunk',
  ],
  ['account is full', { settings: { maxConcurrentCalls: 0 } }, {}, 'CONCURRENCY_LIMIT'],
  ['trunk is full', { trunks: [trunkOf({ maxCalls: 0 })] }, {}, 'CONCURRENCY_LIMIT', 'trunk'],
  [
    'trunk takes no more now',
    { trunks: [trunkOf({ maxCps: 0 })] },
    {},
    'CONCURRENCY_LIMIT',
    'trunk',
  ],
  ['node is full', { changes: { maxCalls: 0 } }, {}, 'OVERLOADED'],
  ['nobody waits any more', {}, { signal: gone.signal }, 'UNAVAILABLE'],
  [
    'nobody can say who must not be called',
    {
      changes: {
        contacts: {
          mayCall: () => Promise.reject(unreachable),
          mayRecord: () => Promise.resolve(false),
          ownNumber: () => Promise.resolve(null),
        },
      },
    },
    {},
    'UNAVAILABLE',
  ],
];

test('what is refused before anybody is dialled', async () => {
  for (const [name, options, request, code, field] of REFUSALS) {
    const { calls, dialled, entries } = createService(options);
    const placed = await calls.place({ ...TO, ...request });
    await settle();
    assert.ok(!placed.ok, name);
    assert.deepEqual([placed.refusal.code, placed.refusal.field], [code, field], name);
    if (code === 'CONCURRENCY_LIMIT') assert.ok((placed.refusal.retryAfterS ?? 0) > 0, name);
    assert.deepEqual([dialled, entries], [[], []], name);
  }
});

test('what may be dialled, and how it is', async () => {
  type Allowed = [
    name: string,
    options: ServiceOptions,
    request: Partial<PlaceCall>,
    trunkIds: string[],
    from: string | null,
  ];
  const b = trunkOf({ id: TRUNK_B, fromNumber: '+15550122', transport: 'tcp' });
  const both = [trunkOf(), b];
  const rows: Allowed[] = [
    ['the first trunk', { trunks: both }, {}, [TRUNK_A], '+15550199'],
    ['the trunk asked for', { trunks: both }, { trunkId: TRUNK_B }, [TRUNK_B], '+15550122'],
    [
      'the transport asked for',
      { trunks: both },
      { trunkTransport: 'tcp' },
      [TRUNK_B],
      '+15550122',
    ],
    ['a number of the account', { trunks: both }, { from: '+15550111' }, [TRUNK_A], '+15550111'],
    [
      "a trunk's number goes over that trunk",
      { trunks: both },
      { from: '+15550122' },
      [TRUNK_B],
      '+15550122',
    ],
    [
      'prefixes choose the trunk',
      { trunks: [trunkOf({ denyPrefixes: ['+1'] }), b] },
      {},
      [TRUNK_B],
      '+15550122',
    ],
    [
      'a full trunk is passed over',
      { trunks: [trunkOf({ maxCalls: 0 }), b] },
      {},
      [TRUNK_B],
      '+15550122',
    ],
    [
      'a URI where it may be',
      { trunks: [trunkOf(), trunkOf({ id: TRUNK_B, allowUri: true })] },
      { to: URI },
      [TRUNK_B],
      '+15550199',
    ],
    [
      'a number of the account goes over the trunk it belongs to',
      { trunks: both },
      { from: '+15550112' },
      [TRUNK_B],
      '+15550112',
    ],
    [
      "a trunk's number is known in every spelling",
      {
        trunks: [trunkOf(), trunkOf({ id: TRUNK_B, fromNumber: '0571 8800 0000' })],
        settings: { countryCode: '86' },
      },
      { from: '+8657188000000' },
      [TRUNK_B],
      '+8657188000000',
    ],
    [
      'a premium number where it may be',
      { trunks: [trunkOf(), trunkOf({ id: TRUNK_B, allowPrefixes: ['+1900'] })] },
      { to: '+19005550100' },
      [TRUNK_B],
      '+15550199',
    ],
    ['a squad', {}, { squadId: SQUAD, allowedAgentIds: [SECOND.id] }, [TRUNK_A], '+15550199'],
  ];
  for (const [name, options, request, trunkIds, from] of rows) {
    const { calls, dialled } = createService(options);
    const placed = await calls.place({ ...TO, ...request });
    assert.ok(placed.ok, name);
    await settle();
    assert.deepEqual(
      dialled.map(({ trunk }) => trunk.id),
      trunkIds,
      name,
    );
    assert.deepEqual([dialled[0]?.from, placed.call.fromNumber], [from, from], name);
    assert.equal(placed.call.trunkId, trunkIds[0], name);
  }
});

test('everything that a request says is in the call and its record', async () => {
  const service = createService();
  const placed = await service.calls.place({
    ...TO,
    ...{ squadId: SQUAD, customerId: 'c-7', metadata: { order: 7 }, variables: { name: 'Ann' } },
    ...{ ringTimeoutS: 12, requestId: 'r-1' },
  });
  assert.ok(placed.ok);
  assert.equal(placed.call.status, 'dialing');
  await settle();
  assert.equal(service.dialled[0]?.ringTimeoutMs, 12_000);
  const view = await service.calls.get(ACCOUNT, placed.call.id);
  assert.deepEqual(
    [view?.agentId, view?.squadId, view?.customerId, view?.variables, view?.outcome],
    [SECOND.id, SQUAD, 'c-7', { name: 'Ann' }, 'busy'],
  );
  assert.equal(view?.metadata['order'], 7);
  const record = service.record();
  assert.deepEqual([record['squad_id'], record['trunk_id']], [SQUAD, TRUNK_A]);
  const first = service.entries[0];
  assert.deepEqual(first?.record?.metadata, { order: 7 });
  assert.deepEqual([first?.event.request_id], ['r-1']);
});

test('greeting, prompt and limit of a request replace those of the agent', async () => {
  const dialog = new FakeDialog([]);
  const answer = [
    'v=0',
    'o=- 1 1 IN IP4 192.0.2.9',
    's=-',
    'c=IN IP4 192.0.2.9',
    't=0 0',
    'm=audio 4000 RTP/AVP 8',
    '',
  ];
  const service = createService({
    dial: () => Promise.resolve({ ok: true, dialog, answer: answer.join('\r\n') }),
  });
  const placed = await service.calls.place({
    ...TO,
    ...{ greeting: 'Good day {{name}}', variables: { name: 'Ann' }, maxDurationS: 10 },
  });
  assert.ok(placed.ok);
  await settle();
  for (let i = 0; i < 30; i++) {
    service.clock.advance(500);
    await settle();
  }
  const view = await service.calls.get(ACCOUNT, placed.call.id);
  assert.equal(view?.outcome, 'max_duration');
  const said = await service.calls.conversation(ACCOUNT, placed.call.id);
  assert.equal(said?.messages[0]?.content, 'Good day Ann');
  assert.equal(AUDIO.codec, 'PCMA');
});

test('a placed call is seen by its account alone, also after its end, and is hung up once', async () => {
  const { calls, dialled, types } = createService();
  const placed = await calls.place(TO);
  assert.ok(placed.ok);
  await settle();
  await settle();
  assert.deepEqual(
    dialled.map(({ to }) => to),
    ['+15550100'],
  );
  const { id } = placed.call;
  assert.equal((await calls.get(ACCOUNT, id))?.outcome, 'busy');
  assert.equal(await calls.get(OTHER_ACCOUNT, id), null);
  assert.deepEqual(await calls.live(ACCOUNT), []);
  const told = types().length;
  const how = { reason: null, by: 'api' } as const;
  assert.equal((await calls.hangup(ACCOUNT, id, how))?.outcome, 'busy', 'over is over');
  assert.equal(types().length, told);
  assert.equal(await calls.hangup(OTHER_ACCOUNT, id, how), null);
});

const fails = (changes: Partial<typeof REFUSED> | object): OutboundResult =>
  ({ ...REFUSED, ...changes }) as OutboundResult;

test('the next trunk is tried for what the trunk is at fault for, and for nothing else', async () => {
  type Case = [name: string, first: OutboundResult, rings: boolean, tried: number, outcome: string];
  const rows: Case[] = [
    ['503', fails({ status: 503 }), false, 2, 'busy'],
    ['480 with Retry-After', fails({ status: 480, retryAfter: true }), false, 2, 'busy'],
    ['Q.850 34, no circuit', fails({ status: 500, q850: 34 }), false, 2, 'busy'],
    ['no answer at all', fails({ cause: 'unreachable', status: null }), false, 2, 'busy'],
    ['480', fails({ status: 480 }), false, 1, 'unreachable'],
    ['404', fails({ status: 404 }), false, 1, 'invalid_number'],
    ['603', fails({ status: 603 }), false, 1, 'declined'],
    ['503 after it rang', fails({ status: 503 }), true, 1, 'congestion'],
  ];
  for (const [name, first, rings, tried, outcome] of rows) {
    const results = [first, fails({ status: 486 })];
    const service = createService({
      trunks: [trunkOf(), trunkOf({ id: TRUNK_B })],
      dial: (request) => {
        request.onTrying?.();
        if (rings) request.onProgress({ status: 180, sdp: null });
        return Promise.resolve(results.shift() ?? first);
      },
    });
    const placed = await service.calls.place(TO);
    assert.ok(placed.ok);
    await settle();
    await settle();
    assert.equal(service.dialled.length, tried, name);
    const view = await service.calls.get(ACCOUNT, placed.call.id);
    const trunkId = tried === 2 ? TRUNK_B : TRUNK_A;
    assert.deepEqual([view?.outcome, view?.trunkId], [outcome, trunkId], name);
    assert.equal(service.record()['trunk_id'], trunkId, name);
    assert.equal(service.types().filter((type) => type === 'call.failed').length, 1, name);
    assert.equal(service.types().filter((type) => type === 'call.trying').length, tried, name);
    assert.equal(service.rig.log.filter((line) => line === 'media.open').length, 1, name);
    const silence = service.dialled.map((request) => request.silenceTimeoutMs);
    assert.deepEqual(silence, [5000, undefined].slice(0, tried), name);
  }
});

test('a trunk that cannot be sent to is passed over; without any other the call is unreachable', async () => {
  type Case = [name: string, bad: readonly string[], tried: string[], outcome: string];
  const rows: Case[] = [
    ['the first has no address', ['a'], ['b'], 'busy'],
    ['none has an address', ['a', 'b'], [], 'unreachable'],
    ["the first's row cannot stand in a request", ['config a'], ['a', 'b'], 'busy'],
  ];
  for (const [name, bad, tried, outcome] of rows) {
    const b = trunkOf({ id: TRUNK_B, name: 'b' });
    const service = createService({
      trunks: [trunkOf(), b],
      isLost: (trunk) => bad.includes(trunk.name),
      dial: ({ trunk }) =>
        bad.includes(`config ${trunk.name}`)
          ? Promise.reject(new AppError('E_CONFIG', 'host is not a host name'))
          : Promise.resolve(REFUSED),
    });
    const placed = await service.calls.place(TO);
    assert.ok(placed.ok);
    await settle();
    await settle();
    assert.deepEqual(
      service.dialled.map(({ trunk }) => trunk.name),
      tried,
      name,
    );
    assert.equal((await service.calls.get(ACCOUNT, placed.call.id))?.outcome, outcome, name);
  }
});

test('calls per second: what is too fast is told to wait, a second later it may go', async () => {
  const service = createService({
    trunks: [trunkOf({ maxCps: 2 })],
    dial: () => new Promise<OutboundResult>(() => undefined),
  });
  const codes: string[] = [];
  for (let i = 0; i < 3; i++) {
    const placed = await service.calls.place(TO);
    codes.push(placed.ok ? 'ok' : placed.refusal.code);
  }
  assert.deepEqual(codes, ['ok', 'ok', 'CONCURRENCY_LIMIT']);
  service.clock.advance(1000);
  assert.ok((await service.calls.place(TO)).ok);
  assert.equal((await service.calls.live(ACCOUNT)).length, 3);
});

test('limits of calls at once count the calls that are not over', async () => {
  const rows: ServiceOptions[] = [
    { settings: { maxConcurrentCalls: 1 } },
    { trunks: [trunkOf({ maxCalls: 1 })] },
  ];
  for (const options of rows) {
    const ends: ((result: OutboundResult) => void)[] = [];
    const service = createService({
      ...options,
      dial: () => new Promise((resolve) => void ends.push(resolve)),
    });
    const [first, second] = await Promise.all([service.calls.place(TO), service.calls.place(TO)]);
    assert.ok(first.ok);
    await settle();
    assert.equal(second.ok ? 'ok' : second.refusal.code, 'CONCURRENCY_LIMIT');
    ends[0]?.(REFUSED);
    await settle();
    await settle();
    assert.ok((await service.calls.place(TO)).ok, 'room again');
  }
});

test('a call that is over takes no room, even while its peer answers no BYE', async () => {
  const dialog = new FakeDialog([]);
  dialog.bye = () => new Promise(() => undefined);
  const answered = { ok: true, dialog, answer: OFFER } as unknown as OutboundResult;
  const service = createService({
    settings: { maxConcurrentCalls: 1 },
    dial: () => Promise.resolve(answered),
  });
  const first = await service.calls.place(TO);
  assert.ok(first.ok);
  await settle();
  await settle();
  assert.equal((await service.calls.place(TO)).ok, false);
  void service.calls.hangup(ACCOUNT, first.call.id, { reason: null, by: 'api' });
  await settle();
  await settle();
  assert.equal((await service.calls.get(ACCOUNT, first.call.id))?.status, 'ended');
  assert.ok((await service.calls.place(TO)).ok);
});

test('recording: request, agent, account, installation, and no consent no recording', async () => {
  type Choice = [name: string, options: ServiceOptions, request: Partial<PlaceCall>, on: boolean];
  const installed = { changes: { recordByDefault: () => true } };
  const rows: Choice[] = [
    ['nobody wants it', {}, {}, false],
    ['the request does', {}, { recordingEnabled: true }, true],
    ['the account does', { settings: { recordingDefault: true } }, {}, true],
    ['the installation does', installed, {}, true],
    ['the request does not', installed, { recordingEnabled: false }, false],
    ['consent given', { settings: { requireConsent: true } }, { recordingEnabled: true }, true],
    [
      'no consent',
      { settings: { requireConsent: true } },
      { recordingEnabled: true, to: '+15550101' },
      false,
    ],
  ];
  for (const [name, options, request, on] of rows) {
    const service = createService(options);
    assert.ok((await service.calls.place({ ...TO, ...request })).ok, name);
    await settle();
    await settle();
    assert.deepEqual(
      service.recorded.map((path) => path !== null),
      [on],
      name,
    );
  }
});
