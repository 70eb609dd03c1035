/** Speech to lose packets of: the local voice in two languages and several sizes, and a seeded synthetic one. */
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { gaussian, randomOf, type Random } from './_media-traces.ts';

/** What was tuned on: seeds below 100. */
const TUNED = [
  ['en', 'Good morning, this is the booking desk of the harbour hotel, how may I help you today?'],
  ['en', 'Could you please tell me whether the shipment left the warehouse on Thursday?'],
  ['en', 'My name is Sophie and I would like to change the time of my appointment.'],
  ['zh', '您好,请问您需要预订几点的座位?'],
  ['zh', '我想查询一下上个星期的账单,谢谢。'],
] as const;
/** What was not. */
const HELD_OUT = [
  ['en', 'The quick answer is yes, although the fees for such a transfer vary from week to week.'],
  ['en', 'She sells fresh fish near the old church, which is usually full of visitors.'],
  ['en', 'Please hold the line while I look for somebody who knows about your claim.'],
  ['zh', '这个问题我们的同事会在明天下午之前给您答复。'],
  ['zh', '请您再说一遍您的地址和联系方式。'],
] as const;

let made: Promise<ReadonlyMap<string, Int16Array>> | undefined;

/** About 40 s of speech at 8 kHz, the same for the same seed. */
export async function voicesOf(seed: number): Promise<Int16Array[]> {
  made ??= speakAll();
  const spoken = await made;
  const random = randomOf(seed);
  const voices = (seed < 100 ? TUNED : HELD_OUT).map(([, text]) =>
    resized(spoken.get(text) ?? new Int16Array(), 0.85 + 0.45 * random()),
  );
  return [...voices, synthetic(random), synthetic(random)];
}

async function speakAll(): Promise<ReadonlyMap<string, Int16Array>> {
  const tts = createLocalTts({ log: silentLog, clock: systemClock, cacheDir: null });
  const spoken = new Map<string, Int16Array>();
  try {
    for (const [language, text] of [...TUNED, ...HELD_OUT]) {
      const pcm: number[] = [];
      for await (const chunk of tts.speak({ text, language }, new AbortController().signal))
        pcm.push(...chunk.pcm);
      spoken.set(text, Int16Array.from(pcm));
    }
  } finally {
    tts.close();
  }
  return spoken;
}

/** Faster and higher, or slower and lower: a smaller or larger speaker. */
function resized(pcm: Int16Array, rate: number): Int16Array {
  const out = new Int16Array(Math.floor((pcm.length - 1) / rate));
  for (let i = 0; i < out.length; i++) {
    const at = Math.floor(i * rate);
    const share = i * rate - at;
    const [a, b] = [pcm[at] as number, pcm[at + 1] as number];
    out[i] = Math.round(a + (b - a) * share);
  }
  return out;
}

const FORMANTS = [
  [730, 1090, 2440],
  [270, 2290, 3010],
  [300, 870, 2240],
  [530, 1840, 2480],
  [570, 840, 2410],
] as const;

/** Vowels of moving pitch and formants, hisses and rests, over a little noise. */
function synthetic(random: Random): Int16Array {
  const pcm = new Int16Array(8 * 8000);
  const base = 90 + 130 * random();
  const state = new Float64Array(6);
  for (let at = 0, phase = 0; at < pcm.length;) {
    const length = 800 + Math.floor(1600 * random());
    const [kind, from, to] = [random(), pick(random), pick(random)];
    for (let i = 0; i < length && at < pcm.length; i++, at++) {
      const share = i / length;
      phase += (base * (1 + 0.15 * Math.sin(at / 3000))) / 8000;
      const isPulse = phase >= 1;
      if (isPulse) phase -= 1;
      const edge = Math.min(1, i / 120, (length - i) / 120);
      const source =
        kind < 0.7 ? (isPulse ? 60 : 0) + 0.6 * gaussian(random) : 5 * gaussian(random);
      let value = kind > 0.88 ? 0 : source * edge;
      for (let f = 0; f < 3; f++) {
        const first = from[f as 0 | 1 | 2];
        const hz = kind < 0.7 ? first + (to[f as 0 | 1 | 2] - first) * share : 2200 + 500 * f;
        value = resonate(state, f, value, hz, kind < 0.7 ? 80 + 40 * f : 500);
      }
      pcm[at] = Math.max(-32_000, Math.min(32_000, Math.round(value * 40 + 8 * gaussian(random))));
    }
  }
  return pcm;
}

function pick(random: Random): (typeof FORMANTS)[number] {
  return FORMANTS[Math.floor(random() * FORMANTS.length)] ?? FORMANTS[0];
}

function resonate(state: Float64Array, f: number, x: number, hz: number, width: number): number {
  const r = Math.exp((-Math.PI * width) / 8000);
  const c = 2 * r * Math.cos((2 * Math.PI * hz) / 8000);
  const [y1, y2] = [state[2 * f] as number, state[2 * f + 1] as number];
  const y = x * (1 - c + r * r) + c * y1 - r * r * y2;
  state[2 * f + 1] = y1;
  state[2 * f] = y;
  return y;
}
