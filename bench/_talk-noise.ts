/** Sounds that are not words, as telephones bring them. */

export const NOISES = ['hiss', 'clap', 'hum', 'keys', 'cough', 'bell'] as const;
export type Noise = (typeof NOISES)[number];

/** 8 kHz, 150 ms to 1.2 s, peaks between about -30 and -12 dBFS. */
export function noise(kind: Noise, random: () => number): Int16Array {
  const ms = 150 + random() * 1050;
  const level = 32_767 * 10 ** ((-30 + random() * 18) / 20);
  const pcm = new Int16Array(Math.floor(ms * 8));
  const make = SHAPES[kind](random, pcm.length);
  for (let i = 0; i < pcm.length; i++)
    pcm[i] = Math.round(Math.max(-1, Math.min(1, make(i))) * level);
  return pcm;
}

const white = (random: () => number): number => random() * 2 - 1;

const SHAPES: Readonly<
  Record<Noise, (random: () => number, length: number) => (i: number) => number>
> = {
  hiss: (random) => () => white(random),
  clap: (random) => (i) => white(random) * Math.exp(-(i % 4000) / 160),
  hum: (random) => {
    const hz = random() < 0.5 ? 50 : 60;
    return (i) =>
      Math.sin((2 * Math.PI * hz * i) / 8000) * 0.8 +
      Math.sin((2 * Math.PI * hz * 2 * i) / 8000) * 0.2;
  },
  keys: (random) => {
    let next = 0;
    let age = 1e9;
    return () => {
      if (next-- <= 0) {
        next = 600 + random() * 1400;
        age = 0;
      }
      return white(random) * Math.exp(-age++ / 40);
    };
  },
  cough: (random, length) => {
    let low = 0;
    return (i) => {
      low += 0.35 * (white(random) - low);
      const at = i / length;
      return (
        2 * low * (Math.exp(-((at - 0.2) ** 2) / 0.01) + 0.6 * Math.exp(-((at - 0.6) ** 2) / 0.02))
      );
    };
  },
  bell: () => (i) => Math.sin((2 * Math.PI * 1_050 * i) / 8000) * Math.exp(-(i % 3200) / 1200),
};
