/** Seeded journeys of a caller's packets over bad lines: what is lost, held up, overtaken, doubled, and when it comes. */

/** One packet of 20 ms. */
export type Journey = {
  /** When its first sample was said, by a true clock, ms; and its RTP time stamp, by the sender's clock. */
  readonly sentMs: number;
  readonly timestamp: number;
  /** When it arrives; Infinity: never. */
  readonly arrivalMs: number;
  /** What of the time on its way is jitter: nothing is faster than 0. */
  readonly jitterMs: number;
  /** When it arrives again; Infinity: it does not. */
  readonly copyMs: number;
  /** Which stretch of speech it belongs to, -1 in a pause. */
  readonly spurt: number;
};

export type Trace = { readonly name: string; readonly packets: readonly Journey[] };

export type Random = () => number;

const PACKET_MS = 20;
const PACKET_SAMPLES = 160;
const TRANSIT_MS = 50;

/** Numbers in [0, 1), the same for the same seed. */
export function randomOf(seed: number): Random {
  let state = (seed * 0x9e3779b9 + 0x7f4a7c15) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

type Line = {
  readonly name: string;
  /** Delay by jitter of packet `i`, ms. */
  readonly jitter: (random: Random) => (i: number) => number;
  /** Packets cannot overtake each other: a queue. */
  readonly isQueue?: boolean;
  readonly loss?: (random: Random) => () => boolean;
  readonly copies?: number;
  /** Sender's clock against the true one. */
  readonly ppm?: number;
  /** Longer path from the middle on, ms. */
  readonly longerMs?: number;
};

/** Normal, with `ms` two standard deviations, three of which are the least delay there is. */
const bell = (ms: number) => (random: Random) => () =>
  Math.max(0, (3 + gaussian(random)) * (ms / 2));
/** Sum of two exponential delays, `ms` in the mean. */
const gamma = (ms: number) => (random: Random) => () =>
  (-Math.log(1 - random()) - Math.log(1 - random())) * (ms / 2);
const single = (share: number) => (random: Random) => () => random() < share;
/** Five in a row, `share` of all. */
const bursts = (share: number) => (random: Random) => {
  let left = 0;
  return () => {
    if (left === 0 && random() < share / 5) left = 5;
    return left > 0 && left-- > 0;
  };
};
/** About every 6 s the line stands still for 100 to 400 ms, and then gives out what it held. */
const spikes = (random: Random) => {
  let held = 0;
  return () => {
    held = Math.max(0, held - PACKET_MS);
    if (random() < 1 / 300) held = 100 + 300 * random();
    return held + 3 * random();
  };
};
const overtaken = (share: number, ms: number) => (random: Random) => () =>
  2 * random() + (random() < share ? ms : 0);

export const LINES: readonly Line[] = [
  { name: 'quiet', jitter: () => () => 0 },
  { name: 'good', jitter: bell(4) },
  { name: 'loss 1 %', jitter: bell(10), loss: single(0.01) },
  { name: 'loss 2 %', jitter: bell(10), loss: single(0.02) },
  { name: 'loss 5 %', jitter: bell(10), loss: single(0.05) },
  { name: 'bursts of 5, 2 %', jitter: bell(10), loss: bursts(0.02) },
  { name: 'jitter 40, normal', jitter: bell(40) },
  { name: 'jitter 80, normal', jitter: bell(80) },
  { name: 'jitter 40, gamma', jitter: gamma(40), isQueue: true },
  { name: 'jitter 80, gamma', jitter: gamma(80), isQueue: true },
  { name: 'jitter 40, loss 2 %', jitter: bell(40), loss: single(0.02) },
  { name: 'spikes', jitter: spikes, isQueue: true },
  { name: 'overtaken 3 %', jitter: overtaken(0.03, 45) },
  { name: 'doubled 5 %', jitter: bell(20), copies: 0.05 },
  { name: 'clock +200 ppm', jitter: bell(10), ppm: 200 },
  { name: 'clock -200 ppm', jitter: bell(10), ppm: -200 },
  { name: 'path 80 ms longer', jitter: bell(10), longerMs: 80 },
  { name: 'path 80 ms shorter', jitter: bell(10), longerMs: -80 },
];

export function traceOf(line: Line, seed: number, packets = 6000): Trace {
  const random = randomOf(seed * 1000 + LINES.indexOf(line) + 1);
  const jitter = line.jitter(random);
  const isLost = line.loss?.(random) ?? (() => false);
  const spurts = spurtsOf(random, packets);
  const journeys: Journey[] = [];
  let last = 0;
  for (let i = 0; i < packets; i++) {
    const sentMs = (i * PACKET_MS) / (1 + (line.ppm ?? 0) / 1e6);
    const pathMs = TRANSIT_MS + 100 + (i >= packets / 2 ? (line.longerMs ?? 0) : 0);
    let jitterMs = jitter(i);
    if (line.isQueue === true) jitterMs = Math.max(jitterMs, last - sentMs - pathMs);
    last = sentMs + pathMs + jitterMs;
    const copyMs = random() < (line.copies ?? 0) ? last + 1 + 30 * random() : Infinity;
    const arrivalMs = isLost() ? Infinity : last;
    const timestamp = (1000 + i * PACKET_SAMPLES) >>> 0;
    journeys.push({
      sentMs: sentMs + pathMs,
      timestamp,
      arrivalMs,
      jitterMs,
      copyMs,
      spurt: spurts[i] ?? -1,
    });
  }
  return { name: line.name, packets: journeys };
}

/** Number of the stretch of speech each packet belongs to: 0.4 to 2.5 s of speech, 0.3 to 1.5 s of pause. */
function spurtsOf(random: Random, packets: number): number[] {
  const spurts: number[] = [];
  for (let spurt = 0; spurts.length < packets; spurt++) {
    const speech = 20 + Math.floor(105 * random());
    const pause = 15 + Math.floor(60 * random());
    for (let i = 0; i < speech; i++) spurts.push(spurt);
    for (let i = 0; i < pause; i++) spurts.push(-1);
  }
  return spurts.slice(0, packets);
}
