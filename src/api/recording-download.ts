/** Hearing one recording over HTTP: the same for records (contract 2.1) and the console (2.6 row 8). */
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RecordDetail, RecordingRow } from '#lib/call-record.ts';
import { isLiveStatus } from '#sessions/call-service-types.ts';
import { byteRangeOf } from './byte-range.ts';
import type { RecordingFile, RecordingFiles } from './ports.ts';
import { Problem } from './problem.ts';
import { findRecord, fromStore, type RecordSource } from './record-source.ts';
import { actorOf, callerOf } from './routing.ts';
import { failures } from './schemas.ts';

export type RecordingDownloadPart = RecordSource & { readonly recordings: RecordingFiles };

export const dispositionField = {
  disposition: Type.Optional(
    Type.Enum(['inline', 'attachment'], { description: 'Default attachment' }),
  ),
};

const BINARY = { schema: { type: 'string', format: 'binary' } };
const AUDIO = {
  description:
    'The audio, stereo, caller left, agent right: WAV, or Ogg/Opus where new recordings are kept so',
  content: { 'audio/wav': BINARY, 'audio/ogg': BINARY },
};

/** The `response` part of the routes' schemas. */
export function downloadAnswers() {
  return {
    200: AUDIO,
    206: { ...AUDIO, description: 'The part asked for by `Range`' },
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
  };
}

/** Answers with the recording of record `id`, whole or the one range asked for, and notes in the audit log who heard it. */
export async function sendRecording(
  part: RecordingDownloadPart,
  request: FastifyRequest,
  reply: FastifyReply,
  what: { readonly id: string; readonly disposition?: 'inline' | 'attachment' },
): Promise<FastifyReply> {
  const caller = callerOf(request);
  const record = await findRecord(part, caller, what.id);
  const recording = readyRecordingOf(record);
  const file = await fromStore(part, part.recordings.open(caller.accountId, recording));
  if (file === null) throw new Problem('NO_RECORDING');
  const etag = etagOf(recording, file);
  if (isKnown(request.headers['if-none-match'], etag)) {
    return reply.code(304).header('etag', etag).send();
  }
  const range = rangeOf(request, etag, file);
  // HEAD hears nothing.
  if (request.method !== 'HEAD') {
    const heard = { callId: record.id, recordingId: recording.id };
    const isPart = range !== 'whole' && (range.from > 0 || range.to < file.bytes - 1);
    const asked = isPart ? `bytes=${range.from}-${range.to}` : null;
    await fromStore(part, part.recordings.noteHeard(actorOf(request), { ...heard, range: asked }));
  }
  const disposition = what.disposition ?? 'attachment';
  reply.header(
    'content-disposition',
    `${disposition}; filename="call-${record.id}.${file.format}"`,
  );
  reply.header('etag', etag);
  return sendAudio(request, reply, file, range);
}

/** Errors: NO_RECORDING, CALL_LIVE, RECORDING_EXPIRED. */
export function readyRecordingOf(record: RecordDetail): RecordingRow {
  const { recording } = record;
  const status = recording?.status ?? record.recordingStatus;
  if (status === 'expired') throw new Problem('RECORDING_EXPIRED');
  if (status === 'active') throw new Problem('CALL_LIVE');
  // A call of ours may be recorded before its row says so, or be recorded later.
  const isGoingOn = record.source === 'core' && isLiveStatus(record.status);
  if (isGoingOn && status !== 'failed') throw new Problem('CALL_LIVE');
  // Ready, but the row with its place has not arrived yet: it will in a moment.
  if (status === 'ready' && recording === null) throw new Problem('CALL_LIVE');
  if (recording === null || status !== 'ready') throw new Problem('NO_RECORDING');
  return recording;
}

type Range = { readonly from: number; readonly to: number } | 'whole';

/** Whether one of the tags of `If-None-Match` is ours; weak ones count as well (RFC 9110 13.1.2). */
function isKnown(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((part) => {
    const tag = part.trim();
    return tag === '*' || tag.replace(/^W\//, '') === etag;
  });
}

/** A range is for GET alone (RFC 9110 14.2). Errors: RANGE_NOT_SATISFIABLE. */
function rangeOf(request: FastifyRequest, etag: string, file: RecordingFile): Range {
  if (request.method !== 'GET') return 'whole';
  const ifRange = request.headers['if-range'];
  const isCurrent = ifRange === undefined || ifRange === etag;
  const range = byteRangeOf(isCurrent ? request.headers.range : undefined, file.bytes);
  if (range !== 'none') return range;
  throw new Problem('RANGE_NOT_SATISFIABLE', {
    headers: { 'content-range': `bytes */${file.bytes}` },
  });
}

function sendAudio(
  request: FastifyRequest,
  reply: FastifyReply,
  file: RecordingFile,
  range: Range,
): FastifyReply {
  const { from, to } = range === 'whole' ? { from: 0, to: file.bytes - 1 } : range;
  reply.headers({ 'accept-ranges': 'bytes', 'content-length': String(to - from + 1) });
  reply.type(`audio/${file.format}`);
  if (range !== 'whole') {
    reply.code(206).header('content-range', `bytes ${from}-${to}/${file.bytes}`);
  }
  // HEAD must not read the file: an empty stream leaves the headers as they are.
  const isEmpty = request.method === 'HEAD' || to < from;
  return reply.send(isEmpty ? Readable.from([]) : file.read(from, to));
}

function etagOf(recording: RecordingRow, file: RecordingFile): string {
  return `"${recording.id}-${file.bytes}"`;
}
