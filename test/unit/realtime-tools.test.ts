/** What a realtime model wants done: once, answered, and what comes of it besides. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { CallTools } from '#sessions/tools/call-tools.ts';
import { AGENT, fakeLlm, fakeTts, settle } from './_fakes.ts';
import {
  begins,
  ends,
  messages,
  realtimeCall,
  until,
  type RealtimeRig,
} from './_realtime-fakes.ts';

const OTHER: AgentConfig = {
  ...{ ...AGENT, id: '00000000-0000-4000-8000-000000000022', name: 'Billing' },
  systemPrompt: 'You bill.',
};
const ORDER = {
  ...{ name: 'order', description: 'Orders', timeoutMs: 5_000, url: 'https://shop.example/order' },
  parameters: { type: 'object' },
};

async function greeted(): Promise<RealtimeRig & { readonly orders: ((answer: string) => void)[] }> {
  const orders: ((answer: string) => void)[] = [];
  const rig = await realtimeCall({
    agent: {
      functions: [ORDER],
      tools: { builtins: ['end_call', 'play_audio', 'hand_off'], mcpServers: [] },
      variables: { tune: 'https://shop.example/tune.wav' },
    },
    tools: ({ setup, clock }) =>
      new CallTools({
        ...{ story: setup.story, clock, log: silentLog, sendKeys: null },
        ports: {
          http: {
            warmUp: () => undefined,
            call: () => new Promise((resolve) => orders.push(resolve)),
          },
          mcp: () => ({ offered: () => [] }),
          loadSound: () =>
            Promise.resolve({
              ...{ pcm: new Int16Array(8000), title: 'tune.wav' },
              release: () => undefined,
            }),
          agents: {
            byId: () => Promise.resolve(null),
            byName: () => Promise.resolve(OTHER),
          },
          providersFor: () => ({
            stt: { vendor: 'fake', reads: true, open: () => assert.fail('not asked for') },
            llm: fakeLlm(() => []),
            tts: fakeTts,
          }),
        },
      }),
  });
  await rig.model.says('Hello there my friend');
  await until(rig, 1000);
  return { ...rig, orders };
}

async function over(rig: RealtimeRig): Promise<void> {
  rig.dialog.end('remote');
  await until(rig, rig.clock.now() + 2000);
  await rig.call.done;
  assert.equal(rig.clock.pending, 0);
}

test('a tool between two replies: one turn of the agent, one answer to the model', async () => {
  const rig = await greeted();
  assert.deepEqual(
    rig.model.opened[0]?.tools.map(({ name }) => name),
    ['order', 'end_call', 'play_audio', 'hand_off'],
  );
  await rig.model.hears('Tea.');
  const id = await rig.model.wants('order', { item: 'tea' }, 'One moment ');
  await until(rig, 3000);
  assert.equal(rig.orders.length, 1);
  rig.orders[0]?.('{"ok":1}');
  await settle();
  assert.equal(rig.model.told.at(-1), `result ${id} {"ok":1}`);
  await rig.model.says('Tea it is ');
  await until(rig, 4000);
  assert.deepEqual(messages(rig).slice(1), [
    'user: Tea.',
    'assistant: ',
    'function: {"ok":1}',
    'assistant: One moment Tea it is',
  ]);
  await over(rig);
});

test('a caller who cuts in does not undo a tool: it is carried out once, and the model learns of it', async () => {
  const rig = await greeted();
  await rig.model.hears('Tea.');
  const id = await rig.model.wants('order', { item: 'tea' }, 'one two three four ');
  await until(rig, 1300);
  begins(rig, 1250);
  rig.model.tell({ type: 'speech_started' });
  await until(rig, 2000);
  ends(rig, 1250, 1800);
  rig.model.tell({ type: 'speech_stopped' });
  rig.model.tell({ type: 'user_transcript', text: 'Hurry.', isFinal: true });
  await rig.model.says('I do ');
  rig.orders[0]?.('{"ok":1}');
  await until(rig, 3500);
  assert.equal(rig.model.told.at(-1), `result ${id} {"ok":1}`);
  await rig.model.says('Done ');
  await until(rig, 4500);
  assert.equal(rig.orders.length, 1);
  const said = messages(rig).filter((line) => /^(assistant: .|user)/.test(line));
  assert.deepEqual(said.slice(1), [
    'user: Tea.',
    'assistant: one (cut)',
    'user: Hurry.',
    'assistant: I do',
    'assistant: Done',
  ]);
  await over(rig);
});

test('end_call: a farewell is said, heard, and then it is over; who cuts in goes on', async () => {
  const rig = await greeted();
  await rig.model.hears('Bye.');
  await rig.model.wants('end_call', { say: 'See you soon.' });
  assert.equal(rig.model.told.at(-1), 'say See you soon.');
  await rig.model.says('See you soon.');
  await until(rig, 1500);
  assert.ok(!rig.log.includes('bye'), 'not before it has been heard');
  await until(rig, 2000);
  const ending = await rig.call.done;
  assert.deepEqual([ending.outcome, ending.endedBy], ['completed', 'agent']);
  assert.equal(messages(rig).at(-1), 'assistant: See you soon.');
  const other = await greeted();
  await other.model.wants('end_call', { say: 'one two three four' });
  await other.model.says('one two three four');
  await until(other, 1300);
  other.model.tell({ type: 'speech_started' });
  await until(other, 3000);
  assert.ok(!other.log.includes('bye'));
  await over(other);
});

test('play_audio is heard before the model goes on', async () => {
  const rig = await greeted();
  const id = await rig.model.wants('play_audio', { name: 'tune' }, 'Listen ');
  assert.match(rig.model.told.at(-1) ?? '', new RegExp(`^result ${id} `));
  await rig.model.says('Nice ');
  await until(rig, 3000);
  assert.equal(messages(rig).at(-1), 'assistant: Listen [Audio: tune.wav] Nice');
  await over(rig);
});

test('hand_off: the model is opened anew as the other agent, and takes the word', async () => {
  const rig = await greeted();
  await rig.model.hears('My bill.');
  await rig.model.wants('hand_off', { name: 'Billing', summary: 'Wants a bill' });
  const opened = rig.model.opened.at(-1);
  assert.match(opened?.instructions ?? '', /^You bill\./);
  assert.deepEqual(opened?.history.slice(0, 2), [
    { role: 'assistant', content: 'Hello there my friend' },
    { role: 'user', content: 'My bill.' },
  ]);
  assert.match(rig.model.told.at(-1) ?? '', /^text \[The call has been handed over to you/);
  await rig.model.says('Billing here ');
  await until(rig, 3000);
  assert.equal(messages(rig).at(-1), 'assistant: Billing here');
  await over(rig);
});

test('what moderation withholds is not left unsaid', async () => {
  const rig = await greeted();
  await rig.model.hears('Something.');
  const generation = await rig.model.says('I ', { goesOn: true });
  const error = new AppError('E_PROVIDER_CONTENT', 'withheld');
  rig.model.tell({ type: 'error', error, isFatal: false });
  rig.model.tell({ type: 'turn_done', generation });
  assert.match(rig.model.told.at(-1) ?? '', /^say /);
  await rig.model.says('Let us talk of something else.');
  await until(rig, 4000);
  assert.equal(messages(rig).at(-1), 'assistant: I Let us talk of something else.');
  await over(rig);
});

test('a reply that fails without a word is apologised for', async () => {
  const rig = await greeted();
  await rig.model.hears('Something.');
  const generation = await rig.model.says('', { goesOn: true });
  const error = new AppError('E_PROVIDER_SERVER', 'no');
  rig.model.tell({ type: 'error', error, isFatal: false });
  rig.model.tell({ type: 'turn_done', generation });
  await until(rig, 6000);
  assert.match(messages(rig).at(-1) ?? '', /^assistant: .*sorry/i);
  await over(rig);
});
