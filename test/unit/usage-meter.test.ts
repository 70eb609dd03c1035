/** What is counted of the vendors of a call. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LlmUsage, ProviderSet, ReplyPart } from '#providers/contract.ts';
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
