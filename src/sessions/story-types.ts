/** What a call's story is made with, and what ends it. */
import type { Channel, Direction, Latency, Quality } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { LiveCallView } from './call-service-types.ts';
import type { Ending } from './outcome.ts';
import type { CallJournal } from './ports.ts';

export type StoryOptions = {
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly node: string;
  readonly callId: Id;
  readonly accountId: Id;
  readonly agentId: Id;
  readonly agentName: string;
  readonly direction: Direction;
  readonly channel: Channel;
  readonly from: string | null;
  readonly to: string | null;
  /** The remote party, also on outbound calls. */
  readonly remoteNumber: string | null;
  readonly remoteName: string | null;
  readonly trunkId: Id | null;
  readonly trunkTransport: LiveCallView['trunkTransport'];
  readonly customerId: string | null;
  readonly campaignId: Id | null;
  readonly squadId: Id | null;
  readonly ruleId: Id | null;
  readonly callerApp: string | null;
  readonly sipCallId: string | null;
  readonly variables: Readonly<Record<string, string>>;
  /** What the client wants kept with the record. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly requestId: string | null;
  /** Words are masked before they are journaled (contract 7.3). */
  readonly maskAtRest: boolean;
};

/** How the call goes out, while that may still change. */
export type StoryRoute = Pick<StoryOptions, 'trunkId' | 'trunkTransport' | 'from'>;

export type FinalFacts = {
  readonly ending: Ending;
  readonly sipStatus: number | null;
  readonly q850: number | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly quality: Quality | null;
  readonly latency: Latency | null;
  readonly recordingStatus: 'none' | 'ready' | 'failed';
  readonly metadata: Readonly<Record<string, unknown>>;
};
