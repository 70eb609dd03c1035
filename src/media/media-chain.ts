/**
 * One call's audio from wire to wire. `buildChain` is the one place where the order of the stages is written down;
 * frames pass from stage to stage by direct calls and only events leave.
 */
import type { Clock } from '#lib/clock.ts';
import { messageOf } from '#lib/errors.ts';
import type { SampleRing } from '#lib/sample-ring.ts';
import { AgentOutput } from './agent-output.ts';
import { CallRecording } from './call-recording.ts';
import { CallTaps } from './call-taps.ts';
import { Concealment } from './concealment.ts';
import { DtmfReceiver } from './dtmf-receiver.ts';
import { EchoGuard } from './echo-guard.ts';
import { JitterBuffer } from './jitter-buffer.ts';
import type { Pacer } from './pacer.ts';
import { Playout } from './playout.ts';
import { playoutEvents } from './playout-events.ts';
import { Recorder } from './recorder.ts';
import type { RecordingFile } from './recording-file.ts';
import { RtcpTimer } from './rtcp-timer.ts';
import { RtpReceiver } from './rtp-receiver.ts';
import { RtpSender } from './rtp-sender.ts';
import type { RtpTransport } from './rtp-socket.ts';
import { RtpWatch } from './rtp-watch.ts';
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

/** Builds the chain of one call; nothing happens before `start`. */
export function buildChain(parts: ChainParts): MediaChain {
  return new MediaChain(parts);
}

export class MediaChain {
  readonly #parts: ChainParts;
  readonly #receiver: RtpReceiver;
  readonly #jitter = new JitterBuffer();
  readonly #concealment = new Concealment();
  readonly #echo = new EchoGuard();
  readonly #dtmf: DtmfReceiver;
  readonly #vad: Vad;
  readonly #playout: Playout;
  readonly #sender = new RtpSender();
  readonly #rtcp: RtcpTimer;
  readonly #watch: RtpWatch;
  readonly #callerFrame = new Int16Array(FRAME_SAMPLES);
  readonly #silentFrame = new Int16Array(FRAME_SAMPLES);
  /** What leaves in the agent's place: mute, digits, loop. */
  readonly output: AgentOutput;
  readonly taps = new CallTaps();
  readonly recording = new CallRecording();
  /** Whether the call's own recording has begun. */
  #isRecorded = false;
  #isCallerMuted = false;
  #audio: NegotiatedAudio | null = null;
  #canSend = false;
  #isArmed = false;
  #isBroken = false;
  #startedMs = 0;
  #isAgentPlaced = false;
  #vadWireMs = 0;
  #closing: Promise<MediaClosed> | undefined;

  constructor(parts: ChainParts) {
    this.#parts = parts;
    this.#receiver = new RtpReceiver(parts.transport, {
      audio: (pcm, length, timestamp, arrivalMs, isNew) =>
        this.#onAudio(pcm, length, timestamp, arrivalMs, isNew),
      telephoneEvent: (payload, timestamp, arrivalMs) =>
        this.#dtmf.packet(payload, timestamp, arrivalMs),
      restarted: () => this.#onRestart(),
      latched: (address, port) =>
        parts.emit({ type: 'media.latched', atMs: this.#callMs(), address, port }),
      advance: (nowMs) => this.#pullCaller(nowMs - this.#startedMs),
    });
    this.#dtmf = new DtmfReceiver((digit, durationMs) => {
      if (this.#isCallerMuted) return;
      parts.emit({ type: 'dtmf', atMs: this.#callMs(), digit, durationMs });
    });
    const heard = {
      started: (startMs: number, wireMs: number) => this.#onSpeechStarted(startMs, wireMs),
      lasted: (startMs: number, speechMs: number) =>
        parts.emit({ type: 'speech.lasted', atMs: this.#callMs(), startMs, speechMs }),
      stopped: (startMs: number, endMs: number, wireMs: number) =>
        parts.emit({ type: 'speech.stopped', atMs: this.#callMs(), startMs, endMs, wireMs }),
    };
    this.#vad = new Vad(parts.classifier, heard, {
      isEcho: (frame, startMs, isLoud) =>
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
    this.output = new AgentOutput(this.#playout, this.#sender, (request) =>
      parts.tellDigits?.(request),
    );
    const { clock, transport, cname } = parts;
    const { sequence } = this.#receiver;
    this.#rtcp = new RtcpTimer({ clock, transport, sender: this.#sender, sequence, cname });
    this.#watch = new RtpWatch(parts.firstRtpTimeoutMs, parts.rtpTimeoutMs);
    parts.transport.onDatagram((bytes, address, port, atMs = parts.clock.now()) =>
      this.#datagram(bytes, address, port, atMs),
    );
  }

  /** The order of the stages, for people. */
  describe(): string {
    return [
      'in:  socket -> source latch -> RTP parse -> sequence -> { telephone events, decode }',
      '     decode -> { mute -> echo guard, VAD (on arrival) -> barge-in pause, jitter buffer }',
      '     jitter buffer -> concealment -> { mute, echo guard -> caller ring, recorder left, taps }   (every 20 ms)',
      'out: playout ring -> playout -> { recorder right, mute } -> loop or digits in its place',
      '     -> encode -> RTP -> socket, taps   (paced)',
    ].join('\n');
  }

  /** Starts sending and receiving, or renegotiates without a gap in sequence or time. */
  start(audio: NegotiatedAudio): void {
    if (this.#closing !== undefined) return;
    const isFirst = this.#audio === null;
    const nowMs = this.#parts.clock.now();
    if (isFirst) {
      this.#startedMs = nowMs;
      this.#rtcp.start(nowMs);
    }
    this.#audio = audio;
    this.#canSend = audio.send && audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.output.negotiate(audio);
    this.#receiver.negotiate(audio);
    this.#watch.restart(nowMs, audio.receive);
    if (!isFirst) return;
    if (this.#parts.recordsOnCommand !== true) this.record();
    this.#parts.pacer.add(this);
  }

  pause(): void {
    this.#playout.pause();
  }

  resume(): void {
    this.#playout.resume();
  }

  flush(count: number, position: number): void {
    this.#playout.flush(count, position);
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

  /** One frame of call time. `dueMs` is the ideal time of the packet on the clock. Never throws. */
  tick(dueMs: number, nowMs: number): void {
    if (!this.#isBroken) this.#guard(() => this.#runFrame(dueMs, nowMs));
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
    this.#send(dueMs);
    this.#receiver.tick(nowMs);
    const callMs = nowMs - this.#startedMs;
    this.#pullCaller(Math.min(dueMs, this.#receiver.heldSinceMs) - this.#startedMs);
    this.#vad.tick(callMs);
    this.#dtmf.tick(nowMs);
    const silentMs = this.#watch.check(nowMs, this.#receiver.lastPacketMs);
    if (silentMs > 0) this.#tellLost(silentMs);
    this.#rtcp.tick(nowMs, this.#canSend);
    this.taps.tick(this.output.sent);
    this.#offerRoom();
  }

  /** Leaves out `frames` packets after a long stall; time stamps and recording stay on the clock. */
  skip(frames: number): void {
    this.output.skip(frames, !this.#canSend);
    this.recording.passAgent(frames * FRAME_SAMPLES);
  }

  /** Stops, says goodbye, finishes the recording. Idempotent. */
  close(): Promise<MediaClosed> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get stats(): MediaStats {
    const { sequence } = this.#receiver;
    return {
      packetsReceived: this.#receiver.packetsReceived,
      packetsSent: this.#sender.packetsSent,
      lost: sequence.lost,
      late: this.#jitter.late,
      duplicated: sequence.duplicated,
      concealedMs: this.#concealment.concealedMs,
      foreignDropped: this.#receiver.foreignDropped,
      malformedDropped: this.#receiver.malformedDropped,
      jitterMs: sequence.jitterUnits / SAMPLES_PER_MS,
      codec: this.#audio?.codec ?? null,
    };
  }

  #datagram(bytes: Uint8Array, address: string, port: number, atMs: number): void {
    if (this.#isBroken) return;
    this.#guard(() => this.#receiver.datagram(bytes, address, port, atMs));
  }

  async #close(): Promise<MediaClosed> {
    const nowMs = this.#parts.clock.now();
    this.#parts.pacer.remove(this);
    if (this.#audio !== null && !this.#isBroken) {
      const untilMs = nowMs - this.#startedMs + this.#jitter.depth / SAMPLES_PER_MS - FRAME_MS;
      this.#guard(() => this.#pullCaller(untilMs));
      if (this.#canSend) this.#guard(() => this.#rtcp.send(true));
    }
    // Each step is on its own: whatever one of them does, the others release what they hold.
    this.#guard(() => this.#parts.transport.close());
    this.#guard(() => this.#vad.free());
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
    this.#parts.transport.send(this.output.next());
    this.#echo.sent(this.output.sent, Math.round((dueMs - this.#startedMs) * SAMPLES_PER_MS));
    this.#playout.sent();
    this.recording.agent(this.output.recorded);
  }

  /** Brings the caller's audio up to call time `callMs`, less the depth of the jitter buffer. */
  #pullCaller(callMs: number): void {
    const until = callMs * SAMPLES_PER_MS - this.#jitter.depth;
    while (this.#jitter.readPosition <= until) {
      const position = this.#jitter.readPosition;
      const present = this.#jitter.take(this.#callerFrame);
      if (this.#dtmf.isOpen) this.#concealment.expectSilence();
      this.#concealment.fill(this.#callerFrame, present);
      // What comes back of the agent's own words is not the caller's: nobody is to read it.
      const isHeard = !this.#isCallerMuted && !this.#echo.isOwn(position);
      this.#parts.callerRing.push(isHeard ? this.#callerFrame : this.#silentFrame);
      this.recording.caller(this.#callerFrame);
      this.taps.caller(this.#callerFrame);
    }
  }

  #onAudio(
    pcm: Int16Array,
    length: number,
    timestamp: number,
    arrivalMs: number,
    isNew: boolean,
  ): void {
    const arrival = Math.round((arrivalMs - this.#startedMs) * SAMPLES_PER_MS);
    const position = this.#jitter.put(timestamp, pcm, length, arrival, isNew);
    if (!isNew) return;
    this.#vadWireMs = arrivalMs + this.#parts.wireOriginMs;
    const heard = this.#isCallerMuted ? SILENCE : pcm;
    this.#vad.write(heard, length, position / SAMPLES_PER_MS, this.#vadWireMs);
  }

  #onRestart(): void {
    this.#jitter.restart();
    this.#dtmf.restart();
  }

  #onSpeechStarted(startMs: number, wireMs: number): void {
    this.#parts.emit({ type: 'speech.started', atMs: this.#callMs(), startMs, wireMs });
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
