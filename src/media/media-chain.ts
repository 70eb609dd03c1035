/**
 * One call's audio from wire to wire. `buildChain` is the one place where the order of the stages is written down;
 * frames pass from stage to stage by direct calls and only events leave.
 */
import type { Clock } from '#lib/clock.ts';
import { messageOf } from '#lib/errors.ts';
import type { SampleRing } from '#lib/sample-ring.ts';
import { Concealment } from './concealment.ts';
import { DtmfReceiver } from './dtmf-receiver.ts';
import { JitterBuffer } from './jitter-buffer.ts';
import type { Pacer } from './pacer.ts';
import { Playout } from './playout.ts';
import type { Recorder } from './recorder.ts';
import { RTCP_INTERVAL_MS, RtcpReporter } from './rtcp.ts';
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
  /** Opens the recording when the call starts, or at `record()`; null records nothing. */
  readonly record: ((onFailed: (message: string) => void) => Recorder) | null;
  readonly recordsOnCommand?: boolean;
  readonly firstRtpTimeoutMs: number;
  readonly rtpTimeoutMs: number;
  readonly cname: string;
  readonly emit: (event: MediaEvent) => void;
  /** The playout ring has room again, as the writer wished to know. */
  readonly tellRoom: () => void;
};

const SAMPLES_PER_MS = FRAME_SAMPLES / FRAME_MS;

/** Builds the chain of one call; nothing happens before `start`. */
export function buildChain(parts: ChainParts): MediaChain {
  return new MediaChain(parts);
}

export class MediaChain {
  readonly #parts: ChainParts;
  readonly #receiver: RtpReceiver;
  readonly #jitter = new JitterBuffer();
  readonly #concealment = new Concealment();
  readonly #dtmf: DtmfReceiver;
  readonly #vad: Vad;
  readonly #playout: Playout;
  readonly #sender = new RtpSender();
  readonly #rtcp: RtcpReporter;
  readonly #watch: RtpWatch;
  readonly #callerFrame = new Int16Array(FRAME_SAMPLES);
  readonly #agentFrame = new Int16Array(FRAME_SAMPLES);
  #recorder: Recorder | null = null;
  /** Call time, in samples, of the agent's next frame. */
  #agentPosition = 0;
  /** Call time, in samples, at which the recording begins. */
  #recordedFrom = 0;
  #audio: NegotiatedAudio | null = null;
  #canSend = false;
  #wasActive = false;
  #isArmed = false;
  #isBroken = false;
  #startedMs = 0;
  #isAgentPlaced = false;
  #nextRtcpMs = 0;
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
    this.#dtmf = new DtmfReceiver((digit, durationMs) =>
      parts.emit({ type: 'dtmf', atMs: this.#callMs(), digit, durationMs }),
    );
    this.#vad = new Vad(parts.classifier, {
      started: (startMs, wireMs) => this.#onSpeechStarted(startMs, wireMs),
      stopped: (startMs, endMs, wireMs) =>
        parts.emit({ type: 'speech.stopped', atMs: this.#callMs(), startMs, endMs, wireMs }),
    });
    this.#playout = new Playout(parts.playoutRing, parts.marks, this.#playoutListener());
    this.#rtcp = new RtcpReporter(parts.cname);
    this.#watch = new RtpWatch(parts.firstRtpTimeoutMs, parts.rtpTimeoutMs);
    parts.transport.onDatagram((bytes, address, port) => this.#datagram(bytes, address, port));
  }

  /** The order of the stages, for people. */
  describe(): string {
    return [
      'in:  socket -> source latch -> RTP parse -> sequence -> { telephone events, decode }',
      '     decode -> { VAD (on arrival) -> barge-in pause, jitter buffer }',
      '     jitter buffer -> concealment -> { caller ring, recorder left }   (every 20 ms)',
      'out: playout ring -> playout -> encode -> RTP -> socket -> recorder right   (paced)',
    ].join('\n');
  }

  /** Starts sending and receiving, or renegotiates without a gap in sequence or time. */
  start(audio: NegotiatedAudio): void {
    if (this.#closing !== undefined) return;
    const isFirst = this.#audio === null;
    const nowMs = this.#parts.clock.now();
    if (isFirst) {
      this.#startedMs = nowMs;
      this.#nextRtcpMs = nowMs + RTCP_INTERVAL_MS;
      if (this.#parts.recordsOnCommand !== true) this.#openRecorder();
    }
    this.#audio = audio;
    this.#canSend = audio.send && audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.#sender.negotiate(audio);
    this.#receiver.negotiate(audio);
    this.#watch.restart(nowMs, audio.receive);
    if (isFirst) this.#parts.pacer.add(this);
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

  armBargeIn(on: boolean): void {
    this.#isArmed = on;
  }

  /** Begins the recording here: the agent is ahead by the jitter buffer, so the caller joins when he gets here. */
  record(): void {
    if (this.#audio === null || this.#closing !== undefined || this.#recorder !== null) return;
    this.#recordedFrom = this.#agentPosition;
    this.#openRecorder();
  }

  #openRecorder(): void {
    this.#recorder =
      this.#parts.record?.((message) =>
        this.#parts.emit({ type: 'recording.failed', atMs: this.#callMs(), message }),
      ) ?? null;
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
    if (nowMs >= this.#nextRtcpMs) this.#sendRtcp(nowMs);
    this.#offerRoom();
  }

  /** Leaves out `frames` packets after a long stall; time stamps and recording stay on the clock. */
  skip(frames: number): void {
    this.#sender.pass(frames);
    this.#passAgent(frames * FRAME_SAMPLES);
    this.#wasActive = false;
  }

  /** Time passes on the agent's side without a packet. */
  #passAgent(samples: number): void {
    this.#recorder?.padAgent(samples);
    this.#agentPosition += samples;
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

  #datagram(bytes: Uint8Array, address: string, port: number): void {
    if (this.#isBroken) return;
    this.#guard(() => this.#receiver.datagram(bytes, address, port, this.#parts.clock.now()));
  }

  async #close(): Promise<MediaClosed> {
    const nowMs = this.#parts.clock.now();
    this.#parts.pacer.remove(this);
    if (this.#audio !== null && !this.#isBroken) {
      const untilMs = nowMs - this.#startedMs + this.#jitter.depth / SAMPLES_PER_MS - FRAME_MS;
      this.#guard(() => this.#pullCaller(untilMs));
      this.#guard(() => this.#sendRtcp(nowMs, true));
    }
    // Each step is on its own: whatever one of them does, the others release what they hold.
    this.#guard(() => this.#parts.transport.close());
    this.#guard(() => this.#vad.free());
    return { stats: this.stats, recording: await this.#finishRecording() };
  }

  async #finishRecording(): Promise<RecordingResult | null> {
    try {
      return (await this.#recorder?.finish()) ?? null;
    } catch (error) {
      this.fail(error);
      return null;
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
      this.#passAgent(Math.round((dueMs - this.#startedMs) * SAMPLES_PER_MS));
    }
    if (!this.#canSend) {
      this.skip(1);
      return;
    }
    const isActive = this.#playout.take(this.#agentFrame) > 0;
    const isFirst = this.#sender.packetsSent === 0;
    const packet = this.#sender.next(this.#agentFrame, isFirst || (isActive && !this.#wasActive));
    this.#wasActive = isActive;
    this.#parts.transport.send(packet);
    this.#playout.sent();
    this.#recorder?.writeAgent(this.#agentFrame);
    this.#agentPosition += FRAME_SAMPLES;
  }

  /** Brings the caller's audio up to call time `callMs`, less the depth of the jitter buffer. */
  #pullCaller(callMs: number): void {
    const until = callMs * SAMPLES_PER_MS - this.#jitter.depth;
    while (this.#jitter.readPosition <= until) {
      const early = this.#recordedFrom - this.#jitter.readPosition;
      const present = this.#jitter.take(this.#callerFrame);
      if (this.#dtmf.isOpen) this.#concealment.expectSilence();
      this.#concealment.fill(this.#callerFrame, present);
      this.#parts.callerRing.push(this.#callerFrame);
      if (early < FRAME_SAMPLES)
        this.#recorder?.writeCaller(this.#callerFrame.subarray(Math.max(0, early)));
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
    this.#vad.write(pcm, length, position / SAMPLES_PER_MS, this.#vadWireMs);
  }

  #onRestart(): void {
    this.#jitter.restart();
    this.#dtmf.restart();
  }

  #onSpeechStarted(startMs: number, wireMs: number): void {
    this.#parts.emit({ type: 'speech.started', atMs: this.#callMs(), startMs, wireMs });
    if (this.#isArmed && this.#playout.isActive && !this.#playout.isPaused) this.#playout.pause();
  }

  #playoutListener(): ConstructorParameters<typeof Playout>[2] {
    const { emit, wireOriginMs, clock } = this.#parts;
    const heardMs = (samples: number): number => samples / SAMPLES_PER_MS;
    return {
      started: (utterance) => {
        const wireMs = clock.now() + wireOriginMs;
        emit({ type: 'playout.started', atMs: this.#callMs(), utterance, wireMs });
      },
      done: (utterance, heard) =>
        emit({
          type: 'playout.done',
          atMs: this.#callMs(),
          utterance,
          heardMs: heardMs(heard),
        }),
      paused: (utterance, heard) =>
        emit({ type: 'playout.paused', atMs: this.#callMs(), utterance, heardMs: heardMs(heard) }),
      resumed: (utterance) => emit({ type: 'playout.resumed', atMs: this.#callMs(), utterance }),
      flushed: (utterance, heard) =>
        emit({ type: 'playout.flushed', atMs: this.#callMs(), utterance, heardMs: heardMs(heard) }),
    };
  }

  #tellLost(silentMs: number): void {
    const everReceived = this.#receiver.lastPacketMs >= 0;
    this.#parts.emit({ type: 'media.lost', atMs: this.#callMs(), silentMs, everReceived });
  }

  #sendRtcp(nowMs: number, isBye = false): void {
    this.#nextRtcpMs = nowMs + RTCP_INTERVAL_MS;
    if (!this.#canSend) return;
    const { sequence } = this.#receiver;
    const packetsSent = this.#sender.packetsSent;
    const report = this.#rtcp.report(
      {
        ssrc: this.#sender.ssrc,
        wallMs: this.#parts.clock.wallMs(),
        rtpTimestamp: this.#sender.timestamp,
        packetsSent,
        octetsSent: packetsSent * FRAME_SAMPLES,
        remote:
          sequence.highest < 0
            ? null
            : {
                ssrc: sequence.ssrc,
                lost: sequence.lost,
                expected: sequence.expected,
                highestSequence: sequence.highest,
                jitterUnits: sequence.jitterUnits,
              },
      },
      isBye,
    );
    this.#parts.transport.sendRtcp(report);
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
