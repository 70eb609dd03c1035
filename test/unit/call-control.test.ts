/** Commands to one call on a simulated clock: every command, every refusal, every deadline (contract 2.7). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { unrestricted, type DtmfMode } from '#lib/trunk.ts';
import type { ControlResult } from '#sessions/call-control-types.ts';
import { MAX_WAITING } from '#sessions/turn-types.ts';
import { trunkOf } from './_call-service.ts';
import {
  answered,
  DTMF,
  messages,
  over,
  pass,
  PLAY,
  refusal,
  SAY,
  type Setup,
} from './_control-rig.ts';
import { fakeLlm, fakeTts, settle } from './_fakes.ts';

type Command = [name: string, act: (setup: Setup) => Promise<ControlResult<unknown>>];
const COMMANDS: readonly Command[] = [
  ['play', ({ control, accountId, id }) => control.play(accountId, id, PLAY)],
  ['say', ({ control, accountId, id }) => control.say(accountId, id, SAY)],
  ['dtmf', ({ control, accountId, id }) => control.dtmf(accountId, id, DTMF)],
  ['hold', ({ control, accountId, id }) => control.hold(accountId, id, { on: true, music: true })],
  [
    'mute',
    ({ control, accountId, id }) => control.mute(accountId, id, { side: 'caller', on: true }),
  ],
  [
    'message',
    ({ control, accountId, id }) => control.message(accountId, id, { text: 'x', respond: true }),
  ],
  [
    'recording',
    ({ control, accountId, id }) => control.recording(accountId, id, { action: 'start' }),
  ],
];

test('every command is refused for another account, before the answer and after the end', async () => {
  const waiting = Promise.withResolvers<never>();
  for (const [name, act] of COMMANDS) {
    const live = await answered();
    const stranger = { ...live, accountId: '00000000-0000-4000-8000-0000000000ff' };
    assert.equal(refusal(await act(stranger)), 'NOT_FOUND', name);
    await over(live);
    assert.equal(refusal(await act(live)), 'CALL_NOT_ACTIVE', name);

    const ringing = await answered({ connect: () => waiting.promise, greeted: false });
    assert.equal(refusal(await act(ringing)), 'CALL_NOT_ANSWERED', name);
    ringing.call.stop();
    await pass(ringing.rig, 4000);
  }
});

test('say: its turn, after the greeting or instead of it, kept as it was heard', async () => {
  const after = await answered({ greeted: false });
  const said = await after.control.say(after.accountId, after.id, SAY);
  assert.deepEqual(said, { ok: true, data: { turn: 2 } });
  await pass(after.rig, 3000);
  assert.deepEqual(messages(after.rig), [
    'assistant: Hello there my friend',
    'assistant: One moment please',
  ]);
  const told = after.rig.entries.filter(({ event }) => event.type === 'ai-response');
  assert.deepEqual(
    told.map(({ event }) => (event.data as { turn: number }).turn),
    [1, 2],
  );
  await over(after);

  const instead = await answered({ greeted: false });
  await pass(instead.rig, 400);
  await instead.control.say(instead.accountId, instead.id, { ...SAY, interrupt: true });
  await pass(instead.rig, 3000);
  assert.deepEqual(messages(instead.rig), [
    'assistant: Hello there /',
    'assistant: One moment please',
  ]);
  assert.ok(!instead.rig.types().includes('user-interrupted'), 'the caller did not');
  await over(instead);
});

test('say: a voice that fails is told and not apologised for', async () => {
  const tts = {
    vendor: 'fake',
    async *speak(...args: Parameters<typeof fakeTts.speak>) {
      if (args[0].text.startsWith('One')) throw new AppError('E_PROVIDER_SERVER', 'no voice');
      yield* fakeTts.speak(...args);
    },
  };
  const setup = await answered({ tts });
  await setup.control.say(setup.accountId, setup.id, SAY);
  await pass(setup.rig, 2000);
  assert.deepEqual(messages(setup.rig), ['assistant: Hello there my friend']);
  assert.ok(setup.rig.types().includes('call-error'));
  await setup.control.say(setup.accountId, setup.id, { ...SAY, text: 'I am back' });
  await pass(setup.rig, 2000);
  assert.equal(messages(setup.rig).at(-1), 'assistant: I am back');
  await over(setup);
});

test('only so much may wait to be said', async () => {
  const setup = await answered({ greeted: false });
  for (let i = 0; i < MAX_WAITING; i++)
    assert.equal(refusal(await setup.control.say(setup.accountId, setup.id, SAY)), 'ok');
  for (const act of [COMMANDS[0], COMMANDS[1], COMMANDS[5]] as Command[])
    assert.equal(refusal(await act[1](setup)), 'INVALID_STATE waiting_full', act[0]);
  assert.ok(!messages(setup.rig).includes('system: x'), 'a note that is refused is not kept');
  const urgent = { ...SAY, interrupt: true };
  assert.equal(refusal(await setup.control.say(setup.accountId, setup.id, urgent)), 'ok');
  await over(setup);
});

test('play: named in the transcript, replaced by the next sound, ended by what waits', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  const first = await control.play(accountId, id, { ...PLAY, loop: true });
  assert.ok(first.ok && first.data.durationMs === 500);
  await pass(rig, 300);
  await control.play(accountId, id, { ...PLAY, title: 'b.wav', loop: false });
  await pass(rig, 1500);
  assert.deepEqual(messages(rig).slice(1), [
    'assistant: [Audio: a.wav] /',
    'assistant: [Audio: b.wav]',
  ]);
  await control.say(accountId, id, SAY);
  await control.play(accountId, id, { ...PLAY, title: 'c.wav' });
  await control.play(accountId, id, { ...PLAY, title: 'd.wav' });
  await pass(rig, 3000);
  assert.deepEqual(messages(rig).slice(3), [
    'assistant: One moment please',
    'assistant: [Audio: d.wav]',
  ]);
  await over(setup);
});

test('message: in the model’s context, never spoken; with respond a turn of its own', async () => {
  const seen: string[][] = [];
  const inputs: string[] = [];
  const llm = fakeLlm((text) => [{ type: 'text', text: `Noted ${text}.` }]);
  const reply: typeof llm.reply = (request, signal) => {
    seen.push(request.messages.map(({ role, content }) => `${role}: ${content}`));
    inputs.push(request.input.kind);
    return llm.reply(request, signal);
  };
  const setup = await answered({ llm: { ...llm, reply } });
  const { control, accountId, id, rig } = setup;
  await control.message(accountId, id, { text: 'be kind', respond: false });
  await pass(rig, 1000);
  assert.equal(seen.length, 0);
  await control.message(accountId, id, { text: 'now', respond: true });
  await pass(rig, 2000);
  assert.deepEqual(inputs, ['note']);
  assert.deepEqual(seen[0]?.slice(-2), ['system: be kind', 'system: now']);
  assert.deepEqual(messages(rig).slice(1), [
    ...['system: be kind', 'system: now', 'assistant: Noted now.'],
  ]);
  await over(setup);
});

test('hold: agreed on, idempotent, and the agent’s time stands still', async () => {
  const setup = await answered({
    agent: { silence: { promptAfterS: 12, prompts: 2, promptText: 'Hello?', hangupAfterS: 30 } },
  });
  const { control, accountId, id, rig } = setup;
  rig.dialog.answerTo = (sdp) => Promise.resolve(sdp);
  const hold = (on: boolean, music = true) => control.hold(accountId, id, { on, music });
  assert.equal(refusal(await hold(false)), 'ok', 'off is off');
  assert.ok(!rig.log.includes('reinvite'));
  for (let i = 0; i < 2; i++) assert.deepEqual(await hold(true), { ok: true, data: { on: true } });
  assert.equal(rig.log.filter((line) => line === 'reinvite').length, 1);
  assert.equal(rig.log.filter((line) => line === 'media.loop on').length, 1);
  for (const act of [COMMANDS[0], COMMANDS[1]] as Command[])
    assert.equal(refusal(await act[1](setup)), 'INVALID_STATE on_hold', act[0]);
  await pass(rig, 60_000);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend'], 'nobody asks');
  rig.media.emit({ type: 'dtmf', atMs: 0, digit: '1', durationMs: 100 });
  assert.equal(refusal(await hold(false)), 'ok');
  assert.equal(rig.log.at(-1), 'media.loop off');
  await pass(rig, 10_000);
  assert.equal(messages(rig).length, 1, 'the wait goes on where it was');
  await pass(rig, 2000);
  assert.equal(messages(rig).at(-1), 'assistant: Hello?');
  await over(setup);
});

test('hold: what the other side may do about it', async () => {
  const rows: [name: string, answer: () => Promise<string>, expected: string][] = [
    ['no', () => Promise.reject(rejected(488)), 'REJECTED 488'],
    ['nothing', () => new Promise(() => undefined), 'TIMEOUT'],
    ['gone', () => Promise.reject(new AppError('E_SIP_DIALOG_GONE', 'gone')), 'CALL_NOT_ACTIVE'],
    ['junk', () => Promise.reject(new AppError('E_SDP', 'junk')), 'REJECTED E_SDP'],
  ];
  for (const [name, answer, expected] of rows) {
    const setup = await answered();
    setup.rig.dialog.answerTo = answer;
    const options = { on: true, music: true };
    const held = setup.control.hold(setup.accountId, setup.id, options);
    await pass(setup.rig, 2100);
    assert.equal(refusal(await held), expected, name);
    assert.ok(!setup.rig.log.includes('media.loop on'), name);
    assert.equal(refusal(await setup.control.say(setup.accountId, setup.id, SAY)), 'ok', name);
    await over(setup);
  }
});

const rejected = (status: number): AppError =>
  new AppError('E_SIP_REJECTED', 'refused', { details: { status } });

test('mute: once for each change', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  for (const on of [true, true, false, false])
    for (const side of ['caller', 'agent'] as const) {
      const done = await control.mute(accountId, id, { side, on });
      assert.deepEqual(done, { ok: true, data: { side, on } });
    }
  assert.deepEqual(
    rig.log.filter((line) => line.includes('mute')),
    ['media.mute caller', 'media.mute agent', 'media.unmute caller', 'media.unmute agent'],
  );
  await over(setup);
});

test('dtmf: by the trunk’s mode, the far end’s abilities and the command', async () => {
  const trunk = { ...unrestricted(trunkOf()), dtmfMode: 'info' as const };
  const byTrunk = { of: () => Promise.resolve({ usable: [trunk], ids: [], hasActive: true }) };
  const away = { of: () => Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away')) };
  const rows: [
    name: string,
    how: {
      trunkId?: string;
      trunks?: typeof byTrunk | typeof away;
      events?: boolean;
      mode?: DtmfMode;
    },
    log: string[],
  ][] = [
    ['no trunk', {}, ['media.dtmf 1w# rfc4733 100/80']],
    ['no events', { events: false }, ['media.dtmf 1w# inband 100/80']],
    ['by command', { mode: 'inband' }, ['media.dtmf 1w# inband 100/80']],
    ['by trunk', { trunkId: trunk.id ?? '', trunks: byTrunk }, ['info 1 100', 'info # 100']],
    ['no database', { trunkId: trunk.id ?? '', trunks: away }, ['media.dtmf 1w# rfc4733 100/80']],
  ];
  for (const [name, how, expected] of rows) {
    const setup = await answered(how.trunks === undefined ? {} : { ports: { trunks: how.trunks } });
    const { control, accountId, id, rig } = setup;
    rig.media.takesEvents = how.events ?? true;
    if (how.trunkId !== undefined)
      rig.setup.story.reroute({ trunkId: how.trunkId, trunkTransport: 'udp', from: null });
    const mode = how.mode === undefined ? {} : { mode: how.mode };
    const sent = await control.dtmf(accountId, id, { ...DTMF, ...mode });
    assert.deepEqual(sent, { ok: true, data: { sent: '1w#' } }, name);
    await pass(rig, 1500);
    assert.deepEqual(
      rig.log.filter((line) => /dtmf|info/.test(line)),
      expected,
      name,
    );
    await over(setup);
  }
});

test('dtmf: refused, too many, and one command after the other', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  const digits = '1'.repeat(64);
  const long = { digits, toneMs: 40, gapMs: 40, mode: 'info' as const };
  rig.dialog.sendDtmf = (digit) => {
    rig.log.push(`info ${digit}`);
    return digit === '9' ? Promise.reject(rejected(415)) : Promise.resolve();
  };
  assert.equal(
    refusal(await control.dtmf(accountId, id, { ...long, digits: '9' })),
    'REJECTED 415',
  );
  assert.equal(rig.types().at(-1), 'call-error');
  const both = [
    control.dtmf(accountId, id, long),
    control.dtmf(accountId, id, { ...long, digits: '2' }),
  ];
  assert.equal(refusal(await control.dtmf(accountId, id, long)), 'INVALID_STATE digits_full');
  await settle();
  assert.equal(refusal((await both[0]) as ControlResult<unknown>), 'ok');
  await pass(rig, 1900);
  assert.equal(rig.log.at(-1), 'info 1', 'the second waits');
  await pass(rig, 200);
  assert.equal(
    refusal((await both[1]) as ControlResult<unknown>),
    'TIMEOUT',
    'and is sent all the same',
  );
  await pass(rig, 5000);
  assert.equal(rig.log.at(-1), 'info 2');
  await over(setup);
});

test('mute: keys of a muted caller reach nobody, however they come', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  await control.mute(accountId, id, { side: 'caller', on: true });
  rig.dialog.press('7', 100);
  await control.mute(accountId, id, { side: 'caller', on: false });
  rig.dialog.press('8', 100);
  await pass(rig, 2000);
  assert.deepEqual(messages(rig).slice(1), ['user: [DTMF 8]', 'assistant: You said #8.']);
  assert.equal(rig.types().filter((type) => type === 'dtmf.received').length, 1);
  await over(setup);
});
