/** Seeded sounds of places that callers call from, 8 kHz, and recorded voices to speak in them. */
import { readFileSync } from 'node:fs';

const RATE_HZ = 8000;
/** RMS of a sine of 0 dBm0 in 16-bit samples of G.711. */
export const ZERO_DBM0_RMS = (32_767 * 10 ** (-3.14 / 20)) / Math.SQRT2;

export type Random = () => number;

/** Uniform in [0, 1), the same for the same seed on every machine. */
export function seeded(seed: number): Random {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function gaussian(random: Random): number {
  let sum = 0;
  for (let i = 0; i < 6; i++) sum += random();
  return (sum - 3) * Math.SQRT2;
}

/** Of the voice that the product ships with: 16 bits, one channel. */
export function recorded(name: string): Int16Array {
  const folder = new URL('../../src/providers/local/prompts/', import.meta.url);
  const bytes = readFileSync(new URL(`${name}.wav`, folder));
  const data = bytes.indexOf('data', 12, 'latin1');
  const pcm = new Int16Array(bytes.readUInt32LE(data + 4) / 2);
  for (let i = 0; i < pcm.length; i++) pcm[i] = bytes.readInt16LE(data + 8 + i * 2);
  return pcm;
}

/** Brought to this level over all of it. */
export function atLevel(signal: Float64Array, dbm0: number): Float64Array {
  let energy = 0;
  for (const x of signal) energy += x * x;
  const gain = (ZERO_DBM0_RMS * 10 ** (dbm0 / 20)) / Math.sqrt(energy / signal.length || 1);
  return signal.map((x) => x * gain);
}

/** The level of a voice by what of it is loud (ITU-T P.56 in spirit): frames within 16 dB of the loudest. */
export function voiceAtLevel(pcm: Int16Array, dbm0: number): Float64Array {
  const levels: number[] = [];
  for (let at = 0; at + 160 <= pcm.length; at += 160) {
    let energy = 0;
    for (let i = 0; i < 160; i++) energy += (pcm[at + i] as number) ** 2;
    levels.push(energy / 160);
  }
  const loudest = Math.max(...levels);
  const active = levels.filter((level) => level > loudest / 40);
  const rms = Math.sqrt(active.reduce((sum, level) => sum + level, 0) / active.length);
  const gain = (ZERO_DBM0_RMS * 10 ** (dbm0 / 20)) / rms;
  return Float64Array.from(pcm, (x) => x * gain);
}

export type NoiseName = 'hiss' | 'car' | 'street' | 'babble' | 'hum' | 'office';
const VOICES = ['about-en', 'menu-en', 'greeting-en', 'about-zh', 'menu-zh', 'greeting-zh'];

/** `ms` of a place, at this mean level. */
export function noise(name: NoiseName, seed: number, ms: number, dbm0: number): Float64Array {
  const random = seeded(seed);
  const length = (ms * RATE_HZ) / 1000;
  return atLevel(PLACES[name](random, length), dbm0);
}

const PLACES: Record<NoiseName, (random: Random, length: number) => Float64Array> = {
  hiss: (random, length) => Float64Array.from({ length }, () => gaussian(random)),
  hum: (random, length) =>
    Float64Array.from({ length }, (_, i) => {
      const t = (2 * Math.PI * 50 * i) / RATE_HZ;
      return Math.sin(t) + 0.6 * Math.sin(3 * t) + 0.3 * Math.sin(5 * t) + 0.05 * gaussian(random);
    }),
  car,
  street,
  office,
  babble,
};

/** Rumble, and an engine whose speed wanders. */
function car(random: Random, length: number): Float64Array {
  let rumble = 0;
  let last = 0;
  let phase = 0;
  let hz = 38;
  return Float64Array.from({ length }, () => {
    rumble = 0.985 * rumble + gaussian(random);
    const high = rumble - last;
    last += high * 0.02;
    if (random() < 0.001) hz = Math.max(30, Math.min(60, hz + gaussian(random)));
    phase += (2 * Math.PI * hz) / RATE_HZ;
    const engine = Math.sin(2 * phase) + 0.7 * Math.sin(4 * phase) + 0.4 * Math.sin(6 * phase);
    return high + 3 * engine + 0.4 * gaussian(random);
  });
}

/** Traffic that swells and fades as things pass, every few seconds. */
function street(random: Random, length: number): Float64Array {
  let slow = 0;
  let low = 0;
  let level = 0.4;
  let goal = 0.4;
  return Float64Array.from({ length }, () => {
    if (random() < 1 / (2.5 * RATE_HZ)) goal = 0.25 + 1.5 * random() ** 2;
    level += (goal - level) / (0.5 * RATE_HZ);
    low = 0.9 * low + gaussian(random);
    slow = 0.99 * slow + gaussian(random);
    return level * (low + 0.3 * slow + 0.3 * gaussian(random));
  });
}

/** A fan, keys being typed, something put down now and then. */
function office(random: Random, length: number): Float64Array {
  let low = 0;
  let click = 0;
  let thump = 0;
  let age = 0;
  return Float64Array.from({ length }, () => {
    low = 0.95 * low + gaussian(random);
    if (random() < 6 / RATE_HZ) click = 14 * random();
    if (random() < 0.3 / RATE_HZ) [thump, age] = [30 * random(), 0];
    click *= 0.97;
    thump *= 0.996;
    const knock = thump * Math.sin((2 * Math.PI * 140 * age++) / RATE_HZ);
    return low + click * gaussian(random) + knock;
  });
}

/** Many people speaking elsewhere in the room. */
function babble(random: Random, length: number): Float64Array {
  const room = new Float64Array(length);
  for (let i = 0; i < 12; i++) {
    const voice = voiceAtLevel(recorded(VOICES[i % VOICES.length] as string), -20);
    const from = Math.floor(random() * voice.length);
    const gain = 0.5 + random();
    // Others are taller or smaller than the one that was recorded.
    const speed = 0.8 + 0.4 * random();
    for (let at = 0; at < length; at++)
      room[at] =
        (room[at] as number) +
        gain * (voice[Math.floor(from + at * speed) % voice.length] as number);
  }
  return room;
}
