/** Recording by command on a simulated clock: every state, the notice, the consent (contract 2.7, 4.6). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type { CallControllerOptions } from '#sessions/call-control.ts';
import {
  answered,
  messages,
  over,
  pass,
  POLICY,
  refusal,
  SAY,
  type Setup,
} from './_control-rig.ts';
import { fakeTts, settle } from './_fakes.ts';

const NOTICED = { ...POLICY, recordingNotice: 'We record now' };

test('recording: every command in every state', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  const act = async (action: 'start' | 'pause' | 'resume' | 'stop'): Promise<string> => {
    const done = await control.recording(accountId, id, { action });
    return done.ok ? done.data.recordingStatus : refusal(done);
  };
  const rows: [action: Parameters<typeof act>[0], expected: string][] = [
    ...(
      [
        ['pause', 'INVALID_STATE not_recording'],
        ['resume', 'INVALID_STATE not_recording'],
      ] as const
    ).map(([action, expected]): [typeof action, string] => [action, expected]),
    ['stop', 'none'],
    ['start', 'active'],
    ['start', 'active'],
    ['pause', 'active'],
    ['pause', 'active'],
    ['start', 'active'],
    ['pause', 'active'],
    ['resume', 'active'],
    ['resume', 'active'],
    ['stop', 'ready'],
    ['stop', 'ready'],
    ['pause', 'INVALID_STATE not_recording'],
    ['start', 'active'],
  ];
  for (const [action, expected] of rows) assert.equal(await act(action), expected, action);
  assert.deepEqual(messages(rig).slice(1), [
    'system: [Recording started]',
    ...['system: [Recording paused]', 'system: [Recording resumed]'],
    ...['system: [Recording paused]', 'system: [Recording resumed]'],
    'system: [Recording stopped]',
    'system: [Recording started]',
  ]);
  assert.ok(!rig.setup.story.messages.some(({ role }) => role === 'system'), 'no model sees them');
  await over(setup);
  const rowsOf = rig.entries.flatMap(({ recording }) => (recording === null ? [] : recording));
  assert.equal(new Set(rowsOf.map((row) => row.id)).size, 2);
  assert.ok(rowsOf.every((row) => row.started_at !== undefined));
  assert.deepEqual(rig.types().slice(-3), ['call.ended', 'recording.ready', 'recording.ready']);
  const records = rig.entries.map(({ record }) => record?.recording_id).filter(Boolean);
  assert.equal(records.at(-1), rowsOf.at(-1)?.id, 'the latest is the record’s');
});

test('recording: the notice is heard first, whole and once', async () => {
  const ports = {
    accounts: { settings: () => Promise.resolve({ ...POLICY, recordingNotice: 'We record now' }) },
  };
  const setup = await answered({ ports });
  const { control, accountId, id, rig } = setup;
  const begin = () => control.recording(accountId, id, { action: 'start' });
  for (let i = 0; i < 2; i++)
    assert.deepEqual(await begin(), { ok: true, data: { recordingStatus: 'none' } });
  await control.say(accountId, id, { ...SAY, interrupt: true });
  await pass(rig, 300);
  assert.ok(!rig.log.some((line) => line.startsWith('media.record')));
  await pass(rig, 2000);
  assert.equal(rig.log.filter((line) => line.startsWith('media.record')).length, 1);
  const begun = rig.entries.find(({ recording }) => recording !== null);
  assert.equal(begun?.event.type, 'conversation.message', 'with the notice itself');
  assert.ok(begun?.recording?.notice_at !== undefined);
  assert.deepEqual(messages(rig).slice(1), [
    'assistant: We record now',
    'assistant: One moment please',
  ]);
  await over(setup);

  const stopped = await answered({ ports });
  const act = (action: 'start' | 'stop') =>
    stopped.control.recording(stopped.accountId, stopped.id, { action });
  await act('start');
  await act('stop');
  await pass(stopped.rig, 3000);
  assert.ok(!stopped.rig.log.some((line) => line.startsWith('media.record')), 'taken back');
  await over(stopped);
});

test('recording: no consent, no settings, and a notice that nobody could say', async () => {
  const rows: [name: string, ports: Partial<CallControllerOptions>, expected: string][] = [
    [
      'needed and not given',
      { accounts: { settings: () => Promise.resolve({ ...POLICY, requireConsent: true }) } },
      'CONSENT_MISSING',
    ],
    ['nobody knows', { accounts: { settings: () => Promise.resolve(null) } }, 'CONSENT_MISSING'],
    [
      'nobody answers',
      { accounts: { settings: () => new Promise(() => undefined) } },
      'CONSENT_MISSING',
    ],
    [
      'given',
      {
        accounts: { settings: () => Promise.resolve({ ...POLICY, requireConsent: true }) },
        contacts: { mayRecord: () => Promise.resolve(true) },
      },
      'ok',
    ],
  ];
  for (const [name, ports, expected] of rows) {
    const setup = await answered({ ports });
    const started = setup.control.recording(setup.accountId, setup.id, { action: 'start' });
    await pass(setup.rig, 600);
    assert.equal(refusal(await started), expected, name);
    await over(setup);
  }
  const tts = {
    vendor: 'fake',
    async *speak(...args: Parameters<typeof fakeTts.speak>) {
      if (args[0].text.startsWith('We')) throw new AppError('E_PROVIDER_SERVER', 'no voice');
      yield* fakeTts.speak(...args);
    },
  };
  const settings = () => Promise.resolve({ ...POLICY, recordingNotice: 'We record now' });
  const mute = await answered({ tts, ports: { accounts: { settings } } });
  await mute.control.recording(mute.accountId, mute.id, { action: 'start' });
  await pass(mute.rig, 2000);
  assert.ok(!mute.rig.log.some((line) => line.startsWith('media.record')));
  assert.equal(mute.rig.types().filter((type) => type === 'call-error').length, 2);
  await over(mute);
});

test('recording: one that was on from the answer is stopped and begun anew', async () => {
  const setup = await answered({ records: true });
  const act = (action: 'start' | 'stop') =>
    setup.control.recording(setup.accountId, setup.id, { action });
  assert.deepEqual(await act('stop'), { ok: true, data: { recordingStatus: 'ready' } });
  setup.rig.media.stopRecording = () => Promise.resolve(null);
  await act('start');
  assert.deepEqual(await act('stop'), { ok: true, data: { recordingStatus: 'failed' } });
  await over(setup);
  const ended = setup.rig.entries.find(({ event }) => event.type === 'call.ended')?.event;
  assert.ok(ended !== undefined);
  assert.equal((ended.data as { recording_status: string }).recording_status, 'ready');
});

test('recording: a notice before the conversation that failed does not stand in the way of another', async () => {
  let fails = true;
  const tts = {
    vendor: 'fake',
    async *speak(...args: Parameters<typeof fakeTts.speak>) {
      if (fails && args[0].text.startsWith('We'))
        throw new AppError('E_PROVIDER_SERVER', 'no voice');
      yield* fakeTts.speak(...args);
    },
  };
  const ports = { accounts: { settings: () => Promise.resolve(NOTICED) } };
  const setup = await answered({ tts, ports, records: true, notice: 'We record now' });
  const { control, accountId, id, rig } = setup;
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  assert.ok(!rig.log.includes('record'));
  fails = false;
  assert.equal(refusal(await control.recording(accountId, id, { action: 'start' })), 'ok');
  await pass(rig, 2000);
  assert.equal(messages(rig).at(-1), 'assistant: We record now');
  assert.ok(rig.log.includes('record'), 'the file that was chosen before the answer');
  await over(setup);
});

test('recording: a notice under a muted agent is none', async () => {
  const ports = { accounts: { settings: () => Promise.resolve(NOTICED) } };
  const muting = (setup: Setup, on: boolean) =>
    setup.control.mute(setup.accountId, setup.id, { side: 'agent', on });
  const start = (setup: Setup) =>
    setup.control.recording(setup.accountId, setup.id, { action: 'start' });
  const isRecorded = ({ rig }: Setup): boolean =>
    rig.log.some((line) => /^(media\.)?record/.test(line));

  const before = await answered({ ports });
  await muting(before, true);
  assert.equal(refusal(await start(before)), 'INVALID_STATE agent_muted');
  await muting(before, false);
  assert.equal(refusal(await start(before)), 'ok');
  await pass(before.rig, 300);
  await muting(before, true);
  await muting(before, false);
  await pass(before.rig, 3000);
  assert.ok(!isRecorded(before), 'a part of it was not heard');
  assert.equal(before.rig.types().filter((type) => type === 'call-error').length, 1);
  await over(before);

  const first = await answered({ records: true, notice: 'We record now', greeted: false });
  await muting(first, true);
  await pass(first.rig, 3000);
  assert.ok(!isRecorded(first));
  await over(first);
});

test('recording: commands take effect in the order they came, and none after the end', async () => {
  const asked = Promise.withResolvers<typeof POLICY>();
  const setup = await answered({ ports: { accounts: { settings: () => asked.promise } } });
  const { control, accountId, id, rig } = setup;
  const act = (action: 'start' | 'stop') => control.recording(accountId, id, { action });
  const both = [act('start'), act('stop')];
  await pass(rig, 100);
  asked.resolve(POLICY);
  const [, stopped] = await Promise.all(both);
  assert.deepEqual(stopped, { ok: true, data: { recordingStatus: 'ready' } });
  assert.deepEqual(messages(rig).slice(1), [
    ...['system: [Recording started]', 'system: [Recording stopped]'],
  ]);
  await over(setup);

  const policy = Promise.withResolvers<typeof POLICY>();
  const late = await answered({ ports: { accounts: { settings: () => policy.promise } } });
  const begun = late.control.recording(late.accountId, late.id, { action: 'start' });
  const paused = late.control.recording(late.accountId, late.id, { action: 'pause' });
  late.rig.dialog.end('remote');
  await settle();
  policy.resolve(POLICY);
  await settle();
  assert.equal(refusal(await begun), 'CALL_NOT_ACTIVE');
  assert.equal(refusal(await paused), 'CALL_NOT_ACTIVE');
  assert.ok(!late.rig.log.some((line) => line.startsWith('media.record')));
  await over(late);
});

test('recording: one that cannot begin costs no call', async () => {
  const ports = { accounts: { settings: () => Promise.resolve(NOTICED) } };
  for (const given of [{}, { ports }]) {
    const setup = await answered(given);
    setup.rig.media.startRecording = () => {
      throw new AppError('E_CONFLICT', 'the one before is not finished');
    };
    const options = { action: 'start' } as const;
    const started = await setup.control.recording(setup.accountId, setup.id, options);
    assert.ok(started.ok);
    await pass(setup.rig, 2000);
    assert.equal(setup.rig.setup.story.snapshot().recordingStatus, 'failed');
    assert.ok(!setup.rig.setup.story.isOver, 'the call goes on');
    const said = await setup.control.say(setup.accountId, setup.id, SAY);
    assert.equal(refusal(said), 'ok');
    await over(setup);
  }
});
