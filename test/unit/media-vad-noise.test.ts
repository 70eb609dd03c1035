/** The detector with its noise floor in places and on lines as they are: what it takes for speech, and what it misses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { loadSpeechClassifiers, Vad } from '#media/speech/vad.ts';
import { noise, recorded, voiceAtLevel, type NoiseName } from './_noises.ts';

const FRAME = 160;
const newClassifier = await loadSpeechClassifiers();
const PLACES: readonly NoiseName[] = ['hiss', 'hum', 'car', 'street', 'office', 'babble'];

type Heard = { readonly startMs: number; readonly saidMs: number };

const onTheLine = (sample: number): number => {
  const clipped = Math.max(-32_000, Math.min(32_000, Math.round(sample)));
  return G711.PCMA.decode[G711.PCMA.encode[clipped & 0xffff] as number] as number;
};

function listen(signal: Float64Array): Heard[] {
  const heard: Heard[] = [];
  let nowMs = 0;
  const vad = new Vad(newClassifier(), {
    started: (startMs) => heard.push({ startMs, saidMs: nowMs }),
    stopped: () => undefined,
  });
  const pcm = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= signal.length; at += FRAME) {
    nowMs = at / 8 + 20;
    for (let i = 0; i < FRAME; i++) pcm[i] = onTheLine(signal[at + i] as number);
    vad.write(pcm, FRAME, at / 8, at / 8);
  }
  vad.free();
  return heard;
}

function joined(...parts: readonly Float64Array[]): Float64Array {
  const whole = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const silence = (ms: number): Float64Array => new Float64Array(ms * 8);

test('places without a caller: false starts', () => {
  const total: Record<string, number> = {};
  for (const place of PLACES) {
    total[place] = 0;
    for (const dbm0 of [-60, -50, -40, -30])
      total[place] += listen(noise(place, 11, 12_000, dbm0)).length;
  }
  // 48 s of each; with a floor that forgets at once and a fixed margin babble alone gave 6.
  assert.deepEqual(
    { ...total, office: 0, street: 0 },
    Object.fromEntries(PLACES.map((p) => [p, 0])),
  );
  assert.ok((total['office'] ?? 9) <= 4 && (total['street'] ?? 9) <= 1, JSON.stringify(total));
});

const CHANGES: [string, (place: NoiseName) => Float64Array, number][] = [
  [
    'noise that grows by 20 dB at once',
    (place) => joined(noise(place, 3, 5000, -55), noise(place, 3, 15_000, -35)),
    2,
  ],
  [
    'digital silence, then noise',
    (place) => joined(silence(4000), noise(place, 3, 10_000, -40)),
    2,
  ],
  [
    'noise that the line cuts off every other second',
    (place) => noise(place, 3, 12_000, -45).map((x, i) => (Math.floor(i / 8000) % 2 ? 0 : x)),
    2,
  ],
];
for (const [what, signal, limit] of CHANGES)
  test(`${what}: soon known for what it is`, () => {
    for (const place of PLACES) {
      const starts = listen(signal(place));
      assert.ok(starts.length <= limit, `${place}: ${starts.length} starts`);
    }
  });

test('comfort noise is nobody', () => assert.deepEqual(listen(noise('hiss', 5, 10_000, -65)), []));

const SAYINGS = [
  'menu-en',
  'goodbye-zh',
  'still_there-en',
  'withheld-zh',
  'too_short-en',
  'about-zh',
];
const PAUSE_MS = 1600;

/** Sayings with pauses between them, and where each begins and ends. */
function spoken(dbm0: number): { signal: Float64Array; spans: [number, number][] } {
  const parts = [silence(3000)];
  const spans: [number, number][] = [];
  let atMs = 3000;
  for (const saying of SAYINGS) {
    const voice = voiceAtLevel(recorded(saying).subarray(0, 11_200), dbm0);
    spans.push([atMs, atMs + voice.length / 8]);
    parts.push(voice, silence(PAUSE_MS));
    atMs += voice.length / 8 + PAUSE_MS;
  }
  return { signal: joined(...parts), spans };
}

const CLEAN = listen(spoken(-20).signal);

/** Sayings not heard within their time, starts where nobody speaks, and how late the others are against a clean line. */
function score(dbm0: number, place: NoiseName | null, snrDb: number) {
  const { signal, spans } = spoken(dbm0);
  const added = place === null ? null : noise(place, 21, signal.length / 8, dbm0 - snrDb);
  const heard = listen(signal.map((x, i) => x + (added?.[i] ?? 0)));
  const inside = (all: Heard[], [from, to]: [number, number]): Heard | undefined =>
    all.find(({ startMs }) => startMs >= from - 40 && startMs < to);
  const lateMs: number[] = [];
  for (const span of spans) {
    const [best, found] = [inside(CLEAN, span), inside(heard, span)];
    if (best !== undefined && found !== undefined) lateMs.push(found.saidMs - best.saidMs);
  }
  const isSpoken = ({ startMs }: Heard): boolean =>
    spans.some(([from, to]) => startMs >= from - 40 && startMs < to + 60);
  const missed = spans.length - lateMs.length;
  lateMs.sort((a, b) => a - b);
  const medianMs = lateMs[lateMs.length >> 1] ?? Number.NaN;
  return { missed, medianMs, falsely: heard.filter((each) => !isSpoken(each)).length };
}

test('speech on a quiet line: candidate within 60 ms of what is loud, also of a low voice', () => {
  for (const [dbm0, limitMs] of [
    [-20, 0],
    [-30, 40],
    [-35, 60],
    [-40, 80],
  ] as const) {
    const { missed, medianMs, falsely } = score(dbm0, null, 0);
    assert.deepEqual({ missed, falsely }, { missed: 0, falsely: 0 }, `${dbm0} dBm0`);
    assert.ok(medianMs <= limitMs, `${dbm0} dBm0: ${medianMs} ms`);
  }
});

test('speech in noise: next to none missed at 15 and at 10 dB, in time, with few false starts', () => {
  const sum = { missed15: 0, missed10: 0, falsely: 0 };
  for (const place of PLACES) {
    const easy = score(-20, place, 15);
    const hard = score(-20, place, 10);
    sum.missed15 += easy.missed;
    sum.missed10 += hard.missed;
    sum.falsely += easy.falsely + hard.falsely;
    assert.ok(
      easy.medianMs <= 100 && hard.medianMs <= 140,
      `${place} ${easy.medianMs} ${hard.medianMs}`,
    );
  }
  // Of 36 sayings each.
  assert.ok(sum.missed15 <= 1 && sum.missed10 <= 2 && sum.falsely <= 6, JSON.stringify(sum));
});

test('a line that is silent between words: the fortieth saying is heard as long as the first', () => {
  const saying = voiceAtLevel(recorded('about-en').subarray(0, 6400), -20);
  const lengths: number[] = [];
  const vad = new Vad(newClassifier(), {
    started: () => undefined,
    stopped: (startMs, endMs) => lengths.push(endMs - startMs),
  });
  const pcm = new Int16Array(FRAME);
  // Whole packets of sound and of nothing, as phones send that mute between words.
  for (let frame = 0; frame < 40 * 240; frame++) {
    const at = (frame % 240) * FRAME;
    for (let i = 0; i < FRAME; i++) pcm[i] = onTheLine(saying[at + i] ?? 0);
    vad.write(pcm, FRAME, frame * 20, frame * 20);
    vad.tick(frame * 20);
  }
  vad.free();
  assert.equal(lengths.length, 40);
  assert.ok(Math.min(...lengths) >= Math.max(...lengths) - 40, lengths.join(' '));
});
