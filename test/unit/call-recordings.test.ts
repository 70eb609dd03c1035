/** Recording by command on a simulated clock: every state, the notice, the consent (contract 2.7, 4.6). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type { CallControllerOptions } from '#sessions/call-control.ts';
import { answered, messages, over, pass, POLICY, refusal, SAY } from './_control-rig.ts';
import { fakeTts } from './_fakes.ts';

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
