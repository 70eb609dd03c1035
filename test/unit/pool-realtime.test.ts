/** Speech-to-speech sessions that are opened anew, at the same vendor or the next, and told what was said. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { RealtimeEvent, RealtimeProvider, RealtimeSession } from '#providers/contract.ts';
import { failoverRealtime } from '#providers/pool/failover-realtime.ts';
import { broken, pass, rigOf } from './_pool-kit.ts';

type Opened = {
  readonly vendor: string;
  readonly history: string[];
  readonly said: string[];
  pushed: number;
  isClosed: boolean;
  tell(event: RealtimeEvent): void;
};

type Script = { readonly name: string; readonly openMs?: number; readonly fails?: ErrorCode };

function model(clock: SimulatedClock, script: Script, opened: Opened[]): RealtimeProvider {
  const { name, openMs = 100, fails } = script;
  return {
    ...{ vendor: name, hasTools: true },
    async open({ history, ...call }, signal) {
      await delay(openMs, signal, clock);
      if (fails !== undefined) throw broken(fails);
      const own: Opened = {
        ...{
          vendor: name,
          said: [],
          pushed: 0,
          isClosed: false,
          tell: (event) => call.onEvent(event),
        },
        history: history.map(({ role, content }) => `${role}: ${content}`),
      };
      opened.push(own);
      return {
        push: (pcm) => void (own.pushed += pcm.length),
        say: (text) => void own.said.push(`say ${text}`),
        text: (text) => void own.said.push(`text ${text}`),
        toolResult: (id, content) => void own.said.push(`result ${id} ${content}`),
        interrupt: (generation, heardMs) =>
          void own.said.push(`interrupt ${generation} ${heardMs}`),
        close: () => void (own.isClosed = true),
      };
    },
  };
}

async function rig(scripts: readonly Script[]) {
  const clock = new SimulatedClock();
  const opened: Opened[] = [];
  const pool = rigOf(
    'realtime',
    clock,
    scripts.map((script) => model(clock, script, opened)),
  );
  const events: RealtimeEvent[] = [];
  const abort = new AbortController();
  const opening = failoverRealtime(pool.lineup)
    .open(
      {
        ...{ callId: 'c', language: 'en', instructions: '', tools: [], codec: 'PCMA' },
        history: [{ role: 'assistant', content: 'Welcome.' }],
        onEvent: (event) => void events.push(event),
      },
      abort.signal,
    )
    .then(
      (session): RealtimeSession | AppError => session,
      (error: unknown) => error as AppError,
    );
  return { clock, opened, pool, events, abort, opening };
}

async function open(scripts: readonly Script[]) {
  const parts = await rig(scripts);
  await pass(parts.clock, 3_000);
  const session = await parts.opening;
  assert.ok(!(session instanceof AppError));
  const latest = (): Opened => parts.opened.at(-1) ?? assert.fail('no session');
  /** A reply of so many words, of 200 ms each, begun and perhaps done. */
  const reply = (generation: number, text: string, isDone = true): void => {
    const tell = (event: RealtimeEvent): void => latest().tell(event);
    tell({ type: 'turn_started', generation });
    tell({ type: 'agent_text', text, generation });
    tell({ type: 'audio', pcm: new Int16Array(text.split(' ').length * 1_600), generation });
    if (isDone) tell({ type: 'turn_done', generation });
  };
  const breakDown = async (code: ErrorCode = 'E_PROVIDER_SERVER'): Promise<void> => {
    latest().tell({ type: 'error', error: broken(code), isFatal: true });
    await pass(parts.clock, 1_000);
  };
  return { ...parts, session, latest, reply, breakDown };
}

const user = (text: string): RealtimeEvent => ({ type: 'user_transcript', text, isFinal: true });

test('to open: the first that listens; refusals and slowness go to the next', async () => {
  const b = { name: 'b' };
  const rows: [Script[], string | RegExp, string[]][] = [
    [[{ name: 'a' }, b], 'a', []],
    [[{ name: 'a', fails: 'E_PROVIDER_AUTH' }, b], 'b', ['a>b']],
    [[{ name: 'a', openMs: 1e6 }, b], 'b', ['a>b']],
    [[{ name: 'a', openMs: 1_050 }, b], 'a', ['a>b']],
    [
      [
        { name: 'a', fails: 'E_PROVIDER_AUTH' },
        { name: 'b', fails: 'E_TIMEOUT' },
      ],
      /E_PROVIDER_AUTH/,
      ['a>b'],
    ],
  ];
  for (const [scripts, expected, failovers] of rows) {
    const { clock, opening, opened, pool } = await rig(scripts);
    await pass(clock, 4_000);
    const session = await opening;
    if (typeof expected === 'string') {
      assert.ok(!(session instanceof AppError));
      session.text('hello');
      const asked = opened.filter(({ said }) => said.length > 0).map(({ vendor }) => vendor);
      assert.deepEqual(asked, [expected]);
      session.close();
    } else assert.match((session as AppError).message, expected);
    await pass(clock, 100);
    assert.deepEqual(pool.failovers, failovers);
    assert.ok(
      opened.every(({ isClosed }) => isClosed),
      'a session is left open',
    );
    assert.equal(clock.pending, 0);
    for (const member of pool.members) assert.equal(member.inFlight, 0);
  }
});

test('an abort while it opens', async () => {
  const { clock, opening, abort } = await rig([
    { name: 'a', openMs: 1e6 },
    { name: 'b', openMs: 1e6 },
  ]);
  await pass(clock, 1_200);
  abort.abort();
  await pass(clock, 10);
  const error = await opening;
  assert.ok(error instanceof AppError && error.code === 'E_ABORTED');
  assert.equal(clock.pending, 0);
});

test('a session that breaks between two turns: the next knows what was said, and counts on', async () => {
  const { latest, reply, breakDown, opened, events, session } = await open([
    { name: 'a' },
    { name: 'b' },
  ]);
  latest().tell(user('My name is Ann.'));
  reply(1, 'Hello Ann.');
  reply(2, 'What can I do?');
  await breakDown();
  assert.deepEqual(
    opened.map(({ vendor }) => vendor),
    ['a', 'b'],
  );
  assert.deepEqual(latest().history, [
    'assistant: Welcome.',
    'user: My name is Ann.',
    'assistant: Hello Ann.',
    'assistant: What can I do?',
  ]);
  assert.deepEqual(latest().said, []);
  opened[0]?.tell({ type: 'agent_text', text: 'late', generation: 2 });
  reply(1, 'Still here.');
  const told = events.flatMap((event) =>
    event.type === 'agent_text' ? [`${event.generation} ${event.text}`] : [],
  );
  assert.deepEqual(told, ['1 Hello Ann.', '2 What can I do?', '3 Still here.']);
  assert.equal(
    events.some(({ type }) => type === 'error'),
    false,
  );
  session.interrupt(2, 100);
  session.interrupt(3, 100);
  assert.deepEqual(latest().said, ['interrupt 1 100']);
  session.close();
});

test('one that breaks before or within its answer: the same words are answered again, by the next', async () => {
  for (const hasBegun of [false, true]) {
    const { latest, reply, breakDown, events, session } = await open([
      { name: 'a' },
      { name: 'b' },
    ]);
    latest().tell(user('What does it cost?'));
    if (hasBegun) reply(1, 'It costs ten', false);
    await breakDown();
    assert.deepEqual(latest().said, ['text What does it cost?']);
    const before = hasBegun
      ? ['assistant: Welcome.', 'user: What does it cost?', 'assistant: It costs ten']
      : ['assistant: Welcome.'];
    assert.deepEqual(latest().history, before);
    const ends = events.flatMap((event) => (event.type === 'turn_done' ? [event.generation] : []));
    assert.deepEqual(ends, hasBegun ? [1] : []);
    session.close();
  }
});

test('what was interrupted is known as far as it was heard', async () => {
  const { latest, reply, breakDown, session } = await open([{ name: 'a' }]);
  latest().tell(user('Tell me more.'));
  reply(1, 'aaaa bbbb cccc dddd', false);
  session.interrupt(1, 450);
  latest().tell(user('Stop.'));
  reply(2, 'Yes?');
  await breakDown('E_PROVIDER_IDLE');
  assert.deepEqual(latest().history.slice(1), [
    'user: Tell me more.',
    'assistant: aaaa bbbb',
    'user: Stop.',
    'assistant: Yes?',
  ]);
  session.close();
});

test('the caller’s audio of the gap is heard by the next session; tools of the old one are not answered there', async () => {
  const { latest, breakDown, session, opened, clock } = await open([{ name: 'a' }]);
  latest().tell({ type: 'turn_started', generation: 1 });
  latest().tell({
    type: 'tool_call',
    call: { id: 'old', name: 'f', arguments: {} },
    generation: 1,
  });
  session.toolResult('never asked', '{}');
  opened[0]?.tell({ type: 'error', error: broken(), isFatal: true });
  session.push(new Int16Array(800).fill(5));
  session.text('and this');
  session.say('Hold on.');
  await pass(clock, 1_000);
  assert.equal(opened.length, 2);
  assert.equal(latest().pushed, 800);
  session.toolResult('old', '{}');
  assert.deepEqual(latest().said, ['text and this', 'say Hold on.']);
  await breakDown('E_PROVIDER_CONTENT');
  assert.equal(opened.length, 2, 'what moderation ends is not begun again');
  session.close();
});

test('a vendor that breaks every session is given up, once, with its error', async () => {
  const { latest, opened, events, clock, pool } = await open([{ name: 'a' }]);
  for (let n = 0; n < 12; n++) {
    latest().tell({ type: 'error', error: broken(), isFatal: true });
    await pass(clock, 3_000);
  }
  const errors = events.filter(({ type }) => type === 'error');
  assert.equal(errors.length, 1);
  assert.ok(opened.length <= 4, String(opened.length));
  assert.equal(clock.pending, 0);
  assert.equal(pool.members[0]?.inFlight, 0);
});
