/** Shapes of the console API (contract 2.6), shared by its routes: calls, records, status in the console's words. */
import { Type, type Static } from 'typebox';
import { ConsolePaginationSchema } from './paging.ts';
import {
  DirectionSchema,
  EXAMPLE_ID,
  HangupReasonSchema,
  IdSchema,
  nullable,
  OutcomeSchema,
  TimeSchema,
} from './schemas.ts';

export const ConsoleStatusSchema = Type.Enum([
  'connecting',
  'ringing',
  'answered',
  'ended',
  'failed',
]);

const callFields = {
  callId: IdSchema,
  phoneNumber: Type.String({
    description: 'The remote party, also on outbound calls; empty for an anonymous one',
  }),
  direction: DirectionSchema,
  status: ConsoleStatusSchema,
  customerId: nullable(Type.String()),
  agentId: IdSchema,
  agentName: Type.String(),
  startTime: TimeSchema,
  answerTime: nullable(TimeSchema),
  endTime: nullable(TimeSchema),
  duration: Type.Integer({ description: 'Whole seconds since the answer; 0 before it' }),
  hangupReason: nullable(HangupReasonSchema),
  outcome: nullable(OutcomeSchema),
};

const callExample = {
  callId: EXAMPLE_ID,
  phoneNumber: '+15550100',
  direction: 'inbound',
  status: 'ended',
  customerId: null,
  agentId: '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11',
  agentName: 'Default agent',
  startTime: '2026-01-01T00:00:00.000Z',
  answerTime: '2026-01-01T00:00:01.000Z',
  endTime: '2026-01-01T00:00:43.000Z',
  duration: 42,
  hangupReason: 'user',
  outcome: 'completed',
};

export const ConsoleCallSchema = Type.Object(callFields, {
  $id: 'ConsoleCall',
  examples: [callExample],
});
export type ConsoleCall = Static<typeof ConsoleCallSchema>;

export const ConsoleRecordSchema = Type.Object(
  {
    ...callFields,
    id: Type.String({ description: 'Equal to `callId`' }),
    customerName: nullable(Type.String()),
    hasRecording: Type.Boolean({ description: 'True when it can be downloaded' }),
    recordingUrl: nullable(Type.String({ description: 'A path on this server' })),
    summary: nullable(Type.String()),
  },
  {
    $id: 'ConsoleRecord',
    examples: [
      {
        ...callExample,
        id: EXAMPLE_ID,
        customerName: 'Ann',
        hasRecording: true,
        recordingUrl: `/api/call-center/recordings/${EXAMPLE_ID}/download`,
        summary: null,
      },
    ],
  },
);
export type ConsoleRecord = Static<typeof ConsoleRecordSchema>;

/** To be registered with the server, so that `ref` finds them. */
export const CONSOLE_SCHEMAS = [
  ConsoleCallSchema,
  ConsoleRecordSchema,
  ConsolePaginationSchema,
] as const;
