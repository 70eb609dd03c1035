/**
 * How late packets leave when the main thread is busy: 50 calls in the real media worker, the main thread working 8 ms of
 * every 25 ms and standing still for 60 ms once a second. Against a timer on that main thread, in the same run.
 */
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import { printResults, rounded, type BenchResult } from './_result.ts';

const CALLS = 50;
const WARM_UP_MS = 1000;
const MEASURE_MS = 8000;
const FLOOR_MS = 5;

export async function run(): Promise<BenchResult[]> {
  const engine = createMediaEngine({ rtpPorts: { first: 26_000, last: 26_999 }, log: silentLog });
  const busy = keepBusy();
  const timer = timerLateness();
  try {
    for (let i = 0; i < CALLS; i++) {
      const session = await engine.open({
        callId: `bench-${i}`,
        localAddress: '127.0.0.1',
        recordingPath: null,
        firstRtpTimeoutMs: 60_000,
        rtpTimeoutMs: 60_000,
      });
      session.start({
        codec: 'PCMU',
        payloadType: 0,
        receivePayloadType: 0,
        dtmfPayloadType: null,
        remoteAddress: '127.0.0.1',
        // Discard port: nobody answers, and sending does not care.
        remotePort: 9,
        send: true,
        receive: false,
      });
    }
    await pause(WARM_UP_MS);
    await engine.pacing({ reset: true });
    timer.reset();
    await pause(MEASURE_MS);
    const [stats] = await engine.pacing();
    if (stats === undefined) throw new Error('no pacing figures');
    const mainP99 = timer.p99();
    const row = (metric: string, value: number, ok: boolean, floor: string): BenchResult => ({
      bench: 'pacing',
      metric,
      value: rounded(value),
      unit: 'ms',
      against: `timer on the busy main thread, p99: ${rounded(mainP99)} ms`,
      ratio: rounded(value / mainP99, 3),
      floor,
      ok,
    });
    return [
      row('lateness p99, 50 calls', stats.p99Ms, stats.p99Ms <= FLOOR_MS, `<= ${FLOOR_MS} ms`),
      row('lateness max, 50 calls', stats.maxMs, true, 'none'),
    ];
  } finally {
    timer.stop();
    busy.stop();
    await engine.close();
  }
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

/** Lateness of a drift-corrected 20 ms timer on this thread. */
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

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

if (import.meta.main) printResults(await run());
