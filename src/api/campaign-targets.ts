/** The people of a campaign (contract 2.8): lists and tables of them, and how far each has come. */
import type { FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import type { Actor, Role } from '#lib/actor.ts';
import type { CampaignTarget } from '#lib/campaign.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';
import type { CampaignTargets, NewTarget, RejectedTarget } from '#store/campaign-targets.ts';
import { AUDIO_BODY_BYTES, boundUploads } from './audio-body.ts';
import { readTargetsCsv, targetFrom, type ReadTarget } from './campaign-csv.ts';
import {
  MAX_LISTED,
  TargetsAddedSchema,
  TargetsBody,
  type TargetSchema,
  TargetsListQuery,
  TargetsListSchema,
} from './campaign-schemas.ts';
import { pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok } from './schemas.ts';
import { validatorCompiler } from './validation.ts';

export type CampaignTargetsPart = { readonly targets: CampaignTargets; readonly clock: Clock };

const URL = '/api/v1/campaigns/:id/targets';
const TAGS = ['Campaigns'];
/** One transaction: short enough to let the calls of the campaign through. */
const BATCH = 2_000;
/** Of texts, in characters: a batch goes to the database as one piece of JSON, which holds up everybody while it is made. */
const BATCH_CHARS = 500_000;

export function addTargetRoutes(app: ApiServer, part: CampaignTargetsPart): void {
  addList(app, part);
  // A scope of its own: here alone the body may be a table, and a long one.
  app.register(async (scope) => {
    const inside = scope as unknown as ApiServer;
    acceptTable(inside);
    addAdd(inside, part);
  });
}

/** Contract 1.6 lets uploads have 25 MiB; that is some 600,000 lines with a number and a name. */
function acceptTable(scope: ApiServer): void {
  scope.addContentTypeParser<Buffer>(
    'text/csv',
    { parseAs: 'buffer', bodyLimit: AUDIO_BODY_BYTES },
    async (request: FastifyRequest, body: Buffer) => {
      if (request.headers['idempotency-key'] !== undefined) request.rawBody = body;
      return body;
    },
  );
  boundUploads(scope);
}

function addAdd(app: ApiServer, part: CampaignTargetsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    // A table is read by the handler; a list is checked as everywhere.
    validatorCompiler: (route) => {
      const check = validatorCompiler(route as never);
      return (value: unknown) =>
        route.httpPart === 'body' && Buffer.isBuffer(value) ? { value } : check(value);
    },
    schema: {
      operationId: 'addCampaignTargets',
      tags: TAGS,
      summary: 'Add people to a campaign',
      description:
        'A list, or `text/csv` of at most 25 MiB with a header: column `phone`, if wanted `name`, any other column is a variable. Each number is called by a campaign once, however often it is added; lines that cannot be used are told, the others are added. A table is added in parts: after a refusal in the middle it can be sent again. Not to a campaign that is over.',
      consumes: ['application/json', 'text/csv'],
      params: IdParams,
      body: TargetsBody,
      response: answers(201, TargetsAddedSchema, {
        description: 'What came of it; `line` counts from 1, in a table the header is line 1',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE'],
      }),
    },
    handler: async (request, reply) => {
      const body: Static<typeof TargetsBody> | Buffer = request.body;
      const rows = Buffer.isBuffer(body) ? readTargetsCsv(body) : readList(body);
      const done = await addAll(part, actorOf(request), request.params.id, rows);
      reply.code(201);
      return ok(done);
    },
  });
}

function* readList(body: Static<typeof TargetsBody>): Generator<ReadTarget> {
  for (const [at, { phone, name, variables }] of body.targets.entries()) {
    yield targetFrom({ line: at + 1, phone, name: name ?? null, variables: variables ?? {} });
  }
}

async function addAll(
  part: CampaignTargetsPart,
  actor: Actor,
  campaignId: Id,
  rows: AsyncIterable<ReadTarget> | Iterable<ReadTarget>,
): Promise<Static<typeof TargetsAddedSchema>> {
  const total = { added: 0, duplicates: 0, rejected_total: 0 };
  const rejected: RejectedTarget[] = [];
  const reject = (each: RejectedTarget): void => {
    total.rejected_total++;
    if (rejected.length < MAX_LISTED) rejected.push(each);
  };
  let batch: NewTarget[] = [];
  let chars = 0;
  const send = async (): Promise<void> => {
    const done = await fromStore(part, part.targets.add(actor, campaignId, batch));
    if (done === null) throw new Problem('NOT_FOUND');
    if (done === 'state') throw new Problem('INVALID_STATE');
    batch = [];
    chars = 0;
    total.added += done.added;
    total.duplicates += done.duplicates;
    for (const each of done.rejected) reject(each);
  };
  for await (const row of rows) {
    if (row.target === null) {
      reject(row.rejected);
      continue;
    }
    chars += JSON.stringify(row.target).length;
    if (batch.push(row.target) >= BATCH || chars >= BATCH_CHARS) await send();
  }
  // Also without a single row: a campaign that is not there, or over, is told.
  if (batch.length > 0 || total.added + total.duplicates === 0) await send();
  rejected.sort((a, b) => a.line - b.line);
  return { ...total, rejected };
}

function addList(app: ApiServer, part: CampaignTargetsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listCampaignTargets',
      tags: TAGS,
      summary: 'List the people of a campaign, newest first',
      params: IdParams,
      querystring: TargetsListQuery,
      response: answers(200, TargetsListSchema, {
        description: 'One page; masked for viewers',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { status = null, ...paging } = request.query;
      const page = pageOf(paging);
      const work = part.targets.list(actorOf(request), request.params.id, { ...page, status });
      const found = await fromStore(part, work);
      if (found === null) throw new Problem('NOT_FOUND');
      const { role } = callerOf(request);
      return ok({
        targets: found.rows.map((target) => targetView(target, role)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

/** A viewer sees numbers masked (contract 1.3). */
function targetView(target: CampaignTarget, role: Role): Static<typeof TargetSchema> {
  const isMasked = role === 'viewer';
  const { name, phone, variables } = target;
  return {
    id: target.id,
    phone: isMasked ? maskNumber(phone) : phone,
    name: isMasked && name !== null ? maskText(name) : name,
    variables: (isMasked ? maskDeep(variables) : variables) as Record<string, unknown>,
    status: target.status,
    attempts: target.attempts,
    next_attempt_at: target.nextAttemptAt,
    last_call_id: target.lastCallId,
    last_outcome: target.lastOutcome,
    created_at: target.createdAt,
  };
}
