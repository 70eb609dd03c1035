/**
 * Digits on their way out, frame by frame: as telephone events (RFC 4733) or as tones. An event is one packet each 20 ms,
 * its last one three times (2.5.1.4); the repeats lie in the gap.
 */
import { DTMF_DIGITS, renderTone } from './dtmf-tones.ts';
import type { RtpSender } from '../rtp/rtp-sender.ts';
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

export type DtmfJob = {
  /** Told when all of it has been sent. */
  readonly request: number;
  /** `0-9A-D*#`, `w` for a pause. */
  readonly digits: string;
  readonly mode: 'rfc4733' | 'inband';
  readonly toneMs: number;
  readonly gapMs: number;
};

/** What a frame is: nothing to do with digits, silence between them, an event packet, or a tone. */
export type DtmfStep = 'idle' | 'silence' | 'event' | 'tone';

const PAUSE_MS = 500;
/** The last packet of an event is sent this often. */
const END_PACKETS = 3;
/** Before the first digit, for what was being played to fade out in. */
const LEAD = -1;

export class DtmfSender {
  readonly #onSent: (request: number) => void;
  readonly #jobs: DtmfJob[] = [];
  /** Place in the first job. */
  #index = 0;
  /** Frame within the digit, LEAD before the first. */
  #frame = LEAD;
  #digit = '';
  #isEvent = false;
  /** One object for all packets. */
  readonly #event = { code: 0, duration: 0, isFirst: false, isEnd: false };
  #toneSamples = 0;
  #toneFrames = 0;
  #frames = 0;

  constructor(onSent: (request: number) => void) {
    this.#onSent = onSent;
  }

  /** The digit under way; `w` is a pause. */
  get digit(): string {
    return this.#digit;
  }

  /** Digits are being sent or wait. */
  get isBusy(): boolean {
    return this.#jobs.length > 0;
  }

  add(job: DtmfJob): void {
    this.#jobs.push(job);
  }

  /** The next frame. `takesEvents`: false sends tones whatever was asked for. */
  step(takesEvents: boolean): DtmfStep {
    const job = this.#jobs[0];
    if (job === undefined) return 'idle';
    if (this.#frame === LEAD) {
      this.#begin(job, takesEvents);
      // One more frame of what goes on now: it fades out there.
      return 'silence';
    }
    if (this.#frame >= this.#frames && !this.#next(takesEvents)) return 'idle';
    const frame = this.#frame++;
    if (this.#digit === 'w') return 'silence';
    if (this.#isEvent) return frame < this.#toneFrames + END_PACKETS - 1 ? 'event' : 'silence';
    return frame < this.#toneFrames ? 'tone' : 'silence';
  }

  /** Sends the packet of a frame that is an `event`. */
  packet(sender: RtpSender, payloadType: number): void {
    const frame = this.#frame - 1;
    const isEnd = frame >= this.#toneFrames - 1;
    const duration = isEnd ? this.#toneSamples : (frame + 1) * FRAME_SAMPLES;
    const event = this.#event;
    event.code = DTMF_DIGITS.indexOf(this.#digit);
    event.duration = duration;
    event.isFirst = frame === 0;
    event.isEnd = isEnd;
    sender.event(payloadType, event);
  }

  /** The samples of a frame that is a `tone`. */
  render(into: Int16Array): void {
    renderTone(into, this.#digit, (this.#frame - 1) * FRAME_SAMPLES, this.#toneSamples);
  }

  /** Nothing can be sent now: the digit under way counts as sent, for the other side has heard of it. */
  interrupt(): void {
    if (this.#frame > 0) this.#frame = this.#frames;
  }

  /** The digit at #index. */
  #begin(job: DtmfJob, takesEvents: boolean): void {
    const { digits, mode, toneMs, gapMs } = job;
    this.#digit = digits[this.#index] ?? 'w';
    this.#frame = 0;
    const isPause = this.#digit === 'w';
    this.#isEvent = !isPause && mode === 'rfc4733' && takesEvents;
    this.#toneSamples = isPause ? 0 : Math.round((toneMs * SAMPLE_RATE_HZ) / 1000);
    this.#toneFrames = Math.ceil(this.#toneSamples / FRAME_SAMPLES);
    const wholeMs = isPause ? PAUSE_MS : toneMs + gapMs;
    const least = this.#toneFrames + (this.#isEvent ? END_PACKETS - 1 : 0);
    this.#frames = Math.max(least, Math.ceil(wholeMs / FRAME_MS));
  }

  /** The digit after this one; false when there is none. */
  #next(takesEvents: boolean): boolean {
    const job = this.#jobs[0] as DtmfJob;
    this.#index++;
    if (this.#index >= job.digits.length) {
      this.#index = 0;
      this.#jobs.shift();
      this.#onSent(job.request);
    }
    const next = this.#jobs[0];
    if (next === undefined) this.#frame = LEAD;
    else this.#begin(next, takesEvents);
    return next !== undefined;
  }
}
