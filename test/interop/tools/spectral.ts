/** Log-spectral distance of what was heard from what was said where packets were lost: 8 kHz mono, 20 ms packets. */
import { bestLag } from './correlate.ts';

const WINDOW = 256;
/** Of 20 ms. */
const PACKET = 160;
/** 200 to 3,500 Hz. */
const [FIRST_BIN, LAST_BIN] = [
  Math.round((200 * WINDOW) / 8000),
  Math.round((3500 * WINDOW) / 8000),
];
/** Frames this far below the loudest say nothing: 30 dB. */
const ACTIVE = 1e-3;
/** Digital silence is as far from a voice as a quiet line is, not infinitely far. */
const FLOOR_POWER = 1e4;
/** Where a jitter buffer moved, the comparison moves along: it is looked for again in each of these, as far as this. */
const BLOCK = 1600;
const REACH = 800;
/** So much better another place has to fit; what is lost makes a difference too. */
const STAYS = 0.1;

export type Distances = { readonly frames: number; readonly ours: number; readonly zeros: number };

/**
 * Of the packets of `said` that were lost, those with a voice in them: mean distance in dB of what was heard there, and of
 * silence there, over the 32 ms around each. Samples before `from` are for the jitter buffer to settle.
 */
export function lostDistances(call: {
  readonly said: Int16Array;
  readonly heard: Int16Array;
  readonly zeroFilled: Int16Array;
  /** By its place in `said`. */
  readonly isLost: (packet: number) => boolean;
  readonly from: number;
}): Distances {
  const { said, heard, zeroFilled, isLost, from } = call;
  const loudest = Math.max(...framePowers(said));
  let [frames, ours, zeros] = [0, 0, 0];
  let lag = bestLag(said, heard);
  for (let block = from; block + BLOCK <= said.length - BLOCK; block += BLOCK) {
    lag = lagNear(said, heard, block, lag);
    for (let at = block; at < block + BLOCK; at += PACKET) {
      const start = at - (WINDOW - PACKET) / 2;
      if (!isLost(at / PACKET) || powerAt(said, start) < loudest * ACTIVE) continue;
      frames++;
      ours += frameDistance(said, heard, start, lag);
      zeros += frameDistance(said, zeroFilled, start, 0);
    }
  }
  return { frames, ours: ours / frames, zeros: zeros / frames };
}

function lagNear(reference: Int16Array, heard: Int16Array, block: number, lag: number): number {
  const said = reference.subarray(block, block + BLOCK);
  const alikeAt = (shift: number): number => likeness(said, heard, block + shift);
  let best = { lag, alike: alikeAt(lag) + STAYS };
  if (best.alike >= 1) return lag;
  for (let shift = Math.max(-block, lag - REACH); shift <= lag + REACH; shift++) {
    const alike = alikeAt(shift);
    if (alike > best.alike) best = { lag: shift, alike };
  }
  return best.lag;
}

/** Normalised correlation, by every second sample. */
function likeness(said: Int16Array, heard: Int16Array, at: number): number {
  let [cross, a, b] = [0, 1, 1];
  for (let i = 0; i < said.length; i += 2) {
    const [x, y] = [said[i] ?? 0, heard[at + i] ?? 0];
    cross += x * y;
    a += x * x;
    b += y * y;
  }
  return cross / Math.sqrt(a * b);
}

function framePowers(pcm: Int16Array): number[] {
  const powers: number[] = [];
  for (let at = 0; at + WINDOW <= pcm.length; at += WINDOW) powers.push(powerAt(pcm, at));
  return powers;
}

function powerAt(pcm: Int16Array, at: number): number {
  let sum = 0;
  for (let i = at; i < at + WINDOW; i++) sum += (pcm[i] ?? 0) ** 2;
  return sum / WINDOW;
}

function frameDistance(a: Int16Array, b: Int16Array, at: number, lag: number): number {
  const [one, other] = [spectrumAt(a, at), spectrumAt(b, at + lag)];
  let sum = 0;
  for (let bin = FIRST_BIN; bin <= LAST_BIN; bin++) {
    sum += (10 * Math.log10((one[bin] ?? 1) / (other[bin] ?? 1))) ** 2;
  }
  return Math.sqrt(sum / (LAST_BIN - FIRST_BIN + 1));
}

/** Power by bin, by the definition: this is a test's tool. */
function spectrumAt(pcm: Int16Array, at: number): Float64Array {
  const power = new Float64Array(LAST_BIN + 1);
  for (let bin = FIRST_BIN; bin <= LAST_BIN; bin++) {
    let [re, im] = [0, 0];
    for (let i = 0; i < WINDOW; i++) {
      const sample = (pcm[at + i] ?? 0) * (HANN[i] ?? 0);
      const turn = (bin * i) % WINDOW;
      re += sample * (COS[turn] ?? 0);
      im += sample * (SIN[turn] ?? 0);
    }
    power[bin] = re * re + im * im + FLOOR_POWER;
  }
  return power;
}

const turns = Array.from({ length: WINDOW }, (_, i) => (2 * Math.PI * i) / WINDOW);
const HANN = Float64Array.from(turns, (turn) => 0.5 - 0.5 * Math.cos(turn));
const COS = Float64Array.from(turns, (turn) => Math.cos(turn));
const SIN = Float64Array.from(turns, (turn) => Math.sin(turn));
