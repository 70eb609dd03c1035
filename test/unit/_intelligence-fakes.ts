/** The real intelligence of the facade over a model, a recogniser and a table that tests hold in their hands. */
import type { Clock } from '#lib/clock.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { Asked } from '#sessions/completion.ts';
import {
  createIntelligence,
  type Intelligence,
  type StoredSummary,
} from '#sessions/intelligence.ts';
import type { Recognised } from '#sessions/speech-to-text.ts';
import type { Summaries } from '#sessions/summary.ts';

export type IntelligenceFakes = {
  readonly intelligence: Intelligence;
  readonly summaries: Summaries;
  /** Every question that reached the model. */
  readonly asked: Asked[];
  readonly saved: { id: string; actor: string; summary: StoredSummary }[];
  /** Null: no model is set up. */
  answer: ((asked: Asked) => Promise<string>) | null;
  /** False: the record is not there. */
  hasRecord: boolean;
  /** Null: no recogniser that reads. */
  hear: ((pcm: Int16Array, rateHz: number, signal?: AbortSignal) => Promise<Recognised>) | null;
};

export function makeIntelligence(clock: Clock = new SimulatedClock()): IntelligenceFakes {
  const fakes: Omit<IntelligenceFakes, 'intelligence' | 'summaries'> = {
    asked: [],
    saved: [],
    answer: null,
    hasRecord: true,
    hear: null,
  };
  const made = createIntelligence({
    completion: {
      complete: async (asked) => {
        fakes.asked.push(asked);
        return fakes.answer === null ? null : { text: await fakes.answer(asked), model: 'test-1' };
      },
    },
    speech: {
      recognise: async (_account, pcm, rateHz, _language, signal) =>
        fakes.hear?.(pcm, rateHz, signal) ?? null,
    },
    agents: { byId: async () => null },
    writer: {
      save: async (actor, id, summary) => {
        if (fakes.hasRecord) fakes.saved.push({ id, actor: actor.name, summary });
        return fakes.hasRecord;
      },
    },
    clock,
    log: silentLog,
  });
  return Object.assign(fakes, made);
}
