/**
 * One call's way in: from datagrams to what the agent hears. Speech, keys and echo are judged as packets arrive; what is
 * read and recorded comes in order behind the jitter buffer.
 */
import type { SampleRing } from '#lib/sample-ring.ts';
import type { CallCodecs } from './codec/call-codecs.ts';
import { SAMPLES_PER_MS, type CallTime } from './call-time.ts';
import { CallerAudio } from './jitter/caller-audio.ts';
import { CallerKeys } from './dtmf/caller-keys.ts';
import { EchoGuard } from './speech/echo-guard.ts';
import type { DecodedAudio } from './rtp/ordered-audio.ts';
import { RtpReceiver } from './rtp/rtp-receiver.ts';
import type { RtpTransport } from './rtp/rtp-socket.ts';
import type { MediaEvent, NegotiatedAudio } from './types.ts';
import { Vad, type SpeechClassifier, type VadListener } from './speech/vad.ts';

export type InboundParts = {
  readonly time: CallTime;
  /** `wireMs` of an event is clock time plus this. */
  readonly wireOriginMs: number;
  readonly transport: RtpTransport;
  readonly classifier: SpeechClassifier;
  /** Caller audio out to the other thread. */
  readonly callerRing: SampleRing;
  readonly emit: (event: MediaEvent) => void;
  readonly sink: InboundSink;
};

/** Who else wants to know of the caller's stream. Buffers are valid until the call returns. */
export type InboundSink = {
  latched(address: string, port: number): void;
  /** A packet of `length` samples has been put in its place, or came after its time. */
  packet(sequence: number, length: number, isLate: boolean): void;
  /** What a lost packet held was had from a later one, in time. */
  recovered(sequence: number): void;
  /** Sound as it arrived; `isOwn`: it is what we sent. */
  arrived(pcm: Int16Array, length: number, isSpeaking: boolean, isOwn: boolean): void;
  /** What the caller says next, in order, up to a frame. */
  inOrder(pcm: Int16Array): void;
  speaks(on: boolean): void;
};

/** What is heard of a muted caller; as long as the longest packet. */
const SILENCE = new Int16Array(1600);

/** Places of a packet among the others, made once. */
const FOLLOWS = { isNew: true, follows: true };
const IN_ORDER = { isNew: true, follows: false };
const REORDERED = { isNew: false, follows: false };

export class InboundPath {
  readonly receiver: RtpReceiver;
  readonly caller = new CallerAudio((pcm, position) => this.#onCaller(pcm, position));
  readonly #parts: InboundParts;
  readonly #echo = new EchoGuard();
  readonly #keys: CallerKeys;
  readonly #vad: Vad;
  #isMuted = false;

  constructor(parts: InboundParts) {
    this.#parts = parts;
    const { time, emit } = parts;
    this.receiver = this.#newReceiver();
    this.#keys = new CallerKeys({
      onKey: (digit, durationMs, mode) => {
        if (this.#isMuted) return;
        emit({ type: 'dtmf', atMs: time.now(), digit, durationMs, mode });
      },
      callTime: (clockMs) => time.at(clockMs),
    });
    this.#vad = new Vad(parts.classifier, this.#speechEvents(), {
      isEcho: (frame, startMs, isLoud) =>
        this.#keys.hear(frame, startMs) ||
        this.#echo.isEcho(frame, Math.round(startMs * SAMPLES_PER_MS), isLoud),
    });
  }

  get isSpeaking(): boolean {
    return this.#vad.isSpeaking;
  }

  /** Errors: E_MEDIA (unknown codec). */
  negotiate(audio: NegotiatedAudio, codecs: CallCodecs): void {
    this.receiver.negotiate(audio, codecs);
    this.#keys.negotiate(audio);
  }

  /** The caller's voice is heard by listeners and the recording only. */
  mute(on: boolean): void {
    this.#isMuted = on;
  }

  /** So much speech is told of, once for each time he speaks. Infinity: it is not. */
  confirmAfter(ms: number): void {
    this.#vad.confirmAfter(ms);
  }

  /** A frame of ours is on its way to the caller: what comes back of it is not his. */
  sent(pcm: Int16Array, tone: string, dueMs: number): void {
    if (tone !== '') this.#keys.sending(tone, this.#parts.time.at(dueMs));
    this.#echo.sent(pcm, this.#parts.time.samplesAt(dueMs));
  }

  /** Once a frame. */
  tick(dueMs: number, nowMs: number): void {
    const { time } = this.#parts;
    this.receiver.tick(nowMs);
    this.#pull(time.at(Math.min(dueMs, this.receiver.heldSinceMs)));
    this.#vad.tick(time.at(nowMs) - this.caller.behindMs);
    this.#keys.tick(nowMs);
  }

  free(): void {
    this.#vad.free();
  }

  #newReceiver(): RtpReceiver {
    const { transport, time, emit, sink } = this.#parts;
    return new RtpReceiver(transport, {
      decoded: (audio) => this.#onAudio(audio),
      recovered: (pcm, length, at, arrivalMs, sequence) => {
        const { late } = this.caller;
        this.caller.recover(at, pcm, length, time.samplesAt(arrivalMs));
        if (sequence >= 0 && this.caller.late === late) sink.recovered(sequence);
      },
      comfortNoise: (payload, at) => this.caller.describeSilence(payload, at),
      patienceMs: () => this.caller.patienceMs,
      telephoneEvent: (payload, timestamp, arrivalMs) =>
        this.#keys.event(payload, timestamp, arrivalMs),
      restarted: (isSeamless) => this.#onRestart(isSeamless),
      latched: (address, port) => {
        sink.latched(address, port);
        emit({ type: 'media.latched', atMs: time.now(), address, port });
      },
      advance: (nowMs) => this.#pull(time.at(nowMs)),
    });
  }

  #speechEvents(): VadListener {
    const { time, emit, sink, wireOriginMs } = this.#parts;
    return {
      started: (startMs, wireMs) => {
        emit({ type: 'speech.started', atMs: time.now(), startMs, wireMs });
        sink.speaks(true);
      },
      lasted: (startMs, speechMs) =>
        emit({ type: 'speech.lasted', atMs: time.now(), startMs, speechMs }),
      stopped: (startMs, endMs, wireMs) => {
        sink.speaks(false);
        const jitterMs = this.caller.keptMs(endMs, time.at(wireMs - wireOriginMs));
        emit({ type: 'speech.stopped', atMs: time.now(), startMs, endMs, wireMs, jitterMs });
      },
    };
  }

  /** Brings the caller's audio up to call time `callMs`. */
  #pull(callMs: number): void {
    this.caller.pull(callMs, this.#keys.isEventOpen);
  }

  #onCaller(pcm: Int16Array, position: number): void {
    this.#parts.sink.inOrder(pcm);
    // What comes back of the agent's own words is not the caller's: nobody is to read it.
    const isOurs = this.#echo.isOwn(position) || this.#keys.isTone(position / SAMPLES_PER_MS);
    if (isOurs || this.#isMuted) pcm.fill(0);
    this.#parts.callerRing.push(pcm);
  }

  #onAudio(audio: DecodedAudio): void {
    const { pcm, sequence, length, time: at, arrivalMs, isNew, follows, isQuiet } = audio;
    const { sink, time, wireOriginMs } = this.#parts;
    this.#keys.audio(arrivalMs);
    const lateBefore = this.caller.late;
    const order = isNew ? (follows ? FOLLOWS : IN_ORDER) : REORDERED;
    const position = this.caller.put(at, pcm, length, time.samplesAt(arrivalMs), order);
    if (isQuiet) this.caller.hearSilence(pcm, length);
    sink.packet(sequence, length, this.caller.late > lateBefore);
    if (!isNew) return;
    const heard = this.#isMuted ? SILENCE : pcm;
    this.#vad.write(heard, length, position / SAMPLES_PER_MS, arrivalMs + wireOriginMs);
    sink.arrived(pcm, length, this.#vad.isSpeaking, this.#echo.isOwn(position));
  }

  #onRestart(isSeamless: boolean): void {
    if (!isSeamless) this.caller.restart();
    this.#keys.restart();
  }
}
