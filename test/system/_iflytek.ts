/** The simulated iFlytek, and its clients in every kind. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import type { SttProvider, TtsProvider } from '#providers/contract.ts';
import { IFLYTEK } from '#providers/iflytek/module.ts';
import { SIM_IFLYTEK_ACCOUNT, startSimIflytek, type SimIflytek } from '#providers/sim/iflytek.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { WORDS } from './_aliyun-nls.ts';
import { vendorSettings, vendorTools } from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

const { appId, apiKey, apiSecret } = SIM_IFLYTEK_ACCOUNT;
export const CREDENTIALS = { app_id: appId, api_key: apiKey, api_secret: apiSecret };
export const SERVICES = ['iat', 'spark_iat', 'rtasr', 'rtasr_llm'] as const;
export type Service = (typeof SERVICES)[number];
const URLS = { iat: 'iat', spark_iat: 'spark', rtasr: 'rtasr', rtasr_llm: 'rtasrLlm' } as const;
export const VOICES = ['standard', 'super_humanoid'] as const;
export type VoiceKind = (typeof VOICES)[number];

export type World = { readonly sim: SimIflytek; readonly clock: Clock };

export async function startIflytek(
  t: TestContext | null,
  clock: Clock = systemClock,
): Promise<World> {
  const sim = await startSimIflytek({ clock, words: WORDS });
  if (t !== null) atEnd(t, () => sim.close());
  return { sim, clock };
}

export function sttOf(
  { sim, clock }: World,
  service: Service,
  options: Record<string, unknown> = {},
  credentials: Record<string, string> = CREDENTIALS,
): SttProvider {
  const settings = vendorSettings(credentials, {
    ...{ service, url: sim.urls[URLS[service]] },
    ...options,
  });
  const made = IFLYTEK.stt?.(settings, vendorTools(clock));
  assert.ok(made);
  return made;
}

export function ttsOf(
  { sim, clock }: World,
  kind: VoiceKind,
  options: Record<string, unknown> = {},
  more: Partial<VendorSettings> = {},
): TtsProvider {
  const url = kind === 'standard' ? sim.urls.tts : sim.urls.oral;
  const settings = vendorSettings(CREDENTIALS, { voice_kind: kind, url, ...options }, more);
  const made = IFLYTEK.tts?.(settings, vendorTools(clock));
  assert.ok(made);
  return made;
}

export const ever = (): AbortSignal => new AbortController().signal;

export const own = (name: string): VendorFault => ({ kind: 'own', name });
/** What the vendor answers with its own code. */
export const CODES: readonly (readonly [string, string])[] = [
  ['10105', 'E_PROVIDER_AUTH'],
  ['10110', 'E_PROVIDER_AUTH'],
  ['10313', 'E_PROVIDER_AUTH'],
  ['11200', 'E_PROVIDER_AUTH'],
  ['11201', 'E_PROVIDER_AUTH'],
  ['10106', 'E_PROVIDER_PARAM'],
  ['10139', 'E_PROVIDER_PARAM'],
  ['10163', 'E_PROVIDER_PARAM'],
  ['10700', 'E_PROVIDER_SERVER'],
  ['10800', 'E_PROVIDER_QUOTA'],
  ['11203', 'E_PROVIDER_QUOTA'],
];
