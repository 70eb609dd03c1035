/** What a call is made with, and what is held of it while it runs. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { NewRecording } from '#lib/recording-place.ts';
import type { MediaEngine } from '#media/types.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import type { AudioPump } from './audio-pump.ts';
import type { CallClients } from './call-attach.ts';
import type { CallContext } from './call-context.ts';
import type { SoundLibrary } from './call-sounds.ts';
import type { EndOfTurnModel } from './end-of-turn.ts';
import type { Leg } from './leg.ts';
import type { LiveControl } from './live-control.ts';
import type { Ending } from './outcome.ts';
import type { SpeakerFloor } from './speaker.ts';
import type { CallStory } from './story.ts';
import type { CallTools } from './tools/call-tools.ts';

export type CallDeps = {
  readonly media: MediaEngine;
  readonly pump: AudioPump;
  readonly clock: Clock;
  readonly log: Log;
  /** A place and a key of its own for the recording of a call. */
  newRecording(call: { readonly accountId: Id }): NewRecording;
  /** Keeps the sound of what is said in many calls; absent: nothing is kept. */
  readonly phrases?: PhraseStore;
  /** Backgrounds and hold music; absent: an agent's wish for them is not met. */
  readonly sounds?: SoundLibrary;
  /** Judges by the words whether a turn of the caller is over; absent: the silence and the words alone decide. */
  readonly endOfTurn?: EndOfTurnModel;
  /** Told once all of a call's events are journaled, before the BYE is acknowledged. Returns at once; never throws. */
  onEnded?(call: EndedCall): void;
};

/** A call whose last events are journaled. */
export type EndedCall = { readonly story: CallStory; readonly agent: AgentConfig };

export type CallSetup = {
  readonly leg: Leg;
  readonly story: CallStory;
  readonly agent: AgentConfig;
  /** The greeting is all that is said; then we hang up. */
  readonly announceOnly?: boolean;
  /** It is found out who answers. */
  readonly amd?: boolean;
  /** Whether the call is recorded: asked once somebody will be heard. */
  records(): Promise<boolean>;
  /** Said before the first recorded frame, when the call is recorded. */
  readonly notice?: string | null;
  /** Who of a squad replies; null or absent: the agent alone. */
  readonly floor?: SpeakerFloor | null;
  /** What the model may use, and what it is told besides. */
  readonly tools?: CallTools;
  readonly context?: CallContext;
  /** Resolved when the call is prepared; errors: E_CONFIG for a vendor nobody set up. */
  providers(): ProviderSet | Promise<ProviderSet>;
};

/** A running call: what the registry holds. */
export type LiveCall = {
  readonly story: CallStory;
  /** Null before the answer and once the call is ending. */
  control(): LiveControl | null;
  /** Who attaches by socket. */
  readonly clients: CallClients;
  hangup(by: 'api' | 'supervisor', reason: string | null): void;
  /** The node is going down. */
  stop(): void;
  /** Resolves when everything has been given back. Never rejects. */
  readonly done: Promise<Ending>;
};
