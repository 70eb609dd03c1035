/** Answer rules: what happens to inbound calls, and a dry run of it (contract 2.3, section 5). */
import { Type } from 'typebox';
import type { Actor } from '#lib/actor.ts';
import type { AnswerRule } from '#lib/answer-rule.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { MAX_RULES, type AnswerRules, type RuleFields } from '#store/answer-rules.ts';
import type { AgentAdmin } from '#store/agent-admin.ts';
import type { Written } from '#store/references.ts';
import { invalid, Problem } from './problem.ts';
import { missingProblem } from './references.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { Faults, namedIn, readAction, readConditions } from './rule-checks.ts';
import { addEvaluateRoute } from './rule-evaluate.ts';
import { ReorderBody, RuleBody, RulePatch, RuleSchema } from './rule-schemas.ts';
import { answers, IdParams, ok, ref } from './schemas.ts';

export type RulesPart = {
  readonly rules: AnswerRules;
  readonly agentAdmin: Pick<AgentAdmin, 'preview'>;
  readonly clock: Clock;
};

const URL = '/api/v1/call-answer-rules';
const TAGS = ['Answer rules'];
const NoQuery = Type.Object({}, { additionalProperties: false });
const RuleList = Type.Object({ rules: Type.Array(ref(RuleSchema)) });

export function addRuleRoutes(app: ApiServer, part: RulesPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addPut(app, part);
  addPatch(app, part);
  addDelete(app, part);
  addReorder(app, part);
  addEvaluateRoute(app, part);
}

function addCreate(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'createAnswerRule',
      tags: TAGS,
      summary: 'Create an answer rule',
      description:
        'It takes effect for calls arriving 1 s after the answer. At most 500 per account.',
      querystring: NoQuery,
      body: RuleBody,
      response: answers(201, ref(RuleSchema), {
        description: 'The rule',
        problems: ['CONFLICT', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request, reply) => {
      const actor = actorOf(request);
      const rule = readRule(request.body, actor);
      const made = await fromStore(part, part.rules.create(actor, rule));
      if (made === 'full') {
        throw new Problem('CONFLICT', {
          faults: [{ path: '', rule: 'full', params: { limit: MAX_RULES } }],
        });
      }
      return reply.code(201).send(ok(ruleView(writtenRule(made, rule))));
    },
  });
}

function addList(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listAnswerRules',
      tags: TAGS,
      summary: 'List all answer rules in the order in which they are looked at',
      querystring: Type.Object(
        { enabled: Type.Optional(Type.Boolean()) },
        { additionalProperties: false },
      ),
      response: answers(200, RuleList, { description: 'All rules', problems: [] }),
    },
    handler: async (request) => {
      const list = part.rules.list(actorOf(request), request.query.enabled ?? null);
      return ok({ rules: (await fromStore(part, list)).map(ruleView) });
    },
  });
}

function addGet(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'GET',
    url: `${URL}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getAnswerRule',
      tags: TAGS,
      summary: 'Read one answer rule',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(RuleSchema), {
        description: 'The rule',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const rule = await fromStore(part, part.rules.get(actorOf(request), request.params.id));
      if (rule === null) throw new Problem('NOT_FOUND');
      return ok(ruleView(rule));
    },
  });
}

function addPut(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'PUT',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'replaceAnswerRule',
      tags: TAGS,
      summary: 'Replace an answer rule as a whole',
      params: IdParams,
      querystring: NoQuery,
      body: RuleBody,
      response: answers(200, ref(RuleSchema), {
        description: 'The rule as it is now',
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      return ok(await changeRule(part, actor, request.params.id, readRule(request.body, actor)));
    },
  });
}

function addPatch(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'PATCH',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'changeAnswerRule',
      tags: TAGS,
      summary: 'Change fields of an answer rule',
      description: '`conditions` and `action` are replaced, not merged.',
      params: IdParams,
      querystring: NoQuery,
      body: RulePatch,
      response: answers(200, ref(RuleSchema), {
        description: 'The rule as it is now',
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const changes = readPatch(request.body, actor);
      return ok(await changeRule(part, actor, request.params.id, changes));
    },
  });
}

function addDelete(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'deleteAnswerRule',
      tags: TAGS,
      summary: 'Delete an answer rule',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), { description: 'It is gone', problems: ['NOT_FOUND'] }),
    },
    handler: async (request) => {
      const isGone = await fromStore(part, part.rules.remove(actorOf(request), request.params.id));
      if (!isGone) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function addReorder(app: ApiServer, part: RulesPart): void {
  app.route({
    method: 'POST',
    url: `${URL}/reorder`,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'reorderAnswerRules',
      tags: TAGS,
      summary: 'Give all answer rules a new order',
      description:
        'Takes exactly the ids of the account’s rules and sets their priorities to 1..n.',
      querystring: NoQuery,
      body: ReorderBody,
      response: answers(200, RuleList, {
        description: 'All rules in their new order',
        problems: ['REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      // A key that sees some agents alone does not see all rules.
      if (callerOf(request).agentIds !== null) throw new Problem('FORBIDDEN');
      const ids = request.body.ids.map((id) => id.toLowerCase());
      if (new Set(ids).size < ids.length) throw invalid('/ids', 'complete');
      const ordered = await fromStore(part, part.rules.reorder(actorOf(request), ids));
      if (!('fault' in ordered)) return ok({ rules: ordered.map(ruleView) });
      if (ordered.fault === 'missing') throw invalid('/ids', 'complete');
      throw new Problem('REFERENCE_NOT_FOUND', {
        faults: ordered.ids.map((id) => ({ path: `/ids/${ids.indexOf(id)}`, rule: 'exists' })),
      });
    },
  });
}

/** A whole body as it is stored. Errors: VALIDATION_FAILED. */
function readRule(body: RuleBody, actor: Actor): RuleFields {
  const faults = new Faults();
  const rule = {
    ...{ name: body.name, priority: body.priority, enabled: body.enabled ?? true },
    conditions: readConditions(body.conditions, '/conditions', faults),
    action: readAction(body.action, '/action', faults),
  };
  refuseUnseen(rule.action, actor, faults);
  faults.refuse();
  return rule;
}

function readPatch(body: Partial<RuleBody>, actor: Actor): Partial<RuleFields> {
  const faults = new Faults();
  const { conditions, action, ...plain } = body;
  const changes: Partial<RuleFields> = {
    ...plain,
    ...(conditions === undefined
      ? {}
      : { conditions: readConditions(conditions, '/conditions', faults) }),
    ...(action === undefined ? {} : { action: readAction(action, '/action', faults) }),
  };
  if (changes.action !== undefined) refuseUnseen(changes.action, actor, faults);
  faults.refuse();
  return changes;
}

/** A key that sees some agents alone sees the rules that name one of them, so it writes no others. */
function refuseUnseen(action: AnswerRule['action'], actor: Actor, faults: Faults): void {
  if (actor.agentIds === null || action.agentId !== undefined) return;
  faults.add('/action/agentId', 'required');
}

async function changeRule(part: RulesPart, actor: Actor, id: Id, changes: Partial<RuleFields>) {
  const changed = await fromStore(part, part.rules.update(actor, id, changes));
  if (changed === null) throw new Problem('NOT_FOUND');
  return ruleView(writtenRule(changed, changes));
}

/** Errors: REFERENCE_NOT_FOUND. */
function writtenRule(written: Written<AnswerRule>, rule: Partial<RuleFields>): AnswerRule {
  if (written.ok) return written.value;
  throw missingProblem(
    written.missing,
    rule.action === undefined ? new Map() : namedIn(rule.action),
    '/action',
  );
}

function ruleView(rule: AnswerRule) {
  const { id, name, enabled, priority, conditions, action } = rule;
  return {
    ...{ id, name, enabled, priority },
    // Stored as it was checked; the declared types differ in what they call read-only.
    conditions: conditions as RuleBody['conditions'],
    action: action as RuleBody['action'],
    created_at: rule.createdAt,
    updated_at: rule.updatedAt,
  };
}
