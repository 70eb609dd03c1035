/**
 * What leaves on the agent's side: the utterances, or silence for a muted agent; in their place a loop (hold music) or
 * digits. One packet per frame whatever it is.
 */
import { DtmfSender, type DtmfJob } from './dtmf-sender.ts';
import { Gate, LoopSource } from './loop-source.ts';
import type { Playout } from './playout.ts';
import type { RtpSender } from './rtp-sender.ts';
import { FRAME_SAMPLES, type NegotiatedAudio } from './types.ts';

export class AgentOutput {
  readonly loop = new LoopSource();
  readonly #playout: Playout;
  readonly #sender: RtpSender;
  readonly #dtmf: DtmfSender;
  readonly #gate = new Gate(true);
  readonly #said = new Int16Array(FRAME_SAMPLES);
  readonly #sent = new Int16Array(FRAME_SAMPLES);
  #recorded = this.#sent;
  #eventType: number | null = null;
  #isMuted = false;
  #wasActive = false;

  constructor(playout: Playout, sender: RtpSender, onSent: (request: number) => void) {
    this.#playout = playout;
    this.#sender = sender;
    this.#dtmf = new DtmfSender(onSent);
  }

  /** The frame that `next` made a packet of: what the other side hears, event packets being silence. */
  get sent(): Int16Array {
    return this.#sent;
  }

  /** The same frame for the recording: the agent as he spoke, muted or not. */
  get recorded(): Int16Array {
    return this.#recorded;
  }

  negotiate(audio: NegotiatedAudio): void {
    const { dtmfPayloadType, dtmfSendPayloadType = dtmfPayloadType } = audio;
    this.#eventType = dtmfSendPayloadType;
    this.#sender.negotiate(audio);
  }

  mute(on: boolean): void {
    this.#isMuted = on;
  }

  sendDtmf(job: DtmfJob): void {
    this.#dtmf.add(job);
  }

  /** The packet of the next frame, valid until the next call. */
  next(): Uint8Array {
    const step = this.#dtmf.step(this.#eventType !== null);
    const isReplaced = step !== 'idle' || this.loop.isOn;
    this.#playout.stand(isReplaced);
    const isSpeech = this.#playout.take(this.#said) > 0;
    const sent = this.#sent;
    sent.set(this.#said);
    this.#gate.shape(sent, !this.#isMuted);
    const isLooped = this.loop.isHeard;
    this.loop.mix(sent, step !== 'idle');
    if (step === 'event') sent.fill(0);
    else if (step === 'tone') this.#dtmf.render(sent);
    // Also while a loop that is over fades out, or the recording would click.
    this.#recorded = isReplaced || (isLooped && !this.#isMuted) ? sent : this.#said;
    if (step === 'event' && this.#eventType !== null) {
      this.#wasActive = false;
      return this.#dtmf.packet(this.#sender, this.#eventType);
    }
    const isPlayed = step === 'idle' ? this.loop.isOn : step === 'tone';
    const isActive = isPlayed || (isSpeech && !this.#isMuted);
    const isFirst = this.#sender.packetsSent === 0;
    const packet = this.#sender.next(sent, isFirst || (isActive && !this.#wasActive));
    this.#wasActive = isActive;
    return packet;
  }

  /** Frames that are left out; `isShut`: because nothing may be sent, not because the process stood still. */
  skip(frames: number, isShut: boolean): void {
    this.#sender.pass(frames);
    this.#wasActive = false;
    this.#sent.fill(0);
    if (isShut) this.#dtmf.interrupt();
  }
}
