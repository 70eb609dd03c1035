/**
 * Mix-minus: everybody on a call hears all the others and not himself. Sums are whole numbers, so taking one voice out of
 * them leaves exactly the rest; only what is given out is brought to 16 bits, softly. Allocates nothing.
 *
 *                 hears: caller  agent's ear  staff (supervisor, whisper, agent, listen)
 *   caller               -       (his own channel)  yes
 *   the AI agent         yes     -            yes
 *   spoken by staff      yes     `spoken`     yes, but for himself
 *   whispered by staff   no      `whispered`  yes, but for himself
 */
import { soften } from '../playout/gain.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** One voice of the staff in the frame being mixed: what of it goes to everybody, and what to the agent's side only. */
export type Voice = { readonly spoken: Int16Array; readonly whispered: Int16Array };

export class Mixer {
  readonly #spoken = new Int32Array(FRAME_SAMPLES);
  readonly #whispered = new Int32Array(FRAME_SAMPLES);
  #voices = 0;

  /** A new frame. */
  clear(): void {
    if (this.#voices === 0) return;
    this.#spoken.fill(0);
    this.#whispered.fill(0);
    this.#voices = 0;
  }

  add({ spoken, whispered }: Voice): void {
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      this.#spoken[i] = (this.#spoken[i] as number) + (spoken[i] as number);
      this.#whispered[i] = (this.#whispered[i] as number) + (whispered[i] as number);
    }
    this.#voices++;
  }

  /** Adds what everybody may hear to what is sent to the caller. */
  toCaller(into: Int16Array): void {
    if (this.#voices === 0) return;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const added = this.#spoken[i] as number;
      if (added !== 0) into[i] = soften((into[i] as number) + added);
    }
  }

  /** What the staff says to the agent: to everybody, or to him alone. */
  toAgent(into: Int16Array, kind: 'spoken' | 'whispered'): void {
    const from = kind === 'spoken' ? this.#spoken : this.#whispered;
    for (let i = 0; i < FRAME_SAMPLES; i++) into[i] = soften(from[i] as number);
  }

  /** What one of the staff hears: everybody but himself. `own` null: he says nothing. */
  toStaff(into: Int16Array, caller: Int16Array, agent: Int16Array, own: Voice | null): void {
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      let sum = (caller[i] as number) + (agent[i] as number);
      sum += (this.#spoken[i] as number) + (this.#whispered[i] as number);
      if (own !== null) sum -= (own.spoken[i] as number) + (own.whispered[i] as number);
      into[i] = soften(sum);
    }
  }
}
