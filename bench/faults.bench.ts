/**
 * Turns of phone calls whose vendors fail at random, one turn in ten (targets.md F7): cut, refused, hung, half open, junk,
 * far too slow; recogniser, model and voice over their real protocols, with the scripted vendor to fall back to.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../test/interop/tools/server.ts';
import {
  faultedCall,
  SCRIPT,
  startFaultVendors,
  useVendors,
  type FaultedCall,
} from './_fault-talk.ts';
import { rounded, type BenchResult } from './_result.ts';
import { seedOf } from './_seed.ts';
import { NODE, percentile, randomFrom } from './_talk-server.ts';

const CALLS = 20;
const TURNS = 25;
const AT_ONCE = 10;

export async function run(): Promise<BenchResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-bench-'));
  try {
    return await measure(folder, seedOf());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, seed: number): Promise<BenchResult[]> {
  const vendors = await startFaultVendors();
  const env = { CALLYARD_LOG_LEVEL: 'error', CALLYARD_RECORDING: 'off', CALLYARD_DRAIN_S: '2' };
  try {
    await using server = await startServer({ folder, address: NODE, script: SCRIPT, env });
    await useVendors(server, vendors);
    const calls: FaultedCall[] = [];
    for (let first = 0; first < CALLS; first += AT_ONCE) {
      const some = Array.from({ length: AT_ONCE }, (_, index) =>
        faultedCall(server, vendors, TURNS, randomFrom(seed * 1000 + first + index)),
      );
      calls.push(...(await Promise.all(some)));
    }
    const met = vendors.planted.count - vendors.left();
    return results(calls, met);
  } finally {
    await vendors.close();
  }
}

/** `met`: faults that a request or a connection really came upon. */
function results(calls: readonly FaultedCall[], met: number): BenchResult[] {
  const turns = calls.flatMap((call) => call.turns);
  const planted = turns.filter(({ hasFault }) => hasFault).length;
  const missing = CALLS * TURNS - turns.length;
  const recovered = turns.filter(({ isWhole, deadAirMs }) => isWhole && deadAirMs !== null).length;
  const dead = turns.map(({ deadAirMs }) => deadAirMs ?? Infinity);
  const lost = calls.filter(({ isLost }) => isLost).length;
  const of = `${turns.length} turns, ${planted} faults planted, ${met} met`;
  const row = (metric: string, value: number, unit: string, floor: string, ok: boolean) => ({
    ...{ bench: 'faults', metric, value: rounded(value, 1), unit, against: of, ratio: null },
    ...{ floor, ok },
  });
  const pct = (100 * recovered) / (turns.length + missing);
  const p99 = percentile(dead, 0.99);
  return [
    row('recovered_pct', pct, '%', '>= 99', pct >= 99),
    row('calls_lost', lost, 'calls', '0', lost === 0),
    row('dead_air_p99_ms', p99, 'ms', '<= 1500', p99 <= 1_500),
    row('dead_air_p50_ms', percentile(dead, 0.5), 'ms', 'none', true),
  ];
}
