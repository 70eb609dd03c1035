/** The recordings of one call, one at a time: begun, paused and ended at any frame of it. */
import type { Recorder } from './recorder.ts';
import { SAMPLE_RATE_HZ, type RecordingResult } from '../types.ts';

/** Opens the file of a recording whose two sides have got this far in call time (samples). */
export type OpenRecorder = (at: { readonly caller: number; readonly agent: number }) => Recorder;

/** The caller is behind the agent by the jitter buffer, and while a source is judged; never by more than this. */
const MAX_BEHIND = 2 * SAMPLE_RATE_HZ;

export class CallRecording {
  /** Call time, in samples, that either side has got to. */
  #agentAt = 0;
  #callerAt = 0;
  #recorder: Recorder | null = null;
  /** Where the recording ends that waits for the caller to get there too; -1 when none does. */
  #stopAt = -1;
  #stopping: PromiseWithResolvers<RecordingResult | null> | null = null;
  #droppedBefore = 0;
  readonly #onEnd: () => void;

  /** `onEnd`: no recording takes frames any more; `reach` is to be called before another one begins. */
  constructor(onEnd: () => void = () => undefined) {
    this.#onEnd = onEnd;
  }

  /** Frames of 20 ms of all of them that the disk did not take. */
  get dropped(): number {
    return this.#droppedBefore + (this.#recorder?.dropped ?? 0);
  }

  /** One is running, paused or being ended. */
  get isOpen(): boolean {
    return this.#recorder !== null;
  }

  /** Where either side has got to (call time, samples), by frames that were not told here: nothing was recorded. */
  reach(agent: number, caller: number): void {
    this.#agentAt = agent;
    this.#callerAt = caller;
  }

  /** Begins here: the agent is ahead by the jitter buffer, so the caller joins when he gets here. */
  start(open: OpenRecorder): void {
    if (this.#recorder !== null) return;
    this.#recorder = open({ caller: this.#callerAt, agent: this.#agentAt });
  }

  pause(): void {
    if (this.#stopping === null) this.#recorder?.pause();
  }

  resume(): void {
    if (this.#stopping === null) this.#recorder?.resume();
  }

  /** Ends here: the file is finished once the caller has got here too. Null when there is none. */
  stop(): Promise<RecordingResult | null> {
    if (this.#recorder === null) return Promise.resolve(null);
    if (this.#stopping === null) {
      this.#stopping = Promise.withResolvers();
      this.#recorder.pause();
      this.#stopAt = this.#agentAt;
      this.#settle();
    }
    return this.#stopping.promise;
  }

  /** Ends at once; null when the recording was stopped before or there is none. Waits for a stop that is under way. */
  async close(): Promise<RecordingResult | null> {
    if (this.#stopping !== null) {
      this.finish();
      await this.#stopping?.promise;
      return null;
    }
    const recorder = this.#recorder;
    this.#recorder = null;
    const result = (await recorder?.finish()) ?? null;
    this.#droppedBefore += recorder?.dropped ?? 0;
    return result;
  }

  agent(frame: Int16Array): void {
    this.#recorder?.writeAgent(frame);
    this.#agentAt += frame.length;
    this.#settle();
  }

  /** Time passes on the agent's side without packets. */
  passAgent(samples: number): void {
    this.#recorder?.padAgent(samples);
    this.#agentAt += samples;
    this.#settle();
  }

  caller(frame: Int16Array): void {
    this.#recorder?.writeCaller(frame);
    this.#callerAt += frame.length;
    this.#settle();
  }

  #settle(): void {
    if (this.#stopAt < 0) return;
    if (this.#callerAt >= this.#stopAt || this.#agentAt - this.#stopAt > MAX_BEHIND) this.finish();
  }

  /** A stop that waits for the caller waits no longer. */
  finish(): void {
    const recorder = this.#recorder;
    const stopping = this.#stopping;
    if (this.#stopAt < 0 || recorder === null || stopping === null) return;
    this.#stopAt = -1;
    // The next one may begin when this one's file is closed.
    const free = (): void => {
      this.#droppedBefore += recorder.dropped;
      this.#recorder = null;
      this.#stopping = null;
      this.#onEnd();
    };
    recorder.finish().then(
      (result) => {
        free();
        stopping.resolve(result);
      },
      (error: unknown) => {
        free();
        stopping.reject(error);
      },
    );
  }
}
