/** A real call on two accounts at vendors, the first of which fails: it goes on, and what it costs is counted once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { clientOf, dataOf } from './_answering.ts';
import { eventually, startTestApp } from './_app.ts';
import { startChatModel } from './_chat-model.ts';
import { systemRows } from './_identity.ts';
import { atEnd } from './_store.ts';

const SCRIPT = { utterances: { '1': 'What does it cost?', '2': 'And tomorrow?' } };
/** 1,000 tokens in and 100 out, at 2 and 8 for a million. */
const EACH = 0.002_8;

type Cost = { readonly amount: number; readonly currency: string } | null;
type Row = {
  readonly id: string;
  readonly status: string;
  readonly cost: Cost;
  readonly summary: string | null;
};
type Event = { readonly type: string; readonly data: { readonly cost?: Cost } };

function utterance(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 600 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    pcm[i] =
      6000 *
      (0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000)) *
      Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return pcm;
}

test('failover in a live call, and its cost in the record, the event, the usage and the metrics', async (t) => {
  const [broken, model] = [await startChatModel(t), await startChatModel(t)];
  broken.answer = () => 500;
  model.answer = ({ stream }) => (stream ? 'It costs ten.' : 'The caller asked what it costs.');
  model.usage = { prompt_tokens: 1_000, completion_tokens: 100 };
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const api = clientOf(server);
  const add = (name: string, of: typeof model, priority: number) =>
    dataOf(
      201,
      api('POST', '/api/v1/provider-configs', {
        ...{ kind: 'llm', vendor: 'openai', name, priority, credentials: { api_key: 'made-up' } },
        options: { base_url: of.env['CALLYARD_LLM_BASE_URL'], model: 'm' },
        prices: { llm_per_1m_input: 2, llm_per_1m_output: 8, currency: 'CNY' },
      }),
    );
  await add('First', broken, 1);
  await add('Second', model, 2);
  const agent = await dataOf<{ id: string }>(
    201,
    api('POST', '/api/v1/agents', {
      ...{ name: 'Costly', system_prompt: 'Be kind.', greeting: 'Hi.', llm: { vendor: 'openai' } },
    }),
  );
  const binding = { kind: 'default', agent_id: agent.id };
  await dataOf(200, api('PUT', '/api/v1/agent-bindings', binding));
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSilence(8_000);
  for (const id of [1, 2]) {
    const { lastMs } = await phone.say(utterance(id));
    await phone.hearSpeech(lastMs, 6_000);
    await phone.hearSilence(10_000);
  }
  await phone.hangUp();
  // Two replies and the summary, each asked of the vendor that works.
  const { records } = await eventually(
    () => dataOf<{ records: Row[] }>(200, api('GET', '/api/v1/call-records')),
    ({ records: found }) => found[0]?.status === 'ended',
  );
  const path = `/api/v1/call-records/${records[0]?.id ?? ''}`;
  const record = await eventually(
    () => dataOf<Row>(200, api('GET', path)),
    ({ cost }) => cost !== null && cost.amount > 3 * EACH - 1e-9,
  );
  assert.deepEqual(record.cost, { amount: 0.008_4, currency: 'CNY' });
  const { events } = await dataOf<{ events: Event[] }>(
    200,
    api('GET', `${path}/events?page_size=100`),
  );
  const ended = events.find(({ type }) => type === 'call.ended');
  assert.deepEqual(
    ended?.data.cost,
    { amount: 0.005_6, currency: 'CNY' },
    'the summary comes after it',
  );
  const call = await dataOf<{ cost: Cost }>(200, api('GET', `/v1/phone/calls/${record.id}`));
  assert.equal(call.cost?.amount, 0.008_4);
  const usage = await systemRows<{ vendor: string; cost: string; llm_tokens_in: string }>(
    server.databaseUrl,
    `SELECT vendor, cost, llm_tokens_in FROM usage_daily WHERE llm_tokens_in > 0`,
  );
  assert.deepEqual(
    usage.map(({ vendor, cost, llm_tokens_in: tokens }) => [vendor, Number(cost), Number(tokens)]),
    [['openai', 0.008_4, 3_000]],
  );
  assert.ok(broken.asked.length >= 1, 'the first one was asked');
  const metrics = await (await fetch(`${server.app.httpUrl}/metrics`)).text();
  const labels = '{kind="llm",provider="openai"}';
  for (const name of ['failovers', 'requests']) {
    const count = Number(
      new RegExp(`^callyard_ai_${name}_total\\${labels} (\\d+)`, 'm').exec(metrics)?.[1],
    );
    assert.ok(count >= 1, `${name}: ${count}`);
  }
  assert.match(
    metrics,
    /callyard_ai_failures_total\{kind="llm",provider="openai",class="server"\} \d/,
  );
});

test('a price in other money than the account’s is refused: it would never be counted', async (t) => {
  const server = await startTestApp(t);
  const api = clientOf(server);
  const body = { kind: 'llm', vendor: 'openai', name: 'One', credentials: {} };
  const prices = (currency: string) => ({ ...body, prices: { llm_per_1m_input: 1, currency } });
  const refused = await api('POST', '/api/v1/provider-configs', prices('EUR'));
  assert.equal(refused.status, 400);
  const { id } = await dataOf<{ id: string }>(
    201,
    api('POST', '/api/v1/provider-configs', prices('CNY')),
  );
  const path = `/api/v1/provider-configs/${id}`;
  assert.equal((await api('PATCH', path, { prices: { currency: 'EUR' } })).status, 400);
  assert.equal((await api('PUT', path, prices('EUR'))).status, 400);
  await dataOf(200, api('PATCH', '/api/v1/settings', { currency: 'EUR' }));
  await dataOf(200, api('PATCH', path, { prices: { llm_per_1m_input: 1, currency: 'EUR' } }));
});
