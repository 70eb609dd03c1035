/** Log-spectral distance of what was heard from what was said: 8 kHz mono, only where something was said. */
import { bestLag } from './correlate.ts';

const WINDOW = 256;
const HOP = 128;
/** 200 to 3,500 Hz. */
const [FIRST_BIN, LAST_BIN] = [
  Math.round((200 * WINDOW) / 8000),
  Math.round((3500 * WINDOW) / 8000),
];
/** Frames this far below the loudest say nothing. */
const ACTIVE_DB = 30;
/** Digital silence is as far from a voice as a quiet line is, not infinitely far. */
const FLOOR_POWER = 1e4;
/** Where a jitter buffer moved, the comparison moves along: it is looked for again in each of these, as far as this. */
const BLOCK = 1600;
const REACH = 800;
/** So much better another place has to fit; what is lost makes a difference too. */
const STAYS = 0.1;

/** Mean distance in dB over the frames of `reference` that are active. `lag`: where it begins in `heard`. */
export function spectralDistance(reference: Int16Array, heard: Int16Array, lag?: number): number {
  const powers = framePowers(reference);
  const loudest = Math.max(...powers);
  let sum = 0;
  let frames = 0;
  let at = lag ?? bestLag(reference, heard);
  for (let block = 0; block + BLOCK <= reference.length; block += BLOCK) {
    if (lag === undefined) at = lagNear(reference, heard, block, at);
    for (let start = block; start < block + BLOCK; start += HOP) {
      const power = powers[start / HOP] ?? 0;
      if (power === 0 || 10 * Math.log10(power / loudest) < -ACTIVE_DB) continue;
      sum += frameDistance(reference, heard, start, at);
      frames++;
    }
  }
  return frames === 0 ? Number.NaN : sum / frames;
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
  for (let at = 0; at + WINDOW <= pcm.length; at += HOP) {
    let sum = 0;
    for (let i = 0; i < WINDOW; i++) sum += (pcm[at + i] ?? 0) ** 2;
    powers.push(sum / WINDOW);
  }
  return powers;
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
