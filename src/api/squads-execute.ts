/** A text conversation with a squad, turn by turn (contract 2.4, `execute`). */
import { Type } from 'typebox';
import type { FastifyReply } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import {
  MAX_VARIABLES_BYTES,
  type ExecuteRefusal,
  type ExecuteRequest,
  type ExecuteResult,
} from '#sessions/squad-desk.ts';
import type { TurnResult } from '#sessions/squad-turn.ts';
import type { Squads } from '#store/squads.ts';
import { textsOf } from './place-call.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok } from './schemas.ts';
import { ExecuteBody, ExecutedSchema } from './squad-schemas.ts';
import { refuseFreeForm } from './validation.ts';
import { vendorProblem } from './vendor-part.ts';

/** As sessions/squad-desk.ts gives it. */
export type SquadTalk = { execute(request: ExecuteRequest): Promise<ExecuteResult> };

type ExecutePart = {
  readonly squads: Squads;
  readonly squadTalk: SquadTalk;
  readonly clock: Clock;
};

/** Contract 8: five seconds, from the request's first byte to the answer's last. */
const TOTAL_MS = 4_800;
const NoQuery = Type.Object({}, { additionalProperties: false });

export function addSquadExecute(app: ApiServer, part: ExecutePart): void {
  app.route({
    method: 'POST',
    url: '/v1/squads/:id/execute',
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'executeSquad',
      tags: ['Squads'],
      summary: 'Say something to a squad and get its answer',
      description:
        'Without `conversation_id` a new conversation begins; it has a call record of channel `text`. It is kept for 30 min after its last turn; then it is `INVALID_STATE`. So is one with too many turns waiting at a time.',
      params: IdParams,
      querystring: NoQuery,
      body: ExecuteBody,
      response: answers(200, ExecutedSchema, {
        description: 'The answer',
        hasBody: true,
        problems: [
          'NOT_FOUND',
          'INVALID_STATE',
          'PROVIDER_NOT_CONFIGURED',
          'PROVIDER_REJECTED',
          'PROVIDER_TIMEOUT',
        ],
      }),
    },
    handler: async (request, reply) => {
      const timeoutMs = leftMs(reply);
      const actor = actorOf(request);
      const { input, conversation_id: conversationId, variables = {} } = request.body;
      if (input.trim() === '') throw invalid('/input', 'minLength', { limit: 1 });
      refuseFreeForm(variables, '/variables');
      const { id: squadId } = request.params;
      // Asked of the database itself: a squad that was just made or deleted is not a second old.
      const squad = await fromStore(part, part.squads.get(actor, squadId));
      if (squad === null) throw new Problem('NOT_FOUND');
      const { accountId, agentIds } = callerOf(request);
      const work = part.squadTalk.execute({
        ...{ accountId, agentIds, squadId, input, timeoutMs, requestId: request.id },
        variables: textsOf(variables),
        ...(conversationId === undefined ? {} : { conversationId }),
      });
      const result = await work.catch((error: unknown) => {
        throw modelProblem(error);
      });
      if (!result.ok) throw refusalProblem(result.refusal);
      return ok(turnView(result.turn));
    },
  });
}

function leftMs(reply: Pick<FastifyReply, 'elapsedTime'>): number {
  return Math.max(0, TOTAL_MS - reply.elapsedTime);
}

function refusalProblem(refusal: ExecuteRefusal): Problem {
  if (refusal === 'variables') return invalid('/variables', 'size', { limit: MAX_VARIABLES_BYTES });
  return new Problem(
    refusal === 'over' || refusal === 'busy' ? 'INVALID_STATE' : 'NOT_FOUND',
    refusal === 'busy' ? { headers: { 'retry-after': '1' } } : {},
  );
}

/** What a failure of a model, or of its settings, is for the client; others stay as they are. */
export function modelProblem(error: unknown): unknown {
  if (error instanceof AppError && error.code === 'E_CONFIG') {
    return new Problem('PROVIDER_NOT_CONFIGURED', { cause: error });
  }
  // The database's deadlines say so.
  const isLate = error instanceof AppError && error.code === 'E_TIMEOUT';
  if (isLate && !error.message.startsWith('the database')) {
    return new Problem('PROVIDER_TIMEOUT', { cause: error });
  }
  return vendorProblem(error) ?? error;
}

function turnView(turn: TurnResult) {
  const { agentId, agentName, handoff } = turn;
  return {
    ...{ conversation_id: turn.conversationId, status: turn.status },
    ...{ agent_id: agentId, agent_name: agentName },
    ...{ intent: turn.intent, confidence: turn.confidence, reply: turn.reply },
    handoff: handoff === null ? null : { ...handoff, summary: { ...handoff.summary } },
    expires_at: turn.expiresAtS,
  };
}
