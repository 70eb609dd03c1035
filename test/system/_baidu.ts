/** The simulated Baidu with one account, and what makes clients of it. */
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import { BAIDU } from '#providers/baidu/module.ts';
import type { SttProvider, TtsProvider } from '#providers/contract.ts';
import { startSimBaidu, type SimBaidu, type SimBaiduOptions } from '#providers/sim/baidu.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { WORDS } from './_aliyun-nls.ts';
import { hearAs, vendorSettings, vendorTools, type Hearing } from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

export const ACCOUNT = {
  appId: 105000017,
  apiKey: 'made-up-key-0008',
  secretKey: 'made-up-secret-0008',
};
export const CREDENTIALS = {
  ...{ app_id: String(ACCOUNT.appId), api_key: ACCOUNT.apiKey, secret_key: ACCOUNT.secretKey },
};
/** An account of the newer kind. */
export const ONLY_KEY = { credentials: { app_id: CREDENTIALS.app_id, api_key: ACCOUNT.apiKey } };
export const SECRETS = /made-up-(?:key|secret)|24\.made-up/i;

export type BaiduWorld = {
  readonly sim: SimBaidu;
  readonly clock: Clock;
  stt(options?: Record<string, unknown>, more?: Partial<VendorSettings>): SttProvider;
  tts(options?: Record<string, unknown>, more?: Partial<VendorSettings>): TtsProvider;
  hear(options?: Record<string, unknown>): Hearing;
};

export async function startBaidu(
  t: TestContext | null,
  { clock = systemClock, ...more }: Partial<SimBaiduOptions> = {},
): Promise<BaiduWorld> {
  const sim = await startSimBaidu({ ...ACCOUNT, clock, words: WORDS, ...more });
  if (t !== null) atEnd(t, () => sim.close());
  const tools = vendorTools(clock);
  const token = { token_url: sim.tokenUrl };
  const world: BaiduWorld = {
    ...{ sim, clock },
    stt: (options = {}, rest = {}) => {
      const url = options['service'] === 'large' ? sim.largeUrl : sim.asrUrl;
      const all = { url, ...token, ...options };
      return BAIDU.stt?.(vendorSettings(CREDENTIALS, all, rest), tools) as SttProvider;
    },
    tts: (options = {}, rest = {}) => {
      const all = { url: sim.ttsUrl, ...token, ...options };
      return BAIDU.tts?.(vendorSettings(CREDENTIALS, all, rest), tools) as TtsProvider;
    },
    hear: (options) => hearAs(world.stt(options), clock),
  };
  return world;
}
