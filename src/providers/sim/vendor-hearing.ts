/**
 * What a simulated recogniser hears: it finds speech by its loudness, reads the tone-coded utterance id in it
 * (lib/utterance-tones.ts) and looks the words up; cuts a sentence after silence in the audio, as vendors do, never in
 * wall time.
 */
import { UtteranceToneDecoder } from '#lib/utterance-tones.ts';

export type SimHearingOptions = {
  /** Utterance id -> words. */
  readonly words: Readonly<Record<string, string>>;
  /** Of what is pushed: a whole multiple of 8000. */
  readonly rateHz: number;
  /** Silence in the audio that ends a sentence. */
  readonly silenceMs: number;
  onBegin?(beginMs: number): void;
  onPartial?(text: string): void;
  /** Empty text: sound without words. Times are of the audio pushed. */
  onSentence(text: string, beginMs: number, endMs: number): void;
};

const STEP = 160;
const LOUD = 300;

export class SimHearing {
  readonly #options: SimHearingOptions;
  readonly #decoder: UtteranceToneDecoder;
  readonly #step = new Int16Array(STEP);
  #fill = 0;
  #skip = 0;
  #atMs = 0;
  #beginMs: number | null = null;
  #loudMs = 0;
  #ids: number[] = [];

  constructor(options: SimHearingOptions) {
    this.#options = options;
    this.#decoder = new UtteranceToneDecoder((id) => {
      this.#ids.push(id);
      if (this.#text !== '') options.onPartial?.(half(this.#text));
    });
  }

  /** Audio pushed so far. */
  get audioMs(): number {
    return this.#atMs + this.#fill / 8;
  }

  push(pcm: Int16Array): void {
    const every = this.#options.rateHz / 8000;
    for (const sample of pcm) {
      this.#skip = (this.#skip + 1) % every;
      if (this.#skip !== 0) continue;
      this.#step[this.#fill++] = sample;
      if (this.#fill === STEP) this.#judge();
    }
  }

  /** No more will come: what was begun is a sentence. */
  end(): void {
    if (this.#beginMs !== null) this.#finish();
  }

  get #text(): string {
    return this.#ids
      .map((id) => this.#options.words[String(id)] ?? '')
      .filter(Boolean)
      .join(' ');
  }

  #judge(): void {
    this.#fill = 0;
    let sum = 0;
    for (const sample of this.#step) sum += sample * sample;
    this.#decoder.push(this.#step);
    this.#atMs += STEP / 8;
    if (Math.sqrt(sum / STEP) > LOUD) {
      this.#loudMs = this.#atMs;
      if (this.#beginMs === null) {
        this.#beginMs = this.#atMs - STEP / 8;
        this.#options.onBegin?.(this.#beginMs);
      }
    } else if (this.#beginMs !== null && this.#atMs - this.#loudMs >= this.#options.silenceMs) {
      this.#finish();
    }
  }

  #finish(): void {
    const beginMs = this.#beginMs ?? 0;
    const text = this.#text;
    this.#beginMs = null;
    this.#ids = [];
    this.#options.onSentence(text, beginMs, this.#loudMs);
  }
}

function half(text: string): string {
  const words = text.match(/\p{Script=Han}|[^\s\p{Script=Han}]+\s*/gu) ?? [];
  return words
    .slice(0, Math.ceil(words.length / 2))
    .join('')
    .trimEnd();
}
