/** Messages between the main thread and a media worker. Audio is not among them: it goes through shared rings. */
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import type { AsideBuffers, PartyBuffers } from './mix/call-parties.ts';
import type { DtmfJob } from './dtmf/dtmf-sender.ts';
import type { BackgroundSound } from './mix/mix-types.ts';
import type { MediaDrops } from './media-drops.ts';
import type { PacingStats } from './pacer.ts';
import type { SileroCensus } from './speech/silero-census.ts';
import type { VadChoice } from './speech/silero-thread.ts';
import type { PartySettings } from './mix/party-voice.ts';
import type {
  AudioSide,
  MediaClosed,
  MediaEvent,
  NegotiatedAudio,
  RecordingResult,
} from './types.ts';
import type { Standing } from './thread-priority.ts';
import type { WebBuffers } from './web/web-transport.ts';

/** What a worker needs to open one call. */
export type OpenRequest = {
  readonly localAddress: string;
  readonly port: number;
  readonly recordingPath: string | null;
  readonly recordingSeal?: RecordingSeal | null;
  readonly recordsOnCommand?: boolean;
  readonly firstRtpTimeoutMs: number;
  readonly rtpTimeoutMs: number;
  readonly callerRing: SharedArrayBuffer;
  readonly playoutRing: SharedArrayBuffer;
  readonly marks: SharedArrayBuffer;
  /** Of a call without SIP: it has no port, and audio goes through these. */
  readonly web?: WebBuffers | null;
};

/** Commands. `session` is the number the main thread gave the call. */
export type MediaCommand =
  | { readonly type: 'open'; readonly session: number; readonly request: OpenRequest }
  | { readonly type: 'start'; readonly session: number; readonly audio: NegotiatedAudio }
  | { readonly type: 'pause'; readonly session: number }
  | { readonly type: 'resume'; readonly session: number }
  | {
      readonly type: 'flush';
      readonly session: number;
      /** Utterances begun, and samples written, when the flush was asked for. */
      readonly count: number;
      readonly position: number;
    }
  | {
      readonly type: 'arm';
      readonly session: number;
      readonly on: boolean;
      /** Absent: nobody asks how long speech lasts. */
      readonly confirmMs?: number;
    }
  | {
      readonly type: 'mute';
      readonly session: number;
      readonly side: AudioSide;
      readonly on: boolean;
    }
  | ({ readonly type: 'dtmf'; readonly session: number } & DtmfJob)
  | { readonly type: 'loop'; readonly session: number; readonly pcm: Int16Array | null }
  | { readonly type: 'voice'; readonly session: number; readonly gainDb: number }
  | {
      readonly type: 'background';
      readonly session: number;
      readonly sound: BackgroundSound | null;
    }
  | {
      readonly type: 'effect';
      readonly session: number;
      readonly pcm: Int16Array;
      readonly gainDb: number;
      readonly alone: boolean;
    }
  | ({
      readonly type: 'party.join';
      readonly session: number;
      readonly party: number;
      readonly aside: AsideBuffers;
      readonly settings: PartySettings;
    } & PartyBuffers)
  | {
      readonly type: 'party.set';
      readonly session: number;
      readonly party: number;
      readonly settings: PartySettings;
      /** What had been said (samples) when the change was asked for. */
      readonly from: number;
    }
  | { readonly type: 'party.leave'; readonly session: number; readonly party: number }
  | { readonly type: 'record'; readonly session: number }
  | {
      readonly type: 'recording.start';
      readonly session: number;
      readonly path: string;
      readonly seal: RecordingSeal | null;
    }
  | { readonly type: 'recording.pause'; readonly session: number; readonly on: boolean }
  | { readonly type: 'recording.stop'; readonly session: number }
  | {
      readonly type: 'tap';
      readonly session: number;
      readonly tap: number;
      readonly caller: SharedArrayBuffer;
      readonly agent: SharedArrayBuffer;
    }
  | { readonly type: 'untap'; readonly session: number; readonly tap: number }
  | { readonly type: 'close'; readonly session: number }
  | { readonly type: 'census'; readonly request: number; readonly resetPacing: boolean };

export type WorkerCensus = {
  readonly sessions: number;
  readonly sockets: number;
  readonly timers: number;
  /** Of all calls since the thread began, the live ones included. */
  readonly dropped: MediaDrops;
  readonly pacing: PacingStats;
  /** Of the Silero model; null when it is not used. */
  readonly silero: SileroCensus | null;
};

/** What a worker is started with. */
export type MediaWorkerData = {
  /** Of a `WorkerPulse`. */
  readonly pulse: SharedArrayBuffer;
  readonly vad?: VadChoice;
  /** Whether it may go before all other threads of the machine; absent: yes. */
  readonly mayBeRealtime?: boolean;
};

export type MediaReply =
  | { readonly type: 'ready'; readonly standing: Standing }
  /** The Silero model is gone; WebRTC's detector decides what speech is until it is back. */
  | { readonly type: 'silero.failed'; readonly message: string }
  | { readonly type: 'opened'; readonly session: number }
  | {
      readonly type: 'open.failed';
      readonly session: number;
      /** The system's error code (EADDRINUSE), or null. */
      readonly code: string | null;
      readonly message: string;
    }
  | { readonly type: 'event'; readonly session: number; readonly event: MediaEvent }
  | { readonly type: 'room'; readonly session: number }
  /** What the chain is made of, after each `start`. */
  | { readonly type: 'described'; readonly session: number; readonly text: string }
  | { readonly type: 'dtmf.sent'; readonly session: number; readonly request: number }
  /** Answers `recording.stop`; `error` in place of a result that could not be had. */
  | {
      readonly type: 'recording.stopped';
      readonly session: number;
      readonly recording: RecordingResult | null;
      readonly error: string | null;
    }
  | {
      readonly type: 'closed';
      readonly session: number;
      readonly closed: MediaClosed;
      /** Of the worker until now; absent: the Silero model is not used. */
      readonly silero?: SileroCensus;
    }
  | { readonly type: 'census'; readonly request: number; readonly census: WorkerCensus };
