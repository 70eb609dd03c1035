/** Resident memory of one more call: 50 and then 250 of them that talk, hear and record in the real engine. */
import { pause, Script } from './_media-process.ts';
import { rounded, type BenchResult } from './_result.ts';

const FEW = 50;
const MANY = 250;
const SETTLE_MS = 9000;
const MB = 1024 * 1024;
const FLOOR_MB = 1;

export async function measureMemory(): Promise<BenchResult[]> {
  await using load = new Script('_media-load.ts', ['300'], 'load');
  const { ports } = await load.next<{ ports: number[] }>();
  const args = ['--expose-gc'];
  await using child = new Script('_media-memory-child.ts', [ports.join(',')], 'system', args);
  await child.next();
  await child.ask(`open ${FEW}`);
  await load.ask('go 27000');
  await pause(SETTLE_MS);
  const few = await child.ask<number>('weigh');
  await child.ask(`open ${MANY}`);
  await pause(SETTLE_MS);
  const many = await child.ask<number>('weigh');
  const each = (many - few) / (MANY - FEW) / MB;
  return [
    {
      ...{ bench: 'media', metric: 'rss_mb_per_call', value: rounded(each, 3), unit: 'MB' },
      against: `${FEW} calls: ${rounded(few / MB, 1)} MB, ${MANY}: ${rounded(many / MB, 1)} MB, each recorded`,
      ...{ ratio: rounded(many / few), floor: `<= ${FLOOR_MB}`, ok: each <= FLOOR_MB },
    },
  ];
}
