/** What the Silero model does in a media worker comes out of it with each call that ends, also over the death of either. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine, type LocalMediaEngine } from '#media/media-client.ts';
import { eventually } from './_app.ts';
import { RtpPhone, tone } from './_rtp-phone.ts';

/** A runtime whose model hears speech everywhere, until it is given a chunk of full scale: then it fails. */
const RUNTIME = `
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const session = {
  inputNames: ['input', 'state', 'sr'],
  outputNames: ['output', 'stateN'],
  run: async ({ input, state }) => {
    if (input.data.some((sample) => sample > 0.95)) throw new Error('the made-up model has failed');
    const count = input.dims[0];
    return { output: new Tensor('float32', new Float32Array(count).fill(0.9), [count, 1]), stateN: state };
  },
};
module.exports = { Tensor, InferenceSession: { create: async () => session } };
`;

function makeRuntime(t: TestContext): string {
  const folder = join(mkdtempSync(join(tmpdir(), 'callyard-onnx-')), 'runtime');
  mkdirSync(folder);
  writeFileSync(join(folder, 'index.js'), RUNTIME);
  t.after(() => rmSync(join(folder, '..'), { recursive: true, force: true }));
  return folder;
}

async function call(engine: LocalMediaEngine, pcm: Int16Array): Promise<void> {
  const phone = await RtpPhone.open();
  const session = await engine.open({
    ...{ callId: 'silero', localAddress: '127.0.0.1', recordingPath: null },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
  });
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: null },
    ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  });
  await phone.play(pcm, session.localPort);
  await sleep(100);
  await session.close();
  phone.close();
}

test('frames judged, and a model that fails, are told', async (t) => {
  const engine = createMediaEngine({
    ...{ rtpPorts: { first: 24_240, last: 24_259 }, log: silentLog, mayBeRealtime: false },
    vad: { model: '/made-up.onnx', runtime: makeRuntime(t) },
  });
  t.after(() => engine.close());
  await engine.ready();
  await eventually(
    async () => {
      await call(engine, tone(440, 200));
      return engine.silero.judgedFrames;
    },
    (frames) => frames > 0,
  );
  const before = engine.silero;
  await call(engine, tone(440, 800));
  const { judgedFrames, fallbackFrames, chunks, dropped, failures } = engine.silero;
  const frames = judgedFrames + fallbackFrames - before.judgedFrames - before.fallbackFrames;
  assert.equal(frames, 40, 'every frame is counted once');
  assert.ok(judgedFrames - before.judgedFrames >= 20, `${judgedFrames} judged`);
  assert.equal(chunks + dropped - before.chunks - before.dropped, 25, '800 ms in chunks of 32 ms');
  assert.equal(failures, 0);
  await call(engine, tone(440, 400, 32_600));
  const after = await eventually(
    async () => engine.silero,
    (now) => now.failures > 0,
  );
  assert.equal(after.failures, 1);
  await call(engine, tone(440, 200));
  const late = engine.silero;
  assert.equal(late.failures, 1, 'counted once');
  assert.equal(late.judgedFrames, after.judgedFrames, 'the detector is alone');
  assert.equal(late.fallbackFrames - after.fallbackFrames, 10);
});
