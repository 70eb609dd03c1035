/** What somebody on hold hears: a soft pattern of chords, made here by arithmetic and thus nobody else's work. */
import { SAMPLE_RATE_HZ } from '../types.ts';

/** Root mean square of the whole tune: -24 dBFS, as loud as somebody who speaks softly. */
const LEVEL = 32_768 * 10 ** (-24 / 20);
const CHORD_S = 2;
/** Each note sounds a little after the one before, as a hand would roll the chord. */
const ROLL_S = 0.18;
const ATTACK_S = 0.04;
const DECAY_S = 0.9;
/** A major, F sharp minor, D major, E major: semitones from A4 (440 Hz). */
const CHORDS = [
  [-12, -5, -8, 0],
  [-15, -8, -12, -3],
  [-7, -15, -10, -3],
  [-17, -5, -10, -1],
];

let tune: Int16Array | undefined;

/** Eight seconds at 8 kHz, to be played in a loop; in shared memory, so that no call copies it. */
export function holdTune(): Int16Array {
  tune ??= render();
  return tune;
}

function render(): Int16Array {
  const length = CHORDS.length * CHORD_S * SAMPLE_RATE_HZ;
  const sum = new Float64Array(length);
  for (const [index, chord] of CHORDS.entries()) {
    for (const [place, semitones] of chord.entries()) {
      const startS = index * CHORD_S + place * ROLL_S;
      addNote(sum, startS, 440 * 2 ** (semitones / 12));
    }
  }
  const level = Math.sqrt(sum.reduce((power, x) => power + x * x, 0) / length);
  const pcm = new Int16Array(new SharedArrayBuffer(length * 2));
  for (let i = 0; i < length; i++) pcm[i] = Math.round(((sum[i] as number) / level) * LEVEL);
  return pcm;
}

/**
 * A soft note that dies away; what sounds beyond the end of the tune sounds at its beginning again. Each sample is made
 * from the one before, without a sine: the first hold of a process must not keep its other calls waiting.
 */
function addNote(sum: Float64Array, startS: number, hz: number): void {
  const start = Math.round(startS * SAMPLE_RATE_HZ);
  const count = CHORD_S * 2 * SAMPLE_RATE_HZ;
  const attack = ATTACK_S * SAMPLE_RATE_HZ;
  const angle = (2 * Math.PI * hz) / SAMPLE_RATE_HZ;
  const [turnCos, turnSin] = [Math.cos(angle), Math.sin(angle)];
  const fall = Math.exp(-1 / (DECAY_S * SAMPLE_RATE_HZ));
  let [cos, sin, decay] = [1, 0, 1];
  for (let i = 0; i < count; i++) {
    const envelope = Math.min(1, i / attack) * decay * (1 - i / count);
    // With its second and third harmonic.
    const voice = sin + 0.25 * 2 * sin * cos + 0.08 * sin * (3 - 4 * sin * sin);
    const at = (start + i) % sum.length;
    sum[at] = (sum[at] as number) + voice * envelope;
    const nextCos = cos * turnCos - sin * turnSin;
    sin = sin * turnCos + cos * turnSin;
    cos = nextCos;
    decay *= fall;
  }
}
