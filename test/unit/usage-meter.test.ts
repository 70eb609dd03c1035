/** What is counted of the vendors of a call. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costOf, priceTableOf, type PriceTable } from '#lib/prices.ts';
import type {
  LlmUsage,
  ProviderSet,
  RealtimeEvent,
  RealtimeProvider,
  ReplyPart,
} from '#providers/contract.ts';
import { UsageMeter } from '#sessions/usage-meter.ts';

const AGENT = '00000000-0000-4000-8000-000000000001';
const NEXT = '00000000-0000-4000-8000-000000000002';

function vendors(usage: LlmUsage | undefined): ProviderSet & { readonly heard: number[] } {
  const heard: number[] = [];
  return {
    heard,
    stt: {
      ...{ vendor: 'ears', reads: true },
      open: () => ({
        push: (pcm) => void heard.push(pcm.length),
        speechStarted: () => undefined,
        speechStopped: () => undefined,
        close: () => undefined,
      }),
    },
    llm: {
      vendor: 'mind',
      async *reply(): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
        yield { type: 'text', text: 'Yes.' };
        return usage;
      },
    },
    tts: {
      vendor: 'mind',
      async *speak() {
        yield { pcm: new Int16Array(8), marks: [] };
      },
    },
  };
}

async function use(set: ProviderSet): Promise<void> {
  const ears = set.stt.open({ callId: 'c', language: 'en', onEvent: () => undefined });
  for (let i = 0; i < 5; i++) ears.push(new Int16Array(1600));
  const signal = new AbortController().signal;
  const parts = set.llm.reply(
    {
      ...{ callId: 'c', language: 'en', messages: [], state: new Map() },
      input: { kind: 'speech', text: '', audio: null },
    },
    signal,
  );
  const said: string[] = [];
  for await (const part of parts) if (part.type === 'text') said.push(part.text);
  for await (const _ of set.tts.speak({ text: '好的👍', language: 'zh' }, signal));
  assert.deepEqual(said, ['Yes.']);
}

test('seconds heard, characters said and tokens, by agent and vendor, each told once', async () => {
  const meter = new UsageMeter();
  const set = vendors({ inputTokens: 90, outputTokens: 7 });
  await use(meter.watch(set, AGENT));
  assert.deepEqual(set.heard, [1600, 1600, 1600, 1600, 1600]);
  assert.deepEqual(meter.take(), [
    { agent_id: AGENT, vendor: 'ears', stt_seconds: 1 },
    { agent_id: AGENT, vendor: 'mind', tts_chars: 3, llm_tokens_in: 90, llm_tokens_out: 7 },
  ]);
  assert.deepEqual(meter.take(), []);
  await use(meter.watch(vendors(undefined), NEXT));
  await use(meter.watch(vendors(undefined), NEXT));
  assert.deepEqual(meter.take(), [
    { agent_id: NEXT, vendor: 'ears', stt_seconds: 2 },
    { agent_id: NEXT, vendor: 'mind', tts_chars: 6 },
  ]);
});

test('what a server tells instead of a count is no count', async () => {
  for (const told of [Number.NaN, -1, '90', null, Number.POSITIVE_INFINITY, 1.5]) {
    const meter = new UsageMeter();
    const usage = { inputTokens: told, outputTokens: told } as LlmUsage;
    await use(meter.watch(vendors(usage), AGENT));
    for (const patch of meter.take())
      for (const count of [patch.llm_tokens_in, patch.llm_tokens_out])
        assert.ok(count === undefined || Number.isSafeInteger(count), `${String(told)} ${count}`);
  }
});

const PRICES: PriceTable = {
  currency: 'CNY',
  ...{ stt_per_minute: 0.06, tts_per_1k_chars: 1, realtime_per_minute: null },
  ...{ llm_per_1m_input: 2, llm_per_1m_output: 8 },
};

/** `set` as the registry gives it: whoever taps it is told at what prices. */
function priced(set: ProviderSet, prices: PriceTable | null): ProviderSet {
  return {
    ...set,
    tapped: (tap) => ({
      stt: tap.stt(set.stt, { vendor: set.stt.vendor, prices }),
      llm: tap.llm(set.llm, { vendor: set.llm.vendor, prices }),
      tts: tap.tts(set.tts, { vendor: set.tts.vendor, prices }),
    }),
  };
}

test('what it costs: by the prices of the account, known units alone, told in parts that add up', async () => {
  const meter = new UsageMeter();
  assert.equal(meter.cost, null);
  const free = vendors(undefined);
  await use(meter.watch(priced(free, null), AGENT));
  assert.equal(meter.cost, null, 'no price is known');
  assert.ok(
    meter.take().every((patch) => patch.cost === undefined && patch.currency === undefined),
  );
  const usage = { inputTokens: 90, outputTokens: 7 };
  await use(meter.watch(priced(vendors(usage), PRICES), AGENT));
  const each = { stt: 0.001, ttsAndLlm: 0.003 + 90 * 2e-6 + 7 * 8e-6 };
  assert.deepEqual(meter.cost, { amount: 0.004236, currency: 'CNY' });
  assert.deepEqual(
    meter.take().map(({ vendor, cost, currency }) => [vendor, cost, currency]),
    [
      ['ears', each.stt, 'CNY'],
      ['mind', Number(each.ttsAndLlm.toFixed(6)), 'CNY'],
    ],
  );
  assert.deepEqual(meter.cost, { amount: 0.004236, currency: 'CNY' }, 'taken or not');
});

test('rounding: a thousand small parts are told as what they come to', async () => {
  const meter = new UsageMeter();
  // 0.0000001 of a second's price each: none of them is a millionth by itself.
  const set = priced(vendors(undefined), { ...PRICES, stt_per_minute: 0.000_25 });
  const ears = meter
    .watch(set, AGENT)
    .stt.open({ callId: 'c', language: 'en', onEvent: () => undefined });
  let told = 0;
  for (let n = 0; n < 3_000; n++) {
    ears.push(new Int16Array(1_600));
    for (const { cost = 0 } of meter.take()) told += Math.round(cost * 1e6);
  }
  // 600 s are 10 minutes.
  assert.equal(told, 2_500);
  assert.deepEqual(meter.cost, { amount: 0.0025, currency: 'CNY' });
});

test('one that goes on from before costs what it had cost', async () => {
  const meter = new UsageMeter();
  meter.goOnFrom({ amount: 1.25, currency: 'CNY' });
  assert.deepEqual(meter.cost, { amount: 1.25, currency: 'CNY' });
  await use(meter.watch(priced(vendors(undefined), PRICES), AGENT));
  assert.deepEqual(meter.cost, { amount: 1.254, currency: 'CNY' });
});

test('a realtime session: its time and its tokens', async () => {
  const meter = new UsageMeter();
  const prices = { ...PRICES, realtime_per_minute: 1.2 };
  let tell: ((event: RealtimeEvent) => void) | null = null;
  const realtime: RealtimeProvider = {
    ...{ vendor: 'sea', hasTools: false },
    open: async (call) => {
      tell = (event) => call.onEvent(event);
      return {
        ...{ push: () => undefined, say: () => undefined, text: () => undefined },
        ...{ toolResult: () => undefined, interrupt: () => undefined, close: () => undefined },
      };
    },
  };
  const set: ProviderSet = {
    ...vendors(undefined),
    realtime,
    tapped: (tap) => ({
      ...vendors(undefined),
      realtime: tap.realtime(realtime, { vendor: 'sea', prices }),
    }),
  };
  const told: string[] = [];
  const session = await meter.watch(set, AGENT).realtime?.open(
    {
      ...{ callId: 'c', language: 'en', instructions: '', tools: [], history: [], codec: 'L16' },
      onEvent: ({ type }) => void told.push(type),
    },
    new AbortController().signal,
  );
  for (let n = 0; n < 50; n++) session?.push(new Int16Array(160));
  (tell as ((event: RealtimeEvent) => void) | null)?.({
    type: 'usage',
    usage: { inputTokens: 1_000_000, outputTokens: 10 },
  });
  assert.deepEqual(told, ['usage']);
  const used = { realtime_seconds: 1, llm_tokens_in: 1_000_000, llm_tokens_out: 10 };
  assert.deepEqual(meter.take(), [
    { agent_id: AGENT, vendor: 'sea', ...used, cost: 2.02008, currency: 'CNY' },
  ]);
});

test('prices: which are known, and in what money', () => {
  const rows: [Record<string, unknown> | undefined, string, number | null | undefined][] = [
    [undefined, 'CNY', undefined],
    [{}, 'CNY', undefined],
    [{ input: 3 }, 'CNY', undefined],
    [{ stt_per_minute: '1' }, 'CNY', undefined],
    [{ stt_per_minute: -1 }, 'CNY', undefined],
    [{ stt_per_minute: Number.NaN }, 'CNY', undefined],
    [{ stt_per_minute: 0.5 }, 'CNY', 0.5],
    [{ stt_per_minute: 0 }, 'CNY', 0],
    [{ tts_per_1k_chars: 1 }, 'CNY', null],
    [{ stt_per_minute: 0.5, currency: 'CNY' }, 'CNY', 0.5],
    [{ stt_per_minute: 0.5, currency: 'EUR' }, 'CNY', undefined],
    [{ stt_per_minute: 0.5, currency: 'EUR' }, 'EUR', 0.5],
  ];
  for (const [stored, currency, expected] of rows) {
    const table = priceTableOf(stored, currency);
    assert.equal(
      table === null ? undefined : table.stt_per_minute,
      expected,
      JSON.stringify(stored),
    );
    if (table !== null) assert.equal(table.currency, currency);
  }
  assert.equal(costOf({ tts_chars: 5 }, priceTableOf({ stt_per_minute: 1 }, 'CNY')), null);
  assert.equal(costOf({ stt_seconds: 30 }, priceTableOf({ stt_per_minute: 1 }, 'CNY')), 0.5);
  assert.equal(costOf({ stt_seconds: 30 }, priceTableOf({ stt_per_minute: 0 }, 'CNY')), 0);
});
