/** The recordings of one call: chosen before the answer, or begun, paused and stopped while it goes on (contract 2.7). */
import type { RecordingPatch } from '#lib/call-events.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { NewRecording } from '#lib/recording-place.ts';
import type { MediaClosed, MediaOptions, MediaSession, RecordingResult } from '#media/types.ts';
import type { CallStory } from './story.ts';

export type CallRecordingsOptions = {
  readonly story: CallStory;
  readonly log: Log;
  /** A place and a key of its own. */
  readonly newRecording: () => NewRecording;
  readonly isoNow: () => string;
  /** Null once it is closed. */
  readonly media: () => MediaSession | null;
  /** Has the agent say it; `onOver` is told whether all of it was heard. False: it will not be said. */
  readonly giveNotice: (text: string, onOver: (isWhole: boolean) => void) => boolean;
};

type Recording = {
  readonly patch: RecordingPatch;
  readonly file: NewRecording;
  /** The media session was opened with its place. */
  readonly isFirst: boolean;
};

/** What became of a command. */
export type RecordingChange = 'done' | 'notPossible' | 'notNow';

export class CallRecordings {
  readonly #options: CallRecordingsOptions;
  /** Chosen before the answer, and not begun. */
  #first: Recording | null = null;
  #firstNotice: string | null = null;
  /** Begins once its notice has been heard. */
  #awaiting: Recording | null = null;
  #current: Recording | null = null;
  #isPaused = false;
  #finished: RecordingPatch[] = [];
  /** Stopping takes the disk's time: what comes next waits. */
  #stopping: Promise<void> = Promise.resolve();

  constructor(options: CallRecordingsOptions) {
    this.#options = options;
  }

  // ---- What is known before the answer ----

  /** The call is recorded from the answer on, or from the end of `notice`. Before the media session is opened. */
  choose(notice: string | null): void {
    this.#first = this.#newRecording(true);
    this.#firstNotice = notice;
  }

  /** What must be heard before the first recording; null: nothing. */
  get notice(): string | null {
    return this.#firstNotice;
  }

  get mediaOptions(): Pick<MediaOptions, 'recordingPath' | 'recordingSeal' | 'recordsOnCommand'> {
    const file = this.#first?.file;
    return {
      recordingPath: file?.path ?? null,
      recordingSeal: file?.seal ?? null,
      recordsOnCommand: this.#firstNotice !== null,
    };
  }

  /** The call is answered, and media flow: what is recorded from now on. */
  answered(): RecordingPatch | null {
    const first = this.#first;
    if (first === null) return null;
    if (this.#firstNotice !== null) {
      this.#awaiting = first;
      return null;
    }
    this.#first = null;
    const patch = { ...first.patch, started_at: this.#options.isoNow() };
    this.#current = { ...first, patch };
    return patch;
  }

  /** The notice before the conversation (contract 4.6) is over; `isWhole`: the other side has heard all of it. */
  firstNoticeOver(isWhole: boolean): void {
    if (this.#awaiting !== null) this.#noticeOver(this.#awaiting, isWhole);
  }

  /** Nobody hears the agent: a notice that is said now, or waits to be, counts as not heard. */
  noticeUnheard(): void {
    if (this.#awaiting !== null) this.#noticeOver(this.#awaiting, false);
  }

  // ---- Commands ----

  get isRecording(): boolean {
    return this.#current !== null;
  }

  /** `notice`: to be heard first. */
  start(notice: string | null): RecordingChange {
    if (this.#current !== null) return this.resume();
    if (this.#awaiting !== null) return 'done'; // its notice is being said
    if (this.#options.story.isOver) return 'notNow';
    const recording = this.#first ?? this.#newRecording(false);
    if (notice === null) {
      this.#begin(recording, false);
      return 'done';
    }
    this.#awaiting = recording;
    const isAsked = this.#options.giveNotice(notice, (isWhole) =>
      this.#noticeOver(recording, isWhole),
    );
    if (!isAsked) this.#awaiting = null;
    return isAsked ? 'done' : 'notNow';
  }

  pause(): RecordingChange {
    const current = this.#current;
    if (current === null) return 'notPossible';
    if (this.#isPaused) return 'done';
    this.#isPaused = true;
    this.#options.media()?.pauseRecording();
    this.#options.story.recordingChanged(current.patch, '[Recording paused]');
    return 'done';
  }

  resume(): RecordingChange {
    const current = this.#current;
    if (current === null) return 'notPossible';
    if (!this.#isPaused) return 'done';
    this.#isPaused = false;
    this.#options.media()?.resumeRecording();
    this.#options.story.recordingChanged(current.patch, '[Recording resumed]');
    return 'done';
  }

  /** Resolves when the file is complete. One that waits for its notice does not begin. */
  async stop(): Promise<RecordingChange> {
    this.#awaiting = null;
    const media = this.#options.media();
    const current = this.#current;
    if (current !== null && media !== null) {
      this.#current = null;
      this.#isPaused = false;
      this.#stopping = this.#finish(current, media);
    }
    await this.#stopping;
    return 'done';
  }

  /** A file that is being stopped is complete, or will not be. */
  get settled(): Promise<void> {
    return this.#stopping;
  }

  // ---- The end ----

  /**
   * The call is over: what is still to be told of its recordings, and what the last of it comes to. What was kept comes
   * after what was not, so that the record shows the latest that can be heard.
   */
  end(closed: MediaClosed | null): {
    readonly recordings: readonly RecordingPatch[];
    readonly status: 'none' | 'ready' | 'failed';
  } {
    const current = this.#current;
    this.#current = null;
    this.#awaiting = null;
    const last = current === null ? [] : [finished(current.patch, closed?.recording ?? null)];
    const kept = this.#finished.splice(0);
    const isLost = last[0]?.status === 'failed';
    const recordings = isLost ? [...last, ...kept] : [...kept, ...last];
    const status = recordings.at(-1)?.status ?? this.#options.story.snapshot().recordingStatus;
    return { recordings, status: status === 'ready' || status === 'failed' ? status : 'none' };
  }

  #newRecording(isFirst: boolean): Recording {
    const file = this.#options.newRecording();
    const { recordingId: id, format = 'wav' } = file.seal;
    const patch = { id, status: 'active', uri: file.uri, key_enc: file.keyEnc } as const;
    // A row says `wav` by itself.
    return { ...{ file, isFirst }, patch: format === 'wav' ? patch : { ...patch, format } };
  }

  #begin(recording: Recording, wasHeard: boolean): void {
    const { story, media: session, isoNow } = this.#options;
    const media = session();
    this.#awaiting = null;
    if (media === null) return;
    const now = isoNow();
    const heard = wasHeard ? { notice_at: now } : {};
    const patch = { ...recording.patch, started_at: now, ...heard };
    this.#first = null;
    try {
      if (recording.isFirst) media.record();
      else media.startRecording(recording.file.path, recording.file.seal);
    } catch (error) {
      // The one before is stuck on its disk: that costs this recording, and not the call.
      this.#options.log.error('recording.failed', { error: toAppError(error) });
      return story.recordingEnded({ ...patch, status: 'failed' });
    }
    this.#current = { ...recording, patch };
    // The notice's own message follows at once; without one there is nothing that would tell.
    if (wasHeard) story.recordingBegan(patch);
    else story.recordingChanged(patch, '[Recording started]');
  }

  #noticeOver(recording: Recording, isWhole: boolean): void {
    if (this.#awaiting !== recording) return;
    if (isWhole) return this.#begin(recording, true);
    this.#awaiting = null;
    const { story } = this.#options;
    if (story.isOver) return;
    const message = 'the notice was not heard to its end: nothing is recorded';
    const kind = { fault: 'us', fatal: false, retryable: true };
    story.fact('call-error', { code: 'E_ABORTED', message, ...kind });
  }

  async #finish(recording: Recording, media: MediaSession): Promise<void> {
    const { story, log } = this.#options;
    let result: RecordingResult | null = null;
    try {
      result = await media.stopRecording();
    } catch (error) {
      log.error('recording.failed', { error: toAppError(error) });
    }
    const patch = finished(recording.patch, result);
    if (patch.status === 'failed') return story.recordingEnded(patch);
    story.recordingChanged(patch, '[Recording stopped]');
    this.#finished.push(patch);
  }
}

function finished(recording: RecordingPatch, file: RecordingResult | null): RecordingPatch {
  if (file === null) return { ...recording, status: 'failed' };
  const { durationMs, bytes, truncated, sha256 } = file;
  return {
    ...{ ...recording, status: 'ready', duration_ms: Math.round(durationMs), bytes, truncated },
    ...(sha256 === null ? {} : { sha256 }),
  };
}
