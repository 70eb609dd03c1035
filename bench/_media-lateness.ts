/**
 * How late packets leave while the main thread is busy (8 ms of every 25, 60 ms at once each second): 200 calls that talk
 * both ways in the real engine, against a drift-corrected timer on that main thread in the same run.
 */
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaSession } from '#media/types.ts';
import { pause, Script } from './_media-process.ts';
import { rounded, type BenchResult } from './_result.ts';

const CALLS = 200;
const WARM_UP_MS = 3000;
const MEASURE_MS = 8000;
const FIRST_PORT = 26_000;
const FLOOR_MS = 2;
const MAX_FLOOR_MS = 10;

export async function measureLateness(): Promise<BenchResult[]> {
  const rtpPorts = { first: FIRST_PORT, last: FIRST_PORT + 2 * CALLS + 1 };
  const engine = createMediaEngine({ rtpPorts, log: silentLog });
  await engine.ready();
  await using load = new Script('_media-load.ts', [String(CALLS)], 'load');
  const busy = keepBusy();
  const timer = timerLateness();
  try {
    const { ports } = await load.next<{ ports: number[] }>();
    await connectCalls(engine, ports, load);
    await pause(WARM_UP_MS);
    await engine.pacing({ reset: true });
    timer.reset();
    await pause(MEASURE_MS);
    const [stats] = await engine.pacing();
    if (stats === undefined) throw new Error('no pacing figures');
    const { packets, p50Ms, p99Ms, maxMs } = stats;
    if (packets < (0.99 * CALLS * MEASURE_MS) / 20) throw new Error(`only ${packets} packets left`);
    const mainP99 = timer.p99();
    const row = (metric: string, value: number, floor: number): BenchResult => ({
      ...{ bench: 'media', metric, value: rounded(value), unit: 'ms' },
      against: `a timer on the busy main thread, p99: ${rounded(mainP99)} ms; median of ours: ${rounded(p50Ms)} ms, ${packets} packets of ${CALLS} calls`,
      ...{ ratio: rounded(value / mainP99, 3), floor: `<= ${floor}`, ok: value <= floor },
    });
    return [
      row('send_lateness_p99_ms', p99Ms, FLOOR_MS),
      row('send_lateness_max_ms', maxMs, MAX_FLOOR_MS),
    ];
  } finally {
    timer.stop();
    busy.stop();
    await engine.close();
  }
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
