/**
 * One call's audio from wire to wire. `buildChain` is the one place where the order of the stages is written down;
 * frames pass from stage to stage by direct calls and only events leave.
 */
import type { Clock } from '#lib/clock.ts';
import { messageOf } from '#lib/errors.ts';
import type { SampleRing } from '#lib/sample-ring.ts';
import { AgentOutput } from './agent-output.ts';
import { CallQualityMeter } from './call-quality.ts';
import { CallRecording } from './call-recording.ts';
import { CallTaps } from './call-taps.ts';
import { describeChain } from './chain-text.ts';
import { CallCodecs } from './call-codecs.ts';
import { CallerAudio } from './caller-audio.ts';
import { CallerKeys } from './caller-keys.ts';
import { EchoGuard } from './echo-guard.ts';
import type { DecodedAudio } from './ordered-audio.ts';
import type { PacedStream, Pacer } from './pacer.ts';
import { dropsOf } from './media-drops.ts';
import { Playout } from './playout.ts';
import { playoutEvents, stalledEvent } from './playout-events.ts';
import { Recorder } from './recorder.ts';
import type { RecordingFile } from './recording-file.ts';
import { RtpReceiver } from './rtp-receiver.ts';
import { RtpSender } from './rtp-sender.ts';
import type { RtpTransport } from './rtp-socket.ts';
import { RtpWatch } from './rtp-watch.ts';
import { SecureTransport } from './secure-transport.ts';
import { FRAME_MS, FRAME_SAMPLES } from './types.ts';
import type {
  MediaClosed,
  MediaEvent,
  MediaStats,
  NegotiatedAudio,
  RecordingResult,
} from './types.ts';
import { Vad, type SpeechClassifier } from './vad.ts';
import type { UtteranceMarks } from './utterance-marks.ts';

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

const SAMPLES_PER_MS = FRAME_SAMPLES / FRAME_MS;
/** What is heard of a muted caller; as long as the longest packet. */
const SILENCE = new Int16Array(1600);

/** Places of a packet among the others, made once. */
const FOLLOWS = { isNew: true, follows: true };
const IN_ORDER = { isNew: true, follows: false };
const REORDERED = { isNew: false, follows: false };

type SecureParts = ChainParts & { readonly transport: SecureTransport };

/** Builds the chain of one call; nothing happens before `start`. */
export function buildChain(parts: ChainParts): MediaChain {
  return new MediaChain({ ...parts, transport: new SecureTransport(parts.transport) });
}

export class MediaChain {
  readonly #parts: SecureParts;
  readonly #receiver: RtpReceiver;
  readonly #caller = new CallerAudio((pcm, position) => this.#onCaller(pcm, position));
  readonly #echo = new EchoGuard();
  readonly #keys: CallerKeys;
  readonly #vad: Vad;
  readonly #playout: Playout;
  readonly #sender: RtpSender;
  readonly #codecs = new CallCodecs();
  /** Packets that leave between two frames. */
  readonly #half: PacedStream;
  readonly #quality: CallQualityMeter;
  readonly #watch: RtpWatch;
  /** What leaves in the agent's place: mute, digits, loop. */
  readonly output: AgentOutput;
  readonly taps = new CallTaps();
  readonly recording = new CallRecording();
  /** Whether the call's own recording has begun. */
  #isRecorded = false;
  #isCallerMuted = false;
  #audio: NegotiatedAudio | null = null;
  /** Somebody to send to, be it only RTCP (on hold). */
  #canReach = false;
  #canSend = false;
  #isReceiving = false;
  #isArmed = false;
  #isBroken = false;
  #startedMs = 0;
  #isAgentPlaced = false;
  #vadWireMs = 0;
  #closing: Promise<MediaClosed> | undefined;

  constructor(parts: SecureParts) {
    this.#parts = parts;
    this.#receiver = new RtpReceiver(parts.transport, {
      decoded: (audio) => this.#onAudio(audio),
      recovered: (pcm, length, time, arrivalMs) =>
        this.#caller.recover(time, pcm, length, this.#arrival(arrivalMs)),
      comfortNoise: (payload, time) => this.#caller.describeSilence(payload, time),
      patienceMs: () => this.#caller.patienceMs,
      telephoneEvent: (payload, timestamp, arrivalMs) =>
        this.#keys.event(payload, timestamp, arrivalMs),
      restarted: (isSeamless) => this.#onRestart(isSeamless),
      latched: (address, port) => {
        this.#quality.rtcp.latched(address, port);
        parts.emit({ type: 'media.latched', atMs: this.#callMs(), address, port });
      },
      advance: (nowMs) => this.#pullCaller(nowMs - this.#startedMs),
    });
    this.#keys = new CallerKeys({
      onKey: (digit, durationMs, mode) => {
        if (this.#isCallerMuted) return;
        parts.emit({ type: 'dtmf', atMs: this.#callMs(), digit, durationMs, mode });
      },
      callTime: (clockMs) => clockMs - this.#startedMs,
    });
    const heard = {
      started: (startMs: number, wireMs: number) => this.#onSpeechStarted(startMs, wireMs),
      lasted: (startMs: number, speechMs: number) =>
        parts.emit({ type: 'speech.lasted', atMs: this.#callMs(), startMs, speechMs }),
      stopped: (startMs: number, endMs: number, wireMs: number) => {
        this.output.callerSpeaks(false);
        const arrivedMs = wireMs - parts.wireOriginMs - this.#startedMs;
        const jitterMs = this.#caller.keptMs(endMs, arrivedMs);
        const atMs = this.#callMs();
        parts.emit({ type: 'speech.stopped', atMs, startMs, endMs, wireMs, jitterMs });
      },
    };
    this.#vad = new Vad(parts.classifier, heard, {
      isEcho: (frame, startMs, isLoud) =>
        this.#keys.hear(frame, startMs) ||
        this.#echo.isEcho(frame, Math.round(startMs * SAMPLES_PER_MS), isLoud),
    });
    this.#playout = new Playout(
      parts.playoutRing,
      parts.marks,
      playoutEvents({
        emit: parts.emit,
        callMs: () => this.#callMs(),
        wireMs: () => parts.clock.now() + parts.wireOriginMs,
      }),
    );
    this.#sender = new RtpSender(
      (bytes) => parts.transport.send(bytes),
      () => this.#quality.rtcp.send(true),
    );
    this.#half = { tick: () => this.#sendHalf(), skip: () => undefined };
    this.output = new AgentOutput(this.#playout, this.#sender, (request) =>
      parts.tellDigits?.(request),
    );
    const { clock, transport, cname } = parts;
    const { sequence } = this.#receiver;
    const bufferMs = () => this.#caller.meanDelayMs;
    const clockHz = () => this.#receiver.clockHz;
    const dropped = () => this.#receiver.tooLate;
    const flow = { sender: this.#sender, sequence, bufferMs, clockHz, dropped };
    this.#quality = new CallQualityMeter({ clock, transport, cname, ...flow });
    this.#watch = new RtpWatch(parts.firstRtpTimeoutMs, parts.rtpTimeoutMs);
    parts.transport.onDatagram((bytes, address, port, atMs = parts.clock.now()) =>
      this.#datagram(bytes, address, port, atMs),
    );
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
    const encoder = this.#codecs.encoder(audio);
    const isFirst = this.#audio === null;
    const nowMs = this.#parts.clock.now();
    if (isFirst) {
      this.#startedMs = nowMs;
      this.#quality.start(nowMs);
    }
    this.#audio = audio;
    this.#parts.transport.secure(audio.srtp ?? null);
    this.#canReach = audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.#canSend = audio.send && this.#canReach;
    this.#isReceiving = audio.receive;
    this.output.negotiate(audio, encoder);
    this.#receiver.negotiate(audio, this.#codecs);
    this.#quality.negotiate(audio);
    this.#keys.negotiate(audio);
    this.#watch.restart(nowMs, audio.receive);
    if (isFirst) {
      if (this.#parts.recordsOnCommand !== true) this.record();
      this.#parts.pacer.add(this);
    }
    if (this.#sender.needsHalf) this.#parts.pacer.addHalf(this, this.#half);
    else this.#parts.pacer.remove(this.#half);
  }

  pause(): void {
    this.#playout.pause();
  }

  resume(): void {
    this.#playout.resume();
  }

  flush(count: number, position: number): void {
    this.#playout.flush(count, position);
    this.output.effects.clear();
  }

  armBargeIn(on: boolean, confirmMs = Number.POSITIVE_INFINITY): void {
    this.#isArmed = on;
    this.#vad.confirmAfter(on ? confirmMs : Number.POSITIVE_INFINITY);
  }

  /** The caller's voice is heard by listeners and the recording only. */
  muteCaller(on: boolean): void {
    this.#isCallerMuted = on;
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
    this.recording.start((at) => {
      const file = openFile((message) =>
        emit({ type: 'recording.failed', atMs: this.#callMs(), message }),
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
      this.#send(dueMs);
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
    this.#parts.emit({
      type: 'media.failed',
      atMs: this.#callMs(),
      message: messageOf(error),
    });
  }

  #runFrame(dueMs: number, nowMs: number): void {
    this.#receiver.tick(nowMs);
    const callMs = nowMs - this.#startedMs;
    this.#pullCaller(Math.min(dueMs, this.#receiver.heldSinceMs) - this.#startedMs);
    this.#vad.tick(callMs);
    this.#keys.tick(nowMs);
    const silentMs = this.#watch.check(nowMs, this.#receiver.lastPacketMs, this.#caller.isSilent);
    if (silentMs > 0) this.#tellLost(silentMs);
    this.#quality.tick(nowMs, this.#canReach, this.#canSend && this.#isReceiving);
    this.#serveListeners(dueMs - this.#startedMs);
    this.#offerRoom();
  }

  /** Leaves out `frames` packets after a long stall; time stamps and recording stay on the clock. */
  skip(frames: number): void {
    this.output.skip(frames, !this.#canSend);
    this.recording.passAgent(frames * FRAME_SAMPLES);
    if (!this.#canSend) this.#watchPlayout(frames);
  }

  /** Stops, says goodbye, finishes the recording. Idempotent. */
  close(): Promise<MediaClosed> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get stats(): MediaStats {
    const { sequence } = this.#receiver;
    const { transport } = this.#parts;
    return {
      packetsReceived: this.#receiver.packetsReceived,
      packetsSent: this.#sender.packetsSent,
      lost: sequence.lost,
      late: this.#caller.late,
      duplicated: sequence.duplicated,
      concealedMs: this.#caller.concealedMs,
      jitterBuffer: this.#caller.report,
      foreignDropped: this.#receiver.foreignDropped,
      malformedDropped: this.#receiver.malformedDropped,
      jitterMs: (sequence.jitterUnits * 1000) / this.#receiver.clockHz,
      codec: this.#audio?.codec ?? null,
      rtcpReceived: this.#quality.rtcp.peer.reports,
      rtcpMalformed: this.#quality.rtcp.malformed,
      rtcpForeign: this.#quality.rtcp.foreign,
      quality: this.#quality.record(this.#receiver.packetsReceived),
      dropped: dropsOf(this.#receiver, this.#caller, this.#parts, this.#quality.rtcp),
      ...(transport.isSecure ? { srtp: { ...transport.counters } } : {}),
    };
  }

  #datagram(bytes: Uint8Array, address: string, port: number, atMs: number): void {
    if (this.#isBroken) return;
    this.#guard(() => this.#receiver.datagram(bytes, address, port, atMs));
  }

  async #close(): Promise<MediaClosed> {
    const nowMs = this.#parts.clock.now();
    this.#parts.pacer.remove(this);
    this.#parts.pacer.remove(this.#half);
    if (this.#audio !== null && !this.#isBroken) {
      this.#guard(() => this.#caller.flush(nowMs - this.#startedMs));
      this.#guard(() => this.#quality.end(nowMs));
      if (this.#canReach) this.#guard(() => this.#quality.rtcp.send(true));
    }
    // Each step is on its own: whatever one of them does, the others release what they hold.
    this.#guard(() => this.#parts.transport.close());
    this.#guard(() => this.#vad.free());
    this.#guard(() => this.#codecs.free());
    try {
      return { stats: this.stats, recording: await this.recording.close() };
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

  #send(dueMs: number): void {
    if (!this.#isAgentPlaced) {
      this.#isAgentPlaced = true;
      this.recording.passAgent(Math.round((dueMs - this.#startedMs) * SAMPLES_PER_MS));
    }
    if (!this.#canSend) {
      this.skip(1);
      return;
    }
    const hasLeft = this.output.next();
    if (this.output.tone !== '') this.#keys.sending(this.output.tone, dueMs - this.#startedMs);
    this.#echo.sent(this.output.sent, Math.round((dueMs - this.#startedMs) * SAMPLES_PER_MS));
    if (this.#playout.isActive) this.#quality.agent(this.output.sent, this.#vad.isSpeaking);
    if (hasLeft) this.#playout.sent();
    this.recording.agent(this.output.recorded);
    this.#watchPlayout(1);
  }

  #sendHalf(): void {
    if (this.#canSend && !this.#isBroken) this.#guard(() => this.#sender.half());
  }

  #watchPlayout(frames: number): void {
    const waitingMs = this.output.stalledMs(frames, !this.#canSend);
    if (waitingMs === 0) return;
    const event = stalledEvent(this.#playout, this.#callMs(), waitingMs);
    if (event !== null) this.#parts.emit(event);
  }

  /** Brings the caller's audio up to call time `callMs`. */
  #pullCaller(callMs: number): void {
    this.#caller.pull(callMs, this.#keys.isEventOpen);
  }

  /** What the caller says next, up to a frame. */
  #onCaller(pcm: Int16Array, position: number): void {
    this.recording.caller(pcm);
    // What comes back of the agent's own words is not the caller's: nobody is to read it.
    const isOurs = this.#echo.isOwn(position) || this.#keys.isTone(position / SAMPLES_PER_MS);
    if (isOurs || this.#isCallerMuted) pcm.fill(0);
    this.#parts.callerRing.push(pcm);
  }

  /** What people hear who listen as it is said. */
  #serveListeners(callMs: number): void {
    const { parties } = this.output;
    if (!this.taps.isOpen && !parties.isOpen) return this.#caller.stopLive();
    const pcm = this.#caller.live(callMs);
    this.taps.caller(pcm);
    parties.caller(pcm);
    this.taps.tick(this.output.sent);
    parties.tick(this.output.agent);
  }

  /** Call time in samples. */
  #arrival(arrivalMs: number): number {
    return Math.round((arrivalMs - this.#startedMs) * SAMPLES_PER_MS);
  }

  #onAudio({ pcm, length, time, arrivalMs, isNew, follows, isQuiet }: DecodedAudio): void {
    this.#keys.audio(arrivalMs);
    const lateBefore = this.#caller.late;
    const order = isNew ? (follows ? FOLLOWS : IN_ORDER) : REORDERED;
    const position = this.#caller.put(time, pcm, length, this.#arrival(arrivalMs), order);
    if (isQuiet) this.#caller.hearSilence(pcm, length);
    this.#quality.packet(length, this.#caller.late > lateBefore);
    if (!isNew) return;
    this.#vadWireMs = arrivalMs + this.#parts.wireOriginMs;
    const heard = this.#isCallerMuted ? SILENCE : pcm;
    this.#vad.write(heard, length, position / SAMPLES_PER_MS, this.#vadWireMs);
    this.#quality.caller(pcm, length, this.#vad.isSpeaking, this.#echo.isOwn(position));
  }

  #onRestart(isSeamless: boolean): void {
    if (!isSeamless) this.#caller.restart();
    this.#keys.restart();
  }

  #onSpeechStarted(startMs: number, wireMs: number): void {
    this.#parts.emit({ type: 'speech.started', atMs: this.#callMs(), startMs, wireMs });
    this.output.callerSpeaks(true);
    if (this.#isArmed && this.#playout.isActive && !this.#playout.isPaused) this.#playout.pause();
  }

  #tellLost(silentMs: number): void {
    const everReceived = this.#receiver.lastPacketMs >= 0;
    this.#parts.emit({ type: 'media.lost', atMs: this.#callMs(), silentMs, everReceived });
  }

  #offerRoom(): void {
    const { marks, playoutRing, tellRoom } = this.#parts;
    if (marks.hasWish && playoutRing.free >= playoutRing.capacity / 8 && marks.takeWish()) {
      tellRoom();
    }
  }

  #callMs(): number {
    return this.#parts.clock.now() - this.#startedMs;
  }
}
