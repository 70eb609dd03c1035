/** What tests of speech vendors share: settings, a caller who speaks in the clock's time, and the likeness of sounds. */
import assert from 'node:assert/strict';
import { systemClock, type Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { Language, SttEvent, SttProvider } from '#providers/contract.ts';
import type { VendorSettings, VendorTools } from '#providers/vendor.ts';
import { spoken, until } from './_aliyun-nls.ts';

export const SETTING = 'the account "Made up"';

export function vendorSettings(
  credentials: Record<string, string>,
  options: Record<string, unknown>,
  more: Partial<VendorSettings> = {},
): VendorSettings {
  return {
    ...{ setting: SETTING, credentials, options, token: null, model: null, temperature: null },
    ...{ maxTokens: null, voice: null, speed: null, volume: null, ...more },
  };
}

export function vendorTools(clock: Clock = systemClock): VendorTools {
  return { log: silentLog, clock, resampling: loadStreamResampling };
}

/** The simulator of any vendor, as `assertClean` looks at it. */
export type Watched = {
  readonly server: { readonly open: number };
  readonly violations: readonly string[];
};

/** Nothing is left open, and nothing was done that the vendor forbids. */
export async function assertClean({ server, violations }: Watched): Promise<void> {
  await until('all sockets are closed', () => server.open === 0);
  assert.deepEqual(violations, []);
}

export type Hearing = {
  readonly events: SttEvent[];
  readonly finals: () => string[];
  readonly errors: () => AppError[];
  /** Speaks and waits as a call does: real time of `clock`, in frames of 20 ms. */
  say(id: number, tailMs?: number): Promise<void>;
  /** Sound of a line on which nobody speaks. */
  silence(ms: number): Promise<void>;
  close(): void;
};

export function hearAs(stt: SttProvider, clock: Clock, language: Language = 'en'): Hearing {
  const events: SttEvent[] = [];
  const session = stt.open({ callId: 'c', language, onEvent: (event) => events.push(event) });
  let atMs = 0;
  const frame = async (pcm: Int16Array): Promise<void> => {
    session.push(pcm);
    atMs += 20;
    await new Promise<void>((resolve) => void clock.setTimer(resolve, 20));
  };
  return {
    events,
    finals: () => events.flatMap((event) => (event.type === 'final' ? [event.text] : [])),
    errors: () =>
      events.flatMap((event) => (event.type === 'error' ? [event.error as AppError] : [])),
    async say(id, tailMs = 800) {
      const startMs = atMs;
      const pcm = spoken(id, tailMs);
      const speechMs = (pcm.length - tailMs * 8) / 8;
      let isStopped = false;
      session.speechStarted(startMs);
      for (let at = 0; at < pcm.length; at += 160) {
        await frame(pcm.subarray(at, at + 160));
        if (!isStopped && atMs - startMs >= speechMs + 200) {
          isStopped = true;
          session.speechStopped({ pcm, startMs, endMs: startMs + speechMs });
        }
      }
    },
    async silence(ms) {
      for (let left = ms; left > 0; left -= 20) await frame(new Int16Array(160));
    },
    close: () => session.close(),
  };
}

/** How alike two sounds are, 0 to 1, at the shift (up to 2 ms) where they are most. */
export function likeness(a: Int16Array, b: Int16Array): number {
  let best = 0;
  for (let shift = -16; shift <= 16; shift++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const [x, y] = [a[i] ?? 0, b[i + shift] ?? 0];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    if (aa > 0 && bb > 0) best = Math.max(best, ab / Math.sqrt(aa * bb));
  }
  return best;
}

/** For assert.rejects. */
export function hasCode(code: string, text = /./): (error: unknown) => boolean {
  return (error) => error instanceof AppError && error.code === code && text.test(error.message);
}
