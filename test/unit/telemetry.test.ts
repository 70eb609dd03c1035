/** What is looked up when metrics are read: the pool of vendors and the media workers, each beside the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from '#lib/metrics.ts';
import { addSilero, NO_SILERO, type SileroCensus } from '#media/speech/silero-census.ts';
import { countWorkers } from '#src/telemetry.ts';

const CENSUS: SileroCensus = {
  ...{ chunks: 100, dropped: 7, judgedFrames: 150, fallbackFrames: 12, lateFrames: 5 },
  failures: 1,
};

test('media workers and the Silero model: what is new since the last reading is added', async () => {
  const metrics = createMetrics({ outboxPending: () => 0 });
  const media = { workers: { up: 2, deaths: 0 }, silero: NO_SILERO };
  countWorkers(metrics, media);
  const read = async (): Promise<string[]> =>
    (await metrics.registry.metrics())
      .split('\n')
      .filter((line) => /^callyard_(silero|media_worker)/.test(line));
  const zero = [
    'callyard_media_workers 2',
    'callyard_media_worker_deaths_total 0',
    'callyard_silero_frames_total{how="model"} 0',
    'callyard_silero_frames_total{how="late"} 0',
    'callyard_silero_frames_total{how="absent"} 0',
    'callyard_silero_dropped_total 0',
    'callyard_silero_failures_total 0',
  ];
  assert.deepEqual(await read(), zero);
  media.silero = CENSUS;
  media.workers = { up: 1, deaths: 1 };
  const told = [
    'callyard_media_workers 1',
    'callyard_media_worker_deaths_total 1',
    'callyard_silero_frames_total{how="model"} 150',
    'callyard_silero_frames_total{how="late"} 5',
    'callyard_silero_frames_total{how="absent"} 7',
    'callyard_silero_dropped_total 7',
    'callyard_silero_failures_total 1',
  ];
  assert.deepEqual(await read(), told);
  assert.deepEqual(await read(), told, 'once');
  media.silero = addSilero(CENSUS, CENSUS);
  const lines = await read();
  assert.ok(lines.includes('callyard_silero_frames_total{how="absent"} 14'), lines.join('\n'));
  assert.ok(lines.includes('callyard_silero_failures_total 2'), lines.join('\n'));
});

test('whoever looks something up does not put out the others', async () => {
  const metrics = createMetrics({ outboxPending: () => 0 });
  const labels = { kind: 'llm', provider: 'example' };
  metrics.onCollect(() => metrics.aiBreakersOpen.set(labels, 1));
  countWorkers(metrics, { workers: { up: 3, deaths: 0 }, silero: NO_SILERO });
  const text = await metrics.registry.metrics();
  assert.match(text, /^callyard_ai_breakers_open\{kind="llm",provider="example"\} 1$/m);
  assert.match(text, /^callyard_media_workers 3$/m);
});
