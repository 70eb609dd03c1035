/**
 * The people who have joined a call beside caller and agent, on the worker's side. Each frame their voices are taken from
 * their rings, mixed, and everybody is given all the others. While nobody has joined, it does nothing.
 */
import { FrameQueue } from './frame-queue.ts';
import { LossyRing } from '../lossy-ring.ts';
import { Mixer } from './mixer.ts';
import { PartyVoice, type PartySettings } from './party-voice.ts';
import { ASIDE_SAMPLES, MAX_PARTIES, PARTY_IN, PARTY_OUT } from './mix-types.ts';
import { FRAME_SAMPLES } from '../types.ts';

export type PartyBuffers = { readonly in: SharedArrayBuffer; readonly out: SharedArrayBuffer };
/** What is said to the agent, by kind. */
export type AsideBuffers = {
  readonly spoken: SharedArrayBuffer;
  readonly whispered: SharedArrayBuffer;
};

/** What a call with people on it needs; made when the first one joins. */
class Table {
  readonly mixer = new Mixer();
  readonly caller = new FrameQueue();
  readonly spoken: LossyRing;
  readonly whispered: LossyRing;

  constructor(aside: AsideBuffers) {
    this.spoken = LossyRing.attach(aside.spoken, ASIDE_SAMPLES);
    this.whispered = LossyRing.attach(aside.whispered, ASIDE_SAMPLES);
  }
}

/** One for all calls: no frame is worked on while another one is. */
const FRAME = new Int16Array(FRAME_SAMPLES);

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
  #table: Table | null = null;
  /** Samples that those who have left did not say or hear. */
  #droppedBefore = 0;
  readonly #onJoin: () => void;

  constructor(onJoin: () => void = () => undefined) {
    this.#onJoin = onJoin;
  }

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
    this.#table ??= new Table(buffers.aside);
    this.#parties.push({
      id,
      voice: new PartyVoice(LossyRing.attach(buffers.in, PARTY_IN), settings),
      heard: LossyRing.attach(buffers.out, PARTY_OUT),
      isSpeaking: false,
      isGone: false,
    });
    this.#onJoin();
  }

  /** `from`: how much he had said (samples) when this was asked for. */
  set(id: number, settings: PartySettings, from: number): void {
    for (const party of this.#parties)
      if (party.id === id && !party.isGone) party.voice.set(settings, from);
  }

  /** Whoever leaves in mid-word falls silent within 5 ms. */
  remove(id: number): void {
    for (const party of this.#parties) {
      if (party.id !== id || party.isGone) continue;
      party.voice.silence();
      party.isGone = true;
    }
  }

  /** Frames of what they said, or were to hear, that were dropped. What is said to the agent alone may go unheard. */
  get dropped(): number {
    let samples = this.#droppedBefore;
    for (const party of this.#parties) samples += droppedOf(party);
    return samples / FRAME_SAMPLES;
  }

  /** Takes everybody's next frame. Once each frame, before `toCaller`. */
  pull(): void {
    const mixer = this.#table?.mixer;
    mixer?.clear();
    for (const party of this.#parties) {
      party.isSpeaking = party.voice.next();
      if (party.isSpeaking) mixer?.add(party.voice);
    }
  }

  /** Adds what the caller may hear of it. */
  toCaller(into: Int16Array): void {
    this.#table?.mixer.toCaller(into);
  }

  /** The caller's next frame, as he is recorded. */
  caller(frame: Int16Array): void {
    if (this.isOpen) this.#table?.caller.push(frame);
    else this.#table?.caller.clear();
  }

  /** The end of a frame, with what the agent has sent in it: everybody is given all the others. */
  tick(agent: Int16Array): void {
    const table = this.#table;
    if (!this.isOpen || table === null) return;
    const { mixer, caller } = table;
    for (const { heard, voice, isSpeaking } of this.#parties) {
      mixer.toStaff(FRAME, caller.head, agent, isSpeaking ? voice : null);
      heard.write(FRAME);
    }
    mixer.toAgent(FRAME, 'spoken');
    table.spoken.write(FRAME);
    mixer.toAgent(FRAME, 'whispered');
    table.whispered.write(FRAME);
    caller.shift();
    for (let at = this.#parties.length - 1; at >= 0; at--) {
      const party = this.#parties[at] as Party;
      if (!party.isGone) continue;
      this.#droppedBefore += droppedOf(party);
      this.#parties.splice(at, 1);
    }
  }
}

function droppedOf({ voice, heard }: Party): number {
  return voice.dropped + heard.dropped;
}
