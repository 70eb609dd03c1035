/** Voice activity with the real detector: when speech starts and stops, and what is not speech. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSpeechClassifiers, Vad } from '#media/speech/vad.ts';

const FRAME = 160;
const newClassifier = await loadSpeechClassifiers();

type Told = { readonly type: string; readonly atMs: number; readonly values: readonly number[] };

/** Runs `signal` (ms -> sample function) through in packets of `packet` samples, one per packet time. */
function listen(ms: number, signal: (second: number) => number, packet = FRAME): Told[] {
  const told: Told[] = [];
  let nowMs = 0;
  const vad = new Vad(newClassifier(), {
    started: (...values) => told.push({ type: 'started', atMs: nowMs, values }),
    stopped: (...values) => told.push({ type: 'stopped', atMs: nowMs, values }),
  });
  const pcm = new Int16Array(packet);
  for (let at = 0; at + packet <= ms * 8; at += packet) {
    nowMs = at / 8;
    for (let i = 0; i < packet; i++) pcm[i] = Math.round(signal((at + i) / 8000));
    vad.write(pcm, packet, nowMs, nowMs);
    vad.tick(nowMs);
  }
  vad.free();
  vad.free();
  return told;
}

const between = (from: number, to: number, t: number): boolean => t >= from && t < to;
const tone = (t: number): number => 8000 * Math.sin(2 * Math.PI * 440 * t);
/** A voice-like sound: 150 Hz with harmonics, in syllables of 5 Hz. */
const voice = (t: number): number => {
  let sum = 0;
  for (let k = 1; k <= 12; k++) sum += Math.sin(2 * Math.PI * 150 * k * t) / k;
  return sum * 3000 * (0.55 + 0.45 * Math.sin(2 * Math.PI * 5 * t));
};
let seed = 99;
const noise = (): number => {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return seed / 0x3fff_ffff - 1;
};

for (const [name, sound] of [
  ['tone', tone],
  ['voice', voice],
] as const) {
  test(`${name}: told within 60 ms of its start, stopped 200 ms after its end`, () => {
    const told = listen(3000, (t) => (between(1, 1.8, t) ? sound(t) : 20 * noise()));
    assert.deepEqual(
      told.map((each) => each.type),
      ['started', 'stopped'],
    );
    const [started, stopped] = told;
    assert.ok(started && stopped);
    assert.ok(started.atMs - 1000 <= 40, `frame of decision at ${started.atMs}`);
    assert.equal(started.values[0], 1000);
    const [startMs = 0, endMs = 0] = stopped.values;
    assert.equal(startMs, 1000);
    assert.ok(Math.abs(endMs - 1800) <= 60, `end ${endMs}`);
    const hangoverMs = stopped.atMs - 1800;
    assert.ok(hangoverMs >= 140 && hangoverMs <= 260, `hangover ${hangoverMs}`);
  });
}

test('packets of 10, 30 and 60 ms are judged alike', () => {
  for (const packet of [80, 240, 480]) {
    const told = listen(2400, (t) => (between(1.02, 1.62, t) ? tone(t) : 0), packet);
    assert.deepEqual(
      told.map((each) => each.type),
      ['started', 'stopped'],
      `${packet}`,
    );
  }
});

test('a pause shorter than the hangover does not end the utterance', () => {
  const told = listen(3000, (t) =>
    between(0.5, 1, t) || between(1.14, 1.64, t) ? voice(t) : 20 * noise(),
  );
  assert.equal(told.length, 2);
});

const NOT_SPEECH: Record<string, (t: number) => number> = {
  silence: () => 0,
  'line noise from the first sample': () => 60 * noise(),
  'a noisy street from the first sample': () => 500 * noise(),
  'a click of one frame': (t) => (between(1, 1.015, t) ? 12_000 * noise() : 10 * noise()),
  'a tone below -50 dBFS': (t) => 60 * Math.sin(2 * Math.PI * 440 * t),
};

for (const [name, signal] of Object.entries(NOT_SPEECH)) {
  test(`not speech: ${name}`, () => assert.deepEqual(listen(3000, signal), []));
}

test('a line that falls silent ends the utterance by the clock', () => {
  const told: string[] = [];
  const vad = new Vad(newClassifier(), {
    started: () => told.push('started'),
    stopped: (_start, endMs) => told.push(`stopped ${endMs}`),
  });
  const pcm = new Int16Array(FRAME);
  for (let frame = 0; frame < 20; frame++) {
    for (let i = 0; i < FRAME; i++) pcm[i] = tone((frame * FRAME + i) / 8000);
    vad.write(pcm, FRAME, frame * 20, frame * 20);
  }
  vad.tick(640);
  assert.deepEqual(told, ['started']);
  vad.tick(680);
  assert.deepEqual(told, ['started', 'stopped 400']);
  vad.tick(2000);
  assert.equal(told.length, 2);
  vad.free();
});

test('speech that lasts is told once, by what of it was speech and not by the clock', () => {
  const told: string[] = [];
  const vad = new Vad(newClassifier(), {
    started: (startMs) => told.push(`started ${startMs}`),
    lasted: (startMs, speechMs) => told.push(`lasted ${startMs} ${speechMs}`),
    stopped: () => told.push('stopped'),
  });
  const pcm = new Int16Array(FRAME);
  let frame = 0;
  const play = (frames: number, level: number): void => {
    for (const end = frame + frames; frame < end; frame++) {
      for (let i = 0; i < FRAME; i++) pcm[i] = level * tone((frame * FRAME + i) / 8000);
      vad.write(pcm, FRAME, frame * 20, frame * 20);
    }
  };
  vad.confirmAfter(200);
  play(4, 1);
  play(20, 0); // the hangover is no speech
  assert.deepEqual(told.splice(0), ['started 0', 'stopped']);
  const startMs = frame * 20;
  play(9, 1);
  assert.deepEqual(told.splice(0), [`started ${startMs}`]);
  play(20, 1);
  assert.deepEqual(told.splice(0), [`lasted ${startMs} 200`]);
  // Asked only now, of speech that is long enough already.
  vad.confirmAfter(100);
  play(1, 1);
  assert.equal(told.length, 1);
  vad.confirmAfter(Number.POSITIVE_INFINITY);
  play(20, 1);
  assert.equal(told.length, 1);
  vad.free();
});
