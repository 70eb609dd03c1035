/**
 * Whether the agent is speaking, by what has left in packets, and whether something keeps him from it. Counts frames of
 * call time.
 */
import type { PlayoutWait } from './playout.ts';
import { FRAME_MS } from '../types.ts';

/** The agent speaks while one of the latest two frames had something of an utterance. */
const SPEAKING_FRAMES = 2;
/** An utterance of which nothing was sent for so long is told, and again after as long. */
const STALLED_FRAMES = 3000 / FRAME_MS;

export class SpeakingWatch {
  #sinceSent = SPEAKING_FRAMES;
  #waiting = 0;
  #utterance = -1;

  get isSpeaking(): boolean {
    return this.#sinceSent < SPEAKING_FRAMES;
  }

  /**
   * So many frames are over, and `hasSent` tells whether they had anything of an utterance in them; `wait`: why the one
   * whose turn it is was not sent, null: nothing keeps it. Returns for how long (ms) nothing was sent when that is to be
   * told now, else 0.
   */
  pass(frames: number, hasSent: boolean, wait: PlayoutWait | null, utterance: number): number {
    this.#sinceSent = hasSent ? 0 : Math.min(SPEAKING_FRAMES, this.#sinceSent + frames);
    if (hasSent || wait === null || utterance !== this.#utterance) {
      this.#waiting = 0;
      this.#utterance = utterance;
      return 0;
    }
    const before = Math.floor(this.#waiting / STALLED_FRAMES);
    this.#waiting += frames;
    const isDue = Math.floor(this.#waiting / STALLED_FRAMES) > before;
    return isDue ? this.#waiting * FRAME_MS : 0;
  }
}
