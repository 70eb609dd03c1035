/**
 * What leaves on the agent's side: the utterances over their background, with effects, or silence for a muted agent; what
 * people on the call say; in place of it all a loop (hold music) or digits. One packet per frame whatever it is.
 */
import { Background } from '../mix/background.ts';
import { CallParties } from '../mix/call-parties.ts';
import type { PayloadEncoder } from '../codec/codecs.ts';
import { DtmfSender, type DtmfJob } from '../dtmf/dtmf-sender.ts';
import { Effects } from '../mix/effects.ts';
import { Fader, mixInto } from './gain.ts';
import { Gate, LoopSource } from '../mix/loop-source.ts';
import type { Playout } from './playout.ts';
import type { RtpSender } from '../rtp/rtp-sender.ts';
import { SpeakingWatch } from './speaking-watch.ts';
import { FRAME_SAMPLES, type NegotiatedAudio } from '../types.ts';

/** What people say in one frame. One for all calls: no frame is worked on while another one is. */
const STAFF = new Int16Array(FRAME_SAMPLES);

/** The agent's part of the frame at hand, and what is sent of it; of whichever call: the next one takes their place. */
const said = new Int16Array(FRAME_SAMPLES);
const mixed = new Int16Array(FRAME_SAMPLES);
/** Nobody writes here. */
const SILENCE = new Int16Array(FRAME_SAMPLES);

/** What the watch was told last, where it need not be told the same again. */
const NOTED = { nothing: 0, speech: 1, rest: 2 } as const;

/** First in it what every frame touches: together it is two lines of the cache, apart it would be four. */
export class AgentOutput {
  /** Nothing goes with the voice or takes its place, and nobody listens: looked up once and not in each of them. */
  #isPlain = false;
  #hasSpoken = false;
  #wasActive = false;
  #noted: (typeof NOTED)[keyof typeof NOTED] = NOTED.nothing;
  #tone = '';
  readonly #playout: Playout;
  readonly #sender: RtpSender;
  #sent: Int16Array = SILENCE;
  #recorded: Int16Array = SILENCE;
  readonly #onChange = (): void => {
    this.#isPlain = false;
  };
  readonly loop = new LoopSource(this.#onChange);
  readonly voice = new Fader(this.#onChange);
  readonly background = new Background(this.#onChange);
  readonly effects = new Effects(this.#onChange);
  readonly parties = new CallParties(this.#onChange);
  readonly #watch = new SpeakingWatch();
  readonly #dtmf: DtmfSender;
  readonly #gate = new Gate(true);
  readonly #present = new Gate(true);
  readonly #staffGate = new Gate(true);
  /** What was sent, and what of it is the agent's, kept until the end of the frame; made when somebody listens or joins. */
  #own: Int16Array | null = null;
  #agent: Int16Array | null = null;
  readonly #moment = { isAgentSpeaking: false, isCallerSpeaking: false, isHeld: false };
  #isOverheard = false;
  #eventType: number | null = null;
  #isMuted = false;

  constructor(playout: Playout, sender: RtpSender, onSent: (request: number) => void) {
    this.#playout = playout;
    this.#sender = sender;
    this.#dtmf = new DtmfSender(onSent);
  }

  /** The digit that this frame is a tone of; empty: none. */
  get tone(): string {
    return this.#tone;
  }

  /** Neither has anybody joined nor does anybody listen. */
  get isPrivate(): boolean {
    return this.#isPlain || !(this.#isOverheard || this.parties.isOpen);
  }

  /**
   * The frame that `next` made a packet of: what the other side hears, event packets being silence. Not to be written to,
   * and valid until the next frame of any call; until the next one of this call where it is not private.
   */
  get sent(): Int16Array {
    return this.#sent;
  }

  /** Of it, what is the agent's, and not that of people who have joined. */
  get agent(): Int16Array {
    return this.parties.isOpen ? (this.#agent ?? this.#sent) : this.#sent;
  }

  /** The same frame for the recording: the agent as he spoke, muted or not, and whatever else the caller hears. */
  get recorded(): Int16Array {
    return this.#recorded;
  }

  negotiate(audio: NegotiatedAudio, encoder: PayloadEncoder): void {
    const { dtmfPayloadType, dtmfSendPayloadType = dtmfPayloadType } = audio;
    this.#eventType = dtmfSendPayloadType;
    this.#sender.negotiate(audio, encoder);
  }

  mute(on: boolean): void {
    this.#isMuted = on;
    this.#isPlain = false;
  }

  /** Somebody listens to what is sent. */
  overhear(on: boolean): void {
    this.#isOverheard = on;
    this.#isPlain = false;
  }

  /** Where the background is to know of it. */
  callerSpeaks(on: boolean): void {
    this.#moment.isCallerSpeaking = on;
  }

  /** Something of an utterance was sent within the last 40 ms. */
  get isSpeaking(): boolean {
    return this.#watch.isSpeaking;
  }

  sendDtmf(job: DtmfJob): void {
    this.#dtmf.add(job);
    this.#isPlain = false;
  }

  /** Takes the next frame, and sends what is due; false while it waits for a packet to be full. */
  next(): boolean {
    if (!this.#isPlain) return this.#nextMixed();
    const isStill = this.#playout.isStill;
    const isSpeech = !isStill && this.#playout.take(said) > 0;
    const frame = isStill ? SILENCE : said;
    this.#hasSpoken = isSpeech;
    this.#sent = frame;
    this.#recorded = frame;
    const isSpurt = this.#isSpurt(isSpeech);
    return this.#sender.frame(frame, isSpurt, false);
  }

  #nextMixed(): boolean {
    const step = this.#dtmf.step(this.#eventType !== null);
    const isReplaced = step !== 'idle' || this.loop.isOn;
    this.#playout.stand(isReplaced || this.effects.wantsSilence);
    const isSpeech = this.#playout.take(said) > 0;
    this.#hasSpoken = isSpeech;
    this.#dress(said, isSpeech, isReplaced);
    const sent = this.isPrivate ? mixed : (this.#own ??= new Int16Array(FRAME_SAMPLES));
    this.#sent = sent;
    sent.set(said);
    this.#gate.shape(sent, !this.#isMuted);
    const isLooped = this.loop.isHeard;
    this.loop.mix(sent, step !== 'idle');
    if (this.parties.isOpen) this.#addStaff(isReplaced);
    if (step === 'event') sent.fill(0);
    else if (step === 'tone') this.#dtmf.render(sent);
    this.#tone = step === 'tone' ? this.#dtmf.digit : '';
    // Also while a loop that is over fades out, or the recording would click.
    this.#recorded = isReplaced || (isLooped && !this.#isMuted) ? sent : said;
    if (step === 'event' && this.#eventType !== null) {
      this.#wasActive = false;
      this.#dtmf.packet(this.#sender, this.#eventType);
      return true;
    }
    const isPlayed = step === 'idle' ? this.loop.isOn : step === 'tone';
    const isSpurt = this.#isSpurt(isPlayed || (isSpeech && !this.#isMuted));
    this.#isPlain = step === 'idle' && this.#isAtRest;
    // Between digits every frame leaves at once: an event cannot wait for a packet to be full.
    return this.#sender.frame(sent, isSpurt, step !== 'idle');
  }

  /** Whether a talkspurt begins with this frame. */
  #isSpurt(isActive: boolean): boolean {
    const isSpurt = (isActive && !this.#wasActive) || this.#sender.packetsSent === 0;
    this.#wasActive = isActive;
    return isSpurt;
  }

  /** After a frame in which nothing was replaced: nothing will be in the next one but the voice as it is. */
  get #isAtRest(): boolean {
    if (this.#isMuted || this.#dtmf.isBusy || !this.isPrivate) return false;
    const isBare = this.voice.isAtRest && this.background.isAtRest && this.effects.isAtRest;
    return isBare && !this.loop.isOn && !this.loop.isHeard;
  }

  /** The agent's voice with what goes with it; a person who has taken over is heard without. */
  #dress(said: Int16Array, isSpeech: boolean, isReplaced: boolean): void {
    this.voice.shape(said);
    const isPresent = !this.parties.hasTakenOver;
    this.#present.shape(said, isPresent);
    const moment = this.#moment;
    moment.isHeld = isReplaced || !isPresent;
    moment.isAgentSpeaking = isSpeech || this.#watch.isSpeaking;
    this.background.mix(said, moment);
    if (this.loop.isOn || !isPresent) this.effects.clear();
    this.effects.mix(said, isReplaced);
  }

  /** What people say, into both what is sent and what is recorded; whoever hears a loop hears nobody else. */
  #addStaff(isReplaced: boolean): void {
    const staff = STAFF;
    this.#agent ??= new Int16Array(FRAME_SAMPLES);
    this.#agent.set(this.#sent);
    this.parties.pull();
    staff.fill(0);
    this.parties.toCaller(staff);
    this.#staffGate.shape(staff, !isReplaced);
    mixInto(this.#sent, staff, 1, 1);
    mixInto(said, staff, 1, 1);
  }

  /**
   * So many frames have been sent or left out. For how long (ms) nothing has been sent of the utterance whose turn it is
   * when that is to be told now, else 0. `isActive`: there is an utterance whose turn it is.
   */
  stalledMs(frames: number, isShut: boolean, isActive: boolean): number {
    const hasSpoken = !isShut && this.#hasSpoken;
    const noted = this.#noted;
    if (hasSpoken ? noted === NOTED.speech : noted === NOTED.rest && !isActive) return 0;
    const { wait, utterance } = this.#playout;
    if (noted === NOTED.speech) this.#watch.pass(0, true, null, utterance);
    const stalledMs = this.#watch.pass(frames, hasSpoken, wait, utterance);
    const isRest = !isActive && !this.#watch.isSpeaking;
    this.#noted = hasSpoken ? NOTED.speech : isRest ? NOTED.rest : NOTED.nothing;
    return stalledMs;
  }

  /** Frames that are left out; `isShut`: because nothing may be sent, not because the process stood still. */
  skip(frames: number, isShut: boolean): void {
    this.#sender.pass(frames, isShut);
    this.#wasActive = false;
    this.#sent = SILENCE;
    if (isShut && this.parties.isOpen) {
      // They go on hearing the caller and one another.
      this.#agent?.fill(0);
      this.parties.pull();
    }
    if (isShut) this.#dtmf.interrupt();
  }
}
