/** Recordings in the console API (contract 2.6 rows 6 to 8): the list, transcripts, the audio. Unknown input is ignored. */
import { Type, type Static } from 'typebox';
import type { Message } from '#lib/call-events.ts';
import type { ConsoleRecordQuery } from '#lib/console-record.ts';
import { isLocalDate, nextLocalDate, startOfLocalDate } from '#lib/local-date.ts';
import { normalizePhonePrefix } from '#lib/phone.ts';
import type { Recordings } from '#store/recordings.ts';
import type { Caller } from './auth.ts';
import { liveCall } from './call-view.ts';
import { consoleMessage } from './console-messages.ts';
import { ConsoleRecordSchema, ConsoleStatusSchema } from './console-schemas.ts';
import { consoleRecordOf, consoleStatusOf } from './console-view.ts';
import {
  consolePageFields,
  consolePaginationOf,
  ConsolePaginationSchema,
  pageOf,
} from './paging.ts';
import { invalid } from './problem.ts';
import { findRecord, fromNode, fromStore } from './record-source.ts';
import { messagesView } from './record-view.ts';
import {
  dispositionField,
  downloadAnswers,
  sendRecording,
  type RecordingDownloadPart,
} from './recording-download.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  EXAMPLE_ID,
  IdParams,
  IdSchema,
  nullable,
  ok,
  ref,
  TimeSchema,
} from './schemas.ts';

export type ConsoleRecordingsPart = RecordingDownloadPart & {
  readonly recordingList: Pick<Recordings, 'listForConsole'>;
};

const TAGS = ['Call center'];
const BASE = '/api/call-center/recordings';

const ListQuery = Type.Object({
  ...consolePageFields,
  phoneNumber: Type.Optional(Type.String({ maxLength: 64, description: 'A prefix' })),
  dateRange: Type.Optional(
    Type.Union([Type.String({ maxLength: 40 }), Type.Array(Type.String(), { maxItems: 2 })], {
      description:
        '`from,to`, or the parameter twice: days of the account’s time zone, both inclusive; either may be empty',
      examples: ['2026-01-01,2026-01-31'],
    }),
  ),
  hasRecording: Type.Optional(Type.Boolean()),
});

const ListSchema = Type.Object({
  items: Type.Array(ref(ConsoleRecordSchema)),
  pagination: ref(ConsolePaginationSchema),
});

const SegmentSchema = Type.Object({
  index: Type.Integer(),
  role: Type.Enum(['user', 'assistant']),
  speaker: Type.Enum(['customer', 'ai', 'human'], {
    description: '`human`: a colleague who spoke in the agent’s place',
  }),
  text: Type.String(),
  startMs: nullable(Type.Integer({ description: 'From the answer' })),
  endMs: nullable(Type.Integer()),
  timestamp: TimeSchema,
  isFinal: Type.Boolean(),
});
type Segment = Static<typeof SegmentSchema>;

const TranscriptSchema = Type.Object(
  {
    callId: IdSchema,
    status: ConsoleStatusSchema,
    segments: Type.Array(SegmentSchema),
    fullText: Type.String({ description: 'One line per segment, each after its speaker' }),
  },
  {
    examples: [
      {
        callId: EXAMPLE_ID,
        status: 'ended',
        segments: [
          {
            index: 0,
            role: 'assistant',
            speaker: 'ai',
            text: 'Hello, how can I help?',
            startMs: 120,
            endMs: 1840,
            timestamp: '2026-01-01T00:00:01.120Z',
            isFinal: true,
          },
        ],
        fullText: 'ai: Hello, how can I help?',
      },
    ],
  },
);

export function addConsoleRecordingRoutes(app: ApiServer, part: ConsoleRecordingsPart): void {
  addList(app, part);
  addTranscript(app, part);
  addDownload(app, part);
}

function addList(app: ApiServer, part: ConsoleRecordingsPart): void {
  app.route({
    method: 'GET',
    url: BASE,
    config: { capability: 'any' },
    schema: {
      operationId: 'listConsoleRecordings',
      tags: TAGS,
      summary: 'List phone and web calls, recorded or not, newest first',
      querystring: ListQuery,
      response: answers(200, ListSchema, {
        description: 'One page',
        hasMessage: true,
        problems: [],
      }),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const viewer = { role: callerOf(request).role, nowMs: part.clock.wallMs() };
      const query = { ...page, ...(await filtersOf(part, callerOf(request), request.query)) };
      const found = await fromStore(
        part,
        part.recordingList.listForConsole(actorOf(request), query),
      );
      return ok(
        {
          items: found.rows.map((row) => consoleRecordOf(row, viewer)),
          pagination: consolePaginationOf(page, found),
        },
        consoleMessage(request, 'recordings'),
      );
    },
  });
}

/** Errors: VALIDATION_FAILED. */
async function filtersOf(
  part: ConsoleRecordingsPart,
  caller: Caller,
  query: Static<typeof ListQuery>,
): Promise<Omit<ConsoleRecordQuery, 'limit' | 'from'>> {
  const phonePrefix = normalizePhonePrefix(query.phoneNumber ?? '');
  if (phonePrefix === null) throw invalid('?phoneNumber', 'phone');
  const { from, to } = daysOf(query.dateRange);
  const hasDays = from !== null || to !== null;
  const zone = hasDays ? await fromStore(part, part.records.timeZone(caller.accountId)) : 'UTC';
  const isoOf = (ms: number): string => new Date(ms).toISOString();
  return {
    phonePrefix: phonePrefix === '' ? null : phonePrefix,
    startFrom: from === null ? null : isoOf(startOfLocalDate(from, zone)),
    startBefore: to === null ? null : isoOf(startOfLocalDate(nextLocalDate(to), zone)),
    hasRecording: query.hasRecording ?? null,
  };
}

/** First and last day; null where the range is open. Errors: VALIDATION_FAILED. */
function daysOf(range: string | readonly string[] | undefined) {
  const parts = typeof range === 'string' ? range.split(',') : (range ?? []);
  const [from = '', to = '', ...rest] = parts.map((part) => part.trim());
  const isDays = [from, to].every((day) => day === '' || isLocalDate(day));
  const isPair = range === undefined || parts.length === 2 || range === '';
  if (!isDays || !isPair || rest.length > 0) throw invalid('?dateRange', 'days');
  if (from !== '' && to !== '' && to < from) throw invalid('?dateRange', 'order');
  return { from: from === '' ? null : from, to: to === '' ? null : to };
}

function addTranscript(app: ApiServer, part: ConsoleRecordingsPart): void {
  app.route({
    method: 'GET',
    url: `${BASE}/:id/transcript`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getConsoleTranscript',
      tags: TAGS,
      summary: 'Read what was said in a call',
      description: 'While the call is live, complete to the last second.',
      params: IdParams,
      querystring: Type.Object({}),
      response: answers(200, TranscriptSchema, {
        description: 'The transcript',
        hasMessage: true,
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const { status, answerTime, messages } = await saidIn(part, caller, id);
      const segments = segmentsOf(messagesView(messages, caller.role), answerTime);
      return ok(
        {
          callId: id,
          status: consoleStatusOf(status),
          segments,
          fullText: segments.map(({ speaker, text }) => `${speaker}: ${text}`).join('\n'),
        },
        consoleMessage(request, 'transcript'),
      );
    },
  });
}

/** The owner of a call knows it best, so it is asked before the database. Errors: NOT_FOUND, NODE_TIMEOUT. */
async function saidIn(part: ConsoleRecordingsPart, caller: Caller, id: string) {
  const call = await liveCall(part, caller, id);
  if (call !== null) {
    const conversation = await fromNode(part, part.calls.conversation(caller.accountId, id));
    if (conversation !== null) return { ...call, messages: conversation.messages };
  }
  return findRecord(part, caller, id);
}

/** What people and agent said; what the system and its tools wrote is left out. */
function segmentsOf(messages: readonly Message[], answerTime: string | null): Segment[] {
  const segments: Segment[] = [];
  for (const message of messages) {
    if (message.role !== 'user' && message.role !== 'assistant') continue;
    const timestampMs = message.timestamp * 1000;
    const sinceAnswerMs = answerTime === null ? null : timestampMs - Date.parse(answerTime);
    const startMs =
      message.start_ms ?? (sinceAnswerMs === null ? null : Math.max(0, sinceAnswerMs));
    segments.push({
      index: segments.length,
      role: message.role,
      speaker: speakerOf(message),
      text: message.content,
      startMs: startMs === null ? null : Math.round(startMs),
      endMs: message.end_ms === undefined ? null : Math.round(message.end_ms),
      timestamp: new Date(Math.round(timestampMs)).toISOString(),
      isFinal: true,
    });
  }
  return segments;
}

function speakerOf(message: Message & { readonly speaker?: string }): Segment['speaker'] {
  if (message.role === 'user') return 'customer';
  return message.speaker === 'supervisor' ? 'human' : 'ai';
}

function addDownload(app: ApiServer, part: ConsoleRecordingsPart): void {
  app.route({
    method: 'GET',
    url: `${BASE}/:id/download`,
    config: { capability: 'sup' },
    schema: {
      operationId: 'downloadConsoleRecording',
      tags: TAGS,
      summary: 'Hear the recording of a call',
      description: '`Range` is honoured for one range.',
      params: IdParams,
      querystring: Type.Object(dispositionField),
      response: downloadAnswers(),
    },
    handler: (request, reply) => {
      const { disposition = 'attachment' } = request.query;
      return sendRecording(part, request, reply, { id: request.params.id, disposition });
    },
  });
}
