/** The simulated NLS gateway with one project of each rate, and what a client needs to use it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { startSimNls, type SimNls, type SimNlsOptions } from '#providers/sim/aliyun-nls.ts';
import type { VendorSettings, VendorToken, VendorTools } from '#providers/vendor.ts';
import { atEnd } from './_store.ts';

export const WORDS = {
  '1': 'I want to cancel my order.',
  '2': '我要查账单。',
  '3': 'Stop please.',
};
export const GOOD_TOKEN = 'nls-good-token-0001';

/** Time that runs `times` as fast, on the real one: long deadlines in short tests. */
export function fastClock(times: number): Clock {
  return {
    now: () => systemClock.now() * times,
    wallMs: () => systemClock.wallMs(),
    setTimer: (callback, delayMs) => systemClock.setTimer(callback, delayMs / times),
    clearTimer: (handle) => systemClock.clearTimer(handle),
  };
}

export type NlsWorld = {
  readonly nls: SimNls;
  readonly tokens: Set<string>;
  readonly clock: Clock;
  readonly tools: VendorTools;
  /** What the source of tokens was asked: null, or the token that was refused. */
  readonly asked: (string | null)[];
  settings(options?: Record<string, unknown>, more?: Partial<VendorSettings>): VendorSettings;
};

/** `t`: whose end closes it; null: the caller does. */
export async function startNls(
  t: TestContext | null,
  { clock = systemClock, ...more }: Partial<SimNlsOptions> = {},
): Promise<NlsWorld> {
  const tokens = new Set([GOOD_TOKEN]);
  const projects = { app8: { rateHz: 8000 as const }, app16: { rateHz: 16000 as const } };
  const nls = await startSimNls({ clock, tokens, projects, words: WORDS, ...more });
  if (t !== null) atEnd(t, () => nls.close());
  const asked: (string | null)[] = [];
  const token = async (refused?: string): Promise<VendorToken> => {
    asked.push(refused ?? null);
    return { token: [...tokens].at(-1) ?? 'none', appKey: 'app8', region: 'cn-shanghai' };
  };
  const tools = { log: silentLog, clock, resampling: loadStreamResampling };
  return {
    ...{ nls, tokens, clock, tools, asked },
    settings: (options = {}, rest = {}) => ({
      ...{
        setting: 'the speech account "Aliyun"',
        credentials: {},
        model: null,
        temperature: null,
      },
      ...{ maxTokens: null, voice: null, speed: null, volume: null, token },
      options: { gateway_url: nls.url, ...options },
      ...rest,
    }),
  };
}

/** What a caller says: the code of an utterance, then `tailMs` of silence; at 8 kHz. */
export function spoken(id: number, tailMs = 0): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + tailMs * 8);
  pcm.set(code);
  return pcm;
}

/** Each sample twice: the same sound at 16 kHz, good enough for the tones. */
export function doubled(pcm: Int16Array): Int16Array {
  const twice = new Int16Array(pcm.length * 2);
  for (const [i, sample] of pcm.entries()) twice.fill(sample, i * 2, i * 2 + 2);
  return twice;
}

export async function until(what: string, isIt: () => boolean, ms = 5_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!isIt()) {
    assert.ok(Date.now() < endMs, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Nothing is left open, and nothing was done that the vendor forbids. */
export async function assertClean({ nls }: NlsWorld): Promise<void> {
  await until('all sockets are closed', () => nls.server.open === 0);
  assert.deepEqual(nls.violations, []);
}
