/** Text conversations with a squad: routing, hand-over, fall-back, order, expiry, restart; all on a simulated clock. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { ReplyPart } from '#providers/contract.ts';
import type { ExecuteResult } from '#sessions/squad-desk.ts';
import type { TurnResult } from '#sessions/squad-turn.ts';
import {
  ACCOUNT,
  FRONT,
  makeKit,
  MONEY,
  planOf,
  SQUAD,
  storedOf,
  TECH,
  text,
  type Kit,
} from './_squad-kit.ts';

const HALF_HOUR_MS = 30 * 60_000;

async function turnOf(work: Promise<ExecuteResult>): Promise<TurnResult> {
  const result = await work;
  assert.ok(result.ok, JSON.stringify(result));
  return result.turn;
}

async function refusalOf(work: Promise<ExecuteResult>): Promise<string> {
  const result = await work;
  assert.ok(!result.ok);
  return result.refusal;
}

async function* failing(): AsyncGenerator<ReplyPart> {
  yield { type: 'text', text: '' };
  throw new AppError('E_PROVIDER_SERVER', 'scripted');
}

async function* hanging(...parts: string[]): AsyncGenerator<ReplyPart> {
  for (const part of parts) yield { type: 'text', text: part };
  await new Promise(() => undefined);
}

/** Lets what waits for the clock get there, then moves it. */
async function advance(kit: Kit, ms: number): Promise<void> {
  for (let i = 0; i < 5; i++) await setImmediate();
  kit.clock.advance(ms);
}

test('a conversation begins with the primary member and is a call record from its first event', async () => {
  const kit = makeKit();
  const turn = await turnOf(kit.execute('hello', { variables: { name: 'Ann' } }));
  assert.deepEqual(
    [
      turn.agentId,
      turn.agentName,
      turn.intent,
      turn.confidence,
      turn.reply,
      turn.handoff,
      turn.status,
    ],
    [FRONT, 'Front', 'general', 0, 'Front here.', null, 'active'],
  );
  assert.equal(turn.expiresAtS, (kit.clock.wallMs() + HALF_HOUR_MS) / 1000);
  assert.deepEqual(
    kit.events().map(({ type }) => type),
    ['call.initiated', 'call.answered', 'conversation.message', 'conversation.message'],
  );
  const [first] = kit.journal;
  assert.equal(first?.event.call_id, turn.conversationId);
  assert.deepEqual(
    kit.journal.map(({ event }) => [event.seq, event.request_id, event.account_id]),
    [1, 2, 3, 4].map((seq) => [seq, 'r-1', ACCOUNT]),
  );
  const { record } = first ?? {};
  assert.deepEqual(
    [record?.channel, record?.status, record?.agent_id, record?.squad_id, record?.variables],
    ['text', 'answered', FRONT, SQUAD, { name: 'Ann' }],
  );
  const view = kit.desk.get(ACCOUNT, turn.conversationId);
  assert.deepEqual([view?.channel, view?.status, view?.squadId], ['text', 'answered', SQUAD]);
  assert.equal(kit.desk.get('someone', turn.conversationId), null);
  const talk = kit.desk.conversation(ACCOUNT, turn.conversationId);
  assert.deepEqual([talk?.status, talk?.messages.length], ['active', 2]);
});

test('another member takes over with a notice, the history, and a private note', async () => {
  const kit = makeKit();
  const first = await turnOf(kit.execute('hello, order 4711 from 3 May'));
  const { conversationId } = first;
  const turn = await turnOf(kit.execute('I want a refund', { conversationId }));
  assert.deepEqual([turn.agentId, turn.intent, turn.confidence], [MONEY, 'refund', 0.9]);
  const { summary, ...handoff } = turn.handoff ?? { summary: null };
  assert.deepEqual(handoff, { from: FRONT, to: MONEY, notice: 'Transferring you now…' });
  assert.deepEqual(summary, {
    ...{ intent: 'refund', key_info: 'hello, order 4711 from 3 May', pending: 'I want a refund' },
  });
  const told = kit.heard.at(-1);
  assert.equal(told?.agentId, MONEY);
  const [system, ...said] = told?.messages ?? [];
  assert.match(
    system?.content ?? '',
    /^You are Money\.\n\nYour colleague "Front"[^]*Intent: refund\./,
  );
  assert.deepEqual(
    said.map(({ role, content }) => `${role}: ${content}`),
    ['user: hello, order 4711 from 3 May', 'assistant: Front here.', 'user: I want a refund'],
  );
  const events = kit.events().slice(4);
  assert.deepEqual(
    events.map(({ type }) => type),
    ['conversation.message', 'call.handoff', 'conversation.message', 'conversation.message'],
  );
  assert.deepEqual(events[1]?.data, { from_agent_id: FRONT, to_agent_id: MONEY, summary });
  // The next turn stays there, with the note still known to that agent alone.
  const next = await turnOf(kit.execute('yes please', { conversationId }));
  assert.deepEqual([next.agentId, next.handoff, next.intent], [MONEY, null, 'refund']);
  assert.match(kit.heard.at(-1)?.messages[0]?.content ?? '', /Your colleague "Front"/);
  assert.ok(
    kit.desk.conversation(ACCOUNT, conversationId)?.messages.every(({ role }) => role !== 'system'),
  );
});

test('notice and note are in the language that is spoken; a transfer brings its own notice', async () => {
  const transfers = [{ from: FRONT, to: TECH, when: '安装', notice: '请稍候，为您找师傅。' }];
  const kit = makeKit();
  assert.equal((await turnOf(kit.execute('我要退款'))).handoff?.notice, '正在为您转接…');
  assert.match(kit.heard.at(-1)?.messages[0]?.content ?? '', /对话刚由同事“Front”转接给你/);
  kit.plan = planOf({}, transfers);
  assert.equal((await turnOf(kit.execute('我要安装'))).handoff?.notice, '请稍候，为您找师傅。');
});

test('variables are merged: those given win over the agent’s own, and these over its predecessor’s', async () => {
  const prompt = 'x={{x}} y={{y}} z={{z}}';
  const kit = makeKit(
    planOf({
      [FRONT]: { systemPrompt: prompt, variables: { x: 'front', y: 'front', z: 'front' } },
      [MONEY]: { systemPrompt: prompt, variables: { y: 'money', z: 'money' } },
    }),
  );
  const { conversationId } = await turnOf(kit.execute('hello', { variables: { z: 'given' } }));
  assert.equal(kit.heard.at(-1)?.messages[0]?.content, 'x=front y=front z=given');
  await turnOf(kit.execute('refund', { conversationId, variables: { w: 'later' } }));
  assert.match(kit.heard.at(-1)?.messages[0]?.content ?? '', /^x=front y=money z=given\n/);
  const patches = kit.journal.map(({ record }) => record?.variables).filter(Boolean);
  assert.deepEqual(patches, [{ z: 'given' }, { z: 'given', w: 'later' }]);
});

test('what a predecessor brought stays known, for as long as the agent speaks and over a restart', async () => {
  const prompt = { systemPrompt: 'x={{x}} y={{y}} z={{z}}' };
  const changes = {
    [FRONT]: { variables: { x: 'front', z: 'front' } },
    [MONEY]: { ...prompt, variables: { y: 'money' } },
    [TECH]: { ...prompt, variables: { z: 'tech' } },
  };
  const kit = makeKit(planOf(changes));
  const { conversationId } = await turnOf(kit.execute('refund'));
  await turnOf(kit.execute('yes please', { conversationId }));
  assert.match(kit.heard.at(-1)?.messages[0]?.content ?? '', /^x=front y=money z=front\n/);
  await turnOf(kit.execute('installation', { conversationId }));
  assert.match(kit.heard.at(-1)?.messages[0]?.content ?? '', /^x=front y=money z=tech\n/);
  kit.desk.close();
  const stored = storedOf(kit.journal, conversationId);
  const next = makeKit(planOf(changes), kit.clock);
  next.desk.resume([{ id: conversationId, accountId: ACCOUNT, ...stored }]);
  next.stored.set(conversationId, stored);
  await turnOf(next.execute('yes please', { conversationId }));
  assert.match(next.heard.at(-1)?.messages[0]?.content ?? '', /^x=front y=money z=tech\n/);
});

test('variables are bounded in all, not only turn by turn', async () => {
  const kit = makeKit();
  const variables = (name: string) => ({ [name]: 'x'.repeat(9_000) });
  const { conversationId } = await turnOf(kit.execute('hello', { variables: variables('a') }));
  const before = kit.journal.length;
  assert.equal(
    await refusalOf(kit.execute('hello', { conversationId, variables: variables('b') })),
    'variables',
  );
  assert.equal(kit.journal.length, before);
  assert.ok(await turnOf(kit.execute('hello', { conversationId, variables: variables('a') })));
});

test('no account takes all the room, and what is over is let go of', async () => {
  const kit = makeKit();
  const shelved = (accountId: string, at: number) => ({
    ...{ id: `${accountId}-${at}`, accountId, seq: 1 },
    ...{ startedMs: kit.clock.wallMs(), lastMs: kit.clock.wallMs() },
  });
  kit.desk.resume(Array.from({ length: 5_000 }, (_, at) => shelved(ACCOUNT, at)));
  await assert.rejects(kit.execute('hello'), { code: 'E_QUEUE_FULL' });
  const other = '00000000-0000-4000-8000-00000000dead';
  assert.ok(await turnOf(kit.execute('hello', { accountId: other })));
  // More than there is room for, of a former process: none is lost, none is a failure to start.
  kit.desk.resume(Array.from({ length: 20_000 }, (_, at) => shelved('third', at)));
  assert.equal(kit.desk.openCount, 25_001);
  kit.desk.close();

  const fresh = makeKit();
  fresh.says.set(FRONT, async function* () {
    yield { type: 'text', text: 'Bye.' };
    yield { type: 'end_call' };
  });
  const ended = await turnOf(fresh.execute('bye'));
  assert.equal(fresh.desk.get(ACCOUNT, ended.conversationId)?.status, 'ended');
  fresh.clock.advance(60_000);
  await turnOf(fresh.execute('bye'));
  assert.equal(fresh.desk.get(ACCOUNT, ended.conversationId), null, 'the database has it by now');
  const { conversationId: id } = ended;
  assert.equal(await refusalOf(fresh.execute('hi', { conversationId: id })), 'over');
});

test('a model routes when there is one; what it says is checked, and its lateness bounded', async () => {
  const answer = (fields: object): string =>
    JSON.stringify({
      ...{ agent: 3, intent: 'set up', confidence: 0.8, key_info: 'at home', pending: 'a date' },
      ...fields,
    });
  const rows: [string | null, string, string][] = [
    [answer({}), TECH, 'set up'],
    [`\`\`\`json\n${answer({})}\n\`\`\``, TECH, 'set up'],
    [answer({ confidence: 0.49 }), FRONT, 'set up'],
    [answer({ confidence: 1.2 }), MONEY, 'refund'],
    [answer({ confidence: '0.9' }), MONEY, 'refund'],
    [answer({ agent: 4 }), MONEY, 'refund'],
    [answer({ agent: 0 }), MONEY, 'refund'],
    [answer({ agent: 1.5 }), MONEY, 'refund'],
    [answer({ agent: TECH }), MONEY, 'refund'],
    [answer({ intent: '' }), MONEY, 'refund'],
    [answer({ intent: 'x'.repeat(101) }), MONEY, 'refund'],
    ['no json at all', MONEY, 'refund'],
    ['[1]', MONEY, 'refund'],
    [null, MONEY, 'refund'],
  ];
  for (const [said, agentId, intent] of rows) {
    const kit = makeKit();
    kit.model = async () => said;
    const turn = await turnOf(kit.execute('refund'));
    assert.deepEqual([turn.agentId, turn.intent], [agentId, intent], said ?? 'nothing');
    assert.ok((kit.asked[0]?.timeoutMs ?? 9_999) <= 1_500);
  }
  const kit = makeKit();
  kit.model = async () => answer({});
  const { handoff } = await turnOf(kit.execute('my number is 13800138000'));
  assert.deepEqual(handoff?.summary, { intent: 'set up', key_info: 'at home', pending: 'a date' });
  const [question] = kit.asked;
  assert.match(question?.system ?? '', /2\. Money \(specialist\); skills: refund; 退款/);
  assert.match(question?.user ?? '', /Customer: my number is 13800138000/);
  assert.equal(question?.agent, kit.plan?.members[0]?.agent);
});

test('transfers bind the model too: it is asked about nobody else', async () => {
  const kit = makeKit(planOf({}, [{ from: FRONT, to: TECH, when: 'anything', notice: null }]));
  kit.model = async () => '{"agent": 2, "intent": "x", "confidence": 1}';
  assert.equal((await turnOf(kit.execute('refund'))).agentId, TECH);
  assert.doesNotMatch(kit.asked[0]?.system ?? '', /Money/);
});

test('a member whose model fails is stood in for by the primary; its own failure is an error', async () => {
  const kit = makeKit();
  kit.says.set(MONEY, failing);
  const first = await turnOf(kit.execute('refund'));
  assert.deepEqual([first.agentId, first.handoff, first.intent], [FRONT, null, 'refund']);
  // From another member it is a hand-over back.
  const { conversationId } = await turnOf(kit.execute('installation'));
  const back = await turnOf(kit.execute('refund', { conversationId }));
  assert.deepEqual([back.agentId, back.handoff?.from, back.handoff?.to], [FRONT, TECH, FRONT]);
  kit.says.set(FRONT, failing);
  await assert.rejects(kit.execute('refund', { conversationId }), { code: 'E_PROVIDER_SERVER' });
  // The conversation goes on; one whose first turn failed is over, for nobody knows its id.
  kit.says.clear();
  assert.equal((await turnOf(kit.execute('refund', { conversationId }))).agentId, MONEY);
  assert.equal(kit.desk.openCount, 2);
  kit.says.set(FRONT, failing);
  await assert.rejects(kit.execute('hello'), { code: 'E_PROVIDER_SERVER' });
  assert.equal(kit.desk.openCount, 2);
  const final = kit.journal.at(-1);
  assert.deepEqual([final?.event.type, final?.record?.outcome], ['call.ended', 'provider_error']);
  assert.deepEqual([final?.record?.hangup_reason, final?.record?.ended_by], ['error', 'system']);
});

test('a model that is late: what it said so far, else the primary member, else E_TIMEOUT', async () => {
  const kit = makeKit();
  kit.says.set(MONEY, () => hanging('First part. ', 'Second pa'));
  const half = kit.execute('refund');
  await advance(kit, 3_400);
  assert.equal((await turnOf(half)).reply, 'First part.');
  kit.says.set(MONEY, () => hanging());
  const other = kit.execute('refund');
  await advance(kit, 3_400);
  assert.equal((await turnOf(other)).agentId, FRONT);
  kit.says.set(FRONT, () => hanging());
  const none = assert.rejects(kit.execute('hello'), { code: 'E_TIMEOUT', message: /^the vendor / });
  await advance(kit, 4_900);
  await none;
});

test('without a language model: fixed words, with the greeting when an agent speaks first', async () => {
  const kit = makeKit(
    planOf({ [MONEY]: { greeting: 'Hi {{name}}!', variables: { name: 'Ann' } } }),
  );
  kit.vendor = 'local';
  const hello = await turnOf(kit.execute('hello'));
  assert.match(hello.reply, /^This is Front\. I have noted/);
  const { conversationId } = hello;
  assert.match(
    (await turnOf(kit.execute('refund', { conversationId }))).reply,
    /^Hi Ann! This is Money\./,
  );
  assert.match((await turnOf(kit.execute('yes', { conversationId }))).reply, /^This is Money\./);
  assert.match((await turnOf(kit.execute('我要安装'))).reply, /^我是Tech，/);
});

test('turns of one conversation are taken one after the other, and too many are refused', async () => {
  const kit = makeKit();
  const { conversationId } = await turnOf(kit.execute('hello'));
  const gates: (() => void)[] = [];
  kit.says.set(FRONT, async function* () {
    await new Promise<void>((resolve) => gates.push(resolve));
    yield { type: 'text', text: `Answer ${gates.length}` };
  });
  const asked = ['one', 'two', 'three', 'four'].map((input) =>
    kit.execute(input, { conversationId }),
  );
  await setImmediate();
  assert.equal(await refusalOf(kit.execute('five', { conversationId })), 'busy');
  for (let i = 0; i < asked.length; i++) {
    while (gates.length <= i) await setImmediate();
    assert.equal(gates.length, i + 1, 'one at a time');
    gates[i]?.();
    assert.equal((await turnOf(asked[i] as Promise<ExecuteResult>)).reply, `Answer ${i + 1}`);
  }
  const messages = kit.desk.conversation(ACCOUNT, conversationId)?.messages ?? [];
  assert.deepEqual(
    messages.slice(2).map(({ content }) => content),
    ['one', 'Answer 1', 'two', 'Answer 2', 'three', 'Answer 3', 'four', 'Answer 4'],
  );
});

test('30 min after its last turn a conversation is over, once', async () => {
  const kit = makeKit();
  const { conversationId } = await turnOf(kit.execute('hello'));
  kit.clock.advance(HALF_HOUR_MS - 1);
  const again = await turnOf(kit.execute('still here', { conversationId }));
  assert.equal(again.expiresAtS, Math.floor((kit.clock.wallMs() + HALF_HOUR_MS) / 1000));
  kit.clock.advance(HALF_HOUR_MS - 1);
  assert.equal(kit.desk.openCount, 1);
  kit.clock.advance(1);
  assert.equal(kit.desk.openCount, 0);
  kit.clock.advance(10 * HALF_HOUR_MS);
  const finals = kit.events().filter(({ type }) => type === 'call.ended');
  assert.equal(finals.length, 1);
  const { record, event } = kit.journal.at(-1) ?? {};
  assert.deepEqual(
    [record?.status, record?.outcome, record?.hangup_reason, record?.ended_by, event?.request_id],
    ['ended', 'idle', 'timeout', 'system', null],
  );
  assert.equal(record?.duration_seconds, Math.round((2 * HALF_HOUR_MS - 1) / 1000));
  assert.equal(await refusalOf(kit.execute('late', { conversationId })), 'over');
  assert.deepEqual(kit.ended, [conversationId]);
  assert.equal(kit.desk.conversation(ACCOUNT, conversationId)?.status, 'expired');
  assert.equal(kit.clock.pending, 0);
});

test('a day is the longest a conversation lasts', async () => {
  const kit = makeKit();
  const { conversationId } = await turnOf(kit.execute('hello'));
  for (let i = 0; i < 48; i++) {
    kit.clock.advance(HALF_HOUR_MS - 1_000);
    await turnOf(kit.execute('still here', { conversationId }));
  }
  kit.clock.advance(HALF_HOUR_MS);
  assert.equal(kit.journal.at(-1)?.record?.outcome, 'max_duration');
  assert.equal(kit.journal.at(-1)?.record?.duration_seconds, 86_400);
});

test('an agent may end the conversation', async () => {
  const kit = makeKit();
  kit.says.set(FRONT, async function* () {
    yield { type: 'text', text: 'Goodbye.' };
    yield { type: 'end_call' };
  });
  const turn = await turnOf(kit.execute('bye'));
  assert.deepEqual([turn.reply, turn.status], ['Goodbye.', 'completed']);
  assert.equal(turn.expiresAtS, kit.clock.wallMs() / 1000);
  assert.deepEqual(
    [kit.journal.at(-1)?.record?.outcome, kit.journal.at(-1)?.record?.ended_by],
    ['completed', 'agent'],
  );
  assert.equal(await refusalOf(kit.execute('hi', { conversationId: turn.conversationId })), 'over');
});

test('unknown, foreign and restricted conversations are all missing', async () => {
  const kit = makeKit();
  const { conversationId } = await turnOf(kit.execute('hello'));
  const other = '00000000-0000-4000-8000-00000000dead';
  assert.equal(await refusalOf(kit.execute('hi', { conversationId: other })), 'conversation');
  assert.equal(await refusalOf(kit.execute('hi', { squadId: other })), 'squad');
  const foreign = { conversationId, accountId: other };
  assert.equal(await refusalOf(kit.execute('hi', foreign)), 'conversation');
  assert.equal(await refusalOf(kit.execute('hi', { agentIds: [FRONT, MONEY] })), 'squad');
  assert.ok(await turnOf(kit.execute('hi', { conversationId, agentIds: [FRONT, MONEY, TECH] })));
  kit.stored.set(other, { ...storedOf(kit.journal, conversationId), squadId: other });
  assert.equal(await refusalOf(kit.execute('hi', { conversationId: other })), 'conversation');
});

test('after a restart a conversation goes on where it was, and ends on time, once', async () => {
  const before = makeKit();
  const { conversationId } = await turnOf(
    before.execute('hello, this is Ann', { variables: { a: 'b' } }),
  );
  await turnOf(before.execute('I want a refund', { conversationId }));
  before.desk.close();
  assert.equal(before.clock.pending, 0);
  const stored = storedOf(before.journal, conversationId);
  const shelved = { id: conversationId, accountId: ACCOUNT, ...stored };

  const kit = makeKit(planOf(), before.clock);
  kit.desk.resume([shelved]);
  kit.stored.set(conversationId, stored);
  kit.clock.advance(HALF_HOUR_MS - 1_000);
  const [one, two] = [
    kit.execute('yes', { conversationId }),
    kit.execute('and now', { conversationId }),
  ];
  const turn = await turnOf(one);
  assert.deepEqual([turn.agentId, turn.handoff, turn.intent], [MONEY, null, 'refund']);
  assert.equal((await turnOf(two)).agentId, MONEY);
  assert.deepEqual(kit.journal[0]?.event.seq, stored.seq + 1);
  const [system, ...said] = kit.heard[0]?.messages ?? [];
  assert.match(system?.content ?? '', /Your colleague "Front"/);
  assert.equal(said[0]?.content, 'hello, this is Ann');
  kit.clock.advance(HALF_HOUR_MS);
  assert.equal(kit.events().filter(({ type }) => type === 'call.ended').length, 1);

  // Nobody asked for it: it ends all the same, at the time it should have.
  const late = makeKit(planOf(), new SimulatedClock(stored.lastMs + 5 * HALF_HOUR_MS));
  late.stored.set(conversationId, stored);
  late.desk.resume([shelved]);
  late.clock.advance(0);
  for (let i = 0; i < 5; i++) await setImmediate();
  const { event, record } = late.journal[0] ?? {};
  assert.deepEqual(
    [event?.type, event?.seq, record?.outcome],
    ['call.ended', stored.seq + 1, 'idle'],
  );
  assert.equal(record?.end_time, new Date(stored.lastMs + HALF_HOUR_MS).toISOString());
  assert.equal(await refusalOf(late.execute('hi', { conversationId })), 'over');
  assert.deepEqual([late.journal.length, late.ended], [1, [conversationId]]);
});

test('what the database does not have yet is waited for, and no longer', async () => {
  const before = makeKit();
  const { conversationId } = await turnOf(before.execute('hello'));
  const stored = storedOf(before.journal, conversationId);
  const kit = makeKit(planOf(), before.clock);
  kit.desk.resume([{ id: conversationId, accountId: ACCOUNT, ...stored }]);
  const waiting = kit.execute('hi', { conversationId });
  await advance(kit, 100);
  kit.stored.set(conversationId, stored);
  await advance(kit, 100);
  assert.equal((await turnOf(waiting)).agentId, FRONT);
  const never = makeKit(planOf(), before.clock);
  never.desk.resume([{ id: conversationId, accountId: ACCOUNT, ...stored }]);
  const gone = assert.rejects(never.execute('hi', { conversationId }), {
    code: 'E_DATABASE_UNREACHABLE',
  });
  for (let i = 0; i < 25; i++) await advance(never, 100);
  await gone;
});

test('mask_at_rest of any member masks what is stored, not what models hear', async () => {
  const kit = makeKit(planOf({ [TECH]: { maskAtRest: true } }));
  const { conversationId } = await turnOf(kit.execute('call me at 13800138000'));
  assert.doesNotMatch(JSON.stringify(kit.journal), /13800138000/);
  assert.equal(kit.heard[0]?.messages.at(-1)?.content, 'call me at 13800138000');
  assert.doesNotMatch(
    JSON.stringify(kit.desk.conversation(ACCOUNT, conversationId)),
    /13800138000/,
  );
  const open = makeKit();
  const { handoff } = await turnOf(open.execute('refund to 13800138000'));
  assert.doesNotMatch(JSON.stringify(handoff), /13800138000/);
  assert.match(JSON.stringify(open.journal), /13800138000/);
});

test('what models send is cleaned, and silence is a failure', async () => {
  const kit = makeKit();
  kit.says.set(FRONT, () => text(' a\u0000b', '\ud83d', ' '));
  assert.equal((await turnOf(kit.execute('hello'))).reply, 'ab\ufffd');
  kit.says.set(FRONT, () => text('  ', '\u0000'));
  await assert.rejects(kit.execute('hello'), { code: 'E_PROVIDER_SERVER' });
  kit.says.set(FRONT, () => text('x'.repeat(20_000)));
  assert.equal((await turnOf(kit.execute('hello'))).reply.length, 8_000);
});
