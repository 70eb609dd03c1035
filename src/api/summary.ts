/** A summary on demand (contract 2.1, 7.2). */
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import { isLiveStatus } from '#sessions/call-service-types.ts';
import type { Intelligence } from '#sessions/intelligence.ts';
import { hasSpeech } from '#sessions/summary.ts';
import { SummaryBody, SummarySchema } from './ai-schemas.ts';
import type { Caller } from './auth.ts';
import { Problem } from './problem.ts';
import { findRecord, fromNode, type RecordSource } from './record-source.ts';
import { recordOfLive } from './record-view.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok } from './schemas.ts';

export type IntelligencePart = RecordSource & { readonly intelligence: Intelligence };

/** Contract 7.2 and 8: five seconds in all, from the request's first byte to the answer's last. */
const TOTAL_MS = 4_900;
/** What is left for writing the record when the model has had its time. */
const STORE_SHARE_MS = 400;

/** The time a request to a model has left. */
export type FiveSeconds = {
  /** What of it a model may take; 0 when there is none left. */
  modelMs(): number;
  /** Errors: UNAVAILABLE when the time is over, which is the database's doing: models are given up before. */
  within<T>(work: Promise<T>): Promise<T>;
};

export function fiveSecondsOf(
  part: { readonly clock: Clock },
  reply: Pick<FastifyReply, 'elapsedTime'>,
): FiveSeconds {
  const endMs = part.clock.now() + TOTAL_MS - reply.elapsedTime;
  const leftMs = (): number => Math.max(0, endMs - part.clock.now());
  return {
    modelMs: () => Math.max(0, leftMs() - STORE_SHARE_MS),
    within: (work) => withDeadline(work, leftMs(), 'the database', part.clock),
  };
}

const NoQuery = Type.Object({}, { additionalProperties: false });

export function addSummaryRoute(app: ApiServer, part: IntelligencePart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/call-records/:id/generate-summary',
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'generateSummary',
      tags: ['Call records'],
      summary: 'Make a new summary of a call',
      description:
        'Overwrites the record’s `summary`. Without a language model, or when it does not answer within 4 s, the summary is quoted from the call (`source: extractive`).',
      params: IdParams,
      querystring: NoQuery,
      body: SummaryBody,
      response: answers(200, SummarySchema, {
        ...{ description: 'The summary, as it is now in the record', hasBody: true },
        problems: ['NOT_FOUND', 'CALL_LIVE', 'NO_MESSAGES', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const time = fiveSecondsOf(part, reply);
      const caller = callerOf(request);
      const record = await time.within(finishedCall(part, caller, request.params.id));
      const summary = await time.within(
        part.intelligence.summarise(actorOf(request), {
          accountId: caller.accountId,
          callId: record.id,
          agentId: record.agentId,
          messages: record.messages,
          language: request.body.language ?? null,
          modelTimeoutMs: time.modelMs(),
        }),
      );
      if (summary === null) throw await unsaved(part, caller, record.id);
      const { text, source, model, language, generatedAt } = summary;
      return ok({ summary: text, source, model, language, generated_at: generatedAt });
    },
  });
}

/** A call that is over and in which somebody spoke. Errors: NOT_FOUND, CALL_LIVE, NO_MESSAGES. */
export async function finishedCall(
  part: RecordSource,
  caller: Caller,
  id: Id,
): Promise<RecordDetail> {
  const record = await settled(part, caller, await findRecord(part, caller, id));
  if (isLiveStatus(record.status)) throw new Problem('CALL_LIVE');
  if (!hasSpeech(record.messages)) throw new Problem('NO_MESSAGES');
  return record;
}

/** A call that has just ended is over here sooner than in the database. */
async function settled(
  part: RecordSource,
  caller: Caller,
  record: RecordDetail,
): Promise<RecordDetail> {
  if (record.source !== 'core' || !isLiveStatus(record.status)) return record;
  const call = await fromNode(part, part.calls.get(caller.accountId, record.id));
  if (call === null || isLiveStatus(call.status)) return record;
  const talk = await fromNode(part, part.calls.conversation(caller.accountId, record.id));
  return recordOfLive(call, talk?.messages ?? record.messages);
}

/** The record was removed meanwhile, or it has not reached the database yet. */
async function unsaved(part: RecordSource, caller: Caller, id: Id): Promise<Problem> {
  const call = await fromNode(part, part.calls.get(caller.accountId, id));
  return new Problem(call === null ? 'NOT_FOUND' : 'UNAVAILABLE');
}
