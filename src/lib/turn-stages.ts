/** One turn of a conversation as it was measured on the wire: what took how long, and whose work it was. */
import type { LatencyPart } from './call-events.ts';

/** Stages that are a vendor's work. The others are the server's own. */
export type VendorStage = Extract<LatencyPart, 'stt' | 'llm' | 'tts'>;

export type TurnStages = {
  /** Adds up to the time from the last packet of the caller's speech to the first of the answer. */
  readonly partsMs: Readonly<Record<LatencyPart, number>>;
  /** By name; who answered in the end, whoever was asked before. A stage that nobody was asked for is left out. */
  readonly vendors: Readonly<Partial<Record<VendorStage, string>>>;
};
