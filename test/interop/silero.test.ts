/** The real Silero model, where CALLYARD_SILERO_MODEL (and CALLYARD_ONNXRUNTIME) name one: voices and places by numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { SileroThread } from '#media/speech/silero-thread.ts';
import { loadSpeechClassifiers, Vad } from '#media/speech/vad.ts';
import { noise, recorded, voiceAtLevel, type NoiseName } from '../unit/_noises.ts';

const model = process.env['CALLYARD_SILERO_MODEL'] ?? '';
const runtime = process.env['CALLYARD_ONNXRUNTIME'] ?? 'onnxruntime-node';
const skip = model === '' ? 'CALLYARD_SILERO_MODEL is not set' : false;
const PLACES: readonly NoiseName[] = ['hiss', 'car', 'street', 'office', 'babble'];

test('voices are heard, places are not, in real time for all at once', { skip }, async () => {
  const failed: string[] = [];
  const onFailed = (message: string): void => void failed.push(message);
  const thread = new SileroThread({ model, runtime, clock: systemClock, onFailed });
  await thread.ready();
  const newDetector = await loadSpeechClassifiers();
  const signals = [
    ...['about-en', 'about-zh', 'menu-en', 'greeting-zh'].map((name) =>
      voiceAtLevel(recorded(name).subarray(0, 32_000), -22),
    ),
    ...PLACES.map((place) => noise(place, 7, 8000, -35)),
  ];
  const starts = signals.map(() => [] as number[]);
  const vads = signals.map(
    (_, i) =>
      new Vad(thread.classifier(newDetector()), {
        started: (startMs) => starts[i]?.push(startMs),
        stopped: () => undefined,
      }),
  );
  const pcm = new Int16Array(160);
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  for (let at = 0; at + 160 <= 64_000; at += 160) {
    const waitMs = startedMs + at / 8 - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    for (const [i, signal] of signals.entries()) {
      for (let k = 0; k < 160; k++) pcm[k] = signal[at + k] ?? 0;
      vads[i]?.write(pcm, 160, at / 8, at / 8);
    }
  }
  const { user, system } = process.cpuUsage(cpu);
  for (const vad of vads) vad.free();
  const { census } = thread;
  await thread.close();
  const share = (user + system) / 1000 / (performance.now() - startedMs) / signals.length;
  assert.ok(share < 0.02, `${(share * 100).toFixed(2)} % of a core for each call`);
  assert.deepEqual(failed, []);
  assert.ok(census.dropped <= census.chunks / 20, JSON.stringify(census));
  for (const [i, found] of starts.entries()) {
    if (i < 4)
      assert.ok(found.length > 0 && (found[0] ?? 999) < 300, `voice ${i}: ${found.join(' ')}`);
    else assert.ok(found.length <= 1, `${PLACES[i - 4]}: ${found.join(' ')}`);
  }
});
