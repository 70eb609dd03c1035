/** The main thread's end of somebody who has joined a call, and all of them on one call. */
import { AppError } from '#lib/errors.ts';
import type { AsideBuffers } from './call-parties.ts';
import { MAX_GAIN_DB, MIN_GAIN_DB } from '../playout/gain.ts';
import { LossyRing } from '../lossy-ring.ts';
import type { MediaCommand } from '../media-protocol.ts';
import {
  ASIDE_SAMPLES,
  MAX_PARTIES,
  PARTY_IN,
  PARTY_OUT,
  PARTY_ROLES,
  type MediaParty,
  type PartyRole,
} from './mix-types.ts';

/** What the worker is told of one party. */
export type PartyCommand = Extract<MediaCommand, { type: `party.${string}` }>;
type Untold<T> = T extends unknown ? Omit<T, 'session'> : never;
type Send = (command: Untold<PartyCommand>) => void;

/** Errors: E_REQUEST. */
export function checkGain(gainDb: number): void {
  if (!(gainDb >= MIN_GAIN_DB && gainDb <= MAX_GAIN_DB))
    throw new AppError('E_REQUEST', `a gain is ${MIN_GAIN_DB} to ${MAX_GAIN_DB} dB`);
}

export class Parties {
  readonly #send: Send;
  readonly #present = new Map<number, Party>();
  #last = 0;
  #spoken: LossyRing | null = null;
  #whispered: LossyRing | null = null;

  constructor(send: Send) {
    this.#send = send;
  }

  /** Errors: E_QUEUE_FULL, E_REQUEST. */
  join({ role, gainDb = 0 }: { readonly role: PartyRole; readonly gainDb?: number }): MediaParty {
    checkRole(role);
    checkGain(gainDb);
    if (this.#present.size >= MAX_PARTIES)
      throw new AppError('E_QUEUE_FULL', `a call has at most ${MAX_PARTIES} parties`);
    const id = ++this.#last;
    const party = new Party({ id, role, gainDb, send: this.#send }, () => this.#present.delete(id));
    this.#present.set(id, party);
    const { buffers } = party;
    const settings = { role, gainDb, isMuted: false };
    this.#send({ type: 'party.join', party: id, ...buffers, aside: this.#aside(), settings });
    return party;
  }

  read(kind: 'whispered' | 'spoken', into: Int16Array): number {
    return (kind === 'spoken' ? this.#spoken : this.#whispered)?.read(into) ?? 0;
  }

  /** Everybody leaves. */
  close(): void {
    for (const party of this.#present.values()) party.leave();
  }

  /** Made for the first who joins: a call without parties has no memory for them. */
  #aside(): AsideBuffers {
    this.#spoken ??= LossyRing.create(ASIDE_SAMPLES);
    this.#whispered ??= LossyRing.create(ASIDE_SAMPLES);
    return { spoken: this.#spoken.buffer, whispered: this.#whispered.buffer };
  }
}

type PartyParts = {
  readonly id: number;
  readonly role: PartyRole;
  readonly gainDb: number;
  readonly send: Send;
};

class Party implements MediaParty {
  readonly #parts: PartyParts;
  readonly #onLeft: () => void;
  readonly #said = LossyRing.create(PARTY_IN);
  readonly #heard = LossyRing.create(PARTY_OUT);
  #role: PartyRole;
  #gainDb: number;
  #isMuted = false;
  #isGone = false;
  /** Samples that had no place to go. */
  #refused = 0;

  constructor(parts: PartyParts, onLeft: () => void) {
    this.#parts = parts;
    this.#onLeft = onLeft;
    this.#role = parts.role;
    this.#gainDb = parts.gainDb;
  }

  get buffers(): { readonly in: SharedArrayBuffer; readonly out: SharedArrayBuffer } {
    return { in: this.#said.buffer, out: this.#heard.buffer };
  }

  get role(): PartyRole {
    return this.#role;
  }

  get dropped(): { readonly said: number; readonly heard: number } {
    return { said: this.#refused + this.#said.dropped, heard: this.#heard.dropped };
  }

  push(pcm: Int16Array): number {
    if (!this.#isGone && this.#role !== 'listen') return this.#said.write(pcm);
    this.#refused += pcm.length;
    return pcm.length;
  }

  read(into: Int16Array): number {
    return this.#isGone ? 0 : this.#heard.read(into);
  }

  setRole(role: PartyRole): void {
    checkRole(role);
    this.#role = role;
    this.#tell();
  }

  setGain(gainDb: number): void {
    checkGain(gainDb);
    this.#gainDb = gainDb;
    this.#tell();
  }

  mute(on: boolean): void {
    this.#isMuted = on;
    this.#tell();
  }

  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#onLeft();
    this.#parts.send({ type: 'party.leave', party: this.#parts.id });
  }

  #tell(): void {
    if (this.#isGone) return;
    const settings = { role: this.#role, gainDb: this.#gainDb, isMuted: this.#isMuted };
    const from = this.#said.written;
    this.#parts.send({ type: 'party.set', party: this.#parts.id, settings, from });
  }
}

function checkRole(role: PartyRole): void {
  if (!PARTY_ROLES.includes(role)) throw new AppError('E_REQUEST', `there is no role ${role}`);
}
