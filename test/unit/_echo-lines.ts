/** Lines on which the agent's voice comes back to it: pure delays, hybrids, rooms; with and without a caller over it. */
import { G711 } from '#lib/g711.ts';
import type { EchoGuard } from '#media/speech/echo-guard.ts';
import { Vad, type SpeechClassifier } from '#media/speech/vad.ts';
import { gaussian, seeded } from './_noises.ts';

const FRAME = 160;

export type EchoPath = readonly number[];

/** Brought to unit energy. */
function whole(path: readonly number[]): EchoPath {
  const size = Math.hypot(...path);
  return path.map((tap) => tap / size);
}

/** Taps at 8 kHz of a line's balance network: a few poles that ring, each from its own moment on. */
function hybrid(
  ...modes: readonly [at: number, gain: number, hz: number, decay: number][]
): EchoPath {
  return whole(
    Array.from({ length: 112 }, (_, n) =>
      modes.reduce((sum, [at, gain, hz, decay]) => {
        const age = n - at;
        if (age < 0) return sum;
        return sum + gain * Math.exp(-age / decay) * Math.cos((2 * Math.PI * hz * age) / 8000);
      }, 0),
    ),
  );
}

/** Direct sound and a tail that falls by 60 dB within `ms`, their energies `directDb` apart. */
export function room(ms: number, directDb: number, seed: number): EchoPath {
  const random = seeded(seed);
  const length = Math.round(ms * 8);
  const tail = Array.from({ length }, (_, n) => gaussian(random) * 10 ** ((-3 * n) / length));
  const size = Math.hypot(...tail) * 10 ** (directDb / 20);
  return whole([1, ...Array.from({ length: 16 }, () => 0), ...tail.map((tap) => tap / size)]);
}

export const PURE: EchoPath = [1];
/** Short; with a reflection 4 ms behind; long and ringing low. */
export const HYBRIDS: readonly EchoPath[] = [
  hybrid([0, 0.6, 0, 1.5], [2, 1, 1900, 3], [3, -0.8, 900, 6]),
  hybrid([0, 1, 1500, 4], [6, -0.9, 600, 12], [34, 0.5, 1100, 8]),
  hybrid([0, -0.5, 2600, 3], [5, 1, 450, 20], [9, -0.7, 1300, 14], [20, 0.3, 280, 30]),
];

const onTheLine = (sample: number): number => {
  const clipped = Math.max(-32_000, Math.min(32_000, Math.round(sample)));
  return G711.PCMA.decode[G711.PCMA.encode[clipped & 0xffff] as number] as number;
};

/** What was said as it comes back, as loud as it was said. */
export function through(agent: Int16Array, path: EchoPath, delayMs: number): Float64Array {
  const back = new Float64Array(agent.length);
  const delay = Math.round(delayMs * 8);
  for (const [tap, weight] of path.entries()) {
    if (weight === 0) continue;
    for (let at = tap + delay; at < back.length; at++)
      back[at] = (back[at] as number) + weight * (agent[at - tap - delay] as number);
  }
  const gain = 10 ** ((levelDb(agent) - levelDb(back)) / 20);
  return back.map((sample) => sample * gain);
}

/** Where and how loud a caller speaks, so many dB over (or under) how loud the agent's voice comes back. */
export function callerOver(
  agent: Int16Array,
  echoDb: number,
  caller: Int16Array,
  db: number,
): number {
  return levelDb(agent) + echoDb + db - levelDb(caller);
}

/** When the frame comes with which a caller of this level is heard to whom nobody speaks; NaN: he is too low. */
export function heardAlone(
  caller: Int16Array,
  callerDb: number,
  classifier: SpeechClassifier,
): number {
  const nobody = new Int16Array(caller.length);
  const line = {
    echo: new Float64Array(caller.length),
    echoDb: -90,
    caller,
    callerDb,
    guard: null,
  };
  return listenTo(nobody, line, classifier)[0]?.saidMs ?? Number.NaN;
}

export type Line = {
  /** `through` of a path. */
  readonly echo: Float64Array;
  readonly echoDb: number;
  readonly caller?: Int16Array;
  readonly callerAt?: number;
  readonly callerDb?: number;
  readonly guard: EchoGuard | null;
};

/** Call times (ms) at which the detector said that speech begins, and at which the frame had come that told. */
export type Start = { readonly startMs: number; readonly saidMs: number };

export function listenTo(agent: Int16Array, line: Line, classifier: SpeechClassifier): Start[] {
  const { echo, echoDb, caller, callerAt = 0, callerDb = 0, guard } = line;
  const [echoGain, callerGain] = [10 ** (echoDb / 20), 10 ** (callerDb / 20)];
  const starts: Start[] = [];
  let nowMs = 0;
  const vad = new Vad(
    classifier,
    { started: (startMs) => starts.push({ startMs, saidMs: nowMs }), stopped: () => undefined },
    guard === null
      ? {}
      : { isEcho: (frame, startMs, isLoud) => guard.isEcho(frame, startMs * 8, isLoud) },
  );
  const out = new Int16Array(FRAME);
  const back = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= agent.length; at += FRAME) {
    nowMs = at / 8;
    for (let i = 0; i < FRAME; i++) out[i] = onTheLine(agent[at + i] as number);
    guard?.sent(out, at);
    for (let i = 0; i < FRAME; i++)
      back[i] = onTheLine(
        (echo[at + i] as number) * echoGain + (caller?.[at + i - callerAt * 8] ?? 0) * callerGain,
      );
    vad.write(back, FRAME, nowMs, nowMs);
  }
  vad.free();
  return starts;
}

/** Level of what is loud in a voice: the mean of frames within 20 dB of the loudest. */
export function levelDb(pcm: ArrayLike<number>): number {
  const levels: number[] = [];
  for (let at = 0; at + FRAME <= pcm.length; at += FRAME) {
    let energy = 0;
    for (let i = 0; i < FRAME; i++) energy += (pcm[at + i] as number) ** 2;
    levels.push(energy);
  }
  const loudest = Math.max(...levels);
  const loud = levels.filter((level) => level > loudest / 100);
  const mean = loud.reduce((sum, level) => sum + level, 0) / loud.length / FRAME;
  return 10 * Math.log10(mean);
}
