/** What became of the frames and chunks that the Silero model was to judge. */

/** Of all calls of a media worker; made once, counted up. */
export type SileroCounters = {
  /** Chunks (32 ms) given to the model, and dropped because too many waited. */
  chunks: number;
  dropped: number;
  /** Frames (20 ms) that the model decided, and those that the detector decided in its place. */
  judgedFrames: number;
  fallbackFrames: number;
  /** Of the latter: the model was there, and its answers too old. */
  lateFrames: number;
};

export type SileroCensus = Readonly<SileroCounters> & {
  /** How often the thread has ended by itself. */
  readonly failures: number;
};

export function newSileroCounters(): SileroCounters {
  return { chunks: 0, dropped: 0, judgedFrames: 0, fallbackFrames: 0, lateFrames: 0 };
}

export const NO_SILERO: SileroCensus = { ...newSileroCounters(), failures: 0 };

export function addSilero(a: SileroCensus, b: SileroCensus): SileroCensus {
  return {
    chunks: a.chunks + b.chunks,
    dropped: a.dropped + b.dropped,
    judgedFrames: a.judgedFrames + b.judgedFrames,
    fallbackFrames: a.fallbackFrames + b.fallbackFrames,
    lateFrames: a.lateFrames + b.lateFrames,
    failures: a.failures + b.failures,
  };
}
