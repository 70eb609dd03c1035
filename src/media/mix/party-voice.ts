/** One of the staff on a call, on the worker's side: his voice out of a ring, frame by frame, and where it may go. */
import { Fader } from '../playout/gain.ts';
import type { LossyRing } from '../lossy-ring.ts';
import { Gate } from './loop-source.ts';
import type { PartyRole } from './mix-types.ts';
import type { Voice } from './mixer.ts';
import { Seam } from '../playout/seam.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** What must be there before he is heard (40 ms): frames over a network come by fits and starts. */
const PRIMED = 2 * FRAME_SAMPLES;

export type PartySettings = {
  readonly role: PartyRole;
  readonly gainDb: number;
  readonly isMuted: boolean;
};

/** Who hears it: nobody, the agent's side, everybody. */
function audienceOf({ role, isMuted }: Pick<PartySettings, 'role' | 'isMuted'>): 0 | 1 | 2 {
  if (isMuted || role === 'listen') return 0;
  return role === 'whisper' ? 1 : 2;
}

export class PartyVoice implements Voice {
  readonly spoken = new Int16Array(FRAME_SAMPLES);
  readonly whispered = new Int16Array(FRAME_SAMPLES);
  readonly #ring: LossyRing;
  readonly #fader = new Fader();
  readonly #seam = new Seam();
  readonly #mute = new Gate(true);
  readonly #speaks: Gate;
  readonly #whispers: Gate;
  #role: PartyRole;
  #isMuted = false;
  #isFlowing = false;
  #dropped = 0;
  /** Frames without sound so far, behind which nothing is left of what was heard. */
  #quiet = Number.POSITIVE_INFINITY;

  constructor(ring: LossyRing, settings: PartySettings) {
    this.#ring = ring;
    this.#role = settings.role;
    this.#dropped = ring.dropped;
    this.#speaks = new Gate(this.#isHeardByAll);
    this.#whispers = new Gate(settings.role === 'whisper');
    this.set(settings);
  }

  get role(): PartyRole {
    return this.#role;
  }

  /** Samples of his that came too fast. */
  get dropped(): number {
    return this.#ring.dropped;
  }

  /**
   * From the next frame on; a voice that goes from one place to another is faded over. Where more people hear him than
   * before, they hear nothing of what he had said by then: the first `from` samples.
   */
  set(settings: PartySettings, from = 0): void {
    const before = audienceOf({ role: this.#role, isMuted: this.#isMuted });
    if (audienceOf(settings) > before) this.#forget(from);
    const { role, gainDb, isMuted } = settings;
    this.#role = role;
    this.#isMuted = isMuted;
    this.#fader.set(gainDb);
  }

  /** Waits for new words, as at the beginning. What was heard of the old ones dies away. */
  #forget(from: number): void {
    this.#ring.skipTo(from);
    if (this.#isFlowing) this.#seam.jump();
    this.#isFlowing = false;
  }

  /** Is heard no more. */
  silence(): void {
    this.#isMuted = true;
  }

  get #isHeardByAll(): boolean {
    return this.#role === 'supervisor' || this.#role === 'agent';
  }

  /** Takes his next frame; false when there is nothing of him in it. */
  next(): boolean {
    const { spoken, whispered } = this;
    const filled = this.#read(spoken);
    this.#quiet = filled > 0 ? 0 : this.#quiet + 1;
    // The frame after the last one has the end of its fall.
    if (this.#quiet > 1) {
      this.#standBy();
      return false;
    }
    this.#seam.shape(spoken, filled);
    this.#fader.shape(spoken);
    this.#mute.shape(spoken, !this.#isMuted);
    whispered.set(spoken);
    this.#speaks.shape(spoken, this.#isHeardByAll);
    this.#whispers.shape(whispered, this.#role === 'whisper');
    return true;
  }

  /** Says nothing: gates go where they have to without anybody hearing it. */
  #standBy(): void {
    this.spoken.fill(0);
    this.whispered.fill(0);
    this.#seam.shape(this.spoken, 0);
    this.#mute.shape(this.spoken, !this.#isMuted);
    this.#speaks.shape(this.spoken, this.#isHeardByAll);
    this.#whispers.shape(this.whispered, this.#role === 'whisper');
  }

  /** Samples of his; a listener's are thrown away, so that a change of role does not play what is old. */
  #read(frame: Int16Array): number {
    const ring = this.#ring;
    if (this.#role === 'listen') {
      ring.clear();
      this.#isFlowing = false;
      return 0;
    }
    if (!this.#isFlowing) {
      if (ring.available < PRIMED) return 0;
      this.#isFlowing = true;
      this.#seam.rise();
      this.#dropped = ring.dropped;
    }
    const count = ring.read(frame);
    // Looked at behind the reading: what was thrown away meanwhile is missing from this frame or from the next one.
    const { dropped } = ring;
    if (dropped !== this.#dropped) {
      this.#dropped = dropped;
      this.#seam.jump();
      this.#seam.rise();
    }
    if (count < frame.length) this.#isFlowing = false;
    return count;
  }
}
