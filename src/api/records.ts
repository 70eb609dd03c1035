/** Call records: the list, one record, its recording (contract 2.1). */
import { Type } from 'typebox';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import type { RecordingFiles, RecordKeeping } from './ports.ts';
import { namesDay, RecordListQuery, recordQueryOf } from './record-query.ts';
import { EventSchema } from './record-schemas.ts';
import { findRecord, fromStore, type RecordSource } from './record-source.ts';
import { eventView, recordView, rowView } from './record-view.ts';
import { dispositionField, downloadAnswers, sendRecording } from './recording-download.ts';
import { addRecordWriteRoutes } from './records-write.ts';
import { callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  CallRecordSchema,
  CallRowSchema,
  IdParams,
  ok,
  PaginationSchema,
  ref,
} from './schemas.ts';
import { addStatisticsRoute } from './statistics.ts';

const NoQuery = Type.Object({}, { additionalProperties: false });

const RecordingQuery = Type.Object(dispositionField, { additionalProperties: false });

const EventsQuery = Type.Object(pageFields, { additionalProperties: false });

export type RecordsPart = RecordSource & {
  readonly recordings: RecordingFiles;
  readonly keeping: RecordKeeping;
};

export function addRecordRoutes(app: ApiServer, part: RecordsPart): void {
  addList(app, part);
  addStatisticsRoute(app, part);
  addGet(app, part);
  addRecordWriteRoutes(app, part);
  addEvents(app, part);
  addRecording(app, part);
}

function addList(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/call-records',
    config: { capability: 'any' },
    schema: {
      operationId: 'listCallRecords',
      tags: ['Call records'],
      summary: 'List call records, newest first',
      description:
        'Filters are combined. Page with `page`, or follow `next_cursor`, which neither repeats nor skips a record.',
      querystring: RecordListQuery,
      response: answers(
        200,
        Type.Object({
          records: Type.Array(ref(CallRowSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const zone = namesDay(request.query)
        ? await fromStore(part, part.records.timeZone(caller.accountId))
        : 'UTC';
      const { page, query } = recordQueryOf(request.query, caller, zone, part.clock.wallMs());
      const found = await fromStore(part, part.records.list(caller.accountId, query));
      return ok({
        records: found.rows.map((row) => rowView(row, caller.role)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/call-records/:id',
    config: { capability: 'any' },
    schema: {
      operationId: 'getCallRecord',
      tags: ['Call records'],
      summary: 'Read one call record with its transcript',
      description: 'While the call is live its `messages` may be 5 s old.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(CallRecordSchema), {
        description: 'The record',
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const record = await findRecord(part, caller, request.params.id);
      return ok(recordView(record, caller.role));
    },
  });
}

function addEvents(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/call-records/:id/events',
    config: { capability: 'any' },
    schema: {
      operationId: 'listCallEvents',
      tags: ['Call records'],
      summary: 'List what happened in a call, oldest first',
      description:
        'Events are kept as long as the account’s settings say. For a viewer what was said and dialled is masked.',
      params: IdParams,
      querystring: EventsQuery,
      response: answers(
        200,
        Type.Object({
          events: Type.Array(ref(EventSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: ['NOT_FOUND', 'NODE_TIMEOUT'] },
      ),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const page = pageOf(request.query, 'number');
      const { id } = await findRecord(part, caller, request.params.id);
      const found = await fromStore(part, part.keeping.events(caller.accountId, id, page));
      return ok({
        events: found.rows.map((event) => eventView(event, caller)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addRecording(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/call-records/:id/recording',
    config: { capability: 'sup' },
    schema: {
      operationId: 'getRecording',
      tags: ['Call records'],
      summary: 'Hear the recording of a call',
      description: '`Range` is honoured for one range.',
      params: IdParams,
      querystring: RecordingQuery,
      response: downloadAnswers(),
    },
    handler: (request, reply) => {
      const { disposition = 'attachment' } = request.query;
      return sendRecording(part, request, reply, { id: request.params.id, disposition });
    },
  });
}
