/** Live control of an answered call (contract 2.7). Works without the database. */
import type { Id } from '#lib/ids.ts';
import type { DtmfMode } from '#lib/trunk.ts';
import type { LiveCallView } from './call-service-types.ts';

/** Expected, hence values; the texts are the facade's. */
export type ControlRefusal =
  | 'NOT_FOUND'
  | 'CALL_NOT_ANSWERED'
  | 'CALL_NOT_ACTIVE'
  | 'INVALID_STATE'
  /** Recording needs a consent of the other side that is not known. */
  | 'CONSENT_MISSING'
  /** The other side or the media did not do it in time, or said no. */
  | 'REJECTED'
  | 'TIMEOUT';

/** Too much waits to be said (`waiting_full`) or sent (`digits_full`); a call without a telephone has no keys (`no_keys`). */
export type ControlObstacle =
  | 'on_hold'
  /** The notice of a recording would not be heard. */
  | 'agent_muted'
  | 'waiting_full'
  | 'digits_full'
  | 'no_keys'
  | 'not_recording'
  /** The agent's model answers whatever it is told. */
  | 'no_notes';

export type ControlResult<T> =
  | { readonly ok: true; readonly data: T }
  | {
      readonly ok: false;
      readonly refusal: ControlRefusal;
      /** What is in the way; absent: the refusal says it all. */
      readonly detail?: ControlObstacle;
      readonly vendorCode?: string;
    };

export type SayOptions = {
  readonly text: string;
  /** Instead of what is being said; else after it. */
  readonly interrupt: boolean;
  /** Whether the caller may talk over it. */
  readonly interruptible: boolean;
};

export type PlayOptions = {
  /** 8 kHz mono. The whole file is in memory: at most 25 MiB as it came. */
  readonly pcm: Int16Array;
  /** What the transcript shows for it. */
  readonly title: string;
  readonly loop: boolean;
  readonly interruptible: boolean;
  /** Once, when a sound that was taken is over or will not be played: nobody needs `pcm` any more. */
  readonly onOver?: () => void;
};

export type DtmfOptions = {
  /** `^[0-9A-D*#w]{1,64}$`; `w` is a pause of 500 ms. */
  readonly digits: string;
  readonly toneMs: number;
  readonly gapMs: number;
  /** The trunk's when absent. */
  readonly mode?: DtmfMode;
};

export type RecordingAction = 'start' | 'pause' | 'resume' | 'stop';

/** Each resolves once the command has taken effect, within 2 s. Another account's call is NOT_FOUND. */
export type CallControl = {
  play(
    accountId: Id,
    id: Id,
    options: PlayOptions,
  ): Promise<ControlResult<{ playbackId: Id; durationMs: number }>>;
  /** `turn` is the number of the utterance that says it. */
  say(accountId: Id, id: Id, options: SayOptions): Promise<ControlResult<{ turn: number }>>;
  /** Resolves once the digits are queued for sending. */
  dtmf(accountId: Id, id: Id, options: DtmfOptions): Promise<ControlResult<{ sent: string }>>;
  hold(
    accountId: Id,
    id: Id,
    options: { readonly on: boolean; readonly music: boolean },
  ): Promise<ControlResult<{ on: boolean }>>;
  mute(
    accountId: Id,
    id: Id,
    options: { readonly side: 'caller' | 'agent'; readonly on: boolean },
  ): Promise<ControlResult<{ side: 'caller' | 'agent'; on: boolean }>>;
  message(
    accountId: Id,
    id: Id,
    options: { readonly text: string; readonly respond: boolean },
  ): Promise<ControlResult<{ accepted: true }>>;
  recording(
    accountId: Id,
    id: Id,
    options: { readonly action: RecordingAction },
  ): Promise<ControlResult<{ recordingStatus: LiveCallView['recordingStatus'] }>>;
};
