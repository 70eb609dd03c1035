/** An INVITE from its arrival to the answer: account, trunk, rule, limits, and what the caller's side sees of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Action } from '#lib/answer-rule.ts';
import { AppError } from '#lib/errors.ts';
import type { TrunkSource } from '#lib/trunk.ts';
import {
  ACCOUNT,
  CARRIER,
  createInvite,
  createService,
  OTHER_ACCOUNT,
  RULE,
  SECOND,
  SQUAD,
  TRUNK_A,
  TRUNK_B,
  type ServiceOptions,
} from './_call-service.ts';
import { AGENT, settle } from './_fakes.ts';

const source = (changes: Partial<TrunkSource> = {}): TrunkSource => ({
  ...{ accountId: ACCOUNT, trunkId: TRUNK_A, transport: 'udp', host: CARRIER, cidrs: [] },
  ...{ maxCalls: null, maxCps: null, ...changes },
});

type Service = ReturnType<typeof createService>;

async function pass(service: Service, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    service.clock.advance(Math.min(500, left));
    await settle();
  }
}

const facts = (service: Service) => {
  const { outcome, status, rule_id, sip_status, hangup_reason } = service.record();
  return { outcome, status, rule_id, sip_status, hangup_reason };
};

test('a rule refuses with its status, once, and the record says blocked', async () => {
  const rows: [action: Action, status: number, line: string][] = [
    [{ answer: false, reject: { status: 603 } }, 603, '603 Decline'],
    [{ answer: false, reject: { status: 486, reason: 'Not now' } }, 486, '486 Not now'],
    [{ answer: false, reject: { status: 403, reason: 'a\r\nX: y' } }, 403, '403 a X: y'],
    [{ answer: false, reject: { status: 404 } }, 404, '404 Not Found'],
    [{ answer: false, reject: { status: 503 } }, 503, '503 Service Unavailable Retry-After'],
  ];
  for (const [action, status, line] of rows) {
    // The account is full, too: what is refused by rule takes no room.
    const service = createService({ action, settings: { maxConcurrentCalls: 0 } });
    const { call, log } = createInvite();
    service.arrive(call);
    await settle();
    await settle();
    assert.deepEqual(log, [line]);
    assert.deepEqual(service.types(), ['call.initiated', 'call.failed']);
    assert.deepEqual(facts(service), {
      ...{ outcome: 'blocked', status: 'failed', hangup_reason: null },
      ...{ rule_id: RULE, sip_status: status },
    });
    assert.equal(service.calls.liveCount, 0);
    assert.ok(!service.rig.log.includes('media.open'), 'no port was leased');
  }
});

test('answer: false rings for 30 s and is then refused with 480; so does answer_default ring', async () => {
  const rows: [options: ServiceOptions, ruleId: string | null][] = [
    [{ action: { answer: false } }, RULE],
    [{ answerDefault: 'ring' }, null],
  ];
  for (const [options, ruleId] of rows) {
    const service = createService(options);
    const { call, log } = createInvite();
    service.arrive(call);
    await settle();
    assert.deepEqual(log, ['180']);
    assert.equal((await service.calls.live(ACCOUNT))[0]?.status, 'ringing');
    await pass(service, 29_500);
    assert.deepEqual(log, ['180']);
    await pass(service, 500);
    assert.deepEqual(log, ['180', '480 Temporarily Unavailable']);
    assert.deepEqual(service.types(), ['call.initiated', 'call.ringing', 'call.failed']);
    assert.deepEqual(
      [facts(service).outcome, facts(service).rule_id, service.clock.pending],
      ['blocked', ruleId, 0],
    );
  }
});

test('answer_default reject refuses with 603', async () => {
  const service = createService({ answerDefault: 'reject' });
  const { call, log } = createInvite();
  service.arrive(call);
  await settle();
  assert.deepEqual([log, facts(service).outcome], [['603 Decline'], 'blocked']);
});

test('delayRingMs rings before anything else, and a caller who gives up meanwhile has abandoned', async () => {
  const rows: [action: Action, after: string][] = [
    [{ answer: true, delayRingMs: 2000 }, '200'],
    [{ answer: false, delayRingMs: 2000, reject: { status: 486 } }, '486 Busy Here'],
  ];
  for (const [action, after] of rows) {
    const service = createService({ action });
    const { call, log, dialog } = createInvite();
    service.arrive(call);
    await settle();
    await pass(service, 1500);
    assert.deepEqual(log, ['180']);
    await pass(service, 500);
    assert.deepEqual(log, ['180', after]);
    dialog.end('remote');
    await settle();

    const hasty = createService({ action });
    const invite = createInvite();
    hasty.arrive(invite.call);
    await settle();
    await pass(hasty, 500);
    invite.cancel();
    await settle();
    await pass(hasty, 3000);
    assert.deepEqual([invite.log, facts(hasty).outcome], [['180'], 'abandoned']);
    assert.deepEqual(hasty.types(), ['call.initiated', 'call.ringing', 'call.failed']);
    assert.ok(!hasty.rig.log.includes('media.open'), 'no port was leased');
    assert.equal(hasty.clock.pending, 0);
  }
});

test('hung up or stopped while it rings: the caller is refused, no port is leased', async () => {
  const service = createService({ action: { answer: false } });
  const { call, log } = createInvite();
  service.arrive(call);
  await settle();
  const id = (await service.calls.live(ACCOUNT))[0]?.id ?? '';
  await service.calls.hangup(ACCOUNT, id, { reason: null, by: 'api' });
  assert.deepEqual([log, facts(service).outcome], [['180', '603 Decline'], 'cancelled']);
  assert.equal(service.clock.pending, 0);
});

test('an announcement is said to its end whatever the caller does, then we hang up', async () => {
  const action: Action = { answer: true, useAgent: false, greeting: 'We are closed now' };
  const service = createService({ action });
  const { call, log } = createInvite();
  service.arrive(call);
  await settle();
  const { media } = service.rig;
  const at = { atMs: 100, startMs: 50, wireMs: 0 };
  media.emit({ type: 'speech.started', ...at });
  media.emit({ type: 'dtmf', atMs: 100, digit: '1', durationMs: 100 });
  media.emit({ type: 'speech.stopped', ...at, endMs: 90 });
  await pass(service, 1500);
  assert.deepEqual(log, ['200', 'bye']);
  const { outcome, hangup_reason } = facts(service);
  assert.deepEqual([outcome, hangup_reason], ['completed', 'ai']);
  const said = service.entries.filter(({ event }) => event.type === 'ai-response');
  assert.deepEqual(
    said.map(({ event }) => 'text' in event.data && event.data.text),
    ['We are closed now'],
  );
  assert.ok(!service.rig.log.includes('stt.close'), 'nobody listened');
});

test('agent, squad and greeting of a rule; forward and voicemail fall to the agent', async () => {
  type Row = [action: Action, agentId: string, squadId: string | null, greeting: string];
  const own = AGENT.greeting ?? '';
  const rows: Row[] = [
    [{ answer: true }, AGENT.id, null, own],
    [{ answer: true, agentId: SECOND.id, greeting: 'Hi' }, SECOND.id, null, 'Hi'],
    [{ answer: true, squadId: SQUAD }, SECOND.id, SQUAD, own],
    [{ answer: true, forward: { to: '+15550101' } }, AGENT.id, null, own],
    [{ answer: true, voicemail: {} }, AGENT.id, null, own],
  ];
  for (const [action, agentId, squadId, greeting] of rows) {
    const service = createService({ action });
    const { call, log, dialog } = createInvite();
    service.arrive(call);
    await pass(service, 1500);
    const view = (await service.calls.live(ACCOUNT))[0];
    assert.deepEqual([view?.agentId, view?.squadId, view?.ruleId], [agentId, squadId, RULE]);
    const said = await service.calls.conversation(ACCOUNT, view?.id ?? '');
    assert.equal(said?.messages[0]?.content, greeting);
    assert.deepEqual(log, ['200']);
    assert.ok(!service.types().includes('call-error'));
    dialog.end('remote');
    await settle();
    assert.equal(facts(service).outcome, 'completed');
  }
});

test('a rule that fails costs no call: the default applies and RULE_FAILED is told', async () => {
  const broken = { timeRange: { start: '09:00', end: '18:00', timezone: 'Nowhere/Land' } };
  const rows: ServiceOptions[] = [
    {
      changes: {
        rules: {
          forRouting: async (accountId) => ({
            accountId,
            calendar: {
              ...{ timezone: 'UTC', countryCode: null, holidays: [] },
              answerDefault: 'agent',
            },
            rules: [
              {
                ...{ id: RULE, name: 'r', enabled: true, priority: 1, conditions: broken },
                ...{ action: { answer: false }, createdAt: '', updatedAt: '' },
              },
            ],
          }),
        },
      },
    },
    { action: { answer: true, agentId: '00000000-0000-4000-8000-00000000dead' } },
    { action: { answer: true, squadId: '00000000-0000-4000-8000-00000000dead' } },
  ];
  for (const options of rows) {
    const service = createService(options);
    const { call, log, dialog } = createInvite();
    service.arrive(call);
    await settle();
    assert.deepEqual(log, ['200']);
    const told = service.entries.find(({ event }) => event.type === 'call-error')?.event;
    assert.ok(told !== undefined && 'code' in told.data);
    assert.deepEqual([told.data.code, told.data.fatal], ['RULE_FAILED', false]);
    assert.equal(service.types()[0], 'call.initiated');
    dialog.end('remote');
    await settle();
  }
});

test('the account is that of the trunk, else of the called number', async () => {
  type Row = [
    at: TrunkSource[],
    called: string,
    account: string,
    trunkId: string | null,
    line?: string,
  ];
  const theirs = source({ accountId: OTHER_ACCOUNT, trunkId: TRUNK_B, transport: 'tls' });
  const rows: Row[] = [
    [[], '8001', ACCOUNT, null],
    [[], '9009', OTHER_ACCOUNT, null],
    [[source()], '9009', ACCOUNT, TRUNK_A],
    [[theirs], '8001', OTHER_ACCOUNT, TRUNK_B],
    // Both use one carrier: the owner of the number decides.
    [[source(), theirs], '9009', OTHER_ACCOUNT, TRUNK_B],
    [[theirs, source()], '8001', ACCOUNT, TRUNK_A],
    // The registration that it came by decides first, if it is one of that carrier's.
    [[theirs, source()], '8001', OTHER_ACCOUNT, TRUNK_B, TRUNK_B],
    [[source(), theirs], '9009', ACCOUNT, TRUNK_A, TRUNK_A],
    [[source()], '8001', ACCOUNT, TRUNK_A, TRUNK_B],
    [[], '8001', ACCOUNT, null, TRUNK_B],
  ];
  for (const [at, called, account, trunkId, line = null] of rows) {
    const service = createService({ at });
    const { call, dialog } = createInvite({ called });
    service.arrive({ ...call, line });
    await settle();
    const view = (await service.calls.live(account))[0];
    assert.deepEqual([view?.accountId, view?.trunkId], [account, trunkId]);
    assert.equal(
      view?.trunkTransport,
      at.find((one) => one.trunkId === trunkId)?.transport ?? null,
    );
    assert.equal(service.record()['trunk_id'], trunkId);
    dialog.end('remote');
    await settle();
  }
});

test('the calling app is believed from this machine and from trunks, cut to 50 characters', async () => {
  const rows: [header: string | undefined, believes: boolean, app: string | null][] = [
    [undefined, true, null],
    ['企业微信', true, '企业微信'],
    ['  wecom\t ', true, 'wecom'],
    ['x'.repeat(60), true, 'x'.repeat(50)],
    ['😀'.repeat(60), true, '😀'.repeat(50)],
    ['wecom', false, null],
  ];
  for (const [header, believes, app] of rows) {
    const service = createService({ believes });
    const headers = header === undefined ? {} : { 'X-Caller-App': header };
    const { call, dialog } = createInvite({ headers });
    service.arrive(call);
    await settle();
    const view = (await service.calls.live(ACCOUNT))[0];
    assert.deepEqual([view?.callerApp, service.record()['caller_app']], [app, app]);
    dialog.end('remote');
    await settle();
  }
});

test('beyond a limit of node, account or trunk: 503 with Retry-After, congestion', async () => {
  const rows: ServiceOptions[] = [
    { changes: { maxCalls: 1 } },
    { settings: { maxConcurrentCalls: 1 } },
    { at: [source({ maxCalls: 1 })] },
  ];
  for (const options of rows) {
    const service = createService(options);
    const first = createInvite();
    service.arrive(first.call);
    await settle();
    const second = createInvite();
    service.arrive(second.call);
    await settle();
    assert.deepEqual([first.log, second.log], [['200'], ['503 Service Unavailable Retry-After']]);
    assert.deepEqual([facts(service).outcome, facts(service).status], ['congestion', 'failed']);
    first.dialog.end('remote');
    await settle();
  }
});

test('without the database calls go on: settings unknown, routing late, nobody known', async () => {
  const away = new AppError('E_DATABASE_UNREACHABLE', 'away');
  const unset = createService({ changes: { accounts: { settings: () => Promise.reject(away) } } });
  const invite = createInvite();
  unset.arrive(invite.call);
  await settle();
  assert.deepEqual(invite.log, ['200']);
  invite.dialog.end('remote');
  await settle();

  const never = new Promise<never>(() => undefined);
  const late = createService({ changes: { rules: { forRouting: () => never } } });
  const waiting = createInvite();
  late.arrive(waiting.call);
  await settle();
  late.clock.advance(2_499);
  await settle();
  assert.deepEqual(waiting.log, []);
  late.clock.advance(1);
  await settle();
  assert.deepEqual([waiting.log, late.types()[1]], [['200'], 'call-error']);
  waiting.dialog.end('remote');
  await settle();

  const agents = {
    forInbound: () => Promise.reject(away),
    forCall: () => Promise.reject(away),
    accountOfNumber: () => Promise.reject(away),
    byId: () => Promise.reject(away),
    defaultFor: () => Promise.reject(away),
  };
  const nobody = createService({ changes: { agents } });
  const refused = createInvite();
  nobody.arrive(refused.call);
  await settle();
  assert.deepEqual([refused.log, nobody.entries], [['503 Service Unavailable Retry-After'], []]);
});
