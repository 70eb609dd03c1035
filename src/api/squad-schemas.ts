/** Shapes of squads and of conversations with them (contract 2.4). */
import { Type, type Static } from 'typebox';
import { EXAMPLE_ID, IdSchema, nullable, TimeSchema } from './schemas.ts';

const PRIMARY_ID = '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11';
const OTHER_ID = 'b2c41f8e-3d0a-4f27-9a3c-6e2f7d1c5a40';
export const MAX_MEMBERS = 20;
const MAX_SKILLS = 20;
const SKILL_CHARS = 100;
/** Two ways between any two of twenty. */
const MAX_TRANSFERS = 400;

const Role = Type.Enum(['primary', 'secondary', 'specialist']);
const Priority = Type.Integer({ minimum: 1, maximum: 100 });
const Skills = Type.Array(Type.String({ minLength: 1, maxLength: SKILL_CHARS }), {
  maxItems: MAX_SKILLS,
  description: 'What it knows, in the words that callers use, in any language',
});

export const SquadBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 255 }),
    members: Type.Array(
      Type.Object(
        {
          agent_id: IdSchema,
          role: Role,
          skills: Type.Optional(Skills),
          priority: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 100,
              description: 'Default 1; the lower one wins a tie',
            }),
          ),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: MAX_MEMBERS, description: 'Exactly one is primary' },
    ),
    transfers: Type.Optional(
      Type.Array(
        Type.Object(
          {
            from: IdSchema,
            to: IdSchema,
            when: Type.String({ minLength: 1, maxLength: 500 }),
            notice: Type.Optional(
              nullable(
                Type.String({
                  minLength: 1,
                  maxLength: 200,
                  description:
                    'Said at the hand-over; else “Transferring you now…” or 正在为您转接…',
                }),
              ),
            ),
          },
          { additionalProperties: false },
        ),
        {
          maxItems: MAX_TRANSFERS,
          description:
            'A member that has any hands over to these alone; one that has none, to everybody',
        },
      ),
    ),
  },
  {
    additionalProperties: false,
    examples: [
      {
        name: 'Service',
        members: [
          { agent_id: PRIMARY_ID, role: 'primary' },
          { agent_id: OTHER_ID, role: 'specialist', skills: ['refund', '退款'] },
        ],
      },
    ],
  },
);
export type SquadBody = Static<typeof SquadBody>;

export const SquadSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    members: Type.Array(
      Type.Object({
        agent_id: IdSchema,
        agent_name: Type.String(),
        role: Role,
        skills: Type.Array(Type.String()),
        priority: Priority,
      }),
      { description: 'The primary one first, then by priority and agent' },
    ),
    transfers: Type.Array(
      Type.Object({
        from: IdSchema,
        to: IdSchema,
        when: Type.String(),
        notice: nullable(Type.String()),
      }),
    ),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'Squad',
    examples: [
      {
        id: EXAMPLE_ID,
        name: 'Service',
        members: [
          {
            ...{ agent_id: PRIMARY_ID, agent_name: 'Reception', role: 'primary' },
            ...{ skills: [], priority: 1 },
          },
          {
            ...{ agent_id: OTHER_ID, agent_name: 'Refunds', role: 'specialist' },
            ...{ skills: ['refund', '退款'], priority: 1 },
          },
        ],
        transfers: [
          { from: PRIMARY_ID, to: OTHER_ID, when: 'refund, money back', notice: 'One moment…' },
        ],
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);
export type SquadView = Static<typeof SquadSchema>;

export const ExecuteBody = Type.Object(
  {
    input: Type.String({ minLength: 1, maxLength: 4_000 }),
    conversation_id: Type.Optional(
      Type.String({ ...IdSchema, description: 'Of a former answer; absent: a new conversation' }),
    ),
    variables: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        description: 'For the members’ prompts; kept for the turns that follow',
      }),
    ),
  },
  { additionalProperties: false, examples: [{ input: 'I want my money back.' }] },
);

const SummarySchema = Type.Object(
  { intent: Type.String(), key_info: Type.String(), pending: Type.String() },
  { description: 'What the next agent is told; masked' },
);

export const ExecutedSchema = Type.Object(
  {
    conversation_id: Type.String({ ...IdSchema, description: 'Also the id of the call record' }),
    status: Type.Enum(['pending', 'active', 'completed', 'expired', 'failed']),
    agent_id: Type.String({ ...IdSchema, description: 'Who answers' }),
    agent_name: Type.String(),
    intent: Type.String(),
    confidence: Type.Number({ minimum: 0, maximum: 1 }),
    reply: Type.String(),
    handoff: nullable(
      Type.Object({
        from: IdSchema,
        to: IdSchema,
        summary: SummarySchema,
        notice: Type.String(),
      }),
    ),
    expires_at: Type.Integer({ description: 'Unix seconds; each turn moves it on' }),
  },
  {
    examples: [
      {
        conversation_id: EXAMPLE_ID,
        status: 'active',
        agent_id: OTHER_ID,
        agent_name: 'Refunds',
        intent: 'refund',
        confidence: 0.9,
        reply: 'I am sorry to hear that. Which order is it?',
        handoff: {
          from: PRIMARY_ID,
          to: OTHER_ID,
          summary: { intent: 'refund', key_info: 'not stated', pending: 'I want my money back.' },
          notice: 'Transferring you now…',
        },
        expires_at: 1767227400,
      },
    ],
  },
);
