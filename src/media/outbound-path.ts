/** One call's way out: from what the agent says, and what is heard with it or in its place, to packets at their times. */
import type { SampleRing } from '#lib/sample-ring.ts';
import { AgentOutput } from './playout/agent-output.ts';
import type { CallRecording } from './recording/call-recording.ts';
import type { CallTime } from './call-time.ts';
import type { PayloadEncoder } from './codec/codecs.ts';
import type { PacedStream, Pacer } from './pacer.ts';
import { Playout } from './playout/playout.ts';
import { playoutEvents, stalledEvent } from './playout/playout-events.ts';
import { RtpSender } from './rtp/rtp-sender.ts';
import type { RtpTransport } from './rtp/rtp-socket.ts';
import { FRAME_SAMPLES, type MediaEvent, type NegotiatedAudio } from './types.ts';
import type { UtteranceMarks } from './playout/utterance-marks.ts';

export type OutboundParts = {
  readonly time: CallTime;
  /** `wireMs` of an event is call time plus this, as it is now. */
  readonly wireNow: () => number;
  readonly transport: RtpTransport;
  readonly pacer: Pacer;
  /** Agent audio in from the other thread, and where in it utterances begin and end. */
  readonly playoutRing: SampleRing;
  readonly marks: UtteranceMarks;
  readonly recording: CallRecording;
  readonly emit: (event: MediaEvent) => void;
  readonly tellDigits: (request: number) => void;
  /** The playout ring has room again, as the writer wished to know. */
  readonly tellRoom: () => void;
  readonly sink: OutboundSink;
};

/** Who else wants to know of what is sent. Buffers are valid until the call returns. */
export type OutboundSink = {
  /** `tone`: the digit that is in it; `isSpoken`: an utterance is being played. */
  sent(pcm: Int16Array, tone: string, dueMs: number, isSpoken: boolean): void;
  /** The next packet has another SSRC. */
  leaves(): void;
  failed(error: unknown): void;
};

export class OutboundPath {
  /** What leaves in the agent's place: mute, digits, loop. */
  readonly output: AgentOutput;
  readonly playout: Playout;
  readonly sender: RtpSender;
  /** The recording takes each frame. */
  isRecorded = false;
  #isOpen = false;
  #isPlaced = false;
  #position = 0;
  readonly #sink: OutboundSink;
  readonly #time: CallTime;
  readonly #parts: OutboundParts;
  /** Packets that leave between two frames. */
  readonly #half: PacedStream;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    const { emit, time, wireNow, transport, sink } = parts;
    this.#time = time;
    this.#sink = sink;
    const callMs = (): number => time.now();
    const events = playoutEvents({ emit, callMs, wireMs: wireNow });
    this.playout = new Playout(parts.playoutRing, parts.marks, events);
    this.sender = new RtpSender(transport, () => sink.leaves());
    this.output = new AgentOutput(this.playout, this.sender, parts.tellDigits);
    this.#half = { tick: () => this.#sendHalf(), skip: () => undefined };
  }

  /** `isOpen`: there is somebody to send to who wants to hear. */
  negotiate(audio: NegotiatedAudio, encoder: PayloadEncoder, isOpen: boolean): void {
    this.#isOpen = isOpen;
    this.output.negotiate(audio, encoder);
  }

  /** Where packets are shorter than a frame, the rest of each frame leaves 10 ms after `frames`' turn. */
  pace(frames: PacedStream): void {
    if (this.sender.needsHalf) this.#parts.pacer.addHalf(frames, this.#half);
    else this.#parts.pacer.remove(this.#half);
  }

  close(): void {
    this.#isOpen = false;
    this.#parts.pacer.remove(this.#half);
  }

  /** The packet of one frame of call time. */
  tick(dueMs: number): void {
    if (!this.#isPlaced) {
      this.#isPlaced = true;
      this.#pass(this.#time.samplesAt(dueMs));
    }
    if (!this.#isOpen) {
      this.skip(1);
      return;
    }
    const { output, playout } = this;
    const hasLeft = output.next();
    const { isActive } = playout;
    this.#sink.sent(output.sent, output.tone, dueMs, isActive);
    if (hasLeft) playout.sent();
    if (this.isRecorded) this.#parts.recording.agent(output.recorded);
    this.#position += FRAME_SAMPLES;
    this.#watchPlayout(1, isActive);
  }

  /** Call time, in samples, of the next frame. */
  get position(): number {
    return this.#position;
  }

  /** Leaves out `frames` packets; time stamps and recording stay on the clock. */
  skip(frames: number): void {
    this.output.skip(frames, !this.#isOpen);
    this.#pass(frames * FRAME_SAMPLES);
    if (!this.#isOpen) this.#watchPlayout(frames, this.playout.isActive);
  }

  /** Tells the writer when he wished to know that there is room, and there is. */
  offerRoom(): void {
    const { marks, playoutRing, tellRoom } = this.#parts;
    if (marks.hasWish && playoutRing.free >= playoutRing.capacity / 8 && marks.takeWish()) {
      tellRoom();
    }
  }

  #sendHalf(): void {
    if (!this.#isOpen) return;
    try {
      this.sender.half();
    } catch (error) {
      this.#parts.sink.failed(error);
    }
  }

  #pass(samples: number): void {
    if (this.isRecorded) this.#parts.recording.passAgent(samples);
    this.#position = (this.#position + samples) | 0;
  }

  #watchPlayout(frames: number, isActive: boolean): void {
    const waitingMs = this.output.stalledMs(frames, !this.#isOpen, isActive);
    if (waitingMs === 0) return;
    const event = stalledEvent(this.playout, this.#time.now(), waitingMs);
    if (event !== null) this.#parts.emit(event);
  }
}
