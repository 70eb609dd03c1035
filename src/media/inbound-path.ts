/**
 * One call's way in: from datagrams to what the agent hears. Speech, keys and echo are judged as packets arrive; what is
 * read and recorded comes in order behind the jitter buffer.
 */
import type { SampleRing } from '#lib/sample-ring.ts';
import type { CallCodecs } from './codec/call-codecs.ts';
import { SAMPLES_PER_MS, type CallTime } from './call-time.ts';
import { CallerAudio, type CallerListener } from './jitter/caller-audio.ts';
import { CallerKeys } from './dtmf/caller-keys.ts';
import { isAudible } from './dtmf/dtmf-gate.ts';
import { EchoGuard, isSilent } from './speech/echo-guard.ts';
import type { FrameSound } from './speech/frame-sound.ts';
import type { DecodedAudio } from './rtp/ordered-audio.ts';
import { RtpReceiver, type ReceiverSink } from './rtp/rtp-receiver.ts';
import type { RtpTransport } from './rtp/rtp-socket.ts';
import { FRAME_SAMPLES, type MediaEvent, type NegotiatedAudio } from './types.ts';
import { Vad, type SpeechClassifier, type VadListener, type VadOptions } from './speech/vad.ts';

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
  /** A packet of `length` samples came: told where the length is another than before, or it came after its time. */
  packet(sequence: number, length: number, isLate: boolean): void;
  /** What a lost packet held was had from a later one, in time. */
  recovered(sequence: number): void;
  /** Sound as it arrived; `isOwn`: it is what we sent; `sound`: its levels, if they have been measured. */
  arrived(
    pcm: Int16Array,
    length: number,
    isSpeaking: boolean,
    isOwn: boolean,
    sound: FrameSound | null,
  ): void;
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

/** Verdicts on what is heard are by whole frames, and a position may be off by one. */
const VERDICT = 2 * FRAME_SAMPLES;

/**
 * It is the receiver's, the detector's and the caller audio's listener itself, and holds what it needs in its own fields: each closure or
 * object between would be fetched anew from far away for every packet.
 */
export class InboundPath implements ReceiverSink, CallerListener, VadOptions {
  readonly receiver: RtpReceiver;
  readonly caller: CallerAudio;
  readonly #time: CallTime;
  readonly #sink: InboundSink;
  readonly #callerRing: SampleRing;
  readonly #vad: Vad;
  readonly #echo = new EchoGuard();
  readonly #keys: CallerKeys;
  #isMuted = false;
  #isSpeaking = false;
  #isEventOpen = false;
  /** A tone goes on, or what may become one: every frame is to be heard for it. */
  #isToneOpen = false;
  #packetLength = 0;
  /** Call time, in samples, from which on nothing was found to be the agent's voice or a tone. */
  #notCallersUntil = -1;
  /** The same up to which something of what we sent may come back. */
  #echoUntil = -1;
  readonly #parts: InboundParts;

  constructor(parts: InboundParts) {
    this.#parts = parts;
    const { time, emit } = parts;
    this.#time = time;
    this.#sink = parts.sink;
    this.#callerRing = parts.callerRing;
    this.receiver = new RtpReceiver(parts.transport, this);
    this.caller = new CallerAudio(this);
    this.#keys = new CallerKeys({
      onKey: (digit, durationMs, mode) => {
        if (this.#isMuted) return;
        emit({ type: 'dtmf', atMs: time.now(), digit, durationMs, mode });
      },
      callTime: (clockMs) => time.at(clockMs),
    });
    this.#vad = new Vad(parts.classifier, this.#speechEvents(), this);
  }

  get isSpeaking(): boolean {
    return this.#isSpeaking;
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
    if (tone !== '') this.#keys.sending(tone, this.#time.at(dueMs));
    const position = this.#time.samplesAt(dueMs);
    if (position > this.#echoUntil && isSilent(pcm)) return;
    this.#echoUntil = this.#echo.sent(pcm, position);
  }

  /** Once a frame. */
  tick(dueMs: number, nowMs: number): void {
    this.receiver.tick(nowMs);
    this.#pull(this.#time.at(Math.min(dueMs, this.receiver.heldSinceMs)));
    if (this.#isSpeaking) this.#vad.tick(this.#time.at(nowMs) - this.caller.behindMs);
    if (!this.#isEventOpen && !this.#isToneOpen) return;
    this.#keys.tick(nowMs);
    this.#isToneOpen = this.#keys.isToneOpen;
    this.#isEventOpen = this.#keys.isEventOpen;
  }

  free(): void {
    this.#vad.free();
  }

  decoded(audio: DecodedAudio): void {
    const { pcm, length, time, arrivalMs, isNew, isQuiet } = audio;
    if (this.#isEventOpen) {
      this.#keys.audio(arrivalMs);
      this.#isEventOpen = this.#keys.isEventOpen;
    }
    const { caller } = this;
    const lateBefore = caller.late;
    const order = isNew ? (audio.follows ? FOLLOWS : IN_ORDER) : REORDERED;
    const position = caller.put(time, pcm, length, this.#time.samplesAt(arrivalMs), order);
    if (isQuiet) caller.hearSilence(pcm, length);
    if (caller.late > lateBefore || length !== this.#packetLength) {
      this.#packetLength = length;
      this.#sink.packet(audio.sequence, length, caller.late > lateBefore);
    }
    if (!isNew) return;
    const heard = this.#isMuted ? SILENCE : pcm;
    const judged = this.#vad.write(heard, length, position / SAMPLES_PER_MS, arrivalMs);
    const sound = this.#isMuted ? null : judged;
    this.#sink.arrived(pcm, length, this.#isSpeaking, this.#isAgents(position), sound);
    // A part of a frame waits for the other one, with which it is judged.
    if (length >= FRAME_SAMPLES) caller.pullArrived(pcm, length, this.#isEventOpen);
  }

  recovered(
    pcm: Int16Array,
    length: number,
    time: number,
    arrivalMs: number,
    sequence: number,
  ): void {
    const { late } = this.caller;
    this.caller.recover(time, pcm, length, this.#time.samplesAt(arrivalMs));
    if (sequence >= 0 && this.caller.late === late) this.#sink.recovered(sequence);
  }

  comfortNoise(payload: DataView, time: number): void {
    this.caller.describeSilence(payload, time);
  }

  patienceMs(): number {
    return this.caller.patienceMs;
  }

  telephoneEvent(payload: DataView, timestamp: number, arrivalMs: number): boolean {
    const isRight = this.#keys.event(payload, timestamp, arrivalMs);
    this.#isEventOpen = this.#keys.isEventOpen;
    return isRight;
  }

  restarted(isSeamless: boolean): void {
    if (!isSeamless) this.caller.restart();
    this.#keys.restart();
    this.#isEventOpen = this.#keys.isEventOpen;
  }

  latched(address: string, port: number): void {
    this.#sink.latched(address, port);
    this.#parts.emit({ type: 'media.latched', atMs: this.#time.now(), address, port });
  }

  advance(nowMs: number): void {
    this.#pull(this.#time.at(nowMs));
  }

  /** Asked by the detector of every frame in order: whether it is a key's tone or the agent's own voice. */
  isEcho(frame: Int16Array, startMs: number, isLoud: boolean, sound: FrameSound): boolean {
    const position = Math.round(startMs * SAMPLES_PER_MS);
    const isNot =
      ((this.#isToneOpen || isAudible(sound)) && this.#hearTone(frame, startMs, sound)) ||
      (position <= this.#echoUntil && this.#echo.isEcho(frame, position, isLoud, sound.energy));
    if (isNot) this.#notCallersUntil = position + VERDICT;
    return isNot;
  }

  given(pcm: Int16Array, position: number): void {
    this.#sink.inOrder(pcm);
    // What comes back of the agent's own words is not the caller's: nobody is to read it.
    if (this.#isMuted || this.#isAgents(position) || this.#isKeyTone(position)) pcm.fill(0);
    this.#callerRing.push(pcm);
  }

  #speechEvents(): VadListener {
    const { time, emit, sink, wireOriginMs } = this.#parts;
    return {
      started: (startMs, clockMs) => {
        this.#isSpeaking = true;
        const wireMs = clockMs + wireOriginMs;
        emit({ type: 'speech.started', atMs: time.now(), startMs, wireMs });
        sink.speaks(true);
      },
      lasted: (startMs, speechMs) =>
        emit({ type: 'speech.lasted', atMs: time.now(), startMs, speechMs }),
      stopped: (startMs, endMs, clockMs) => {
        this.#isSpeaking = false;
        sink.speaks(false);
        const wireMs = clockMs + wireOriginMs;
        const jitterMs = this.caller.keptMs(endMs, time.at(clockMs));
        emit({ type: 'speech.stopped', atMs: time.now(), startMs, endMs, wireMs, jitterMs });
      },
    };
  }

  #hearTone(frame: Int16Array, startMs: number, sound: FrameSound): boolean {
    const isTone = this.#keys.hear(frame, startMs, sound);
    this.#isToneOpen = this.#keys.isToneOpen;
    return isTone;
  }

  /** Whether the frame at `position` was found to be the agent's own voice. */
  #isAgents(position: number): boolean {
    return position < this.#notCallersUntil && this.#echo.isOwn(position);
  }

  #isKeyTone(position: number): boolean {
    return position < this.#notCallersUntil && this.#keys.isTone(position / SAMPLES_PER_MS);
  }

  /** Brings the caller's audio up to call time `callMs`. */
  #pull(callMs: number): void {
    this.caller.pull(callMs, this.#isEventOpen);
  }
}
