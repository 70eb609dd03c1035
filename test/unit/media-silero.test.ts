/** The Silero model beside WebRTC's detector: who decides when, and what the model is given. With a made-up model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSileroCounters } from '#media/speech/silero-census.ts';
import { SileroClassifier } from '#media/speech/silero-classifier.ts';
import { openSileroModel, loadOnnxRuntime, type OnnxRuntime } from '#media/speech/silero-model.ts';
import { CHUNK, SILERO_SLOTS, SileroSlots } from '#media/speech/silero-slots.ts';

const FRAME = 160;

type Feeds = Record<string, { readonly data: unknown; readonly dims: readonly number[] }>;

/** A runtime whose model says how loud the chunk is, and counts in its state how many it has seen of a call. */
function fakeRuntime(inputNames: readonly string[] = ['input', 'state', 'sr']) {
  const runs: { batch: number; counts: number[]; contexts: number[] }[] = [];
  class FakeTensor {
    readonly type: string;
    readonly data: unknown;
    readonly dims: readonly number[];
    constructor(type: string, data: unknown, dims: readonly number[]) {
      [this.type, this.data, this.dims] = [type, data, dims];
    }
  }
  const run = (feeds: Feeds) => {
    const input = feeds['input']?.data as Float32Array;
    const state = feeds['state']?.data as Float32Array;
    const batch = feeds['input']?.dims[0] ?? 0;
    assert.deepEqual(feeds['input']?.dims, [batch, CHUNK + 32]);
    assert.deepEqual(feeds['state']?.dims, [2, batch, 128]);
    assert.deepEqual(feeds['sr']?.data, BigInt64Array.of(8000n));
    const next = state.map((value) => value + 1);
    const loud = Float32Array.from({ length: batch }, (_, i) =>
      Math.abs(input[i * (CHUNK + 32) + 32] as number),
    );
    runs.push({
      batch,
      counts: Array.from({ length: batch }, (_, i) => next[i * 128] as number),
      contexts: Array.from({ length: batch }, (_, i) => input[i * (CHUNK + 32)] as number),
    });
    return Promise.resolve({
      output: new FakeTensor('float32', loud, [batch, 1]),
      stateN: new FakeTensor('float32', next, [2, batch, 128]),
    });
  };
  const session = { inputNames, outputNames: ['output', 'stateN'], run };
  const onnx = {
    Tensor: FakeTensor,
    InferenceSession: { create: () => Promise.resolve(session) },
  } as unknown as OnnxRuntime;
  return { onnx, runs };
}

function parts(isVoiced: () => boolean = () => false) {
  const slots = SileroSlots.create();
  slots.state = 'ready';
  const counters = newSileroCounters();
  const freed: number[] = [];
  const make = (): SileroClassifier =>
    new SileroClassifier(slots, { isSpeech: isVoiced, free: () => freed.push(1) }, counters);
  return { slots, counters, freed, make };
}

const frameOf = (level: number): Int16Array => new Int16Array(FRAME).fill(level * 32_768);

test('the model decides while it keeps up, from its first answer on', async () => {
  const { slots, counters, make } = parts(() => true);
  const { onnx } = fakeRuntime();
  const model = await openSileroModel(onnx, 'made up');
  const classifier = make();
  assert.equal(classifier.isSpeech(frameOf(0.05), 1000), true, 'the detector says so');
  for (let i = 0; i < 4; i++) {
    classifier.isSpeech(frameOf(0.05), 1000);
    await model.judge(slots);
  }
  assert.equal(classifier.isSpeech(frameOf(0.05), 1000), false, 'the model does not');
  const before = counters.fallbackFrames;
  for (let i = 0; i < 4; i++) {
    classifier.isSpeech(frameOf(0.9), 1000);
    await model.judge(slots);
  }
  assert.equal(classifier.isSpeech(frameOf(0.9), 1000), true);
  assert.equal(counters.fallbackFrames, before);
  assert.ok(counters.chunks >= 6 && counters.dropped === 0);
});

test('how sure the model must be: more to begin alone than beside the detector, less to go on', async () => {
  let voiced = false;
  const { slots, make } = parts(() => voiced);
  const { onnx } = fakeRuntime();
  const model = await openSileroModel(onnx, 'made up');
  const classifier = make();
  const heard = async (level: number): Promise<boolean> => {
    for (let i = 0; i < 6; i++) {
      classifier.isSpeech(frameOf(level), 1000);
      await model.judge(slots);
    }
    return classifier.isSpeech(frameOf(level), 1000);
  };
  assert.equal(await heard(0.4), false);
  assert.equal(await heard(0.6), true);
  assert.equal(await heard(0.4), true);
  assert.equal(await heard(0.3), false);
  voiced = true;
  assert.equal(await heard(0.3), true);
  assert.equal(await heard(0.2), false);
});

test('a model that is behind, has failed or has no room: the detector decides, and it is counted', async () => {
  let voiced = true;
  const { slots, counters, make } = parts(() => voiced);
  const { onnx } = fakeRuntime();
  const model = await openSileroModel(onnx, 'made up');
  const classifier = make();
  for (let i = 0; i < 3; i++) {
    classifier.isSpeech(frameOf(0), 1000);
    await model.judge(slots);
  }
  assert.equal(classifier.isSpeech(frameOf(0), 1000), false);
  assert.deepEqual(counters, {
    ...{ chunks: 2, dropped: 0, judgedFrames: 2, fallbackFrames: 2, lateFrames: 0 },
  });
  for (let i = 0; i < 20; i++) classifier.isSpeech(frameOf(0), 1000);
  assert.equal(classifier.isSpeech(frameOf(0), 1000), true, 'nobody judges any more');
  assert.ok(counters.dropped >= 6, `${counters.dropped} dropped`);
  assert.equal(counters.judgedFrames + counters.fallbackFrames, 25, 'every frame once');
  assert.equal(counters.lateFrames, counters.fallbackFrames - 2, 'but for those before its first');
  const { lateFrames } = counters;
  while ((await model.judge(slots)) > 0);
  assert.equal(classifier.isSpeech(frameOf(0), 1000), false, 'it is back');
  slots.state = 'failed';
  assert.equal(classifier.isSpeech(frameOf(0), 1000), true);
  voiced = false;
  assert.equal(classifier.isSpeech(frameOf(0), 1000), false);
  assert.equal(counters.lateFrames, lateFrames, 'a model that has failed is not late');
  classifier.free();
  classifier.free();
  const all = Array.from({ length: SILERO_SLOTS + 1 }, make);
  slots.state = 'ready';
  const before = counters.chunks;
  all.at(-1)?.isSpeech(frameOf(0), 1000);
  all.at(-1)?.isSpeech(frameOf(0), 1000);
  assert.equal(counters.chunks, before, 'no room for the last one');
  for (const each of all) each.free();
  assert.ok(slots.take() >= 0, 'the room is given back');
});

test('many calls in one run, the state and context of each its own, a new call without a past', async () => {
  const { slots, make } = parts();
  const { onnx, runs } = fakeRuntime();
  const model = await openSileroModel(onnx, 'made up');
  const calls = [make(), make(), make()];
  for (const [i, call] of calls.entries())
    for (let frame = 0; frame < 2; frame++) call.isSpeech(frameOf((i + 1) / 8), 1000);
  assert.equal(await model.judge(slots), 3);
  for (const [i, call] of calls.entries())
    for (let frame = 0; frame < 2; frame++) call.isSpeech(frameOf((i + 1) / 8), 1000);
  await model.judge(slots);
  assert.deepEqual(runs, [
    { batch: 3, counts: [1, 1, 1], contexts: [0, 0, 0] },
    { batch: 3, counts: [2, 2, 2], contexts: [0.125, 0.25, 0.375] },
  ]);
  for (const call of calls) call.free();
  for (let i = 0; i < SILERO_SLOTS; i++) {
    const call = make();
    call.isSpeech(frameOf(0.5), 1000);
    call.isSpeech(frameOf(0.5), 1000);
    while ((await model.judge(slots)) > 0);
    call.free();
  }
  assert.ok(runs.slice(2).every(({ counts, contexts }) => counts[0] === 1 && contexts[0] === 0));
});

test('what is missing is named', async () => {
  assert.throws(() => loadOnnxRuntime('/nowhere/onnxruntime-node'), {
    code: 'E_CONFIG',
    message: /npm install --no-save onnxruntime-node@1\.30\.0.*CALLYARD_ONNXRUNTIME/,
  });
  const { onnx } = fakeRuntime(['input', 'sr', 'h', 'c']);
  await assert.rejects(openSileroModel(onnx, '/models/old.onnx'), {
    code: 'E_CONFIG',
    message: /\/models\/old\.onnx takes c h input sr; Silero VAD 5 or 6/,
  });
});
