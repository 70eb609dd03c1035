/** The dry run of answer rules: what would happen to a call, with nothing stored and nothing rung (contract 2.3). */
import { Type } from 'typebox';
import type { Actor } from '#lib/actor.ts';
import type { AnswerRule, CallFacts, RoutingRules } from '#lib/answer-rule.ts';
import type { Id } from '#lib/ids.ts';
import { parseIsoTime } from '#lib/iso-time.ts';
import { normalizePhone } from '#lib/phone.ts';
import { decideAnswer, type Decision } from '#sessions/answer-rules.ts';
import type { AgentAdmin } from '#store/agent-admin.ts';
import type { AnswerRules } from '#store/answer-rules.ts';
import type { Clock } from '#lib/clock.ts';
import { missingProblem } from './references.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { Faults, namedIn, readAction, readConditions } from './rule-checks.ts';
import { EvaluateBody, EvaluationSchema, type RuleDraft } from './rule-schemas.ts';
import { answers, ok, ref } from './schemas.ts';

type EvaluatePart = {
  readonly rules: AnswerRules;
  readonly agentAdmin: Pick<AgentAdmin, 'preview'>;
  readonly clock: Clock;
};

export function addEvaluateRoute(app: ApiServer, part: EvaluatePart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/call-answer-rules/evaluate',
    config: { capability: 'any' },
    schema: {
      operationId: 'evaluateAnswerRules',
      tags: ['Answer rules'],
      summary: 'Try what would happen to a call',
      description:
        'Uses the stored rules, or the drafts in `rules` instead of them. Nothing is stored and nothing rings.',
      querystring: Type.Object({}, { additionalProperties: false }),
      body: EvaluateBody,
      response: answers(200, ref(EvaluationSchema), {
        description: 'The decision, and how it was found',
        problems: ['REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const { body } = request;
      const faults = new Faults();
      const facts = readFacts(body, part.clock, faults);
      const drafts = body.rules?.map((draft, index) => readDraft(draft, index, faults));
      faults.refuse();
      await refuseMissing(part, actor, body.trunk_id, drafts);
      const stored = await fromStore(part, part.rules.routing(actor));
      const routing: RoutingRules = drafts === undefined ? stored : { ...stored, rules: drafts };
      const decision = decideAnswer(routing, facts);
      const agent = await agentOf(part, actor, decision, {
        ...{ called: facts.calledNumber, app: facts.callerApp },
        trunkId: body.trunk_id ?? null,
      });
      const seen = new Set(routing.rules.filter((rule) => maySee(actor, rule)).map(({ id }) => id));
      return ok(evaluationView(decision, agent, { isDraft: drafts !== undefined, seen }));
    },
  });
}

function readFacts(body: EvaluateBody, clock: Clock, faults: Faults): CallFacts {
  const phone = (field: 'caller_phone' | 'called_number'): string | null => {
    const text = body[field];
    const number = text === undefined ? null : normalizePhone(text);
    if (text !== undefined && number === null) faults.add(`/${field}`, 'phone');
    return number;
  };
  const atMs = body.at === undefined ? clock.wallMs() : parseIsoTime(body.at);
  if (atMs === null) faults.add('/at', 'time');
  return {
    callerNumber: phone('caller_phone'),
    anonymous: body.anonymous ?? false,
    callerApp: body.caller_app ?? null,
    calledNumber: phone('called_number'),
    atMs: atMs ?? 0,
  };
}

/** Without an id a draft is known by its place, which is nobody's id and is shown as null. */
function readDraft(draft: RuleDraft, index: number, faults: Faults): AnswerRule {
  const at = `/rules/${index}`;
  const createdAt = draft.created_at === undefined ? 0 : parseIsoTime(draft.created_at);
  if (createdAt === null) faults.add(`${at}/created_at`, 'time');
  const time = new Date(createdAt ?? 0).toISOString();
  return {
    id: draft.id?.toLowerCase() ?? `draft ${index}`,
    name: draft.name ?? '',
    enabled: draft.enabled ?? true,
    priority: draft.priority ?? index + 1,
    conditions: readConditions(draft.conditions, `${at}/conditions`, faults),
    action: readAction(draft.action, `${at}/action`, faults),
    createdAt: time,
    updatedAt: time,
  };
}

/** Errors: REFERENCE_NOT_FOUND. */
async function refuseMissing(
  part: EvaluatePart,
  actor: Actor,
  trunkId: Id | undefined,
  drafts: readonly AnswerRule[] | undefined,
): Promise<void> {
  const named = new Map<string, Id>();
  if (trunkId !== undefined) named.set('/trunk_id', trunkId);
  for (const [index, { action }] of (drafts ?? []).entries()) {
    for (const [pointer, id] of namedIn(action)) named.set(`/rules/${index}/action${pointer}`, id);
  }
  if (named.size === 0) return;
  const idsAt = (end: string): Id[] => [
    ...new Set([...named].filter(([pointer]) => pointer.endsWith(end)).map(([, id]) => id)),
  ];
  const missing = await fromStore(
    part,
    part.rules.missing(actor, {
      agents: idsAt('/agentId'),
      squads: idsAt('/squadId'),
      trunks: idsAt('/trunk_id'),
    }),
  );
  if (missing.length > 0) throw missingProblem(missing, named);
}

type Agent = { readonly id: Id; readonly name: string };

async function agentOf(
  part: EvaluatePart,
  actor: Actor,
  { action }: Decision,
  bound: Pick<Parameters<AgentAdmin['preview']>[1], 'called' | 'app' | 'trunkId'>,
): Promise<Agent | null> {
  if (!action.useAgent) return null;
  const { agentId, squadId } = action;
  const agent = await fromStore(
    part,
    part.agentAdmin.preview(actor, { agentId, squadId, ...bound }),
  );
  const isSeen = agent !== null && (actor.agentIds === null || actor.agentIds.includes(agent.id));
  return isSeen ? agent : null;
}

/** A key that sees some agents alone sees the rules that name one of them. */
function maySee(actor: Actor, { action }: AnswerRule): boolean {
  const { agentIds } = actor;
  return agentIds === null || (action.agentId !== undefined && agentIds.includes(action.agentId));
}

function evaluationView(
  decision: Decision,
  agent: Agent | null,
  shown: { readonly isDraft: boolean; readonly seen: ReadonlySet<Id> },
) {
  const idOf = (id: Id): Id | null => (shown.isDraft && id.startsWith('draft ') ? null : id);
  const { ruleId } = decision;
  const isSeen = ruleId !== null && (shown.isDraft || shown.seen.has(ruleId));
  return {
    matched: ruleId !== null,
    rule_id: isSeen ? idOf(ruleId) : null,
    rule_name: isSeen ? decision.ruleName : null,
    default_used: decision.defaultUsed,
    action: decision.action,
    agent: agent === null ? null : { id: agent.id, name: agent.name },
    trace: decision.trace
      .filter((entry) => shown.isDraft || shown.seen.has(entry.ruleId))
      .map(({ ruleId: id, name, priority, matched, failed }) => ({
        rule_id: idOf(id),
        ...{ name, priority, matched, failed },
      })),
  };
}
