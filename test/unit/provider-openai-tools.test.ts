/** Functions in the chat protocol: pieces of a stream, servers that leave things out, models that run away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messagesOf } from '#providers/openai/llm.ts';
import { toOpenAi, ToolCalls, toolsOf } from '#providers/openai/tools.ts';
import type { ChatMessage } from '#providers/contract.ts';

type Delta = Parameters<ToolCalls['push']>[0];

function gathered(...pieces: Delta[]) {
  const calls = new ToolCalls();
  for (const piece of pieces) calls.push(piece);
  return calls.finish();
}

test('a call comes in pieces, several side by side, and without ids', () => {
  assert.deepEqual(
    gathered(
      undefined,
      [{ index: 0, id: 'a', type: 'function', function: { name: 'order', arguments: '' } }],
      [{ index: 1, id: 'b', function: { name: 'note', arguments: '{"te' } }],
      [{ index: 0, function: { arguments: '{"item":' } }],
      [
        { index: 0, function: { arguments: '"tea"}' } },
        { index: 1, function: { arguments: 'xt":1}' } },
      ],
    ),
    [
      { id: 'a', name: 'order', arguments: { item: 'tea' } },
      { id: 'b', name: 'note', arguments: { text: 1 } },
    ],
  );
  // One of another reply is another order.
  const [first, second] = [1, 2].map(() => gathered([{ index: 0, function: { name: 'end' } }])[0]);
  assert.partialDeepStrictEqual(first, { name: 'end', arguments: {} });
  assert.match(first?.id ?? '', /^call_0_./);
  assert.notEqual(first?.id, second?.id);
  assert.deepEqual(gathered(), []);
});

test('arguments that are none are the vendor’s fault, not ours', () => {
  for (const text of ['{"a":', '[1]', '"tea"', 'null', '{} {}']) {
    const piece = [{ index: 0, function: { name: 'order', arguments: text } }];
    assert.throws(() => gathered(piece), { code: 'E_PROVIDER_SERVER' }, text);
  }
  const long = [{ index: 0, function: { name: 'x', arguments: 'x'.repeat(65_537) } }];
  assert.throws(() => gathered(long), { code: 'E_PROVIDER_SERVER' });
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  const nested = [{ index: 0, function: { name: 'x', arguments: deep } }];
  assert.throws(() => gathered(nested), { code: 'E_PROVIDER_SERVER' });
  const named = [{ index: 0, function: { name: 'x'.repeat(65_537), arguments: '{}' } }];
  assert.throws(() => gathered(named), { code: 'E_PROVIDER_SERVER' });
  const many = Array.from({ length: 17 }, (_, index) => ({ index, function: { name: 'x' } }));
  assert.throws(() => gathered(many), { code: 'E_PROVIDER_SERVER' });
});

test('a round of functions as the protocol has it', () => {
  const call = { id: 'a', name: 'order', arguments: { item: 'tea' } };
  const messages: ChatMessage[] = [
    { role: 'user', content: 'Tea, please.' },
    { role: 'assistant', content: '', toolCalls: [call] },
    { role: 'tool', content: '{"ok":true}', toolCallId: 'a' },
  ];
  const input = { kind: 'speech', text: 'Tea, please.', audio: null } as const;
  const request = { callId: 'c', language: 'en', messages, input, state: new Map() } as const;
  assert.deepEqual(messagesOf(request).map(toOpenAi), [
    { role: 'user', content: 'Tea, please.' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'order', arguments: '{"item":"tea"}' } },
      ],
    },
    { role: 'tool', content: '{"ok":true}', tool_call_id: 'a' },
  ]);
  assert.deepEqual(toolsOf([]), {});
  const parameters = { type: 'object' };
  assert.deepEqual(
    toolsOf([{ name: 'order', description: 'Orders', parameters, timeoutMs: 1 } as never]),
    {
      tools: [{ type: 'function', function: { name: 'order', description: 'Orders', parameters } }],
    },
  );
});
