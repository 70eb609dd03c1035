/**
 * The people who have joined a call beside caller and agent, on the worker's side. Each frame their voices are taken from
 * their rings, mixed, and everybody is given all the others. While nobody has joined, it does nothing.
 */
import { FrameQueue } from './frame-queue.ts';
import { LossyRing } from './lossy-ring.ts';
import { Mixer } from './mixer.ts';
import { PartyVoice, type PartySettings } from './party-voice.ts';
import { ASIDE_SAMPLES, MAX_PARTIES, PARTY_IN, PARTY_OUT } from './mix-types.ts';
import { FRAME_SAMPLES } from './types.ts';

export type PartyBuffers = { readonly in: SharedArrayBuffer; readonly out: SharedArrayBuffer };
/** What is said to the agent, by kind. */
export type AsideBuffers = {
  readonly spoken: SharedArrayBuffer;
  readonly whispered: SharedArrayBuffer;
};

type Party = {
  readonly id: number;
  readonly voice: PartyVoice;
  readonly heard: LossyRing;
  isSpeaking: boolean;
  /** Has left, and falls silent in the next frame. */
  isGone: boolean;
};

export class CallParties {
  readonly #parties: Party[] = [];
  readonly #mixer = new Mixer();
  readonly #caller = new FrameQueue();
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  #spoken: LossyRing | null = null;
  #whispered: LossyRing | null = null;

  /** Somebody has joined. */
  get isOpen(): boolean {
    return this.#parties.length > 0;
  }

  /** A person speaks in the agent's place. */
  get hasTakenOver(): boolean {
    for (const { voice, isGone } of this.#parties)
      if (voice.role === 'agent' && !isGone) return true;
    return false;
  }

  add(
    id: number,
    buffers: PartyBuffers & { readonly aside: AsideBuffers },
    settings: PartySettings,
  ): void {
    const present = this.#parties.filter(({ isGone }) => !isGone);
    if (present.length >= MAX_PARTIES) return;
    this.#spoken ??= LossyRing.attach(buffers.aside.spoken, ASIDE_SAMPLES);
    this.#whispered ??= LossyRing.attach(buffers.aside.whispered, ASIDE_SAMPLES);
    this.#parties.push({
      id,
      voice: new PartyVoice(LossyRing.attach(buffers.in, PARTY_IN), settings),
      heard: LossyRing.attach(buffers.out, PARTY_OUT),
      isSpeaking: false,
      isGone: false,
    });
  }

  set(id: number, settings: PartySettings): void {
    for (const party of this.#parties)
      if (party.id === id && !party.isGone) party.voice.set(settings);
  }

  /** Whoever leaves in mid-word falls silent within 5 ms. */
  remove(id: number): void {
    for (const party of this.#parties) {
      if (party.id !== id || party.isGone) continue;
      party.voice.silence();
      party.isGone = true;
    }
  }

  /** Takes everybody's next frame. Once each frame, before `toCaller`. */
  pull(): void {
    this.#mixer.clear();
    for (const party of this.#parties) {
      party.isSpeaking = party.voice.next();
      if (party.isSpeaking) this.#mixer.add(party.voice);
    }
  }

  /** Adds what the caller may hear of it. */
  toCaller(into: Int16Array): void {
    this.#mixer.toCaller(into);
  }

  /** The caller's next frame, as he is recorded. */
  caller(frame: Int16Array): void {
    if (this.isOpen) this.#caller.push(frame);
    else this.#caller.clear();
  }

  /** The end of a frame, with what the agent has sent in it: everybody is given all the others. */
  tick(agent: Int16Array): void {
    if (!this.isOpen) return;
    const caller = this.#caller.head;
    const frame = this.#frame;
    for (const { heard, voice, isSpeaking } of this.#parties) {
      this.#mixer.toStaff(frame, caller, agent, isSpeaking ? voice : null);
      heard.write(frame);
    }
    this.#mixer.toAgent(frame, 'spoken');
    this.#spoken?.write(frame);
    this.#mixer.toAgent(frame, 'whispered');
    this.#whispered?.write(frame);
    this.#caller.shift();
    for (let at = this.#parties.length - 1; at >= 0; at--)
      if (this.#parties[at]?.isGone === true) this.#parties.splice(at, 1);
  }
}
