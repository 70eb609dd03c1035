/** The waterfall of a turn: the answer and not a filler, whose work each stage was, and parts that add up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { createMetrics, observeTurn } from '#lib/metrics.ts';
import type { TurnStages } from '#lib/turn-stages.ts';
import type { LlmProvider, ReplyPart, TtsProvider } from '#providers/contract.ts';
import { failoverTts } from '#providers/pool/failover-tts.ts';
import { PhraseStore } from '#providers/phrase-store.ts';
import { runCall } from '#sessions/call.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { AGENT, createRig, fakeTts, settle, type Rig } from './_fakes.ts';
import { broken, rigOf } from './_pool-kit.ts';
import { collect } from './_provider-contract.ts';

const STEADY = { ...AGENT.turn, endpointMinMs: 700, endpointMaxMs: 700 };
const FILLER = { afterMs: 2000, longAfterMs: 10_000, text: 'One moment please', longText: null };

const wire = (ms: number): number => performance.timeOrigin + ms;

async function until(rig: Rig, ms: number): Promise<void> {
  while (rig.clock.now() < ms) {
    rig.clock.advance(Math.min(20, ms - rig.clock.now()));
    await settle();
  }
}

/** The caller speaks from 1500 to 2000 ms and is read at 2320. */
async function oneTurn(rig: Rig): Promise<void> {
  await until(rig, 1500);
  rig.media.emit({ type: 'speech.started', atMs: 1560, startMs: 1500, wireMs: wire(1500) });
  await until(rig, 2200);
  const times = { startMs: 1500, endMs: 2000, wireMs: wire(2000) };
  rig.media.emit({ type: 'speech.stopped', atMs: 2200, ...times });
  await until(rig, 2320);
  const said = { text: 'Hello.', confidence: 0.9, language: 'en' as const };
  rig.hear({ type: 'final', ...said, startMs: null, endMs: null });
}

/** Its first word comes this late; a draft and the reply are asked at their own times. */
function slowModel(rig: () => Rig, ms: number): LlmProvider {
  return {
    ...{ vendor: 'pool', servedBy: () => 'second' },
    async *reply(): AsyncGenerator<ReplyPart, undefined> {
      await new Promise<void>((resolve) => rig().clock.setTimer(resolve, ms));
      yield { type: 'text', text: 'Here it is.' };
    },
  };
}

function measuredRig(of: Parameters<typeof createRig>[0]): { rig: Rig; turns: TurnStages[] } {
  const turns: TurnStages[] = [];
  const rig = createRig(of);
  rig.setup.story.turnMeasured = (turn) => void turns.push(turn);
  return { rig, turns };
}

const sumOf = ({ partsMs }: TurnStages): number =>
  Object.values(partsMs).reduce((sum, ms) => sum + ms, 0);

test('a filler is no answer: the turn is measured to the first packet of the words behind it', async () => {
  for (const modelMs of [2500, 4000]) {
    const llm = slowModel(() => rig, modelMs);
    const { rig, turns } = measuredRig({ llm, agent: { turn: STEADY, filler: FILLER } });
    const call = runCall(rig.deps, rig.setup);
    await settle();
    await oneTurn(rig);
    await until(rig, 12_000);
    const reply = rig.setup.story.messages.at(-1);
    assert.equal(reply?.content, 'One moment please Here it is.');
    const answers = rig.entries.flatMap(({ event }) =>
      'latency_ms' in event.data ? event.data.latency_ms : [],
    );
    rig.dialog.end('remote');
    await call.done;
    const [turn] = turns;
    assert.ok(turn !== undefined && turns.length === 1);
    const fillerMs = (reply?.start_ms ?? 0) - 2000;
    const toAnswerMs = reply?.latency_ms ?? 0;
    assert.ok(toAnswerMs >= modelMs, `${toAnswerMs} ms, the model took ${modelMs}`);
    assert.ok(toAnswerMs > fillerMs + 500, `${toAnswerMs} after ${fillerMs} of the filler`);
    assert.ok(Math.abs(sumOf(turn) - toAnswerMs) <= 1);
    assert.ok(turn.partsMs.llm >= modelMs - 400, JSON.stringify(turn.partsMs));
    assert.equal(answers.at(-1), toAnswerMs);
    assert.deepEqual(turn.vendors, { stt: 'fake', llm: 'second', tts: fakeTts.vendor });
    assert.equal(rig.clock.pending, 0);
  }
});

test('a turn of which nothing but a filler was heard has no time of an answer', async () => {
  const llm = slowModel(() => rig, 20_000);
  const { rig, turns } = measuredRig({ llm, agent: { turn: STEADY, filler: FILLER } });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await oneTurn(rig);
  await until(rig, 6000);
  rig.dialog.end('remote');
  await call.done;
  const { messages } = rig.setup.story;
  assert.equal(messages.at(-1)?.content, 'One moment please');
  assert.equal(messages.at(-1)?.latency_ms, undefined);
  assert.deepEqual(turns, []);
  const ended = rig.entries.find(({ event }) => event.type === 'call.ended');
  assert.equal(ended?.record?.latency, null);
});

test('seeded: whatever was marked when, the parts add up and none is below nothing', () => {
  let state = 7;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const instants = ['detected', 'asked', 'read', 'llmFirst', 'pieceReady', 'audioReady'] as const;
  for (let run = 0; run < 2000; run++) {
    const times = new TurnTimes(() => 0);
    times.mark('speechEnd', 1000);
    for (const instant of instants)
      if (random() < 0.8) times.mark(instant, 1000 + random() * 1200 - 100);
    times.mark('firstPacket', 1000 + random() * 1500);
    const latency = times.again().latency() ?? times.latency();
    assert.ok(latency !== null);
    assert.ok(Math.abs(sumOf(latency) - latency.totalMs) < 1e-6);
    assert.ok(Object.values(latency.partsMs).every((ms) => ms >= 0));
  }
});

test('each stage of a turn is one observation, under the vendor that answered', async () => {
  const metrics = createMetrics({ outboxPending: () => 0 });
  const partsMs = { jitter: 0, endpointing: 200, stt: 150, llm: 250, tts: 80, pacing: 12 };
  observeTurn(metrics, { partsMs, vendors: { stt: 'aliyun', llm: 'qwen' } });
  observeTurn(metrics, { partsMs, vendors: { stt: 'aliyun', llm: 'qwen', tts: 'kept' } });
  const text = await metrics.registry.metrics();
  const line = (stage: string, vendor: string, what: string): number => {
    const name = `callyard_turn_stage_seconds_${what}{stage="${stage}",vendor="${vendor}"} `;
    return Number(
      text
        .split('\n')
        .find((each) => each.startsWith(name))
        ?.slice(name.length),
    );
  };
  assert.deepEqual([line('llm', 'qwen', 'count'), line('stt', 'aliyun', 'sum')], [2, 0.3]);
  assert.equal(line('pacing', 'callyard', 'count'), 2);
  assert.deepEqual([line('tts', 'callyard', 'count'), line('tts', 'kept', 'count')], [1, 1]);
});

test('the sound of a voice that stood in says so, and is not kept under the name of the first', async () => {
  const clock = new SimulatedClock();
  let isDown = true;
  const voice = (vendor: string, asked: string[]): TtsProvider => ({
    vendor,
    async *speak({ text }) {
      asked.push(text);
      if (vendor === 'first' && isDown) throw broken();
      yield { pcm: new Int16Array(800), marks: [{ chars: text.length, ms: 100 }] };
    },
  });
  const [first, second]: [string[], string[]] = [[], []];
  const { lineup } = rigOf('tts', clock, [voice('first', first), voice('second', second)]);
  const store = new PhraseStore({ clock });
  const say = async (): Promise<(string | undefined)[]> => {
    const tts = store.of(failoverTts(lineup), 'v');
    const request = { text: 'Hello', language: 'en', keep: 'always' } as const;
    const { items } = await collect(tts.speak(request, new AbortController().signal));
    return items.filter(({ pcm }) => pcm.length > 0).map(({ by }) => by);
  };
  assert.deepEqual(await say(), ['second']);
  isDown = false;
  const { lineup: other } = rigOf('tts', clock, [voice('first', first), voice('second', second)]);
  const tts = store.of(failoverTts(other), 'v');
  const request = { text: 'Hello', language: 'en', keep: 'always' } as const;
  const signal = new AbortController().signal;
  const heard = await collect(tts.speak(request, signal));
  assert.equal(heard.items[0]?.by, 'first', 'what stood in was not kept');
  const again = await collect(store.of(failoverTts(other), 'v').speak(request, signal));
  assert.equal(again.items[0]?.by, 'kept');
  assert.deepEqual([first.length, second.length], [2, 1]);
});
