/** What is mixed into a call beside the agent's words: background, effects, and people who join it. */
import { SAMPLE_RATE_HZ } from '../types.ts';

/** Sound in a loop behind the agent. */
export type BackgroundSound = {
  /** 20 ms to 10 min; in shared memory nothing is copied. Its end has to lead into its beginning (`seamless`). */
  readonly pcm: Int16Array;
  /** -60..20. */
  readonly gainDb: number;
  /** How much quieter it is while the agent speaks: 0..60. */
  readonly duckDb: number;
  /** Also while the caller does. */
  readonly ducksForCaller: boolean;
};

/** Effects that may wait behind the one that is heard; each lasts 10 s at most. */
export const MAX_EFFECTS = 4;
export const MAX_EFFECT_SAMPLES = 10 * SAMPLE_RATE_HZ;

/** `gainDb` -60..20, default 0. `alone`: the agent's voice stands still until it is over; default false. */
export type EffectOptions = { readonly gainDb?: number; readonly alone?: boolean };

/**
 * People who may join a call. `supervisor` is heard by both sides, `whisper` by the agent's side only, `listen` by nobody;
 * `agent` speaks in place of the AI agent, whom nobody hears meanwhile. All of them hear the caller, the agent and one
 * another, and not themselves.
 */
export const PARTY_ROLES = ['supervisor', 'whisper', 'listen', 'agent'] as const;
export type PartyRole = (typeof PARTY_ROLES)[number];
/** On one call at a time. */
export const MAX_PARTIES = 4;
/** Samples that may wait: of what a party says, of what it hears, of what is said to the agent. */
export const PARTY_IN = 1920;
export const PARTY_OUT = SAMPLE_RATE_HZ;
export const ASIDE_SAMPLES = 2 * SAMPLE_RATE_HZ;

/** Somebody who has joined a call. Audio is real time: 160 samples every 20 ms, both ways. */
export type MediaParty = {
  readonly role: PartyRole;
  /** Says it: at most 100 ms at a time. Returns how many samples were dropped; of a listener or after `leave` all. */
  push(pcm: Int16Array): number;
  /** Reads what he hears, up to `into.length` samples; what is not read within 1 s is dropped, oldest first. */
  read(into: Int16Array): number;
  /** From the next frame on, faded over 5 ms. */
  setRole(role: PartyRole): void;
  /** -60..20. Errors: E_REQUEST. */
  setGain(gainDb: number): void;
  mute(on: boolean): void;
  /** Samples that were said, or were to be heard, and were dropped. */
  readonly dropped: { readonly said: number; readonly heard: number };
  /** Idempotent. */
  leave(): void;
};
