/** What clients write to call records (contract 2.1): create, change, delete. */
import { Type, type Static } from 'typebox';
import type { FastifyRequest } from 'fastify';
import type { Message } from '#lib/call-events.ts';
import type { NewRecord, RecordChange, RecordDetail, RecordRefusal } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import { parseIsoTime } from '#lib/iso-time.ts';
import { normalizePhone } from '#lib/phone.ts';
import { maySee } from './auth.ts';
import { invalid, Problem, type FieldFault } from './problem.ts';
import { CreateRecordBody, PatchRecordBody } from './record-schemas.ts';
import { fromNode, fromStore } from './record-source.ts';
import { recordView } from './record-view.ts';
import type { RecordsPart } from './records.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, CallRecordSchema, IdParams, ok, ref } from './schemas.ts';
import { refuseFreeForm } from './validation.ts';

const TAGS = ['Call records'];
/** 5 MiB (contract 1.6): room for the messages and everything around them. */
const PATCH_BODY_BYTES = 5 * 1024 * 1024;
const MESSAGES_BYTES = 4 * 1024 * 1024;
const FIRST_START_MS = Date.UTC(2000, 0, 1);
const DAY_MS = 86_400_000;
const STORED_PHONE_CHARS = 50;
const HAN_SHARE = 0.3;

export function addRecordWriteRoutes(app: ApiServer, part: RecordsPart): void {
  addCreate(app, part);
  addChange(app, part);
  addDelete(app, part);
}

function addCreate(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/call-records',
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'createCallRecord',
      tags: TAGS,
      summary: 'Keep a record of a call that another system carries',
      description: 'The record is open (`answered`) until PATCH gives it an end or a reason.',
      body: CreateRecordBody,
      response: answers(201, ref(CallRecordSchema), {
        description: 'The record',
        problems: ['REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request, reply) => {
      const actor = actorOf(request);
      const record = await newRecordOf(part, actor.accountId, request.body);
      const created = await fromStore(part, part.keeping.create(actor, record));
      if (created === null) {
        const faults = [{ path: '/agent_id', rule: 'exists' }];
        throw new Problem('REFERENCE_NOT_FOUND', { faults });
      }
      part.keeping.noteChange(actor.accountId, created.startTime);
      return reply.code(201).send(ok(recordView(created, callerOf(request).role)));
    },
  });
}

function addChange(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'PATCH',
    url: '/api/v1/call-records/:id',
    bodyLimit: PATCH_BODY_BYTES,
    config: { capability: 'dev' },
    schema: {
      operationId: 'updateCallRecord',
      tags: TAGS,
      summary: 'Change fields of a record',
      description:
        'A null clears a field. Records of calls that this server carried take `caller_name`, `summary` and `metadata` alone. `end_time` or `hangup_reason` ends a record; clearing both opens it again. The last writer wins.',
      params: IdParams,
      body: PatchRecordBody,
      response: answers(200, ref(CallRecordSchema), {
        description: 'The record as it is now',
        problems: ['NOT_FOUND', 'RECORD_READ_ONLY', 'NODE_TIMEOUT'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const { id } = request.params;
      const change = await changeOf(part, actor.accountId, request.body);
      const changing = part.keeping.change(actor, id, change, part.clock.wallMs());
      const changed = await fromStore(part, changing);
      if (isRefusal(changed)) throw await problemOf(part, request, id, changed);
      part.keeping.noteChange(actor.accountId, changed.startTime);
      return ok(recordView(changed, callerOf(request).role));
    },
  });
}

function addDelete(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'DELETE',
    url: '/api/v1/call-records/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteCallRecord',
      tags: TAGS,
      summary: 'Delete a record for good',
      description: 'Its events and recordings go with it, and nothing brings them back.',
      params: IdParams,
      response: answers(200, Type.Null(), {
        description: 'It is gone',
        problems: ['NOT_FOUND', 'CALL_LIVE', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const { accountId } = actor;
      const { id } = request.params;
      const recordings = await fromStore(part, part.keeping.recordingsOf(actor, id));
      if (isRefusal(recordings)) throw await problemOf(part, request, id, recordings);
      // Before the row that names them: a file whose row is gone could never be found again.
      for (const recording of recordings) {
        await fromStore(part, part.recordings.remove(accountId, recording));
      }
      const refusal = await fromStore(part, part.keeping.remove(actor, id));
      if (refusal !== null) throw await problemOf(part, request, id, refusal);
      part.keeping.noteChange(accountId, null);
      return ok(null);
    },
  });
}

function isRefusal(
  result: RecordDetail | RecordRefusal | readonly unknown[],
): result is RecordRefusal {
  return typeof result === 'string';
}

async function newRecordOf(
  part: RecordsPart,
  accountId: Id,
  body: Static<typeof CreateRecordBody>,
): Promise<NewRecord> {
  const startMs = instantOf(body.start_time, '/start_time');
  refuseOutside(startMs, part.clock.wallMs() + DAY_MS);
  const metadata = body.metadata ?? {};
  refuseFreeForm(metadata, '/metadata');
  return {
    agentId: body.agent_id,
    startTime: new Date(startMs).toISOString(),
    callerName: body.caller_name ?? null,
    callerPhone:
      body.caller_phone === undefined ? null : await phoneOf(part, accountId, body.caller_phone),
    callerApp: body.caller_app ?? null,
    direction: body.direction ?? 'inbound',
    fromNumber: body.from_number ?? null,
    toNumber: body.to_number ?? null,
    metadata,
  };
}

function refuseOutside(startMs: number, lastMs: number): void {
  if (startMs < FIRST_START_MS) {
    throw invalid('/start_time', 'minimum', { limit: new Date(FIRST_START_MS).toISOString() });
  }
  if (startMs > lastMs) {
    throw invalid('/start_time', 'maximum', { limit: new Date(lastMs).toISOString() });
  }
}

async function changeOf(
  part: RecordsPart,
  accountId: Id,
  body: PatchRecordBody,
): Promise<RecordChange> {
  const { end_time: end, messages, caller_phone: phone, summary, metadata } = body;
  if (messages !== undefined) refuseMessages(messages);
  if (metadata !== undefined) refuseFreeForm(metadata, '/metadata');
  const endTime = end == null ? end : new Date(instantOf(end, '/end_time')).toISOString();
  const callerPhone = phone == null ? phone : await phoneOf(part, accountId, phone);
  const named = summary == null ? summary : { text: summary, language: languageOf(summary) };
  return {
    ...(endTime === undefined ? {} : { endTime }),
    ...(body.duration_seconds === undefined ? {} : { durationSeconds: body.duration_seconds }),
    ...(body.hangup_reason === undefined ? {} : { hangupReason: body.hangup_reason }),
    ...(messages === undefined ? {} : { messages: messages as readonly Message[] }),
    ...(body.caller_name === undefined ? {} : { callerName: body.caller_name }),
    ...(callerPhone === undefined ? {} : { callerPhone }),
    ...(body.caller_app === undefined ? {} : { callerApp: body.caller_app }),
    ...(named === undefined ? {} : { summary: named }),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

function refuseMessages(messages: NonNullable<PatchRecordBody['messages']>): void {
  const faults: FieldFault[] = [];
  for (const [at, { timestamp }] of messages.entries()) {
    const isExact = Math.round(timestamp * 1000) / 1000 === timestamp;
    if (!isExact) faults.push({ path: `/messages/${at}/timestamp`, rule: 'decimals' });
  }
  if (Buffer.byteLength(JSON.stringify(messages)) > MESSAGES_BYTES) {
    faults.push({ path: '/messages', rule: 'size', params: { limit: MESSAGES_BYTES } });
  }
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
}

function instantOf(text: string, path: string): number {
  const ms = parseIsoTime(text);
  if (ms === null) throw invalid(path, 'instant');
  return ms;
}

async function phoneOf(part: RecordsPart, accountId: Id, text: string): Promise<string> {
  const normal = normalizePhone(text);
  if (normal === null) throw invalid('/caller_phone', 'phone');
  const stored = await fromStore(part, part.keeping.storedPhone(accountId, normal));
  if (stored.length > STORED_PHONE_CHARS) throw invalid('/caller_phone', 'phone');
  return stored;
}

/** As summaries of the server's own are judged (contract 7.1). */
function languageOf(text: string): 'zh' | 'en' {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  return letters > 0 && han >= HAN_SHARE * letters ? 'zh' : 'en';
}

const REFUSALS: Readonly<Record<Exclude<RecordRefusal, 'missing'>, () => Problem>> = {
  live: () => new Problem('CALL_LIVE'),
  readOnly: () => new Problem('RECORD_READ_ONLY'),
  endBeforeStart: () => invalid('/end_time', 'order'),
  endTooLate: () => invalid('/end_time', 'longest', { limit: 86_400 }),
  durationTooLong: () => invalid('/duration_seconds', 'duration'),
  metadataTooLarge: () => invalid('/metadata', 'size', { limit: 16 * 1024 }),
};

async function problemOf(
  part: RecordsPart,
  request: FastifyRequest,
  id: Id,
  refusal: RecordRefusal,
): Promise<Problem> {
  if (refusal !== 'missing') return REFUSALS[refusal]();
  // A call that has just begun: its record is on the way to the database.
  const caller = callerOf(request);
  const live = await fromNode(part, part.calls.get(caller.accountId, id));
  if (live === null || !maySee(caller, live.agentId)) return new Problem('NOT_FOUND');
  return new Problem(request.method === 'DELETE' ? 'CALL_LIVE' : 'UNAVAILABLE');
}
