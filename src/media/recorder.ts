/**
 * Stereo recording of one call on the RTP clock: caller left, agent right, each placed by its own count of samples and
 * never by when it was handed in. Mixing is in memory; the disk is another object's matter.
 */
import { WAV_FRAME_BYTES } from '#lib/wav.ts';
import type { RecordingFile } from './recording-file.ts';
import type { RecordingResult } from './types.ts';

/** One side may run this far behind the other (learning window, jitter buffer) before it counts as silent. */
const LANE = 16_384;
const MASK = LANE - 1;
const CHUNK_FRAMES = 4096;

class Lane {
  readonly samples = new Int16Array(LANE);
  /** Call time, in samples, of the end of what was written. */
  end = 0;
}

export class Recorder {
  readonly #file: RecordingFile;
  readonly #caller = new Lane();
  readonly #agent = new Lane();
  #mixed = 0;
  #chunk = new Uint8Array(CHUNK_FRAMES * WAV_FRAME_BYTES);
  #pcm = new Int16Array(this.#chunk.buffer);
  #chunkStart = 0;

  constructor(file: RecordingFile) {
    this.#file = file;
  }

  /** The next samples of the caller, as heard after the jitter buffer. */
  writeCaller(pcm: Int16Array): void {
    this.#write(this.#caller, pcm, pcm.length);
  }

  /** The next samples of the agent, as sent. */
  writeAgent(pcm: Int16Array): void {
    this.#write(this.#agent, pcm, pcm.length);
  }

  /** Time passes on the agent's side without packets. */
  padAgent(samples: number): void {
    this.#write(this.#agent, null, samples);
  }

  /** Ends both sides at the later end and closes the file; null when there is no file. */
  async finish(): Promise<RecordingResult | null> {
    const end = Math.max(this.#caller.end, this.#agent.end);
    this.#write(this.#caller, null, end - this.#caller.end);
    this.#write(this.#agent, null, end - this.#agent.end);
    this.#flushChunk();
    return await this.#file.finish();
  }

  #write(lane: Lane, pcm: Int16Array | null, count: number): void {
    for (let done = 0; done < count;) {
      const part = Math.min(count - done, LANE / 2);
      if (lane.end + part - this.#mixed > LANE) this.#mix(lane.end + part - LANE / 2);
      const { samples, end } = lane;
      for (let i = Math.max(0, this.#mixed - end); i < part; i++) {
        samples[(end + i) & MASK] = pcm === null ? 0 : (pcm[done + i] as number);
      }
      lane.end += part;
      done += part;
    }
    this.#mix(Math.min(this.#caller.end, this.#agent.end));
  }

  /** Interleaves up to call time `until`; a side that has not got there is silent. */
  #mix(until: number): void {
    while (this.#mixed < until) {
      const to = Math.min(until, this.#chunkStart + CHUNK_FRAMES);
      const pcm = this.#pcm;
      for (let at = this.#mixed; at < to; at++) {
        const out = (at - this.#chunkStart) * 2;
        pcm[out] = sampleOf(this.#caller, at);
        pcm[out + 1] = sampleOf(this.#agent, at);
      }
      this.#mixed = to;
      if (to === this.#chunkStart + CHUNK_FRAMES) this.#flushChunk();
    }
  }

  #flushChunk(): void {
    const frames = this.#mixed - this.#chunkStart;
    if (frames === 0) return;
    const position = this.#chunkStart * WAV_FRAME_BYTES;
    this.#chunk = this.#file.append(this.#chunk, position, frames * WAV_FRAME_BYTES);
    this.#pcm = new Int16Array(this.#chunk.buffer);
    this.#chunkStart = this.#mixed;
  }
}

function sampleOf(lane: Lane, position: number): number {
  return position < lane.end ? (lane.samples[position & MASK] as number) : 0;
}
