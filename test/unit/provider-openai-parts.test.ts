/** The pure parts of the OpenAI adapter: thinking removed, presets, error classes, messages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { classify } from '#providers/openai/errors.ts';
import { messagesOf } from '#providers/openai/llm.ts';
import { presetFor } from '#providers/openai/presets.ts';
import { thinkFilter } from '#providers/openai/think-filter.ts';
import { replyRequest } from './_provider-contract.ts';

test('thinking is removed however the text is cut', () => {
  const rows: [string, string][] = [
    ['plain text', 'plain text'],
    ['<think>secret</think>Hello', 'Hello'],
    ['A<think>x</think>B<think>y</think>C', 'ABC'],
    ['<think>never closed', ''],
    ['1 < 2 and <thin ice', '1 < 2 and <thin ice'],
    ['ends with <thi', 'ends with <thi'],
    ['<<think>x<</think>>', '<>'],
    ['<think></think>', ''],
  ];
  for (const [text, expected] of rows) {
    for (let size = 1; size <= text.length; size++) {
      const filter = thinkFilter();
      let spoken = '';
      for (let at = 0; at < text.length; at += size)
        spoken += filter.push(text.slice(at, at + size));
      assert.equal(spoken + filter.end(), expected, `${text} in chunks of ${size}`);
    }
  }
});

test('presets by host and model', () => {
  const off = { thinking: { type: 'disabled' } };
  const rows: [string, string, object][] = [
    ['http://127.0.0.1:11434/v1', 'llama', { extraBody: {}, maxTokensField: 'max_tokens' }],
    ['https://api.openai.com/v1', 'x', { maxTokensField: 'max_completion_tokens' }],
    [
      'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
      'q',
      { extraBody: { enable_thinking: false } },
    ],
    ['https://api.deepseek.com', 'd', { extraBody: off }],
    ['https://open.bigmodel.cn/api/paas/v4', 'g', { extraBody: off, hasStreamOptions: false }],
    ['https://api.moonshot.ai/v1', 'kimi-k2.6', { extraBody: off, hasTemperature: false }],
    ['https://api.moonshot.cn/v1', 'kimi-k3', { extraBody: {}, hasTemperature: false }],
    ['https://api.moonshot.cn/v1', 'moonshot-v1-8k', { extraBody: {}, hasTemperature: true }],
    ['https://notopenai.com/v1', 'x', { maxTokensField: 'max_tokens' }],
  ];
  for (const [baseUrl, model, expected] of rows) {
    assert.partialDeepStrictEqual(presetFor(baseUrl, model), expected, baseUrl);
  }
});

test('errors fall into the classes all providers share', () => {
  const api = (status: number, code = ''): Error =>
    OpenAI.APIError.generate(status, { error: { message: 'no', code } }, undefined, new Headers());
  const rows: [unknown, string][] = [
    [api(401), 'E_PROVIDER_AUTH'],
    [api(402), 'E_PROVIDER_AUTH'],
    [api(403), 'E_PROVIDER_AUTH'],
    [api(400), 'E_PROVIDER_PARAM'],
    [api(404), 'E_PROVIDER_PARAM'],
    [api(422), 'E_PROVIDER_PARAM'],
    [api(400, 'content_filter'), 'E_PROVIDER_CONTENT'],
    [api(400, 'data_inspection_failed'), 'E_PROVIDER_CONTENT'],
    [api(400, '1301'), 'E_PROVIDER_CONTENT'],
    [api(429), 'E_PROVIDER_QUOTA'],
    [api(403, 'insufficient_quota'), 'E_PROVIDER_QUOTA'],
    [api(429, '1113'), 'E_PROVIDER_AUTH'],
    [api(408), 'E_PROVIDER_IDLE'],
    [api(500), 'E_PROVIDER_SERVER'],
    [api(503), 'E_PROVIDER_SERVER'],
    [new OpenAI.APIConnectionError({ message: 'refused' }), 'E_PROVIDER_SERVER'],
    [new TypeError('terminated'), 'E_PROVIDER_SERVER'],
  ];
  for (const [thrown, code] of rows) assert.equal(classify(thrown, '').code, code, String(thrown));
});

test('a key that the vendor quotes is in no message and in no cause', () => {
  const key = 'made-up-key-0001';
  const quoted = classify(new Error(`Incorrect API key provided: ${key}.`), key);
  assert.doesNotMatch(quoted.message, /made-up/);
  assert.equal(quoted.cause, undefined);
  const plain = new Error('no');
  assert.equal(classify(plain, key).cause, plain);
});

test('keys pressed and speech nobody read are told to the model in words', () => {
  const last = (request: ReturnType<typeof replyRequest>): string | undefined =>
    messagesOf(request).at(-1)?.content;
  assert.equal(last(replyRequest('hi')), 'hi');
  assert.equal(
    last(replyRequest('hi', { input: { kind: 'dtmf', digits: '42' } })),
    '[The caller pressed 42]',
  );
  const said = replyRequest('I pressed 42', { input: { kind: 'dtmf', digits: '42' } });
  assert.equal(last(said), 'I pressed 42');
  const unread = replyRequest('');
  assert.match(last(unread) ?? '', /could not be understood/);
  assert.ok(messagesOf(unread).every((message) => message.content !== ''));
  assert.equal(
    last({ ...replyRequest('new'), messages: [{ role: 'assistant', content: 'old' }] }),
    'new',
  );
});
