/** Call records: the list, one record, its recording (contract 2.1). */
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isLiveStatus } from '#sessions/call-service-types.ts';
import { byteRangeOf } from './byte-range.ts';
import type { RecordingFile, RecordingFiles } from './ports.ts';
import type { RecordDetail, RecordingRow } from '#lib/call-record.ts';
import { Problem } from './problem.ts';
import { namesDay, paginationOf, RecordListQuery, recordQueryOf } from './record-query.ts';
import { findRecord, fromStore, type RecordSource } from './record-source.ts';
import { recordView, rowView } from './record-view.ts';
import { callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  CallRecordSchema,
  CallRowSchema,
  failures,
  IdParams,
  ok,
  PaginationSchema,
  ref,
} from './schemas.ts';

const NoQuery = Type.Object({}, { additionalProperties: false });

const RecordingQuery = Type.Object(
  {
    disposition: Type.Optional(
      Type.Enum(['inline', 'attachment'], { description: 'Default attachment' }),
    ),
  },
  { additionalProperties: false },
);

export type RecordsPart = RecordSource & { readonly recordings: RecordingFiles };

export function addRecordRoutes(app: ApiServer, part: RecordsPart): void {
  addList(app, part);
  addGet(app, part);
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

function addRecording(app: ApiServer, part: RecordsPart): void {
  const audio = {
    description: 'The audio: stereo WAV, caller left, agent right',
    content: { 'audio/wav': { schema: { type: 'string', format: 'binary' } } },
  };
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
      response: {
        200: audio,
        206: { ...audio, description: 'The part asked for by `Range`' },
        ...failures({
          problems: [
            'NOT_FOUND',
            'NO_RECORDING',
            'CALL_LIVE',
            'RECORDING_EXPIRED',
            'RANGE_NOT_SATISFIABLE',
            'NODE_TIMEOUT',
          ],
        }),
      },
    },
    handler: async (request, reply) => {
      const caller = callerOf(request);
      const record = await findRecord(part, caller, request.params.id);
      const recording = readyRecordingOf(record);
      const file = await fromStore(part, part.recordings.open(caller.accountId, recording));
      if (file === null) throw new Problem('NO_RECORDING');
      const disposition = request.query.disposition ?? 'attachment';
      reply.header('content-disposition', `${disposition}; filename="call-${record.id}.wav"`);
      return sendAudio(request, reply, recording, file);
    },
  });
}

/** Errors: NO_RECORDING, CALL_LIVE, RECORDING_EXPIRED. */
function readyRecordingOf(record: RecordDetail): RecordingRow {
  const { recording } = record;
  const status = recording?.status ?? record.recordingStatus;
  if (status === 'expired') throw new Problem('RECORDING_EXPIRED');
  if (status === 'active') throw new Problem('CALL_LIVE');
  if (status === 'ready' && isLiveStatus(record.status)) throw new Problem('CALL_LIVE');
  // Ready, but the row with its place has not arrived yet: it will in a moment.
  if (status === 'ready' && recording === null) throw new Problem('CALL_LIVE');
  if (recording === null || status !== 'ready') throw new Problem('NO_RECORDING');
  return recording;
}

function sendAudio(
  request: FastifyRequest,
  reply: FastifyReply,
  recording: RecordingRow,
  file: RecordingFile,
): FastifyReply {
  const etag = `"${recording.id}-${file.bytes}"`;
  const ifRange = request.headers['if-range'];
  const isCurrent = ifRange === undefined || ifRange === etag;
  const range = byteRangeOf(isCurrent ? request.headers.range : undefined, file.bytes);
  if (range === 'none') {
    reply.removeHeader('content-disposition');
    throw new Problem('RANGE_NOT_SATISFIABLE', {
      headers: { 'content-range': `bytes */${file.bytes}` },
    });
  }
  const { from, to } = range === 'whole' ? { from: 0, to: file.bytes - 1 } : range;
  reply.headers({ 'accept-ranges': 'bytes', etag, 'content-length': String(to - from + 1) });
  reply.type('audio/wav');
  if (range !== 'whole') {
    reply.code(206).header('content-range', `bytes ${from}-${to}/${file.bytes}`);
  }
  // HEAD must not read the file: an empty stream leaves the headers as they are.
  const isEmpty = request.method === 'HEAD' || to < from;
  return reply.send(isEmpty ? Readable.from([]) : file.read(from, to));
}
