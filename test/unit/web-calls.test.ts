/** Calls without SIP on a simulated clock: placing, attaching, loss and return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlaceWebCall } from '#sessions/call-attach-types.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import type { CallRefusal } from '#sessions/call-service-types.ts';
import {
  ACCOUNT,
  createInvite,
  createService,
  OTHER_ACCOUNT,
  SECOND,
  SQUAD,
  type ServiceOptions,
} from './_call-service.ts';
import { AGENT, settle } from './_fakes.ts';
import { attach, NOBODY, pass, place, refusalOf, said, talk, WEB } from './_web-call.ts';

const gone = new AbortController();
gone.abort();

// ---- Placing ----

type Row = [
  name: string,
  options: ServiceOptions,
  request: Partial<PlaceWebCall>,
  code: CallRefusal['code'],
  field?: CallRefusal['field'],
];

const REFUSALS: Row[] = [
  ['unknown agent', {}, { agentId: NOBODY }, 'REFERENCE_NOT_FOUND', 'agent'],
  [
    'not for this key',
    {},
    { agentId: SECOND.id, allowedAgentIds: [AGENT.id] },
    'REFERENCE_NOT_FOUND',
    'agent',
  ],
  ['unknown squad', {}, { squadId: NOBODY }, 'REFERENCE_NOT_FOUND', 'squad'],
  [
    'do not call',
    {},
    { remoteNumber: '+15550166', direction: 'outbound' },
    'CONSENT_MISSING',
    'to',
  ],
  ['account is full', { settings: { maxConcurrentCalls: 0 } }, {}, 'CONCURRENCY_LIMIT'],
  ['node is full', { changes: { maxCalls: 0 } }, {}, 'OVERLOADED'],
  ['nobody waits any more', {}, { signal: gone.signal }, 'UNAVAILABLE'],
];

for (const [name, options, request, code, field] of REFUSALS) {
  test(`not placed: ${name}`, async () => {
    const { calls, entries, clock } = createService(options);
    const placed = await calls.placeWeb({ ...WEB, ...request });
    assert.ok(!placed.ok);
    assert.equal(placed.refusal.code, code);
    assert.equal(placed.refusal.field, field);
    assert.deepEqual(entries, []);
    assert.equal(clock.pending, 0);
  });
}

test('neither trunk nor SIP is asked; whoever calls us may be one we must not call', async () => {
  const service = createService({ trunks: [] });
  const placed = await service.calls.placeWeb({
    ...WEB,
    squadId: SQUAD,
    remoteNumber: '+15550166',
    customerId: 'c-1',
    metadata: { a: 1 },
    requestId: 'r-1',
    prompt: 'Be brief.',
  });
  assert.ok(placed.ok);
  const { call } = placed;
  assert.deepEqual(
    [call.channel, call.direction, call.fromNumber, call.toNumber, call.status, call.squadId],
    ['web', 'inbound', '+15550166', null, 'dialing', SQUAD],
  );
  assert.deepEqual(
    [call.agentId, call.callerPhone, call.sipCallId],
    [SECOND.id, '+15550166', null],
  );
  const initiated = service.entries[0];
  assert.equal(initiated?.event.request_id, 'r-1');
  assert.deepEqual(initiated?.event.data, {
    ...{ direction: 'inbound', channel: 'web', from: '+15550166', to: null },
    ...{ agent_id: SECOND.id, trunk_id: null, customer_id: 'c-1', campaign_id: null },
  });
  await service.calls.hangup(ACCOUNT, call.id, { reason: null, by: 'api' });
});

test('a web call takes room like any other, and none once it is over', async () => {
  const service = createService({ settings: { maxConcurrentCalls: 1 } });
  const id = await place(service);
  assert.equal((await service.calls.placeWeb(WEB)).ok, false);
  await service.calls.hangup(ACCOUNT, id, { reason: null, by: 'api' });
  assert.equal((await service.calls.placeWeb(WEB)).ok, true);
});

// ---- Attaching ----

test('nobody within 60 s: no_answer, and nobody attaches any more', async () => {
  const service = createService();
  const id = await place(service);
  await pass(service, 59_900);
  assert.equal((await service.calls.get(ACCOUNT, id))?.status, 'dialing');
  await pass(service, 200);
  const call = await service.calls.get(ACCOUNT, id);
  assert.deepEqual(
    [call?.status, call?.outcome, call?.hangupReason, call?.endedBy],
    ['failed', 'no_answer', 'timeout', 'system'],
  );
  assert.deepEqual(service.types(), ['call.initiated', 'call.timeout']);
  assert.deepEqual(service.last()?.data, {
    ...{ after_s: 60, outcome: 'no_answer', hangup_reason: 'timeout' },
  });
  assert.equal(refusalOf(service, id, 'caller'), 'OVER');
  assert.equal(service.clock.pending, 0);
});

test('while a call is being cleared up it is over for whoever attaches, not taken', async () => {
  const { service, id, client, rig } = await talk();
  const closing = Promise.withResolvers<void>();
  const close = rig.media.close.bind(rig.media);
  rig.media.close = () => closing.promise.then(close);
  client.detach();
  void service.calls.hangup(ACCOUNT, id, { reason: null, by: 'api' });
  await settle();
  assert.equal(refusalOf(service, id, 'caller'), 'OVER');
  closing.resolve();
  await pass(service, 500);
  assert.equal(service.clock.pending, 0);
});

test('the first to attach is the caller side, and answers', async () => {
  const { service, id, client, frames } = await talk();
  const record = service.record();
  assert.deepEqual(
    [record['status'], record['sip_call_id'], record['sip_status']],
    [...['answered', null, null]],
  );
  const answered = service.entries.find(({ event }) => event.type === 'call.answered');
  assert.ok(answered && 'codec' in answered.event.data);
  assert.equal(answered.event.data.codec, 'L16');
  assert.equal(client.call.status, 'answered');
  assert.deepEqual(frames[0], { type: 'status', status: 'answered' });
  assert.equal(refusalOf(service, id, 'caller'), 'TAKEN');
  client.hangup(null);
  await pass(service, 500);
  const call = await service.calls.get(ACCOUNT, id);
  assert.deepEqual(
    [call?.status, call?.outcome, call?.hangupReason, call?.endedBy],
    ['ended', 'completed', 'user', 'caller'],
  );
  assert.equal(frames.at(-1)?.type, 'ended');
  assert.equal(service.clock.pending, 0);
});

test('who may not attach', async () => {
  const service = createService();
  const id = await place(service);
  const rows: [want: string, got: string | null][] = [
    ['NOT_FOUND', refusalOf(service, NOBODY, 'caller')],
    ['NOT_FOUND', refusalOf(service, id, 'caller', { accountId: OTHER_ACCOUNT })],
    ['NOT_FOUND', refusalOf(service, id, 'caller', { allowedAgentIds: [SECOND.id] })],
    ['NOT_FOUND', refusalOf(service, id, 'listen', { allowedAgentIds: [] })],
  ];
  for (const [want, got] of rows) assert.equal(got, want);
  assert.equal(refusalOf(service, id, 'caller', { allowedAgentIds: [AGENT.id] }), null);
  await service.calls.hangup(ACCOUNT, id, { reason: null, by: 'api' });
  assert.equal(refusalOf(service, id, 'caller'), 'OVER');
  assert.equal(refusalOf(service, id, 'listen'), 'OVER');
});

test('a call over SIP has a phone for a caller side', async () => {
  const service = createService();
  const invite = createInvite();
  service.arrive(invite.call);
  await settle();
  const [call] = await service.calls.live(ACCOUNT);
  assert.ok(call);
  assert.equal(refusalOf(service, call.id, 'caller'), 'WRONG_ROLE');
  assert.equal(refusalOf(service, call.id, 'listen'), null);
  invite.dialog.end('remote');
});

test('hung up over the API: cancelled before somebody came, completed after', async () => {
  const waiting = createService();
  const id = await place(waiting);
  const view = await waiting.calls.hangup(ACCOUNT, id, { reason: null, by: 'api' });
  assert.deepEqual([view?.status, view?.outcome], ['failed', 'cancelled']);
  assert.equal(waiting.clock.pending, 0);
  const { service, id: second, frames } = await talk();
  const after = service.calls.hangup(ACCOUNT, second, { reason: null, by: 'api' });
  await pass(service, 500);
  assert.deepEqual([(await after)?.status, (await after)?.outcome], ['ended', 'completed']);
  assert.equal(frames.at(-1)?.type, 'ended');
});

test('a drain lets a web call finish, then ends it', async () => {
  const { service, id } = await talk();
  const drained = service.calls.drain(1000);
  await settle();
  assert.equal((await service.calls.placeWeb(WEB)).ok, false);
  await pass(service, 2000);
  await drained;
  assert.equal((await service.calls.get(ACCOUNT, id))?.outcome, 'completed');
});

// ---- Loss and return ----

test('back within 10 s: it goes on where it stood, and no silence was counted', async () => {
  const { service, id, client, rig } = await talk();
  await pass(service, 3000); // the greeting, and two seconds of nobody speaking
  client.detach();
  client.detach();
  assert.equal(client.read(new Int16Array(160)), 0);
  assert.equal(client.push(new Int16Array(160)), 0);
  await pass(service, 9900);
  const again = attach(service, id);
  const frames: CallFrame[] = [];
  again.onFrame((frame) => frames.push(frame));
  await pass(service, 9000);
  assert.equal((await said(service, id)).length, 1, 'asked nothing yet: 11 of 12 s');
  await pass(service, 4000);
  assert.equal((await said(service, id)).length, 2, 'are you still there?');
  assert.ok(frames.some(({ type }) => type === 'reply'));
  const starts = rig.log.filter((line) => line.startsWith('media.start'));
  assert.deepEqual(starts, ['media.start', 'media.start', 'media.start'], 'stopped and went on');
  again.hangup(null);
  await pass(service, 500);
  assert.equal(service.clock.pending, 0);
});

test('not back within 10 s: media_lost', async () => {
  const { service, id, client } = await talk();
  await pass(service, 2000);
  client.detach();
  await pass(service, 10_100);
  const call = await service.calls.get(ACCOUNT, id);
  assert.deepEqual(
    [call?.status, call?.outcome, call?.hangupReason, call?.endedBy],
    ['ended', 'media_lost', 'error', 'system'],
  );
  assert.equal(refusalOf(service, id, 'caller'), 'OVER');
  assert.equal(service.clock.pending, 0);
});

test('gone before it was answered, or in that very moment', async () => {
  const early = createService();
  const placed = await early.calls.placeWeb(WEB);
  assert.ok(placed.ok);
  const first = attach(early, placed.call.id); // the media plane is not open yet
  first.detach();
  await settle();
  assert.equal((await early.calls.get(ACCOUNT, placed.call.id))?.status, 'dialing');
  attach(early, placed.call.id);
  await settle();
  assert.equal((await early.calls.get(ACCOUNT, placed.call.id))?.status, 'answered');

  const late = createService();
  const id = await place(late);
  attach(late, id).detach();
  await settle();
  await pass(late, 10_100);
  assert.equal((await late.calls.get(ACCOUNT, id))?.outcome, 'media_lost');
  assert.equal(late.clock.pending, 0);

  const quitter = createService();
  const call = await quitter.calls.placeWeb(WEB);
  assert.ok(call.ok);
  attach(quitter, call.call.id).hangup(null);
  await settle();
  assert.equal((await quitter.calls.get(ACCOUNT, call.call.id))?.outcome, 'abandoned');
  assert.equal(quitter.clock.pending, 0);
});
