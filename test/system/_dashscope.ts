/** The simulated DashScope, and its clients in every kind. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import type { SttProvider, TtsProvider } from '#providers/contract.ts';
import { DASHSCOPE } from '#providers/dashscope/module.ts';
import {
  SIM_DASHSCOPE_KEY,
  startSimDashscope,
  type SimDashscope,
} from '#providers/sim/dashscope.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { WORDS } from './_aliyun-nls.ts';
import { vendorSettings, vendorTools } from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

export const SERVICES = ['cosyvoice', 'qwen_tts'] as const;
export type Service = (typeof SERVICES)[number];
export type World = { readonly sim: SimDashscope; readonly clock: Clock };
export type Json = Readonly<Record<string, unknown>>;

export async function startDashscope(
  t: TestContext | null,
  clock: Clock = systemClock,
): Promise<World> {
  const sim = await startSimDashscope({ clock, words: WORDS });
  if (t !== null) atEnd(t, () => sim.close());
  return { sim, clock };
}

export function settingsOf(
  { sim }: World,
  options: Json = {},
  more: Partial<VendorSettings> = {},
): VendorSettings {
  const urls = { url: sim.inferenceUrl, realtime_url: sim.realtimeUrl };
  return vendorSettings({ api_key: SIM_DASHSCOPE_KEY }, { ...urls, ...options }, more);
}

export function sttOf(
  world: World,
  options: Json = {},
  more: Partial<VendorSettings> = {},
): SttProvider {
  const made = DASHSCOPE.stt?.(settingsOf(world, options, more), vendorTools(world.clock));
  assert.ok(made);
  return made;
}

export function ttsOf(
  world: World,
  service: Service,
  options: Json = {},
  more: Partial<VendorSettings> = {},
): TtsProvider {
  const settings = settingsOf(world, { tts_service: service, ...options }, more);
  const made = DASHSCOPE.tts?.(settings, vendorTools(world.clock));
  assert.ok(made);
  return made;
}

export const ever = (): AbortSignal => new AbortController().signal;
export const own = (name: string): VendorFault => ({ kind: 'own', name });
