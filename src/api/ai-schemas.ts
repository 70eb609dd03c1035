/** Shapes of what models and rules say of calls, scripts and recordings (contract 2.6 rows 9-12). */
import { Type, type Static } from 'typebox';
import { EXAMPLE_ID, IdSchema, nullable, TimeSchema } from './schemas.ts';

export const LanguageSchema = Type.Enum(['zh', 'en'], {
  description: 'Default: the language of the call or text',
});

const IssueSchema = Type.Object({
  rule: Type.String({ description: 'Name of the rule, in snake_case' }),
  severity: Type.Enum(['low', 'medium', 'high']),
  text: Type.String({ description: 'The words, as they stand in the checked text' }),
  start: Type.Integer({ description: 'UTF-16 units from the start of the checked text' }),
  end: Type.Integer(),
  suggestion: Type.String(),
});

const issueExample = {
  rule: 'guaranteed_return',
  severity: 'high',
  text: 'guaranteed returns',
  start: 12,
  end: 30,
  suggestion: 'Never promise returns; point out that investments carry risk.',
};

export const AnalyseParams = Type.Object({ callId: IdSchema });
export const AnalyseBody = Type.Object(
  { language: Type.Optional(LanguageSchema) },
  { examples: [{ language: 'en' }] },
);

export const AnalysisSchema = Type.Object(
  {
    callId: IdSchema,
    summary: Type.String(),
    intent: Type.String(),
    sentiment: Type.Object({
      label: Type.Enum(['positive', 'neutral', 'negative']),
      score: Type.Number({ minimum: -1, maximum: 1 }),
    }),
    keyPoints: Type.Array(Type.String()),
    customerNeeds: Type.Array(Type.String()),
    nextActions: Type.Array(Type.String()),
    satisfaction: nullable(Type.Integer({ minimum: 0, maximum: 100 })),
    compliance: Type.Object({ compliant: Type.Boolean(), issues: Type.Array(IssueSchema) }),
    metrics: Type.Object({
      talkRatio: Type.Number({ description: 'Share of the talking that was the agent’s, 0..1' }),
      interruptions: Type.Integer({ description: 'How often the caller cut the agent short' }),
      longestMonologueSeconds: Type.Number(),
      avgLatencyMs: nullable(Type.Integer({ description: 'Caller’s last word to first reply' })),
    }),
    source: Type.Enum(['llm', 'rules']),
    model: nullable(Type.String()),
    generatedAt: TimeSchema,
  },
  {
    examples: [
      {
        callId: EXAMPLE_ID,
        summary:
          'Main demands: A refund.\nKey information: not stated\nFinal result: It is on its way.',
        intent: 'refund or return',
        sentiment: { label: 'neutral', score: 0 },
        keyPoints: [],
        customerNeeds: ['I want a refund.'],
        nextActions: ['We will transfer it tomorrow.'],
        satisfaction: null,
        compliance: { compliant: true, issues: [] },
        metrics: {
          talkRatio: 0.62,
          interruptions: 1,
          longestMonologueSeconds: 14.2,
          avgLatencyMs: 640,
        },
        source: 'rules',
        model: null,
        generatedAt: '2026-01-01T00:01:00.000Z',
      },
    ],
  },
);

const given = (maxLength: number) => Type.Optional(Type.String({ minLength: 1, maxLength }));

export const ScriptBody = Type.Object(
  {
    scenario: Type.String({ minLength: 1, maxLength: 500 }),
    goal: given(1_000),
    customerProfile: given(2_000),
    tone: given(100),
    language: Type.Optional(LanguageSchema),
    currentScript: given(20_000),
    callId: Type.Optional(IdSchema),
  },
  { examples: [{ scenario: 'Remind customers of tomorrow’s appointment', tone: 'friendly' }] },
);

export const ScriptSchema = Type.Object(
  {
    script: Type.String(),
    sections: Type.Array(Type.Object({ title: Type.String(), content: Type.String() })),
    tips: Type.Array(Type.String()),
    source: Type.Enum(['llm', 'template']),
    model: nullable(Type.String()),
  },
  {
    examples: [
      {
        script: 'Opening\nHello, this is [your name] from [company].',
        sections: [{ title: 'Opening', content: 'Hello, this is [your name] from [company].' }],
        tips: ['Ask one question at a time and leave room for the answer.'],
        source: 'template',
        model: null,
      },
    ],
  },
);

/** Exactly one of `text` and `callId`: said by the handler, because a union would hide which field is wrong. */
export const ComplianceBody = Type.Object(
  {
    text: Type.Optional(Type.String({ minLength: 1, maxLength: 20_000 })),
    callId: Type.Optional(IdSchema),
    language: Type.Optional(LanguageSchema),
  },
  { examples: [{ text: 'We offer guaranteed returns.' }] },
);

export const ComplianceSchema = Type.Object(
  {
    compliant: Type.Boolean({ description: 'True when nothing was found' }),
    score: Type.Integer({ minimum: 0, maximum: 100 }),
    issues: Type.Array(IssueSchema),
    source: Type.Enum(['rules', 'rules+llm']),
  },
  { examples: [{ compliant: false, score: 70, issues: [issueExample], source: 'rules' }] },
);

export const RecognisedSchema = Type.Object(
  {
    text: Type.String(),
    segments: Type.Array(
      Type.Object({
        text: Type.String(),
        startMs: Type.Integer(),
        endMs: Type.Integer(),
        confidence: nullable(Type.Number({ minimum: 0, maximum: 1 })),
      }),
    ),
    confidence: nullable(Type.Number({ minimum: 0, maximum: 1 })),
    durationMs: Type.Integer(),
    vendor: Type.String(),
  },
  {
    examples: [
      {
        text: 'Hello.',
        segments: [{ text: 'Hello.', startMs: 120, endMs: 640, confidence: 0.98 }],
        confidence: 0.98,
        durationMs: 900,
        vendor: 'aliyun',
      },
    ],
  },
);

export const SummaryBody = Type.Object(
  { language: Type.Optional(LanguageSchema) },
  { additionalProperties: false, examples: [{ language: 'en' }] },
);

export const SummarySchema = Type.Object(
  {
    summary: Type.String({ description: 'Three points, masked' }),
    source: Type.Enum(['llm', 'extractive']),
    model: nullable(Type.String()),
    language: Type.Enum(['zh', 'en']),
    generated_at: TimeSchema,
  },
  {
    examples: [
      {
        summary:
          'Main demands: A refund.\nKey information: not stated\nFinal result: It is on its way.',
        source: 'extractive',
        model: null,
        language: 'en',
        generated_at: '2026-01-01T00:01:00.000Z',
      },
    ],
  },
);

export type ScriptRequestBody = Static<typeof ScriptBody>;
export type ComplianceRequestBody = Static<typeof ComplianceBody>;
