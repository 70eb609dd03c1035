/** How far a piece of speech has come: which words were given out as sound, so that another voice can go on behind them. */
import { SAMPLES_PER_MS } from '../rates.ts';
import { evenMarks, speechWeight } from '../marks.ts';
import type { TtsChunk, WordMark } from '../contract.ts';

/** Of a voice whose pace is not known yet: 200 ms for a Chinese syllable. */
const PACE_MS = 100;
/** A word of which so much is missing was not said. */
const MISSING_MS = 40;

export class SpokenPart {
  /** Of the whole text: what comes before this part, in characters and sound. */
  readonly #fromChars: number;
  readonly #fromMs: number;
  readonly #text: string;
  readonly #paceMs: number;
  #samples = 0;
  /** Whether marks come later than their sound; null: none has come. */
  #isLagging: boolean | null = null;
  #said: WordMark = { chars: 0, ms: 0 };
  /** Marks of sound that is still to come, in the order in which they came. */
  #early: WordMark[] = [];

  /** `text`: what this voice was asked to say. `paceMs`: of a unit of `speechWeight`; null: not known. */
  constructor(text: string, from: WordMark, paceMs: number | null) {
    this.#text = text;
    this.#fromChars = from.chars;
    this.#fromMs = from.ms;
    this.#paceMs = paceMs ?? PACE_MS;
  }

  /** Sound given out, in ms of this part. */
  get ms(): number {
    return this.#samples / SAMPLES_PER_MS;
  }

  /** A chunk as the listener gets it: no mark comes before its sound, or a break would make it a lie. */
  take({ pcm, marks }: TtsChunk): TtsChunk {
    const beforeMs = this.ms;
    this.#samples += pcm.length;
    for (const { ms } of marks) this.#isLagging = this.#isLagging === true || ms <= beforeMs;
    const known = [...this.#early, ...marks];
    const due = known.filter(({ ms }) => ms <= this.ms);
    this.#early = known.filter(({ ms }) => ms > this.ms);
    for (const mark of due) if (mark.chars > this.#said.chars) this.#said = mark;
    return { pcm, marks: due.map((mark) => this.#whole(mark)) };
  }

  /** Everything was said: what is left of the marks. */
  end(): readonly WordMark[] {
    return this.#early.map((mark) => this.#whole(mark));
  }

  /**
   * It broke here: where the next voice goes on. By the voice's own marks, so that of a word that was cut nothing is
   * missing; by its pace behind the last of them where marks lag behind their sound, or do not come at all.
   */
  broken(): WordMark {
    const { chars, ms } = this.#said;
    const end = { chars: this.#fromChars + chars, ms: this.#fromMs + this.ms };
    if (this.#isLagging === false) return end;
    const rest = this.#text.slice(chars);
    const weight = speechWeight(rest);
    const restMs = weight * (this.#said.ms > 0 ? this.#ownPace() : this.#paceMs);
    const guessed = evenMarks(rest, restMs * SAMPLES_PER_MS).findLast(
      (mark) => mark.ms <= this.ms - ms + MISSING_MS,
    );
    return { ...end, chars: end.chars + (guessed?.chars ?? 0) };
  }

  /** Learnt of this voice: ms for a unit of weight; null when too little was said. */
  get paceMs(): number | null {
    const weight = speechWeight(this.#text);
    return weight < 4 ? null : this.ms / weight;
  }

  #ownPace(): number {
    const weight = speechWeight(this.#text.slice(0, this.#said.chars));
    return weight === 0 ? this.#paceMs : this.#said.ms / weight;
  }

  #whole({ chars, ms }: WordMark): WordMark {
    return { chars: this.#fromChars + chars, ms: this.#fromMs + ms };
  }
}
