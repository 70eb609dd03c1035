/**
 * The media plane as the rest of Callyard sees it. Frames stay inside the media worker; what crosses is a shared ring of
 * samples each way, commands in, events out. All PCM is 16-bit mono at 8 kHz; all times are milliseconds.
 */
import type { CodecName, OpusWishes } from '#lib/audio-codec.ts';
import type { MediaSource } from '#lib/media-source.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import type { SrtpKeys } from '#lib/srtp-params.ts';
import type { MediaDrops } from './media-drops.ts';
import type { CallQuality } from './quality/call-quality.ts';
import type { BackgroundSound, EffectOptions, MediaParty, PartyRole } from './mix/mix-types.ts';
import type { SrtpCounters } from './srtp/secure-transport.ts';

/** Samples per second inside the media plane. */
export const SAMPLE_RATE_HZ = 8000;
export const FRAME_MS = 20;
export const FRAME_SAMPLES = 160;
/**
 * The detector waits this long after the last frame of speech before it says that speech has stopped: longer than the
 * closure of a consonant, shorter than any pause between turns. Whether the turn is over is not its decision.
 */
export const VAD_HANGOVER_MS = 200;

/** Calls without SIP speak `L16` (linear, lossless) between our own threads. */
export type Codec = CodecName;

/** What offer and answer agreed on, as the media worker needs it. */
export type NegotiatedAudio = {
  readonly codec: Codec;
  /** RTP payload type we send the codec with, and the one we receive it with. */
  readonly payloadType: number;
  readonly receivePayloadType: number;
  /** What else the other side may send at any time, by what was agreed. Absent: nothing. */
  readonly alternatives?: readonly { readonly codec: Codec; readonly payloadType: number }[];
  /** Payload type of telephone-event in the direction to us; null when not offered. */
  readonly dtmfPayloadType: number | null;
  /** The one in the direction to them; null: they take no events. Absent: the same as `dtmfPayloadType`. */
  readonly dtmfSendPayloadType?: number | null;
  /** Where the other side wants RTP. Port 0 or address 0.0.0.0 means: do not send. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Our direction after negotiation (RFC 3264): whether we send and whether we expect to receive. */
  readonly send: boolean;
  readonly receive: boolean;
  /** Length of the packets we send, ms, 10..60 in tens (`a=ptime` of the other side). Absent: 20. */
  readonly ptimeMs?: number;
  /** RTP clock of telephone-event, the one of the codec it goes with. Absent: 8000. */
  readonly dtmfClockHz?: number;
  /** Payload type of comfort noise (RFC 3389) as agreed, in both directions; null or absent: none. */
  readonly comfortNoisePayloadType?: number | null;
  /** What the other side asked for; absent unless the codec is Opus. */
  readonly opus?: OpusWishes;
  /** Null or absent: plain RTP. */
  readonly srtp?: SrtpKeys | null;
  /** RTCP on the port of RTP (RFC 5761). Absent: false. */
  readonly rtcpMux?: boolean;
  /** Where the other side wants RTCP when that is not the port above RTP's (RFC 3605). */
  readonly remoteRtcpPort?: number;
  /** From where RTP may come besides the remote address; a matter of the trunk, not of the SDP. Absent: `auto`. */
  readonly mediaSource?: MediaSource;
};

export type MediaOptions = {
  readonly callId: string;
  /** Local address the call's INVITE arrived on (or leaves from); the RTP socket binds exactly this. */
  readonly localAddress: string;
  /** Absolute path of the stereo recording to write; null records nothing. */
  readonly recordingPath: string | null;
  /** Seals the recording under its own key; null or absent writes a plain WAV. */
  readonly recordingSeal?: RecordingSeal | null;
  /** Nothing is recorded before `record()`. Default: from `start()` on. */
  readonly recordsOnCommand?: boolean;
  /** RTP silence before the first packet, and after it, that counts as media lost. */
  readonly firstRtpTimeoutMs: number;
  readonly rtpTimeoutMs: number;
  /** A call without SIP: no port is leased, and audio goes through `MediaSession.web`. */
  readonly web?: boolean;
};

/** The client's end of a web call's audio. Each direction holds 2 s; the oldest excess is dropped. */
export type WebAudio = {
  /** Caller audio, any length; returns how many samples were dropped. */
  push(pcm: Int16Array): number;
  /** What was sent to the caller and not read yet: up to `into.length` samples. Real time: 160 every 20 ms. */
  read(into: Int16Array): number;
  /** Throws away what was sent and not read. */
  clear(): void;
  /** Samples sent to the caller, and of these read or dropped, since the start. */
  readonly sent: number;
  readonly consumed: number;
};

/**
 * Facts that leave the worker. `atMs` is milliseconds since `start()` on the worker's monotonic clock; `wireMs` is the
 * same instant as `performance.timeOrigin + performance.now()`, comparable across threads, for the latency waterfall.
 */
export type MediaEvent =
  | {
      readonly type: 'media.latched';
      readonly atMs: number;
      readonly address: string;
      readonly port: number;
    }
  | {
      readonly type: 'media.lost';
      readonly atMs: number;
      readonly silentMs: number;
      readonly everReceived: boolean;
    }
  /** `startMs` is the first frame of speech, `atMs` when the detector said so. `wireMs`: arrival of that first frame. */
  | {
      readonly type: 'speech.started';
      readonly atMs: number;
      readonly startMs: number;
      readonly wireMs: number;
    }
  /** Armed with `confirmMs`: so much speech, pauses left out, has been heard since `startMs`. Once for each speech. */
  | {
      readonly type: 'speech.lasted';
      readonly atMs: number;
      readonly startMs: number;
      readonly speechMs: number;
    }
  /** `endMs` is the end of the last frame of speech, `atMs` when the hangover ran out; `wireMs` arrival of that frame. */
  | {
      readonly type: 'speech.stopped';
      readonly atMs: number;
      readonly startMs: number;
      readonly endMs: number;
      readonly wireMs: number;
      /** How long the jitter buffer kept the last of it back before it could be read. Absent: not measured. */
      readonly jitterMs?: number;
    }
  /** First sample of the utterance left in an RTP packet. */
  | {
      readonly type: 'playout.started';
      readonly atMs: number;
      readonly utterance: number;
      readonly wireMs: number;
    }
  /** All of the utterance was sent. `heardMs` of it, silence by pauses not counted. */
  | {
      readonly type: 'playout.done';
      readonly atMs: number;
      readonly utterance: number;
      readonly heardMs: number;
    }
  /** Playout stands still (barge-in candidate or command); `heardMs` of the utterance have been sent. */
  | {
      readonly type: 'playout.paused';
      readonly atMs: number;
      readonly utterance: number;
      readonly heardMs: number;
    }
  | { readonly type: 'playout.resumed'; readonly atMs: number; readonly utterance: number }
  /**
   * For `waitingMs` (3 s, and again every 3 s) nothing of the utterance was sent although it has begun or waits: its voice
   * gives nothing (`voice`), playout is paused, or nothing may be sent (`closed`: the other side's direction).
   */
  | {
      readonly type: 'playout.stalled';
      readonly atMs: number;
      readonly utterance: number;
      readonly heardMs: number;
      readonly waitingMs: number;
      readonly why: 'voice' | 'paused' | 'closed';
    }
  /** The rest of the utterance was thrown away; `heardMs` of it had been sent. Answers `flush()`. */
  | {
      readonly type: 'playout.flushed';
      readonly atMs: number;
      readonly utterance: number;
      readonly heardMs: number;
    }
  | {
      readonly type: 'dtmf';
      readonly atMs: number;
      readonly digit: string;
      readonly durationMs: number;
      /** As an event, or as a tone in the audio. Absent: as an event. */
      readonly mode?: 'rfc4733' | 'inband';
    }
  | { readonly type: 'recording.failed'; readonly atMs: number; readonly message: string }
  | { readonly type: 'media.failed'; readonly atMs: number; readonly message: string };

/** What the jitter buffer did on a call. Delays: how long after its call time audio could be read. */
export type JitterReport = {
  readonly delayMs: number;
  readonly meanDelayMs: number;
  readonly maxDelayMs: number;
  /** How long a missing packet is waited for at the end. */
  readonly targetMs: number;
  readonly reordered: number;
  /** Times the stream was moved to follow the path or the sender's clock. */
  readonly adapted: number;
  readonly acceleratedMs: number;
  readonly expandedMs: number;
};

/** Counters of one call, complete when the session is closed. */
export type MediaStats = {
  readonly packetsReceived: number;
  readonly packetsSent: number;
  readonly lost: number;
  readonly late: number;
  /** Packets that their codec could not take any more, and sound that was lost and recovered. Absent: nothing came by RTP. */
  readonly tooLate?: number;
  readonly recoveredMs?: number;
  readonly duplicated: number;
  readonly concealedMs: number;
  readonly foreignDropped: number;
  readonly malformedDropped: number;
  readonly jitterMs: number;
  readonly codec: Codec | null;
  /** Null: there was nothing to judge. Absent: the worker was lost. */
  readonly quality?: CallQuality | null;
  /** RTCP packets read; what was no such thing, and what others than the far end sent. */
  readonly rtcpReceived?: number;
  readonly rtcpMalformed?: number;
  readonly rtcpForeign?: number;
  /** All that was thrown away of this call, by where. */
  readonly dropped?: MediaDrops;
  /** Absent where nothing was received by RTP. */
  readonly jitterBuffer?: JitterReport;
  /** Absent unless the call ended with SRTP. */
  readonly srtp?: SrtpCounters;
};

export type RecordingResult = {
  readonly path: string;
  readonly durationMs: number;
  /** Of the WAV that a reader gets. */
  readonly bytes: number;
  readonly truncated: boolean;
  /** SHA-256 of the sealed file, hex; null for a plain WAV. */
  readonly sha256: string | null;
};

export type MediaClosed = {
  readonly stats: MediaStats;
  /** Of the recording that was running; null when there was none or it had been stopped before. */
  readonly recording: RecordingResult | null;
};

export type AudioSide = 'caller' | 'agent';

/** How digits are sent: as RFC 4733 events, or as tones in the audio. */
export type DtmfTones = {
  readonly mode: 'rfc4733' | 'inband';
  /** 40..8000 each. A gap is rounded up to whole frames; three end packets want 40 ms of it. */
  readonly toneMs: number;
  readonly gapMs: number;
};

/** A listener to both sides of a call: two streams of one length, sample n of both from the same 20 ms of call time. */
export type MediaTap = {
  /**
   * Reads up to the shorter of the two and returns how many samples of each, always whole frames (160) where the buffers
   * hold them. What is not read within 2 s is dropped, oldest first. 0 after `close()` and after the call.
   */
  read(caller: Int16Array, agent: Int16Array): number;
  /** Idempotent. */
  close(): void;
};

/** Listeners of one call. */
export const MAX_TAPS = 8;

/** One call's audio: a leased port, a chain in the worker, two rings. Owned by the call; close() is idempotent. */
export type MediaSession = {
  readonly localAddress: string;
  readonly localPort: number;
  /** Null unless opened with `web`. */
  readonly web: WebAudio | null;
  /**
   * Starts sending (every 20 ms, silence included, from now to close) and receiving; a second call re-negotiates
   * (re-INVITE) without a gap in sequence numbers or time stamps.
   */
  start(audio: NegotiatedAudio): void;
  /** Facts, in order. One listener; set it before `start`. */
  onEvent(listener: (event: MediaEvent) => void): void;
  /**
   * Caller audio as heard after the jitter buffer: reads up to `into.length` samples and returns how many.
   * Sample n of this stream is call time n / 8 ms. The ring holds 4 s; what is not read in time is dropped and counted.
   */
  readCaller(into: Int16Array): number;
  /**
   * Opens utterance number `utterance` (rising) for writing. Several may queue; they play in order. `gainDb` (-60..20) makes
   * this one louder; what would not fit 16 bits is bent, not cut. Errors: E_REQUEST.
   */
  beginUtterance(utterance: number, gainDb?: number): void;
  /**
   * Queues PCM of the open utterance; resolves when all of it is in the ring (back-pressure: the ring holds about 8 s).
   * Rejects with E_ABORTED when the utterance is flushed or the session closes meanwhile.
   */
  write(utterance: number, pcm: Int16Array): Promise<void>;
  /** No more audio for this utterance; `playout.done` follows when it has been sent. */
  endUtterance(utterance: number): void;
  /** Samples of the utterance that have left the queue by now; null when it has not begun, or was flushed or is over. */
  playedSamples(utterance: number): number | null;
  /** Playout stands still at the next frame and goes on from the same sample after `resume`. */
  pause(): void;
  resume(): void;
  /** Throws away everything queued; `playout.flushed` tells what was heard of the current utterance. */
  flush(): void;
  /**
   * Barge-in arming: while armed, the worker itself pauses playout as soon as its detector sees speech
   * (design.md 4.5: within 80 ms of the first speech packet) and tells by `playout.paused` and `speech.started`. Speech
   * that lasts `confirmMs` is told by `speech.lasted`, also if it began before.
   */
  armBargeIn(on: boolean, confirmMs?: number): void;
  /**
   * That side is not forwarded; the recording keeps both as they were said. `agent`: silence is sent, playout goes on
   * consuming (marks, `heardMs` and events as ever). `caller`: `readCaller` gives silence, and detector, barge-in and
   * DTMF hear nothing; listeners (`tap`) still hear him.
   */
  mute(options: { readonly side: AudioSide; readonly on: boolean }): void;
  /** Whether `sendDtmf` can send RFC 4733 events, by what `start` was given last. */
  readonly takesEvents: boolean;
  /**
   * Sends digits (`0-9A-D*#`, `w`: 500 ms of pause) after those still waiting; resolves when the gap after the last one
   * is over. Playout stands still from the first to the last. Digits wait while we may not send (`send: false`).
   * Errors: E_REQUEST (digits or times out of range), E_DTMF (rfc4733, and the other side takes no events: nothing was
   * sent, in-band works), E_QUEUE_FULL (more than 128 digits waiting), E_ABORTED (closed first).
   */
  sendDtmf(digits: string, tones: DtmfTones): Promise<void>;
  /**
   * Replaces the agent by `pcm` over and over (hold music) until null; playout stands still meanwhile, without events.
   * 20 ms to 10 min; over shared memory (`holdTune()`) nothing is copied. Errors: E_REQUEST.
   */
  playLoop(pcm: Int16Array | null): void;
  /** Makes all that the agent says louder (-60..20 dB) from the next frame on. Errors: E_REQUEST. */
  setVoiceGain(gainDb: number): void;
  /**
   * Plays a sound behind the agent from now on, under everything he says and in between, until null. It is sent and
   * recorded, but is no utterance: nothing counts or tells it. Silent while a loop or digits are heard, while the agent is
   * muted or a person has taken over. Errors: E_REQUEST.
   */
  setBackground(sound: BackgroundSound | null): void;
  /**
   * Plays a short sound once, over whatever the agent says; up to 4 wait, what is more is dropped. `flush` and a loop throw
   * them away. Errors: E_REQUEST (longer than 10 s, gain).
   */
  playEffect(pcm: Int16Array, options?: EffectOptions): void;
  /**
   * Somebody takes part in the call; see `PARTY_ROLES` for who hears whom. The recording has on its right channel what the
   * caller hears: also a supervisor and whoever took over, never a whisper.
   * Errors: E_QUEUE_FULL (4 parties), E_ABORTED (closed), E_REQUEST (gain).
   */
  join(options: { readonly role: PartyRole; readonly gainDb?: number }): MediaParty;
  /**
   * What parties say to the agent, in real time while somebody is there: `whispered` to him alone, `spoken` to everybody.
   * What is not read within 2 s is dropped. 0 when nobody has joined yet.
   */
  readAside(kind: 'whispered' | 'spoken', into: Int16Array): number;
  /** Begins the session's own recording (`recordingPath`) now, if it has not begun. After `start()`; once. */
  record(): void;
  /**
   * Begins a recording into a new file now, also on a session opened without one, or after `stopRecording`.
   * Errors: E_CONFLICT while a recording runs or is still being finished.
   */
  startRecording(path: string, seal: RecordingSeal | null): void;
  /**
   * Nothing of either side is written from here to `resumeRecording`. The pause is cut out: the file goes on with the
   * first frame after it, both sides at the same call time, and `durationMs` is what is in the file. No-ops when there
   * is nothing to pause or resume.
   */
  pauseRecording(): void;
  resumeRecording(): void;
  /**
   * Finishes and closes the file while the call goes on; null when none was running or nothing could be written.
   * `close()` then has no recording. Errors: E_TIMEOUT (14 s).
   */
  stopRecording(): Promise<RecordingResult | null>;
  /**
   * A listener to both sides: the caller as heard, the agent as sent. It changes nothing of what anybody hears.
   * Errors: E_QUEUE_FULL (8 listeners), E_ABORTED (closed).
   */
  tap(): MediaTap;
  /** Stops packets, finishes the recording, gives the port back. */
  close(): Promise<MediaClosed>;
};

export type MediaEngine = {
  /** Leases a port and binds it on `localAddress`. Errors: E_MEDIA_PORTS (range used up), E_MEDIA (cannot bind). */
  open(options: MediaOptions): Promise<MediaSession>;
  /** Live sessions and leased ports, for tests, readiness and leak checks. */
  census(): Promise<{
    readonly sessions: number;
    readonly sockets: number;
    readonly timers: number;
  }>;
  close(): Promise<void>;
};
