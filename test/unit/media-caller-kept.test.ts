/**
 * What the recogniser reads is the caller, whatever he does while the agent speaks: only keys' tones and the agent's own
 * voice are left out of it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallerKeys } from '#media/dtmf/caller-keys.ts';
import { renderTone } from '#media/dtmf/dtmf-tones.ts';
import { EchoGuard } from '#media/speech/echo-guard.ts';
import { loadSpeechClassifiers, Vad } from '#media/speech/vad.ts';
import { HYBRIDS, through } from './_echo-lines.ts';
import { gaussian, recorded, seeded } from './_noises.ts';

const FRAME = 160;
const LENGTH = 24_000;
const newClassifier = await loadSpeechClassifiers();

const made = (wave: (second: number, at: number) => number): Int16Array =>
  Int16Array.from({ length: LENGTH }, (_, i) => Math.round(wave(i / 8000, i)));
const sine = (hz: number, t: number): number => Math.sin(2 * Math.PI * hz * t);
const note = (halfTones: number): number => 220 * 2 ** (halfTones / 12);

function sweep(fromHz: number, toHz: number, level: number): Int16Array {
  const pace = (toHz - fromHz) / (LENGTH / 4000);
  return made((t) => level * Math.sin(2 * Math.PI * (fromHz * t + pace * t * t)));
}

/** Frequencies taken by turns, so many samples each, with no step in the wave. */
function keyed(hz: readonly number[], samples: number): Int16Array {
  const random = seeded(3);
  let [phase, now] = [0, hz[0] ?? 0];
  return made((_, at) => {
    if (at % samples < 1) now = hz[Math.floor(random() * hz.length)] ?? 0;
    phase += (2 * Math.PI * now) / 8000;
    return 7000 * Math.sin(phase);
  });
}

function vowel(hz: number): Int16Array {
  return made((t) => {
    let sum = 0;
    for (let k = 1; k * hz < 3400; k++) {
      const formants = 3 * Math.exp(-(((k * hz - 700) / 150) ** 2)) + 1;
      sum += (sine(k * hz, t) / k) * formants;
    }
    return 2500 * sum;
  });
}

const random = seeded(5);
const CALLERS: Readonly<Record<string, Int16Array>> = {
  'a sweep': sweep(300, 3000, 8000),
  'a sweep through the keys’ rows and columns': sweep(690, 1650, 8000),
  'one tone of a row': made((t) => 8000 * sine(770, t)),
  'one tone of a column': made((t) => 8000 * sine(1336, t)),
  'a whistle': made((t) => 7000 * Math.sin(2 * Math.PI * 1400 * t + 8 * sine(3, t))),
  'a vowel': vowel(140),
  'a high vowel': vowel(260),
  singing: made((t) => {
    const hz = note([0, 4, 7, 12][Math.floor(t * 2) % 4] ?? 0);
    return 3000 * (sine(hz, t) + sine(2 * hz, t) / 2 + sine(3 * hz, t) / 3);
  }),
  chords: made((t) => {
    const base = [0, 5, 7, 3][Math.floor(t * 2) % 4] ?? 0;
    return 2500 * [0, 4, 7, 12].reduce((sum, step) => sum + sine(note(base + step), t), 0);
  }),
  'dial tone': made((t) => 4000 * (sine(350, t) + sine(440, t))),
  'busy tone': made((t) => (t % 1 < 0.5 ? 4000 * (sine(480, t) + sine(620, t)) : 0)),
  'three tones of an announcement': made(
    (t) => 6000 * sine([950, 1400, 1800][Math.floor(t * 3) % 3] ?? 0, t),
  ),
  'a fax that answers': made((t) => 8000 * sine(2100, t)),
  'a fax that calls': made((t) => (t < 0.5 ? 8000 * sine(1100, t) : 0)),
  'a modem of 300 bit/s': keyed([980, 1180], 27),
  'a modem of 1200 bit/s': keyed([1300, 2100], 7),
  noise: made(() => 3000 * gaussian(random)),
  'speech, en': recorded('menu-en').subarray(0, LENGTH),
  'speech, zh': recorded('greeting-zh').subarray(0, LENGTH),
};

const TUNE = made((t) => {
  const hz = note([0, 3, 7, 10][Math.floor(t * 3) % 4] ?? 0);
  return 4000 * (sine(hz, t) + sine(2 * hz, t) / 2);
});
const AGENTS: Readonly<Record<string, Int16Array>> = {
  'while the agent speaks': recorded('about-en').subarray(0, LENGTH),
  'while a sweep is played': sweep(300, 1200, 9000),
  'while a tune is played': TUNE,
};

/** Frames that nobody would read, keys told, and starts of speech. */
function run(
  caller: Int16Array,
  agent: Int16Array,
): { lost: number; keys: string; starts: number[] } {
  const heard = { lost: 0, keys: '', starts: [] as number[] };
  const onKey = (digit: string): void => void (heard.keys += digit);
  const keys = new CallerKeys({ onKey, callTime: (ms) => ms });
  const guard = new EchoGuard();
  const listener = {
    started: (startMs: number) => void heard.starts.push(startMs),
    stopped: () => undefined,
  };
  const vad = new Vad(newClassifier(), listener, {
    isEcho: (frame, ms, isLoud) => keys.hear(frame, ms) || guard.isEcho(frame, ms * 8, isLoud),
  });
  for (let at = 0; at + FRAME <= LENGTH; at += FRAME) {
    guard.sent(agent.subarray(at, at + FRAME), at);
    vad.write(caller.subarray(at, at + FRAME), FRAME, at / 8, at / 8);
    if (guard.isOwn(at) || keys.isTone(at / 8)) heard.lost++;
  }
  vad.free();
  keys.tick(LENGTH);
  return heard;
}

for (const [when, agent] of Object.entries(AGENTS))
  test(`${when}, nothing of the caller is lost`, () => {
    for (const [what, caller] of Object.entries(CALLERS))
      for (const gain of [1, 0.3]) {
        const { lost, keys } = run(
          caller.map((x) => x * gain),
          agent,
        );
        assert.deepEqual({ lost, keys }, { lost: 0, keys: '' }, `${what}, ${gain}`);
      }
  });

test('a key’s tone over the agent’s echo is told once, and is neither speech nor read', () => {
  for (const language of ['en', 'zh']) {
    const agent = recorded(`about-${language}`).subarray(0, LENGTH);
    const echo = through(agent, HYBRIDS[1] ?? [], 60);
    for (const [digit, ms] of [
      ['5', 100],
      ['0', 160],
      ['#', 80],
    ] as const) {
      const tone = new Int16Array(ms * 8);
      renderTone(tone, digit, 0, tone.length);
      const caller = Int16Array.from(echo, (x, i) => 0.16 * x + (tone[i - 9600] ?? 0));
      const { keys, starts, lost } = run(caller, agent);
      assert.deepEqual({ keys, starts }, { keys: digit, starts: [] }, `${language} ${digit}`);
      assert.ok(lost > ms / 20 - 2, `${lost} frames of ${ms} ms`);
    }
  }
});
