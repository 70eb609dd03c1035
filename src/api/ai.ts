/** Analysis, scripts and compliance of the console API (contract 2.6 rows 9, 10, 12). Unknown input is ignored here. */
import type { FastifyRequest } from 'fastify';
import type { Id } from '#lib/ids.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import type { ComplianceInput } from '#sessions/compliance.ts';
import { spokenText } from '#sessions/spoken-text.ts';
import {
  AnalyseBody,
  AnalyseParams,
  AnalysisSchema,
  ComplianceBody,
  ComplianceSchema,
  ScriptBody,
  ScriptSchema,
  type ComplianceRequestBody,
} from './ai-schemas.ts';
import type { Caller } from './auth.ts';
import { languageOf, type Language } from './language.ts';
import { invalid, Problem } from './problem.ts';
import { findRecord } from './record-source.ts';
import { messagesView } from './record-view.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { answers, ok } from './schemas.ts';
import { addSpeechToTextRoute } from './speech-to-text.ts';
import { addSummaryRoute, finishedCall, fiveSecondsOf, type IntelligencePart } from './summary.ts';

export const AI_TAGS = ['Intelligence'];

export function addIntelligenceRoutes(app: ApiServer, part: IntelligencePart): void {
  addSummaryRoute(app, part);
  addAnalyse(app, part);
  addScript(app, part);
  addSpeechToTextRoute(app, part);
  addCompliance(app, part);
}

function addAnalyse(app: ApiServer, part: IntelligencePart): void {
  app.route({
    method: 'POST',
    url: '/api/call-center/ai/analyze/:callId',
    config: { capability: 'ops' },
    schema: {
      operationId: 'analyzeCall',
      tags: AI_TAGS,
      summary: 'Analyse a finished call',
      description: 'Without a language model the answer comes from fixed rules (`source: rules`).',
      params: AnalyseParams,
      body: AnalyseBody,
      response: answers(200, AnalysisSchema, {
        ...{ description: 'The analysis', hasBody: true, hasMessage: true },
        problems: ['NOT_FOUND', 'CALL_LIVE', 'NO_MESSAGES', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const time = fiveSecondsOf(part, reply);
      const caller = callerOf(request);
      const record = await time.within(finishedCall(part, caller, request.params.callId));
      const { agentId, messages } = record;
      const language = request.body.language ?? null;
      const analysis = await part.intelligence.analyse({
        ...{ accountId: caller.accountId, agentId, messages, language },
        modelTimeoutMs: time.modelMs(),
      });
      return ok(
        {
          ...{ callId: record.id, ...analysis },
          keyPoints: [...analysis.keyPoints],
          customerNeeds: [...analysis.customerNeeds],
          nextActions: [...analysis.nextActions],
          compliance: { ...analysis.compliance, issues: [...analysis.compliance.issues] },
        },
        saidTo(request, { en: 'call analysed', zh: '通话分析完成' }),
      );
    },
  });
}

function addScript(app: ApiServer, part: IntelligencePart): void {
  app.route({
    method: 'POST',
    url: '/api/call-center/ai/generate-script',
    config: { capability: 'ops' },
    schema: {
      operationId: 'generateScript',
      tags: AI_TAGS,
      summary: 'Write a script for calls',
      description:
        'Without a language model the script comes from a template (`source: template`).',
      body: ScriptBody,
      response: answers(200, ScriptSchema, {
        ...{ description: 'The script', hasBody: true, hasMessage: true },
        problems: ['REFERENCE_NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const time = fiveSecondsOf(part, reply);
      const caller = callerOf(request);
      const { callId, scenario, goal, customerProfile, tone, currentScript, language } =
        request.body;
      const call =
        callId === undefined ? null : await time.within(referredCall(part, caller, callId));
      if (scenario.trim() === '') throw invalid('/scenario', 'minLength', { limit: 1 });
      const script = await part.intelligence.writeScript({
        accountId: caller.accountId,
        agentId: call?.agentId ?? null,
        scenario,
        goal: goal ?? null,
        customerProfile: customerProfile ?? null,
        tone: tone ?? null,
        currentScript: currentScript ?? null,
        messages: call?.messages ?? null,
        language: language ?? null,
        modelTimeoutMs: time.modelMs(),
      });
      return ok(
        { ...script, sections: [...script.sections], tips: [...script.tips] },
        saidTo(request, { en: 'script written', zh: '话术已生成' }),
      );
    },
  });
}

function addCompliance(app: ApiServer, part: IntelligencePart): void {
  app.route({
    method: 'POST',
    url: '/api/call-center/ai/check-compliance',
    config: { capability: 'any' },
    schema: {
      operationId: 'checkCompliance',
      tags: AI_TAGS,
      summary: 'Check what is said against law and good practice',
      description:
        'Exactly one of `text` and `callId`. Of a call, what the agent’s side said is checked; offsets then count in the contents of all its messages, as this role reads them, joined by line feeds.',
      body: ComplianceBody,
      response: answers(200, ComplianceSchema, {
        ...{ description: 'What was found', hasBody: true, hasMessage: true },
        problems: ['REFERENCE_NOT_FOUND', 'NO_MESSAGES', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const time = fiveSecondsOf(part, reply);
      const caller = callerOf(request);
      const { input, agentId } = await time.within(checkedText(part, caller, request.body));
      const { accountId } = caller;
      const result = await part.intelligence.checkCompliance(input, {
        ...{ accountId, agentId, modelTimeoutMs: time.modelMs() },
      });
      return ok(
        { ...result, issues: [...result.issues] },
        result.compliant
          ? saidTo(request, { en: 'nothing found', zh: '未发现问题' })
          : saidTo(request, { en: 'issues found', zh: '发现合规问题' }),
      );
    },
  });
}

async function checkedText(
  part: IntelligencePart,
  caller: Caller,
  body: ComplianceRequestBody,
): Promise<{ readonly input: ComplianceInput; readonly agentId: Id | null }> {
  const { text, callId } = body;
  const language = body.language ?? null;
  if (text !== undefined && callId !== undefined) {
    throw invalid('/callId', 'exclusive', { other: '/text' });
  }
  if (callId === undefined) {
    if (text === undefined) throw invalid('/text', 'required');
    return { input: { text, parts: null, language }, agentId: null };
  }
  const call = await referredCall(part, caller, callId);
  const spoken = spokenText(messagesView(call.messages, caller.role));
  if (spoken.text === '') throw new Problem('NO_MESSAGES');
  return { input: { ...spoken, language }, agentId: call.agentId };
}

/** A call that a body names: live or over. Errors: REFERENCE_NOT_FOUND. */
async function referredCall(
  part: IntelligencePart,
  caller: Caller,
  callId: Id,
): Promise<RecordDetail> {
  try {
    return await findRecord(part, caller, callId);
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'NOT_FOUND') throw error;
    throw new Problem('REFERENCE_NOT_FOUND', { faults: [{ path: '/callId', rule: 'exists' }] });
  }
}

/** What an answer of the console API tells people (contract 1.5). */
export function saidTo(
  request: Pick<FastifyRequest, 'headers'>,
  texts: Readonly<Record<Language, string>>,
): string {
  return texts[languageOf(request.headers['accept-language'])];
}
