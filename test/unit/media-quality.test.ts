/** What becomes of packets, what audio is like, which fault is named: each by table, on synthetic input. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultsOf, QUALITY_FAULTS, type FaultFacts } from '#media/quality/quality-faults.ts';
import { LevelBook } from '#media/quality/quality-level.ts';
import { LossBook } from '#media/quality/quality-loss.ts';
import { SignalBook } from '#media/quality/quality-signal.ts';
import { RtpSequence } from '#media/rtp/rtp-sequence.ts';
import { seeded } from './_noises.ts';

/**
 * Feeds packets of 20 ms; `.` comes, `x` is lost, `l` is late, `d` comes twice, `r` changes places with the next, `f` is
 * lost and its sound was in the one behind it.
 */
function fed(pattern: string, first = 100): LossBook {
  const sequence = new RtpSequence();
  const book = new LossBook(sequence);
  const send = (at: number): void => {
    sequence.note(1, (first + at) & 0xffff, at * 160, at * 160);
    if (pattern[at] === 'l') book.late((first + at) & 0xffff);
  };
  for (let at = 0; at < pattern.length; at++) {
    const mark = pattern[at];
    if (mark === 'r') {
      send(at + 1);
      send(at);
      at++;
    } else if (mark !== 'x' && mark !== 'f') send(at);
    if (mark !== 'x' && pattern[at - 1] === 'f') book.recovered((first + at - 1) & 0xffff);
    if (mark === 'd') send(at);
    if (at % 25 === 24) book.walk();
  }
  book.walk(true);
  return book;
}

test('lost, late, doubled, reordered: each packet has one fate', () => {
  const good = '.'.repeat(30);
  const rows: [string, number, number, number, number, number?][] = [
    [`${good}f${good}`, 61, 0, 0, 0, 1],
    [`${good}xf${good}`, 62, 1, 0, 1, 1],
    [`${good}f.f.f${good}`, 65, 0, 0, 0, 3],
    [good, 30, 0, 0, 0],
    [`${good}x${good}`, 61, 1, 0, 1],
    [`${good}xxxxx${good}`, 65, 5, 0, 1],
    [`${good}x.x${good}`, 63, 2, 0, 2],
    [`${good}l${good}`, 61, 0, 1, 1],
    [`${good}xl${good}`, 62, 1, 1, 1],
    [`${good}d${good}`, 61, 0, 0, 0],
    [`${good}r.${good}`, 62, 0, 0, 0],
    [`.r.${good}`, 33, 0, 0, 0],
  ];
  for (const first of [100, 65_520])
    for (const [pattern, expected, lost, discarded, runs, recovered = 0] of rows) {
      const counts = { expected, lost, discarded, recovered, runs };
      assert.deepEqual(fed(pattern, first).counts, counts, pattern);
    }
});

test('what is told of a packet that has been judged, or of a stream that is over, changes nothing', () => {
  const sequence = new RtpSequence();
  const book = new LossBook(sequence);
  book.recovered(5);
  for (let at = 0; at < 100; at++) if (at !== 10) sequence.note(1, at, at * 160, at * 160);
  book.walk();
  book.walk();
  assert.equal(book.counts.lost, 1);
  book.recovered(10);
  book.late(98);
  for (let at = 0; at < 400; at++) sequence.note(2, 98 + at, at * 160, (at + 100) * 160);
  book.recovered(97);
  book.walk(true);
  assert.deepEqual([book.counts.lost, book.counts.recovered, book.counts.discarded], [1, 0, 0]);
});

test('a packet that waited for its turn, and came too late, is the one that counts', () => {
  const sequence = new RtpSequence();
  const book = new LossBook(sequence);
  // 50 comes after 51 and 52, which waited for it: then 51 is given out too late, 53 having come meanwhile.
  for (const at of [...Array.from({ length: 50 }, (_, i) => i), 51, 52, 50, 53])
    sequence.note(1, (65_500 + at) & 0xffff, at * 160, at * 160);
  book.late((65_500 + 51) & 0xffff);
  for (let at = 54; at < 100; at++) {
    if (at !== 80) sequence.note(1, (65_500 + at) & 0xffff, at * 160, at * 160);
  }
  book.walk(true);
  const { lost, discarded, runs } = book.counts;
  assert.deepEqual({ lost, discarded, runs }, { lost: 1, discarded: 1, runs: 2 });
});

test('a new stream is not loss, and goes on being counted', () => {
  const sequence = new RtpSequence();
  const book = new LossBook(sequence);
  for (let at = 0; at < 100; at++) sequence.note(1, at, at * 160, at * 160);
  book.walk();
  book.walk();
  for (let at = 0; at < 100; at++) if (at !== 50) sequence.note(2, 30_000 + at, at * 160, at * 160);
  book.walk();
  book.walk(true);
  assert.equal(book.counts.lost, 1);
  // The first packets of a stream that are strays until it is believed are not counted (RFC 3550 A.1).
  assert.equal(book.counts.expected, 100 + sequence.expected);
  assert.ok(sequence.expected >= 95);
});

test('bursts and gaps as RFC 3611 defines them', () => {
  const gap = '.'.repeat(100);
  const none = fed(gap);
  assert.deepEqual([none.burstLength, none.burstDensity, none.gapDensity], [0, 0, 0]);
  assert.equal(none.gapLength, 100);
  // One alone belongs to the gap; so do two with 16 between them.
  const alone = fed(`${gap}x${'.'.repeat(16)}x${gap}`);
  assert.equal(alone.burstLength, 0);
  assert.equal(alone.gapDensity, 2 / 218);
  // With 15 between them they are one burst of 17, and bursts are averaged.
  const two = fed(`${gap}x${'.'.repeat(15)}x${gap}xxx${gap}`);
  assert.equal(two.burstLength, (17 + 3) / 2);
  assert.equal(two.burstDensity, 5 / 20);
  assert.equal(two.gapDensity, 0);
  assert.equal(two.gapLength, 100);
  // One that has not ended counts.
  assert.equal(fed(`${gap}x..x.`).burstLength, 4);
});

test('random loss of 5 % is counted to the packet', () => {
  const random = seeded(5);
  const pattern = Array.from({ length: 5000 }, () => (random() < 0.05 ? 'x' : '.')).join('');
  const inner = `.${pattern}.`;
  const { counts } = fed(inner);
  assert.equal(counts.lost, inner.split('x').length - 1);
  assert.equal(counts.expected, inner.length);
  assert.equal(counts.runs, inner.match(/x+/g)?.length);
});

const tone = (peak: number, ms: number, hz = 400): Int16Array =>
  Int16Array.from({ length: ms * 8 }, (_, i) =>
    Math.max(-32_124, Math.min(32_124, Math.round(peak * Math.sin((2 * Math.PI * hz * i) / 8000)))),
  );

/** Plays audio in packets of `samples`. */
function heard(pcm: Int16Array, samples = 160, isSpeech = true, isEcho = false): SignalBook {
  const book = new SignalBook();
  for (let at = 0; at < pcm.length; at += samples) {
    const part = pcm.subarray(at, at + samples);
    book.caller(part, part.length, isSpeech, isEcho);
  }
  return book;
}

test('silence and clipping, whatever the length of packets', () => {
  for (const samples of [80, 160, 240, 480]) {
    const loud = heard(tone(8000, 3000), samples);
    assert.equal(loud.frames, 150);
    assert.deepEqual([loud.silentFrames, loud.clippedFrames], [0, 0]);
    // Six decibels too loud: flat tops.
    assert.equal(heard(tone(60_000, 1000), samples).clippedFrames, 50);
    assert.equal(heard(tone(32_000, 1000, 1000), samples).clippedFrames, 50);
    assert.equal(heard(new Int16Array(8000).fill(8), samples).silentFrames, 50);
  }
  // A peak that touches the limit is no clipping.
  assert.equal(heard(tone(31_000, 1000)).clippedFrames, 0);
});

test('the level of a voice is that of its words, and a hum has none', () => {
  const random = seeded(3);
  const hiss = (peak: number): number => (random() * 2 - 1) * peak;
  /** Words of 600 ms, pauses of 400 ms. */
  const talk = (peak: number, noise: number): LevelBook => {
    const levels = new LevelBook();
    for (let frame = 0; frame < 1000; frame++) {
      const size = frame % 50 < 30 ? peak : noise;
      let energy = 0;
      for (let i = 0; i < 160; i++) energy += Math.round(hiss(size)) ** 2;
      levels.note(energy / 160);
    }
    return levels;
  };
  for (const [peak, noise] of [
    [20_000, 300],
    [3000, 30],
    [400, 20],
    [120, 0],
  ] as const) {
    const levels = talk(peak, noise);
    const dbov = (size: number): number => 20 * Math.log10(size / Math.sqrt(3) / 32_768);
    assert.ok(Math.abs((levels.voiceDbov ?? 0) - dbov(peak)) < 1, `${peak}: ${levels.voiceDbov}`);
    if (noise > 0) assert.ok(Math.abs((levels.noiseDbov ?? 0) - dbov(noise)) < 1);
    assert.equal(levels.voiceFrames, 600);
  }
  const hum = talk(300, 300);
  assert.deepEqual([hum.voiceDbov, hum.voiceFrames], [null, 0]);
  assert.equal(new LevelBook().voiceDbov, null);
});

test('the agent counts while he can be heard, the caller over him too', () => {
  const book = new SignalBook();
  for (let i = 0; i < 10; i++) book.agent(new Int16Array(160), true);
  for (let i = 0; i < 10; i++) book.agent(tone(4000, 20), i < 4);
  assert.equal(book.agentFrames, 10);
  assert.equal(book.doubleFrames, 4);
});

const FINE: FaultFacts = {
  packetsReceived: 3000,
  packetsSent: 3000,
  openFrames: 3000,
  forgedRun: 3,
  farHearsNothing: false,
  expected: 3000,
  lostPct: 0.2,
  discardedPct: 0.1,
  farLossPct: 0,
  jitterMs: 4,
  delayMs: 110,
  frames: 3000,
  silentFrames: 1800,
  clippedFrames: 3,
  loudFrames: 700,
  speechFrames: 1000,
  voiceFrames: 1200,
  voiceDbov: -24,
  echoFrames: 4,
  agentFrames: 1400,
  doubleFrames: 60,
};

test('each fault has a limit, and the most important one comes first', () => {
  const rows: [string, Partial<FaultFacts>, string[]][] = [
    ['a good call', {}, []],
    ['nothing ever came', { packetsReceived: 0, expected: 0, frames: 0 }, ['one_way_audio']],
    [
      'nothing came, but there was no time for it',
      { packetsReceived: 0, expected: 0, openFrames: 99, frames: 0 },
      [],
    ],
    ['nothing came on hold', { packetsReceived: 0, openFrames: 0, expected: 0, frames: 0 }, []],
    ['a few forged packets in a row', { forgedRun: 99 }, []],
    ['nothing but forged packets for two seconds', { forgedRun: 100 }, ['srtp_mismatch']],
    [
      'never anything else',
      { forgedRun: 3000, packetsReceived: 0, expected: 0, frames: 0 },
      ['srtp_mismatch', 'one_way_audio'],
    ],
    ['the far end hears nothing', { farHearsNothing: true }, ['one_way_audio']],
    ['a line without a microphone', { silentFrames: 3000, voiceDbov: null }, ['silence']],
    ['too short to call it silence', { frames: 249, silentFrames: 249 }, []],
    ['3 % lost', { lostPct: 3 }, ['loss']],
    ['3 % lost of ours', { farLossPct: 3 }, ['loss']],
    ['one lost of ten', { expected: 10, lostPct: 10 }, []],
    ['late packets', { discardedPct: 1 }, ['jitter']],
    ['jitter', { jitterMs: 31 }, ['jitter']],
    ['a satellite', { delayMs: 300 }, ['delay']],
    ['delay not measured', { delayMs: null }, []],
    ['the agent comes back', { echoFrames: 140 }, ['echo']],
    ['the agent comes back now and then', { echoFrames: 139 }, []],
    ['half a second of echo', { echoFrames: 49, agentFrames: 100 }, []],
    ['flat tops', { clippedFrames: 35 }, ['clipping']],
    ['a few flat tops', { clippedFrames: 24, loudFrames: 100 }, []],
    ['a whisper', { voiceDbov: -41 }, ['low_level']],
    ['a whisper of a second', { voiceDbov: -41, voiceFrames: 99 }, []],
    ['both at once', { doubleFrames: 250 }, ['double_talk']],
    ['a few words at once', { doubleFrames: 149, speechFrames: 150 }, []],
    [
      'bad in many ways',
      { lostPct: 8, jitterMs: 80, clippedFrames: 200 },
      ['loss', 'jitter', 'clipping'],
    ],
  ];
  for (const [name, change, expected] of rows)
    assert.deepEqual(faultsOf({ ...FINE, ...change }), expected, name);
  const seen = new Set(rows.flatMap(([, , faults]) => faults));
  assert.deepEqual([...seen].sort(), [...QUALITY_FAULTS].sort(), 'every fault is in the table');
});
