/**
 * One call's audio from wire to wire: what is agreed, recorded and told of it, and when it runs. The order of the stages is
 * written down in the two paths; frames pass from stage to stage by direct calls and only events leave.
 */
import type { Clock } from '#lib/clock.ts';
import { messageOf } from '#lib/errors.ts';
import type { SampleRing } from '#lib/sample-ring.ts';
import type { AgentOutput } from './playout/agent-output.ts';
import { CallCodecs } from './codec/call-codecs.ts';
import { CallQualityMeter } from './quality/call-quality.ts';
import { CallRecording } from './recording/call-recording.ts';
import { CallTaps } from './mix/call-taps.ts';
import { CallTime } from './call-time.ts';
import { AgentSink, CallerSink } from './chain-sinks.ts';
import { describeChain } from './chain-text.ts';
import { InboundPath } from './inbound-path.ts';
import { statsOf } from './media-stats.ts';
import { OutboundPath } from './outbound-path.ts';
import type { Pacer } from './pacer.ts';
import { Recorder } from './recording/recorder.ts';
import type { RecordingFile } from './recording/recording-file.ts';
import type { RtpTransport } from './rtp/rtp-socket.ts';
import { RtpWatch } from './rtp/rtp-watch.ts';
import { SecureTransport } from './srtp/secure-transport.ts';
import type {
  MediaClosed,
  MediaEvent,
  MediaStats,
  NegotiatedAudio,
  RecordingResult,
} from './types.ts';
import type { UtteranceMarks } from './playout/utterance-marks.ts';
import type { SpeechClassifier } from './speech/vad.ts';

/** Opens the file of a recording. */
export type OpenFile = (onFailed: (message: string) => void) => RecordingFile;

export type ChainParts = {
  readonly clock: Clock;
  /** `wireMs` of an event is clock time plus this. */
  readonly wireOriginMs: number;
  readonly transport: RtpTransport;
  readonly pacer: Pacer;
  readonly classifier: SpeechClassifier;
  /** Caller audio out to the other thread, agent audio in from it. */
  readonly callerRing: SampleRing;
  readonly playoutRing: SampleRing;
  readonly marks: UtteranceMarks;
  /** Opens the call's own recording when the call starts, or at `record()`; null: it has none. */
  readonly record: OpenFile | null;
  readonly recordsOnCommand?: boolean;
  readonly firstRtpTimeoutMs: number;
  readonly rtpTimeoutMs: number;
  readonly cname: string;
  readonly emit: (event: MediaEvent) => void;
  /** The digits of this request have been sent. */
  readonly tellDigits?: (request: number) => void;
  /** The playout ring has room again, as the writer wished to know. */
  readonly tellRoom: () => void;
};

type SecureParts = ChainParts & { readonly transport: SecureTransport };

/** Builds the chain of one call; nothing happens before `start`. */
export function buildChain(parts: ChainParts): MediaChain {
  return new MediaChain({ ...parts, transport: new SecureTransport(parts.transport) });
}

/** What matters within a tenth of a second only is looked at once in so many frames. */
const LOOK_FRAMES = 5;

export class MediaChain {
  /** These five every frame touches. */
  #isBroken = false;
  /** Somebody listened to the last frame. */
  #hadListeners = false;
  /** Frames since the last look. */
  #unseen = 0;
  readonly #inbound: InboundPath;
  readonly #outbound: OutboundPath;
  readonly taps = new CallTaps(() => this.output.overhear(this.taps.isOpen));
  readonly recording = new CallRecording(() => this.#passToRecording(false));
  readonly #parts: SecureParts;
  readonly #time: CallTime;
  readonly #callerSink: CallerSink;
  readonly #agentSink: AgentSink;
  readonly #codecs = new CallCodecs();
  readonly #quality: CallQualityMeter;
  readonly #watch: RtpWatch;
  /** Whether the call's own recording has begun. */
  #isRecorded = false;
  #audio: NegotiatedAudio | null = null;
  /** Somebody to send to, be it only RTCP (on hold). */
  #canReach = false;
  #canSend = false;
  /** Both sides are to hear each other. */
  #isTwoWay = false;
  #isArmed = false;
  #closing: Promise<MediaClosed> | undefined;

  constructor(parts: SecureParts) {
    this.#parts = parts;
    this.#time = new CallTime(parts.clock);
    this.#callerSink = new CallerSink(this.recording, (on) => this.#onSpeech(on));
    this.#inbound = this.#newInbound();
    this.#agentSink = new AgentSink(this.#inbound, (error) => this.fail(error));
    this.#outbound = this.#newOutbound();
    this.#quality = this.#newQuality();
    this.#callerSink.tell(this.#quality);
    this.#agentSink.tell(this.#quality);
    this.#watch = new RtpWatch(parts.firstRtpTimeoutMs, parts.rtpTimeoutMs);
    parts.transport.onDatagram((bytes, address, port, atMs = parts.clock.now()) =>
      this.#datagram(bytes, address, port, atMs),
    );
  }

  /** What leaves in the agent's place: mute, digits, loop. */
  get output(): AgentOutput {
    return this.#outbound.output;
  }

  /** The order of the stages, for people. */
  describe(): string {
    const { isSecure } = this.#parts.transport;
    const isRecording = this.recording.isOpen;
    return describeChain({ audio: this.#audio, isSecure, isRecording });
  }

  /** What is to be awaited before `start` with this; null: nothing. */
  prepare(audio: NegotiatedAudio): Promise<void> | null {
    return this.#codecs.prepare(audio);
  }

  /** Starts sending and receiving, or renegotiates without a gap in sequence or time. Errors: E_MEDIA (unknown codec). */
  start(audio: NegotiatedAudio): void {
    if (this.#closing !== undefined) return;
    const { clock, transport, pacer } = this.#parts;
    const encoder = this.#codecs.encoder(audio);
    const isFirst = this.#audio === null;
    const nowMs = clock.now();
    if (isFirst) {
      this.#time.start(nowMs);
      this.#quality.start(nowMs);
    } else this.#look(nowMs);
    this.#audio = audio;
    transport.secure(audio.srtp ?? null);
    this.#canReach = audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.#canSend = audio.send && this.#canReach;
    this.#isTwoWay = this.#canSend && audio.receive;
    this.#outbound.negotiate(audio, encoder, this.#canSend);
    this.#inbound.negotiate(audio, this.#codecs);
    this.#quality.negotiate(audio);
    this.#watch.restart(nowMs, audio.receive);
    if (isFirst) {
      if (this.#parts.recordsOnCommand !== true) this.record();
      pacer.add(this);
    }
    this.#outbound.pace(this);
  }

  pause(): void {
    this.#outbound.playout.pause();
  }

  resume(): void {
    this.#outbound.playout.resume();
  }

  flush(count: number, position: number): void {
    this.#outbound.playout.flush(count, position);
    this.output.effects.clear();
  }

  armBargeIn(on: boolean, confirmMs = Number.POSITIVE_INFINITY): void {
    this.#isArmed = on;
    this.#inbound.confirmAfter(on ? confirmMs : Number.POSITIVE_INFINITY);
  }

  /** The caller's voice is heard by listeners and the recording only. */
  muteCaller(on: boolean): void {
    this.#inbound.mute(on);
  }

  /** Begins the call's own recording here, once. */
  record(): void {
    if (this.#isRecorded || this.#parts.record === null) return;
    this.#isRecorded = this.startRecording(this.#parts.record);
  }

  /** Begins a recording here; false when the call does not run or one is going on. */
  startRecording(openFile: OpenFile): boolean {
    if (this.#audio === null || this.#closing !== undefined || this.recording.isOpen) return false;
    const { emit } = this.#parts;
    this.recording.reach(this.#outbound.position, this.#inbound.caller.readPosition);
    this.#passToRecording(true);
    this.recording.start((at) => {
      const file = openFile((message) =>
        emit({ type: 'recording.failed', atMs: this.#time.now(), message }),
      );
      return new Recorder(file, at);
    });
    return true;
  }

  /** Ends the recording here, with the caller up to here; null when there is none. */
  stopRecording(): Promise<RecordingResult | null> {
    const stopped = this.recording.stop();
    // No frame comes any more that could end it.
    if (this.#isBroken) this.recording.finish();
    return stopped;
  }

  /** The packet of one frame of call time; `dueMs` is its ideal time on the clock. Never throws. */
  tick(dueMs: number): void {
    if (this.#isBroken) return;
    try {
      this.#outbound.tick(dueMs);
    } catch (error) {
      this.fail(error);
    }
  }

  /** The rest of that frame, when the packets of every call of the slot are out. Never throws. */
  settle(dueMs: number, nowMs: number): void {
    if (this.#isBroken) return;
    try {
      this.#runFrame(dueMs, nowMs);
    } catch (error) {
      this.fail(error);
    }
  }

  /** A fault in one call's chain ends that call's media, and nothing else. */
  fail(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#outbound.close();
    this.#parts.emit({
      type: 'media.failed',
      atMs: this.#time.now(),
      message: messageOf(error),
    });
  }

  /** Leaves out `frames` packets after a long stall; time stamps and recording stay on the clock. Never throws. */
  skip(frames: number): void {
    if (!this.#isBroken) this.#guard(() => this.#outbound.skip(frames));
  }

  /** Stops, says goodbye, finishes the recording. Idempotent. */
  close(): Promise<MediaClosed> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get stats(): MediaStats {
    const { receiver, caller } = this.#inbound;
    const stages = { receiver, caller, sender: this.#outbound.sender, quality: this.#quality };
    const { effects, parties } = this.output;
    const dropped = {
      ...{ effect: effects.dropped, party: parties.dropped },
      recording: this.recording.dropped,
    };
    return statsOf({ ...stages, ends: this.#parts, audio: this.#audio, dropped });
  }

  #newInbound(): InboundPath {
    const { wireOriginMs, transport, classifier, callerRing, emit } = this.#parts;
    return new InboundPath({
      ...{ time: this.#time, wireOriginMs, transport, classifier, callerRing, emit },
      sink: this.#callerSink,
    });
  }

  #newOutbound(): OutboundPath {
    const { clock, wireOriginMs, transport, pacer, playoutRing, marks } = this.#parts;
    const { emit, tellDigits, tellRoom } = this.#parts;
    return new OutboundPath({
      ...{ time: this.#time, transport, pacer, playoutRing, marks, emit, tellRoom },
      recording: this.recording,
      wireNow: () => clock.now() + wireOriginMs,
      tellDigits: (request) => tellDigits?.(request),
      sink: this.#agentSink,
    });
  }

  #newQuality(): CallQualityMeter {
    const { clock, transport, cname } = this.#parts;
    const { receiver, caller } = this.#inbound;
    const { sender } = this.#outbound;
    return new CallQualityMeter({
      ...{ clock, transport, cname, sender, sequence: receiver.sequence },
      held: () => caller.heard,
      meanHeldMs: () => caller.meanDelayMs,
      clockHz: () => receiver.clockHz,
      dropped: () => receiver.tooLate,
      forgedRun: () => transport.counters.forgedRun,
      farLoss: (lossPct) => this.#codecs.farLoss(lossPct),
    });
  }

  #datagram(bytes: Uint8Array, address: string, port: number, atMs: number): void {
    this.#parts.pacer.keepTime(atMs);
    if (this.#isBroken) return;
    try {
      this.#inbound.receiver.datagram(bytes, address, port, atMs);
    } catch (error) {
      this.fail(error);
    }
  }

  #runFrame(dueMs: number, nowMs: number): void {
    this.#inbound.tick(dueMs, nowMs);
    if (this.#hadListeners || !this.output.isPrivate) this.#serveListeners(this.#time.at(dueMs));
    if (++this.#unseen >= LOOK_FRAMES) this.#look(nowMs);
  }

  /** What nobody misses for some frames. */
  #look(nowMs: number): void {
    const { receiver, caller } = this.#inbound;
    const silentMs = this.#watch.check(nowMs, receiver.lastPacketMs, caller.isSilent);
    if (silentMs > 0) this.#tellLost(silentMs);
    this.#quality.tick(nowMs, this.#canReach, this.#isTwoWay, this.#unseen);
    this.#unseen = 0;
    this.#outbound.offerRoom();
  }

  /** What people hear who listen as it is said. */
  #serveListeners(callMs: number): void {
    const { caller } = this.#inbound;
    const { parties } = this.output;
    this.#hadListeners = !this.output.isPrivate;
    if (!this.#hadListeners) return caller.stopLive();
    const pcm = caller.live(callMs);
    this.taps.caller(pcm);
    parties.caller(pcm);
    this.taps.tick(this.output.sent);
    parties.tick(this.output.agent);
  }

  /** While nothing is recorded, the recording need not be told of each frame. */
  #passToRecording(on: boolean): void {
    this.#outbound.isRecorded = on;
    this.#callerSink.isRecorded = on;
  }

  #onSpeech(on: boolean): void {
    const { playout } = this.#outbound;
    this.output.callerSpeaks(on);
    if (on && this.#isArmed && playout.isActive && !playout.isPaused) playout.pause();
  }

  #tellLost(silentMs: number): void {
    const everReceived = this.#inbound.receiver.lastPacketMs >= 0;
    this.#parts.emit({ type: 'media.lost', atMs: this.#time.now(), silentMs, everReceived });
  }

  async #close(): Promise<MediaClosed> {
    const nowMs = this.#parts.clock.now();
    this.#parts.pacer.remove(this);
    this.#outbound.close();
    if (this.#audio !== null && !this.#isBroken) {
      this.#guard(() => this.#inbound.caller.flush(this.#time.at(nowMs)));
      this.#guard(() => this.#quality.tick(nowMs, false, this.#isTwoWay, this.#unseen));
      this.#guard(() => this.#quality.end(nowMs));
      if (this.#canReach) this.#guard(() => this.#quality.rtcp.send(true));
    }
    // Each step is on its own: whatever one of them does, the others release what they hold.
    this.#guard(() => this.#parts.transport.close());
    this.#guard(() => this.#inbound.free());
    this.#guard(() => this.#codecs.free());
    try {
      // What the disk did not take of it is known at its end.
      const recording = await this.recording.close();
      return { stats: this.stats, recording };
    } catch (error) {
      this.fail(error);
      return { stats: this.stats, recording: null };
    }
  }

  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.fail(error);
    }
  }
}
