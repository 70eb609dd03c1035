/** What tests of speech vendors share: settings, a caller who speaks in the clock's time, and the likeness of sounds. */
import assert from 'node:assert/strict';
import { systemClock, type Clock, type SimulatedClock } from '#lib/clock.ts';
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
  say(ids: number | readonly number[], tailMs?: number): Promise<void>;
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
    async say(ids, tailMs = 800) {
      const startMs = atMs;
      const parts = [ids].flat().map((id, n, all) => spoken(id, n + 1 < all.length ? 0 : tailMs));
      const pcm = Int16Array.from(parts.flatMap((part) => [...part]));
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

/** How alike two sounds are, 0 to 1, at the shift (up to 6 ms, in quarters of a sample) where they are most. */
export function likeness(a: Int16Array, b: Int16Array): number {
  const length = Math.min(a.length, b.length, 16_000);
  let best = 0;
  for (let shift = -48; shift <= 48; shift += 0.25) {
    const whole = Math.floor(shift);
    const part = shift - whole;
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < length; i++) {
      const x = a[i] ?? 0;
      const y = (b[i + whole] ?? 0) * (1 - part) + (b[i + whole + 1] ?? 0) * part;
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    if (aa > 0 && bb > 0) best = Math.max(best, ab / Math.sqrt(aa * bb));
  }
  return best;
}

/**
 * A piece that breaks is told with `code`; or, where what had come was not given out yet, said again from the start: then
 * all of it is there.
 */
export async function assertToldOrWhole(
  spoken: Promise<{ readonly pcm: Int16Array }>,
  code: string,
  whole: Int16Array,
  name: string,
): Promise<void> {
  const outcome = await spoken.catch((error: unknown) => error);
  if (outcome instanceof Error) {
    assert.ok(hasCode(code)(outcome), `${name}: ${String(outcome)}`);
    return;
  }
  assert.equal(code, 'E_PROVIDER_SERVER', `${name}: it is not tried again`);
  const { pcm } = outcome as { readonly pcm: Int16Array };
  assert.equal(pcm.length, whole.length, name);
  assert.ok(likeness(pcm, whole) > 0.98, name);
}

/** For assert.rejects. */
export function hasCode(code: string, text = /./): (error: unknown) => boolean {
  return (error) => error instanceof AppError && error.code === code && text.test(error.message);
}

/** Waits for `work` while the clock goes on by `stepMs` a time: however slow this machine is, deadlines stay what they are. */
export async function during<T>(clock: SimulatedClock, work: Promise<T>, stepMs = 2): Promise<T> {
  let isOver = false;
  const settled = (): void => void (isOver = true);
  void work.then(settled, settled);
  while (!isOver) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    clock.advance(stepMs);
  }
  return work;
}

/** Lets `ms` of the clock pass, in steps that leave real sockets the time to answer; `each` is called before every one. */
export async function pass(clock: SimulatedClock, ms: number, each?: () => void): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    each?.();
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
}
