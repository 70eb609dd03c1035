/**
 * How far concealed frames are from what was lost (P9 of the targets): log-spectral distance, 200 to 3,500 Hz, over the
 * 32 ms around each lost frame of speech, against silence in its place and against the last frame said again. `blind`: by the past alone.
 */
import { CallerAudio } from '#media/jitter/caller-audio.ts';
import { Concealment } from '#media/jitter/concealment.ts';
import { EMPTY_SAMPLE } from '#media/jitter/jitter-buffer.ts';
import { rounded } from './_result.ts';
import { randomOf } from './_media-traces.ts';
import { voicesOf } from './_media-voices.ts';

const FRAME = 160;
const PACKET_MS = 20;
const TICK_PHASE_MS = 7;
const WINDOW = 256;
const EDGE = (WINDOW - FRAME) / 2;
const [FIRST_BIN, LAST_BIN] = [6, 112];
/** A quiet line: silence is as far from a voice as that, not infinitely far. */
const FLOOR_POWER = 1e4;
/** Frames this far below the loudest are no speech. */
const ACTIVE = 1e-3;
const LOSSES = [1, 2, 5] as const;
const ROUNDS = { 1: 10, 2: 6, 5: 3 } as const;

const METHODS = ['callyard', 'blind', 'zero', 'repeat'] as const;
type Method = (typeof METHODS)[number];
type Sums = Record<Method, number> & { frames: number };

export async function concealmentBench(
  seed: number,
): Promise<{ metrics: Record<string, number>; lines: string[] }> {
  const voices = await voicesOf(seed);
  const metrics: Record<string, number> = {};
  const lines = [
    'loss   frames   callyard     blind      zero    repeat   dB of log-spectral distance',
  ];
  const total = { callyard: 0, blind: 0, zero: 0, repeat: 0 };
  for (const loss of LOSSES) {
    const sums: Sums = { callyard: 0, blind: 0, zero: 0, repeat: 0, frames: 0 };
    for (let round = 0; round < ROUNDS[loss]; round++)
      for (const [i, voice] of voices.entries())
        measure(voice, lostOf(voice, loss / 100, seed * 7919 + round * 31 + i + loss), sums);
    for (const method of METHODS) total[method] += sums[method] / sums.frames;
    metrics[`concealment_lsd_vs_zero_fill_${loss}pct`] = rounded(sums.callyard / sums.zero, 3);
    metrics[`concealment_blind_lsd_vs_zero_fill_${loss}pct`] = rounded(sums.blind / sums.zero, 3);
    metrics[`concealment_lsd_vs_repeat_${loss}pct`] = rounded(sums.callyard / sums.repeat, 3);
    const cells = METHODS.map((method) => (sums[method] / sums.frames).toFixed(2).padStart(10));
    lines.push(
      `${String(loss).padStart(2)} % ${String(sums.frames).padStart(9)} ${cells.join('')}`,
    );
  }
  metrics['concealment_lsd_vs_zero_fill'] = rounded(total.callyard / total.zero, 3);
  metrics['concealment_blind_lsd_vs_zero_fill'] = rounded(total.blind / total.zero, 3);
  metrics['concealment_lsd_vs_repeat'] = rounded(total.callyard / total.repeat, 3);
  return { metrics, lines };
}

/** Which frames are lost: each for itself, and one time in five the one behind it too. */
function lostOf(pcm: Int16Array, share: number, seed: number): boolean[] {
  const random = randomOf(seed);
  let isLost = false;
  return Array.from({ length: Math.floor(pcm.length / FRAME) }, () => {
    isLost = random() < (isLost ? 0.2 : (share * 0.8) / (1 - share));
    return isLost;
  });
}

function measure(pcm: Int16Array, lost: readonly boolean[], sums: Sums): void {
  const heard = {
    callyard: throughChain(pcm, lost),
    blind: blindly(pcm, lost),
    zero: filled(pcm, lost, () => 0),
    repeat: filled(pcm, lost, (out, at) => out[at - FRAME] ?? 0),
  };
  let loudest = 0;
  for (let k = 0; k < lost.length; k++) loudest = Math.max(loudest, powerOf(pcm, k * FRAME));
  for (const [k, isLost] of lost.entries()) {
    const at = k * FRAME - EDGE;
    if (!isLost || at < 0 || at + WINDOW > pcm.length) continue;
    if (powerOf(pcm, k * FRAME) < loudest * ACTIVE) continue;
    const said = spectrumAt(pcm, at);
    for (const method of METHODS) sums[method] += distance(said, spectrumAt(heard[method], at));
    sums.frames++;
  }
}

/** As the chain does it: packets into the jitter buffer, in time but for those that never come. */
function throughChain(pcm: Int16Array, lost: readonly boolean[]): Int16Array {
  const out = new Int16Array(pcm.length);
  const given = (heard: Int16Array, position: number): void => {
    for (let i = 0; i < heard.length && position + i < out.length; i++)
      out[position + i] = heard[i] as number;
  };
  const caller = new CallerAudio({ given });
  let isWhole = true;
  for (let k = 0; k < lost.length; k++) {
    const at = k * FRAME;
    if (lost[k] !== true) {
      const order = { isNew: true, follows: isWhole };
      caller.put(at, pcm.slice(at, at + FRAME), FRAME, at, order);
    }
    isWhole = lost[k] !== true;
    caller.pull(k * PACKET_MS + TICK_PHASE_MS, false);
  }
  caller.flush(lost.length * PACKET_MS);
  return out;
}

/** Where nothing is known of what comes after a hole. */
function blindly(pcm: Int16Array, lost: readonly boolean[]): Int16Array {
  const concealment = new Concealment();
  const out = pcm.slice();
  for (const [k, isLost] of lost.entries()) {
    const frame = out.subarray(k * FRAME, (k + 1) * FRAME);
    if (isLost) frame.fill(EMPTY_SAMPLE);
    concealment.fill(frame, isLost ? 0 : FRAME);
  }
  return out;
}

function filled(
  pcm: Int16Array,
  lost: readonly boolean[],
  by: (out: Int16Array, at: number) => number,
): Int16Array {
  const out = pcm.slice();
  for (const [k, isLost] of lost.entries())
    for (let i = 0; isLost && i < FRAME; i++) out[k * FRAME + i] = by(out, k * FRAME + i);
  return out;
}

function powerOf(pcm: Int16Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < FRAME; i++) sum += (pcm[at + i] as number) ** 2;
  return sum;
}

function distance(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let bin = FIRST_BIN; bin <= LAST_BIN; bin++)
    sum += (10 * Math.log10((a[bin] as number) / (b[bin] as number))) ** 2;
  return Math.sqrt(sum / (LAST_BIN - FIRST_BIN + 1));
}

/** Power by bin, with the floor. */
function spectrumAt(pcm: Int16Array, at: number): Float64Array {
  const power = new Float64Array(LAST_BIN + 1);
  for (let i = 0; i < WINDOW; i++) windowed[i] = (pcm[at + i] as number) * (HANN[i] as number);
  for (let bin = FIRST_BIN; bin <= LAST_BIN; bin++) {
    let [re, im] = [0, 0];
    for (let i = 0, turn = 0; i < WINDOW; i++, turn = (turn + bin) & (WINDOW - 1)) {
      re += (windowed[i] as number) * (COS[turn] as number);
      im += (windowed[i] as number) * (SIN[turn] as number);
    }
    power[bin] = re * re + im * im + FLOOR_POWER;
  }
  return power;
}

const windowed = new Float64Array(WINDOW);
const turns = Array.from({ length: WINDOW }, (_, i) => (2 * Math.PI * i) / WINDOW);
const HANN = Float64Array.from(turns, (turn) => 0.5 - 0.5 * Math.cos(turn));
const COS = Float64Array.from(turns, (turn) => Math.cos(turn));
const SIN = Float64Array.from(turns, (turn) => Math.sin(turn));
