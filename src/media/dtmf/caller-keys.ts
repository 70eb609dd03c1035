/**
 * The keys a caller presses, heard three ways: as telephone events, as tones in the audio, and (by the owner of the call)
 * as SIP INFO. What is one press is told once.
 */
import { InbandDtmf } from './dtmf-inband.ts';
import type { FrameSound } from '../speech/frame-sound.ts';
import { DtmfKeys } from './dtmf-keys.ts';
import { DtmfReceiver } from './dtmf-receiver.ts';
import type { NegotiatedAudio } from '../types.ts';

export type CallerKeysOptions = {
  readonly onKey: (digit: string, durationMs: number, mode: 'rfc4733' | 'inband') => void;
  /** Call time of a time on the clock. */
  readonly callTime: (clockMs: number) => number;
};

/** A tone of ours comes back from a far end's line this much later at most. */
const OWN_TONE_MS = 600;

export class CallerKeys {
  readonly #options: CallerKeysOptions;
  readonly #keys = new DtmfKeys();
  readonly #events: DtmfReceiver;
  readonly #inband: InbandDtmf;
  #ownDigit = '';
  #ownUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: CallerKeysOptions) {
    this.#options = options;
    const { onKey, callTime } = options;
    this.#events = new DtmfReceiver((digit, durationMs, startMs) => {
      const at = callTime(startMs);
      if (this.#keys.press(digit, 'event', at, at + durationMs))
        onKey(digit, durationMs, 'rfc4733');
    });
    this.#inband = new InbandDtmf((digit, startMs, endMs) => this.#heard(digit, startMs, endMs));
  }

  /** An event is going on: audio may stand still. */
  get isEventOpen(): boolean {
    return this.#events.isOpen;
  }

  /** A tone goes on, or what may become one: every frame is to be heard. */
  get isToneOpen(): boolean {
    return this.#inband.isOpen;
  }

  /** Presses that came by more than one way. */
  get suppressed(): number {
    return this.#keys.suppressed;
  }

  negotiate({ codec, dtmfPayloadType, dtmfClockHz }: NegotiatedAudio): void {
    this.#events.negotiate(dtmfClockHz);
    // Linear audio is a client's without SIP, whose keys come by message.
    this.#inband.expectEvents(dtmfPayloadType !== null || codec === 'L16');
  }

  /** A telephone-event payload; false when it is malformed. */
  event(payload: DataView, timestamp: number, arrivalMs: number): boolean {
    return this.#events.packet(payload, timestamp, arrivalMs);
  }

  /** An audio packet has come. */
  audio(arrivalMs: number): void {
    if (this.#events.isOpen) this.#events.audio(arrivalMs);
  }

  /** A frame of the caller in order, with its levels if they are known; true while it is, or may become, a key's tone: no speech. */
  hear(frame: Int16Array, startMs: number, sound?: FrameSound): boolean {
    return this.#inband.hear(frame, startMs, sound);
  }

  /** Whether the frame at this call time is a key's tone. */
  isTone(startMs: number): boolean {
    return this.#inband.isTone(startMs);
  }

  /** We send this digit as a tone right now: its echo is no key of the caller. */
  sending(digit: string, callMs: number): void {
    this.#ownDigit = digit;
    this.#ownUntilMs = callMs + OWN_TONE_MS;
  }

  tick(nowMs: number): void {
    this.#events.tick(nowMs);
    this.#inband.tick(this.#options.callTime(nowMs));
  }

  /** The stream began anew. */
  restart(): void {
    this.#events.restart();
  }

  #heard(digit: string, startMs: number, endMs: number): void {
    if (digit === this.#ownDigit && startMs <= this.#ownUntilMs) return;
    if (this.#keys.press(digit, 'inband', startMs, endMs))
      this.#options.onKey(digit, Math.round(endMs - startMs), 'inband');
  }
}
