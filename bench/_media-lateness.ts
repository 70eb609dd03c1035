/**
 * How late packets leave while the main thread is busy (8 ms of every 25, 60 ms at once each second): 200 calls that talk
 * both ways in the real engine, as a ratio to a thread that only waits (what the machine allows just then), and beside a
 * drift-corrected timer on that main thread, in the same run.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine, type LocalMediaEngine } from '#media/media-client.ts';
import type { PacingStats } from '#media/pacer.ts';
import type { MediaSession } from '#media/types.ts';
import { pause, Script } from './_media-process.ts';
import { median, rounded, type BenchResult } from './_result.ts';

const CALLS = 200;
const WARM_UP_MS = 3000;
const MEASURE_MS = 2000;
/** The median of several: a neighbour on the machine may spoil one. */
const WINDOWS = 7;
const FIRST_PORT = 26_000;
const FLOOR_MS = 2;
const MAX_FLOOR_MS = 10;

export async function measureLateness(): Promise<BenchResult[]> {
  const rtpPorts = { first: FIRST_PORT, last: FIRST_PORT + 2 * CALLS + 1 };
  const engine = createMediaEngine({ rtpPorts, log: silentLog });
  await engine.ready();
  await using load = new Script('_media-load.ts', [String(CALLS)], 'load');
  const peer = new Worker(new URL('_media-wait-peer.ts', import.meta.url));
  const busy = keepBusy();
  const timer = timerLateness();
  try {
    const { ports } = await load.next<{ ports: number[] }>();
    await connectCalls(engine, ports, load);
    await pause(WARM_UP_MS);
    const windows: Window[] = [];
    timer.reset();
    for (let i = 0; i < WINDOWS; i++) windows.push(await measureWindow(engine, peer));
    const mainP99 = timer.p99();
    const of = (pick: (window: Window) => number): number => median(windows.map(pick));
    const all = windows
      .map(({ p99Ms, bareMs }) => `${rounded(p99Ms, 1)} (${rounded(bareMs, 1)})`)
      .join(', ');
    const bare = rounded(of(({ bareMs }) => bareMs));
    const row = (metric: string, value: number, floor: number, more: string): BenchResult => ({
      ...{ bench: 'media', metric, value: rounded(value), unit: 'ms' },
      against: `p99 of a thread that only waits: ${bare} ms, of a timer on the busy main thread: ${rounded(mainP99)} ms; ${more}`,
      ...{ ratio: rounded(value / bare, 3), floor: `<= ${floor}`, ok: value <= floor },
    });
    return [
      row(
        'send_lateness_p99_ms',
        of(({ p99Ms }) => p99Ms),
        FLOOR_MS,
        `median of ${all}, ${CALLS} calls`,
      ),
      row(
        'send_lateness_p50_ms',
        of(({ p50Ms }) => p50Ms),
        FLOOR_MS,
        `${CALLS} calls`,
      ),
      row(
        'send_lateness_max_ms',
        of(({ maxMs }) => maxMs),
        MAX_FLOOR_MS,
        `median of ${WINDOWS} windows`,
      ),
    ];
  } finally {
    timer.stop();
    busy.stop();
    await peer.terminate();
    await engine.close();
  }
}

type Window = PacingStats & { readonly bareMs: number };

async function measureWindow(engine: LocalMediaEngine, peer: Worker): Promise<Window> {
  const bare = async (): Promise<number> => {
    const answer = once(peer, 'message');
    peer.postMessage(0);
    return Number((await answer)[0]);
  };
  await bare();
  await engine.pacing({ reset: true });
  await pause(MEASURE_MS);
  const [stats] = await engine.pacing();
  if (stats === undefined) throw new Error('no pacing figures');
  if (stats.packets < (0.98 * CALLS * MEASURE_MS) / 20) {
    throw new Error(`only ${stats.packets} packets left`);
  }
  return { ...stats, bareMs: await bare() };
}

/** Each phone of the load sends to the port of its place, so the calls are sorted by port. */
async function connectCalls(
  engine: ReturnType<typeof createMediaEngine>,
  ports: readonly number[],
  load: Script,
): Promise<void> {
  const sessions: MediaSession[] = [];
  for (let i = 0; i < CALLS; i++) {
    sessions.push(
      await engine.open({
        ...{ callId: `bench-${i}`, localAddress: '127.0.0.1', recordingPath: null },
        ...{ firstRtpTimeoutMs: 60_000, rtpTimeoutMs: 60_000 },
      }),
    );
  }
  const free = sessions.map((session) => session.localPort).toSorted((a, b) => a - b);
  const base = free[0] ?? 0;
  for (const session of sessions) {
    session.start({
      ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
      ...{ remoteAddress: '127.0.0.1', remotePort: ports[(session.localPort - base) / 2] ?? 9 },
      ...{ send: true, receive: true },
    });
  }
  await load.ask(`go ${base}`);
}

/** 8 ms of work every 25 ms, 60 ms once a second, on this thread. */
function keepBusy(): { stop: () => void } {
  let round = 0;
  let timer: NodeJS.Timeout | undefined;
  const work = (): void => {
    const untilMs = performance.now() + (round % 40 === 39 ? 60 : 8);
    let sum = 0;
    while (performance.now() < untilMs) sum += Math.sqrt(sum + 1);
    round++;
    timer = setTimeout(work, 17);
  };
  work();
  return { stop: () => clearTimeout(timer) };
}

function timerLateness(): { reset: () => void; p99: () => number; stop: () => void } {
  let lateness: number[] = [];
  let dueMs = performance.now() + 20;
  let timer: NodeJS.Timeout | undefined;
  const tick = (): void => {
    lateness.push(performance.now() - dueMs);
    dueMs += 20;
    timer = setTimeout(tick, Math.max(0, dueMs - performance.now()));
  };
  timer = setTimeout(tick, 20);
  return {
    reset: () => {
      lateness = [];
    },
    p99: () => lateness.toSorted((a, b) => a - b)[Math.floor(lateness.length * 0.99)] ?? 0,
    stop: () => clearTimeout(timer),
  };
}
