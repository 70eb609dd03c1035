/** Volcengine's simulators, and what a client needs to use them. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import { silentLog, type Log } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import {
  SIM_APP_ID,
  SIM_TOKEN,
  startVolcSim,
  type VolcSim,
  type VolcSimOptions,
} from '#providers/sim/volcengine.ts';
import type { VendorSettings, VendorTools } from '#providers/vendor.ts';
import { atEnd } from './_store.ts';

export const WORDS = {
  '1': 'I want to cancel my order.',
  '2': '我要查账单。',
  '3': 'Stop please.',
};

/** Time that runs `times` as fast, on the real one. */
export function fastClock(times: number): Clock {
  return {
    now: () => systemClock.now() * times,
    wallMs: () => systemClock.wallMs(),
    setTimer: (callback, delayMs) => systemClock.setTimer(callback, delayMs / times),
    clearTimer: (handle) => systemClock.clearTimer(handle),
  };
}

export type VolcWorld = {
  readonly sim: VolcSim;
  readonly tools: VendorTools;
  settings(options?: Record<string, unknown>, more?: Partial<VendorSettings>): VendorSettings;
};

export async function startWorld(
  t: TestContext | null,
  {
    clock = systemClock,
    log = silentLog,
    ...more
  }: VolcSimOptions & { clock?: Clock; log?: Log } = {},
): Promise<VolcWorld> {
  const sim = await startVolcSim({ clock, words: WORDS, ...more });
  if (t !== null) atEnd(t, () => sim.close());
  return {
    sim,
    tools: { log, clock, resampling: loadStreamResampling },
    settings: (options = {}, rest = {}) => ({
      ...{ setting: 'the speech account "Volcengine"', model: null, temperature: null },
      ...{ maxTokens: null, voice: null, speed: null, volume: null, token: null },
      credentials: { app_id: SIM_APP_ID, access_token: SIM_TOKEN, secret_key: 'unused' },
      options: {
        stt_url: `${sim.server.wsUrl}/api/v3/sauc/bigmodel_async`,
        tts_url: `${sim.server.wsUrl}/api/v3/tts/bidirection`,
        realtime_url: `${sim.server.wsUrl}/api/v3/realtime/dialogue`,
        resource_id: 'volc.speech.dialog',
        ...options,
      },
      ...rest,
    }),
  };
}

export async function until(what: string, isIt: () => boolean, ms = 4_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!isIt()) {
    assert.ok(Date.now() < endMs, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
}

/** Nothing is left open, and nothing was done that the vendor forbids. */
export async function assertClean({ sim }: VolcWorld): Promise<void> {
  await until('all sockets are closed', () => sim.server.open === 0);
  assert.deepEqual(sim.violations, []);
}
