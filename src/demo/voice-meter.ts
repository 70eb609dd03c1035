/** Tells speech from silence by level alone, packet by packet: what a person with a stop watch would call "it speaks". */

/** About -42 dBFS: far above G.711's idle noise, below quiet speech. */
const SPEECH_RMS = 260;
/** Pauses inside a sentence are shorter than this. */
const END_OF_SPEECH_MS = 700;

export function rmsOf(pcm: Int16Array): number {
  let sum = 0;
  for (const sample of pcm) sum += sample * sample;
  return pcm.length === 0 ? 0 : Math.sqrt(sum / pcm.length);
}

export function isSpeech(pcm: Int16Array): boolean {
  return rmsOf(pcm) >= SPEECH_RMS;
}

/** Sound without its silent head and tail, in whole frames, so that "end of speech" is a packet that carries speech. */
export function trimSilence(pcm: Int16Array, frameSamples: number): Int16Array {
  const frames = Math.floor(pcm.length / frameSamples);
  const loud = (frame: number): boolean =>
    isSpeech(pcm.subarray(frame * frameSamples, (frame + 1) * frameSamples));
  let first = 0;
  let last = frames;
  while (first < last && !loud(first)) first += 1;
  while (last > first && !loud(last - 1)) last -= 1;
  return pcm.slice(first * frameSamples, last * frameSamples);
}

/** One stretch of the agent's speech on the wire. */
export type SpeechSpan = { readonly startMs: number; readonly lastMs: number };

/** Follows one incoming stream and answers questions about when the other side spoke. */
export class VoiceMeter {
  readonly #spans: { startMs: number; lastMs: number }[] = [];
  #packets = 0;
  #runStartMs: number | null = null;

  write(atMs: number, pcm: Int16Array): void {
    this.#packets += 1;
    if (!isSpeech(pcm)) {
      this.#runStartMs = null;
      return;
    }
    this.#runStartMs ??= atMs;
    const span = this.#spans.at(-1);
    if (span !== undefined && atMs - span.lastMs < END_OF_SPEECH_MS) span.lastMs = atMs;
    else this.#spans.push({ startMs: atMs, lastMs: atMs });
  }

  get spans(): readonly SpeechSpan[] {
    return this.#spans;
  }

  get packets(): number {
    return this.#packets;
  }

  /** Arrival of the first speech packet of the first stretch that begins after `sinceMs`; undefined when none has. */
  firstAfter(sinceMs: number): number | undefined {
    return this.#spans.find((span) => span.startMs > sinceMs)?.startMs;
  }

  /** Arrival of the last speech packet of the stretch that was going on at `atMs`. */
  lastOfSpanAt(atMs: number): number | undefined {
    return this.#spans.findLast((span) => span.startMs <= atMs)?.lastMs;
  }

  /** How long the current unbroken run of speech packets has lasted; 0 while the last packet was silence. */
  runMs(nowMs: number): number {
    return this.#runStartMs === null ? 0 : nowMs - this.#runStartMs;
  }

  /** How long the other side has been quiet; undefined when it never spoke. */
  quietMs(nowMs: number): number | undefined {
    const last = this.#spans.at(-1)?.lastMs;
    return last === undefined ? undefined : nowMs - last;
  }
}
