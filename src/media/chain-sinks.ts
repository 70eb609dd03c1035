/**
 * What the two paths of a call tell of their frames, and to whom. Objects with methods, not closures: each closure would be
 * two lines of the processor's cache to fetch for every packet.
 */
import type { InboundPath, InboundSink } from './inbound-path.ts';
import type { OutboundSink } from './outbound-path.ts';
import type { CallQualityMeter } from './quality/call-quality.ts';
import type { SignalBook } from './quality/quality-signal.ts';
import type { CallRecording } from './recording/call-recording.ts';
import type { FrameSound } from './speech/frame-sound.ts';

/** Of the caller's stream. */
export class CallerSink implements InboundSink {
  #signal: SignalBook | null = null;
  #quality: CallQualityMeter | null = null;
  /** The recording takes each frame. */
  isRecorded = false;
  readonly #recording: CallRecording;
  readonly #onSpeech: (on: boolean) => void;

  constructor(recording: CallRecording, onSpeech: (on: boolean) => void) {
    this.#recording = recording;
    this.#onSpeech = onSpeech;
  }

  /** Made after the path that tells it; nothing comes before the call starts. */
  tell(quality: CallQualityMeter): void {
    this.#quality = quality;
    this.#signal = quality.signal;
  }

  latched(address: string, port: number): void {
    this.#quality?.rtcp.latched(address, port);
  }

  packet(sequence: number, length: number, isLate: boolean): void {
    this.#quality?.packet(sequence, length, isLate);
  }

  recovered(sequence: number): void {
    this.#quality?.recovered(sequence);
  }

  arrived(
    pcm: Int16Array,
    length: number,
    isSpeaking: boolean,
    isOwn: boolean,
    sound: FrameSound | null,
  ): void {
    this.#signal?.caller(pcm, length, isSpeaking, isOwn, sound);
  }

  inOrder(pcm: Int16Array): void {
    if (this.isRecorded) this.#recording.caller(pcm);
  }

  speaks(on: boolean): void {
    this.#onSpeech(on);
  }
}

/** Of what is sent. */
export class AgentSink implements OutboundSink {
  #signal: SignalBook | null = null;
  #quality: CallQualityMeter | null = null;
  readonly #inbound: InboundPath;
  readonly #onFailed: (error: unknown) => void;

  constructor(inbound: InboundPath, onFailed: (error: unknown) => void) {
    this.#inbound = inbound;
    this.#onFailed = onFailed;
  }

  tell(quality: CallQualityMeter): void {
    this.#quality = quality;
    this.#signal = quality.signal;
  }

  sent(pcm: Int16Array, tone: string, dueMs: number, isSpoken: boolean): void {
    this.#inbound.sent(pcm, tone, dueMs);
    if (isSpoken) this.#signal?.agent(pcm, this.#inbound.isSpeaking);
  }

  leaves(): void {
    this.#quality?.rtcp.send(true);
  }

  failed(error: unknown): void {
    this.#onFailed(error);
  }
}
