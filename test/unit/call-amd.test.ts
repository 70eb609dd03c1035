/** What a call does about who answers it, on a simulated clock: what is said, when it ends, what the record has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import { runCall } from '#sessions/call.ts';
import { createRig, settle, type Rig } from './_fakes.ts';

const MACHINE = 'You have reached Ann. Please leave a message after the tone.';
const MENU = 'For sales, press 1.';
const NOTICE = 'This call is recorded, whether you like it or not. '.repeat(8).trim();

async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 20) {
    rig.clock.advance(Math.min(20, left));
    await settle();
  }
}

/** Speech of the other side, from now on, read when it is over. */
async function speaks(rig: Rig, text: string, ms: number): Promise<void> {
  const startMs = rig.setup.story.callTimeMs();
  const wireMs = performance.timeOrigin + rig.clock.now();
  rig.media.emit({ type: 'speech.started', atMs: startMs, startMs, wireMs });
  await pass(rig, ms);
  const atMs = startMs + ms;
  rig.media.emit({ type: 'speech.stopped', atMs, startMs, endMs: atMs, wireMs: wireMs + ms });
  const times = { startMs: null, endMs: null, confidence: 1, language: 'en' } as const;
  rig.hear({ type: 'final', text, ...times });
  await settle();
}

type Run = {
  readonly rig: Rig;
  readonly call: ReturnType<typeof runCall>;
  readonly done: () => boolean;
};

async function start(
  agent: Partial<AgentConfig>,
  { amd = true, notice = null as string | null } = {},
): Promise<Run> {
  const rig = createRig({ agent: { recording: false, ...agent } });
  const call = runCall(rig.deps, { ...rig.setup, amd, notice });
  let isDone = false;
  void call.done.then(() => (isDone = true));
  await settle();
  await pass(rig, 200);
  return { rig, call, done: () => isDone };
}

const said = (rig: Rig): string[] =>
  rig.setup.story.messages.flatMap(({ role, content, interrupted }) =>
    role === 'assistant' ? [content + (interrupted === true ? ' /' : '')] : [],
  );
const amdOf = (rig: Rig) => rig.setup.story.snapshot().metadata['amd'];
const results = (rig: Rig): number => rig.types().filter((type) => type === 'amd.result').length;

test('a machine is hung up on, and that is no conversation', async () => {
  for (const voicemail of [undefined, { action: 'hang_up', message: 'Unused.' } as const]) {
    const { rig, call } = await start(voicemail === undefined ? {} : { voicemail });
    await speaks(rig, MACHINE, 3_000);
    await pass(rig, 200);
    const ending = await call.done;
    assert.deepEqual(
      [ending.outcome, ending.endedBy, ending.hangupReason, ending.fault],
      ['voicemail', 'agent', 'ai', null],
    );
    assert.deepEqual(Object.keys(amdOf(rig) as object), ['result', 'cause', 'ms']);
    assert.ok(rig.log.includes('media.untap'), 'nobody listens any more');
  }
});

test('a message is left whole once the machine is silent; without one it is the greeting', async () => {
  const rows: [Partial<AgentConfig>, string][] = [
    [{ voicemail: { action: 'message', message: 'Call {{who}} back' } }, 'Call Bob back'],
    [{ voicemail: { action: 'message', message: null } }, 'Hello there my friend'],
  ];
  for (const [agent, expected] of rows) {
    const { rig, call, done } = await start({ ...agent, variables: { who: 'Bob' } });
    await speaks(rig, MACHINE, 3_000);
    await pass(rig, 2_500);
    const before = said(rig).length;
    assert.equal(done(), false);
    await pass(rig, 6_000);
    assert.equal(done(), true);
    assert.equal((await call.done).outcome, 'voicemail');
    assert.equal(said(rig).length, before + 1);
    assert.equal(said(rig).at(-1), expected);
    assert.equal((amdOf(rig) as { message_left: boolean }).message_left, true);
  }
});

test('nothing to leave: the call ends', async () => {
  const { rig, call } = await start({
    ...{ greeting: null, voicemail: { action: 'message', message: null } },
  });
  await speaks(rig, MACHINE, 3_000);
  await pass(rig, 200);
  assert.equal((await call.done).outcome, 'voicemail');
});

test('a box that hangs up first was a voicemail box all the same, and no message was left', async () => {
  const { rig, call } = await start({ voicemail: { action: 'message', message: 'Call back' } });
  await speaks(rig, MACHINE, 3_000);
  await pass(rig, 200);
  rig.dialog.end('remote');
  const ending = await call.done;
  assert.deepEqual([ending.outcome, ending.endedBy], ['voicemail', 'caller']);
  assert.equal((amdOf(rig) as { message_left: boolean }).message_left, false);
});

test('while a machine speaks nobody answers it, asks whether it is there, or greets it after a notice', async () => {
  const { rig, call } = await start(
    {
      greeting: 'Good day to you',
      voicemail: { action: 'message', message: 'Call back' },
    },
    { notice: NOTICE },
  );
  const startMs = rig.setup.story.callTimeMs();
  const wireMs = performance.timeOrigin + rig.clock.now();
  rig.media.emit({ type: 'speech.started', atMs: startMs, startMs, wireMs });
  await pass(rig, 25_000);
  assert.deepEqual(
    said(rig).filter((text) => !text.endsWith('/')),
    [NOTICE],
  );
  await pass(rig, 12_000);
  assert.equal((await call.done).outcome, 'voicemail');
  assert.equal(said(rig).at(-1), 'Call back');
});

test('a menu: the greeting stops, the model is told and takes a turn; a person: nothing changes', async () => {
  const menu = await start({ greeting: 'word '.repeat(40) });
  await speaks(menu.rig, MENU, 2_000);
  await pass(menu.rig, 4_000);
  const notes = menu.rig.setup.story.messages.filter(({ role }) => role === 'system');
  assert.match(notes.at(-1)?.content ?? '', /automated phone menu.*"For sales, press 1\."/);
  assert.doesNotMatch(notes.at(-1)?.content ?? '', /send_dtmf/, 'it has no such tool');
  assert.equal(said(menu.rig).at(-1), 'You said For sales, press 1..');
  menu.rig.dialog.end('remote');
  assert.equal((await menu.call.done).outcome, 'completed');

  const person = await start({});
  await speaks(person.rig, 'Hello?', 500);
  await pass(person.rig, 4_000);
  person.rig.dialog.end('remote');
  assert.equal((await person.call.done).outcome, 'completed');
  assert.equal((amdOf(person.rig) as { result: string }).result, 'human');
  assert.equal(results(person.rig), 1);
});

test('nobody asked: a machine is a caller like others', async () => {
  const { rig, call } = await start({}, { amd: false });
  await speaks(rig, MACHINE, 3_000);
  await pass(rig, 4_000);
  rig.dialog.end('remote');
  assert.equal((await call.done).outcome, 'completed');
  assert.equal(results(rig), 0);
  assert.equal(amdOf(rig), undefined);
  assert.ok(!rig.log.includes('media.tap'));
});
