/**
 * Stereo recording of one call on the RTP clock: caller left, agent right, each placed by its own count of samples and
 * never by when it was handed in. Mixing is in memory; the disk is another object's matter.
 */
import { WAV_FRAME_BYTES } from '#lib/wav.ts';
import type { RecordingFile } from './recording-file.ts';
import { FRAME_SAMPLES, type RecordingResult } from '../types.ts';

/** One side may run this far behind the other (learning window, jitter buffer) before it counts as silent. */
const LANE = 16_384;
const MASK = LANE - 1;
const CHUNK_FRAMES = 4096;
const FRAME_BYTES = FRAME_SAMPLES * WAV_FRAME_BYTES;

class Lane {
  readonly samples = new Int16Array(LANE);
  /** Call time, in samples, of what is written next. */
  at: number;
  /** Place in the file, in samples, of the end of what was written. */
  end = 0;

  constructor(at: number) {
    this.at = at;
  }
}

/** Call time that is left out of the file. */
type Cut = { readonly from: number; to: number };

export class Recorder {
  readonly #file: RecordingFile;
  readonly #caller: Lane;
  readonly #agent: Lane;
  /** In order; those that both sides have passed are gone. */
  readonly #cuts: Cut[] = [];
  #mixed = 0;
  #chunk = new Uint8Array(CHUNK_FRAMES * WAV_FRAME_BYTES);
  #pcm = new Int16Array(this.#chunk.buffer);
  #chunkStart = 0;

  /** Begins at `agent`, where the agent has got to in call time (samples); the caller joins in when he gets there. */
  constructor(file: RecordingFile, { caller, agent } = { caller: 0, agent: 0 }) {
    this.#file = file;
    this.#caller = new Lane(caller);
    this.#agent = new Lane(agent);
    this.#cuts.push({ from: Number.NEGATIVE_INFINITY, to: agent });
    this.#caller.end = Math.max(0, caller - agent);
  }

  /** From here (where the agent is) nothing of either side is written: the time is cut out of the file. */
  pause(): void {
    if (this.#isPaused) return;
    this.#cuts.push({ from: this.#agent.at, to: Number.POSITIVE_INFINITY });
  }

  /** Goes on here, both sides at the same call time. */
  resume(): void {
    const cut = this.#cuts.at(-1);
    if (cut === undefined || !this.#isPaused) return;
    cut.to = this.#agent.at;
  }

  /** Frames of 20 ms that the disk did not take. */
  get dropped(): number {
    return this.#file.droppedBytes / FRAME_BYTES;
  }

  get #isPaused(): boolean {
    return this.#cuts.at(-1)?.to === Number.POSITIVE_INFINITY;
  }

  /** The next samples of the caller, as heard after the jitter buffer. */
  writeCaller(pcm: Int16Array): void {
    this.#keep(this.#caller, pcm, pcm.length);
  }

  /** The next samples of the agent, as sent. */
  writeAgent(pcm: Int16Array): void {
    this.#keep(this.#agent, pcm, pcm.length);
  }

  /** Time passes on the agent's side without packets. */
  padAgent(samples: number): void {
    this.#keep(this.#agent, null, samples);
  }

  /** Ends both sides at the later end and closes the file; null when there is no file. */
  async finish(): Promise<RecordingResult | null> {
    const end = Math.max(this.#caller.end, this.#agent.end);
    this.#write(this.#caller, null, 0, end - this.#caller.end);
    this.#write(this.#agent, null, 0, end - this.#agent.end);
    this.#mix(end);
    this.#flushChunk();
    return await this.#file.finish();
  }

  /** The next `count` samples of a side's call time, without what is cut. */
  #keep(lane: Lane, pcm: Int16Array | null, count: number): void {
    if (this.#cuts.length === 0) {
      this.#write(lane, pcm, 0, count);
      lane.at += count;
      return;
    }
    for (let done = 0; done < count;) {
      const cut = this.#cutAfter(lane.at);
      const isOut = cut !== null && cut.from <= lane.at;
      const until = cut === null ? Number.POSITIVE_INFINITY : isOut ? cut.to : cut.from;
      const part = Math.min(count - done, until - lane.at);
      if (!isOut) this.#write(lane, pcm, done, part);
      lane.at += part;
      done += part;
    }
    const passed = Math.min(this.#caller.at, this.#agent.at);
    while (this.#cuts[0] !== undefined && this.#cuts[0].to <= passed) this.#cuts.shift();
  }

  /** The first cut that is not over at call time `at`. */
  #cutAfter(at: number): Cut | null {
    for (let i = 0; i < this.#cuts.length; i++) {
      const cut = this.#cuts[i] as Cut;
      if (cut.to > at) return cut;
    }
    return null;
  }

  /**
   * Places samples `from` and up of `pcm` (null: silence) at the end of the side. What both have is mixed by the chunk: half
   * a second in one go is read at the pace of memory, the same by frames would be fetched line by line.
   */
  #write(lane: Lane, pcm: Int16Array | null, from: number, count: number): void {
    for (let done = 0; done < count;) {
      const part = Math.min(count - done, LANE / 2);
      if (lane.end + part - this.#mixed > LANE) this.#makeRoom(lane.end + part);
      const { samples, end } = lane;
      for (let i = Math.max(0, this.#mixed - end); i < part; i++) {
        samples[(end + i) & MASK] = pcm === null ? 0 : (pcm[from + done + i] as number);
      }
      lane.end += part;
      done += part;
    }
    if (lane.end >= this.#chunkStart + CHUNK_FRAMES) this.#mixWhole();
  }

  /** What both sides have, in whole chunks. */
  #mixWhole(): void {
    const common = Math.min(this.#caller.end, this.#agent.end);
    if (common >= this.#chunkStart + CHUNK_FRAMES) this.#mix(common);
  }

  /** A side is to get to `end`: the other one counts as silent where it is too far behind. */
  #makeRoom(end: number): void {
    this.#mix(Math.min(this.#caller.end, this.#agent.end));
    if (end - this.#mixed > LANE) this.#mix(end - LANE / 2);
  }

  /** Interleaves up to call time `until`; a side that has not got there is silent. */
  #mix(until: number): void {
    while (this.#mixed < until) {
      const to = Math.min(until, this.#chunkStart + CHUNK_FRAMES);
      this.#put(this.#caller, 0, to);
      this.#put(this.#agent, 1, to);
      this.#mixed = to;
      if (to === this.#chunkStart + CHUNK_FRAMES) this.#flushChunk();
    }
  }

  #put({ samples, end }: Lane, channel: 0 | 1, to: number): void {
    const pcm = this.#pcm;
    const from = this.#mixed;
    let out = (from - this.#chunkStart) * 2 + channel;
    for (let at = from; at < to; at++) {
      pcm[out] = at < end ? (samples[at & MASK] as number) : 0;
      out += 2;
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
