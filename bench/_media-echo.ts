/**
 * CPU per echoed packet: the whole chain of a call against a bare echo in Node and one in C, all three under the same load
 * of the same generator, by turns.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canPin, pause, Program, Script } from './_media-process.ts';
import { median, rounded, type BenchResult } from './_result.ts';

const CALLS = 200;
const ROUNDS = 3;
/** What runs all the time is compiled by then, and the compilers rest. */
const WARM_UP_MS = 8000;
const MEASURE_MS = 5000;
const FIRST_PORT = 25_000;
const NODE_FLOOR = 1.6;
const C_FLOOR = 4;

type Kind = 'raw' | 'chain' | 'c';
type Measured = { readonly usPerPacket: number; readonly lostPct: number };
type Count = { readonly sent: number; readonly heard: number };

export async function measureEcho(): Promise<BenchResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-echo-'));
  try {
    const program = compile(folder);
    const kinds: Kind[] = program === null ? ['raw', 'chain'] : ['raw', 'chain', 'c'];
    const all: Record<Kind, Measured[]> = { raw: [], chain: [], c: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of kinds) all[kind].push(await measure(kind, program ?? ''));
    }
    return results(all, program !== null);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function results(all: Record<Kind, Measured[]>, hasC: boolean): BenchResult[] {
  const us = (kind: Kind): number => median(all[kind].map(({ usPerPacket }) => usPerPacket));
  const spread = (kind: Kind): string =>
    all[kind].map(({ usPerPacket }) => rounded(usPerPacket, 1)).join(', ');
  process.stderr.write(`media: us per packet: node ${spread('raw')}; chain ${spread('chain')}`);
  process.stderr.write(`${hasC ? `; c ${spread('c')}` : ''}${canPin ? '' : ' (not pinned)'}\n`);
  const isWhole = all.chain.every(({ lostPct }) => lostPct < 1);
  const row = (metric: string, kind: Kind, what: string, floor: number): BenchResult => {
    const ratio = us('chain') / us(kind);
    const against = `${what}: ${rounded(us(kind))} us; the chain: ${rounded(us('chain'))} us, ${CALLS} calls`;
    return {
      ...{ bench: 'media', metric, value: rounded(ratio), unit: 'x', against },
      ...{ ratio: rounded(ratio), floor: `<= ${floor}`, ok: ratio <= floor && isWhole },
    };
  };
  const node = row('cpu_per_packet_vs_node_echo', 'raw', 'connected echo in Node', NODE_FLOOR);
  if (!hasC) return [node];
  return [node, row('cpu_per_packet_vs_c_recvmmsg', 'c', 'recvmmsg echo in C', C_FLOOR)];
}

/** The path of the C echo; null where no compiler is. */
function compile(folder: string): string | null {
  const program = join(folder, 'echo');
  const source = fileURLToPath(new URL('_media-echo.c', import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O2', '-o', program, source], { encoding: 'utf8' });
  if (status === 0) return program;
  if (status === null) process.stderr.write('media: no gcc, so no C echo to compare with\n');
  else throw new Error(`the C echo does not compile: ${stderr}`);
  return null;
}

async function measure(kind: Kind, program: string): Promise<Measured> {
  await using load = new Script('_media-load.ts', [String(CALLS)], 'load');
  const { ports } = await load.next<{ ports: number[] }>();
  await using echo = openEcho(kind, program, [String(FIRST_PORT), ports.join(',')]);
  await echo.next();
  await load.ask(`go ${FIRST_PORT}`);
  await pause(WARM_UP_MS);
  const cpuBefore = await echo.ask();
  const before = await load.ask<Count>('count');
  await pause(MEASURE_MS);
  const cpuUs = (await echo.ask()) - cpuBefore;
  const after = await load.ask<Count>('count');
  const [sent, heard] = [after.sent - before.sent, after.heard - before.heard];
  return { usPerPacket: cpuUs / heard, lostPct: Math.max(0, 100 - (100 * heard) / sent) };
}

type Echo = AsyncDisposable & { next(): Promise<unknown>; ask(): Promise<number> };

function openEcho(kind: Kind, program: string, args: readonly string[]): Echo {
  if (kind === 'c') return new Program(program, args, 'system');
  const script = new Script('_media-echo-child.ts', [kind, ...args], 'system');
  return {
    next: () => script.next(),
    ask: () => script.ask<number>('cpu'),
    [Symbol.asyncDispose]: () => script[Symbol.asyncDispose](),
  };
}
