/** Live control (contract 2.7): commands to a call that is going on. The call's own state is all they need. */
import { Type, type TSchema } from 'typebox';
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import { isLiveStatus } from '#sessions/call-service-types.ts';
import type { CallControl, ControlResult } from '#sessions/call-control-types.ts';
import type { AuditEntry } from '#store/audit.ts';
import { can, type Caller } from './auth.ts';
import { soundOf, type CallAudioPart, type SoundSource } from './call-audio.ts';
import {
  AcceptedSchema,
  DigitsSentSchema,
  DtmfBody,
  HangupBody,
  HeldSchema,
  HoldBody,
  MessageBody,
  MuteBody,
  MutedSchema,
  PlayBody,
  PlayedSchema,
  RecordingBody,
  RecordingStatusSchema,
  SaidSchema,
  SayBody,
} from './call-control-schemas.ts';
import { endCall, liveCall, phoneCallView } from './call-view.ts';
import { PhoneCallSchema } from './phone-call-schemas.ts';
import { invalid, Problem, type ProblemCode } from './problem.ts';
import { findRecord, fromNode } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, ref } from './schemas.ts';

export type CallControlPorts = {
  readonly control: CallControl;
  readonly audioFiles: CallAudioPart['audioFiles'];
  /** Writes the row now or, while the database is away, later; never rejects. */
  readonly audit: { note(actor: Actor, entry: AuditEntry): Promise<void> };
};

export type CallControlPart = CallAudioPart & CallControlPorts;

const TAGS = ['Live control'];
const BASE = '/v1/phone/calls/:id';
const NoQuery = Type.Object({}, { additionalProperties: false });
const PROBLEMS = [
  'NOT_FOUND',
  'CALL_NOT_ANSWERED',
  'CALL_NOT_ACTIVE',
  'INVALID_STATE',
  'NODE_TIMEOUT',
] as const satisfies readonly ProblemCode[];

export function addCallControlRoutes(app: ApiServer, part: CallControlPart): void {
  addHangup(app, part);
  addPlay(app, part);
  addSay(app, part);
  addDtmf(app, part);
  addHold(app, part);
  addMute(app, part);
  addMessage(app, part);
  addRecording(app, part);
}

function addHangup(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/hangup`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'hangupPhoneCall',
      tags: TAGS,
      summary: 'End a call',
      description:
        'BYE, or CANCEL before the answer. A call that is over stays as it is and is answered with 200.',
      ...shape(HangupBody),
      response: answers(200, ref(PhoneCallSchema), {
        description: 'The call is over',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const reason = request.body.reason ?? null;
      return ok(phoneCallView(await endCall(part, caller, request.params.id, reason), caller.role));
    },
  });
}

function addPlay(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/play`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'playIntoPhoneCall',
      tags: TAGS,
      summary: 'Play a sound into a call',
      description:
        'After what is being said, and instead of any sound played before. Exactly one of `url` and `recording_id`; the latter, whose sound is somebody’s call, needs a role that may hear recordings. The transcript shows `[Audio: title]`.',
      ...shape(PlayBody),
      response: answers(200, PlayedSchema, {
        description: 'It is played, or waits for its turn',
        hasBody: true,
        problems: [
          ...PROBLEMS,
          'REFERENCE_NOT_FOUND',
          'CALL_LIVE',
          'RECORDING_EXPIRED',
          'PROVIDER_REJECTED',
          'PROVIDER_TIMEOUT',
        ],
      }),
    },
    handler: async (request) => {
      const { loop = false, interruptible = true } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const source = sourceOf(request.body);
      await refuseUnlessTalking(part, caller, id);
      // To play a recording is to hear it (contract 1.3).
      if (source.recordingId !== undefined && !can(caller.role, 'sup'))
        throw new Problem('FORBIDDEN');
      const { pcm, title, release } = await soundOf(part, caller, source);
      const options = { pcm, title, loop, interruptible, onOver: release };
      const done = await command(part, caller, id, (control) =>
        control.play(caller.accountId, id, options),
      ).catch((error: unknown) => {
        release();
        throw error;
      });
      if (source.recordingId !== undefined) {
        const changes = { recording_id: source.recordingId };
        await part.audit.note(actorOf(request), {
          ...{ action: 'recording.play', targetType: 'call_record', targetId: id, changes },
        });
      }
      return ok({ playback_id: done.playbackId, duration_ms: done.durationMs });
    },
  });
}

/** Errors: VALIDATION_FAILED. */
function sourceOf(body: { readonly url?: string; readonly recording_id?: string }): SoundSource {
  const { url, recording_id: recordingId } = body;
  if (url !== undefined && recordingId !== undefined)
    throw invalid('/recording_id', 'exclusive', { other: 'url' });
  if (url !== undefined) return { url };
  if (recordingId === undefined) throw invalid('/url', 'required');
  return { recordingId };
}

function addSay(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/say`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'sayInPhoneCall',
      tags: TAGS,
      summary: 'Have the agent say something',
      description: 'By the agent’s voice; it enters the conversation as the agent’s own words.',
      ...shape(SayBody),
      response: answersOf(SaidSchema, 'It is said, or waits for its turn'),
    },
    handler: async (request) => {
      const { text, interrupt = false, interruptible = true } = request.body;
      if (text.trim() === '') throw invalid('/text', 'minLength', { limit: 1 });
      const { id } = request.params;
      const caller = callerOf(request);
      const done = await command(part, caller, id, (control) =>
        control.say(caller.accountId, id, { text, interrupt, interruptible }),
      );
      return ok(done);
    },
  });
}

function addDtmf(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/dtmf`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'sendDtmfInPhoneCall',
      tags: TAGS,
      summary: 'Press keys',
      description: 'Answers when the keys are on their way; by `info`, when the first was taken.',
      ...shape(DtmfBody),
      response: answersOf(DigitsSentSchema, 'They are being sent', ['PROVIDER_REJECTED']),
    },
    handler: async (request) => {
      const { digits, tone_ms: toneMs = 100, gap_ms: gapMs = 100, mode } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const options = { digits, toneMs, gapMs, ...(mode === undefined ? {} : { mode }) };
      const done = await command(part, caller, id, (control) =>
        control.dtmf(caller.accountId, id, options),
      );
      return ok(done);
    },
  });
}

function addHold(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/hold`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'holdPhoneCall',
      tags: TAGS,
      summary: 'Put a call on hold, or take it off',
      description:
        'A re-INVITE with `sendonly` or `sendrecv`. On hold the agent neither hears nor speaks and its time stands still.',
      ...shape(HoldBody),
      response: answersOf(HeldSchema, 'The other side has agreed', ['PROVIDER_REJECTED']),
    },
    handler: async (request) => {
      const { on, music = true } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const done = await command(part, caller, id, (control) =>
        control.hold(caller.accountId, id, { on, music }),
      );
      return ok(done);
    },
  });
}

function addMute(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/mute`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'mutePhoneCall',
      tags: TAGS,
      summary: 'Keep one side from being heard, or let it be heard again',
      description:
        'The recording keeps both. While the caller is muted, the agent does not ask why he is silent.',
      ...shape(MuteBody),
      response: answersOf(MutedSchema, 'Done'),
    },
    handler: async (request) => {
      const { side, on } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const done = await command(part, caller, id, (control) =>
        control.mute(caller.accountId, id, { side, on }),
      );
      return ok(done);
    },
  });
}

function addMessage(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/message`,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'messagePhoneCall',
      tags: TAGS,
      summary: 'Give the agent a private note',
      description:
        'It is never spoken; the transcript has it with role `system`. With `respond` the agent takes a turn on it as soon as nobody speaks.',
      ...shape(MessageBody),
      response: answersOf(AcceptedSchema, 'The agent knows it'),
    },
    handler: async (request) => {
      const { text, respond = false } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const done = await command(part, caller, id, (control) =>
        control.message(caller.accountId, id, { text, respond }),
      );
      return ok(done);
    },
  });
}

function addRecording(app: ApiServer, part: CallControlPart): void {
  app.route({
    method: 'POST',
    url: `${BASE}/recording`,
    config: { capability: 'sup', idempotent: true },
    schema: {
      operationId: 'controlPhoneCallRecording',
      tags: TAGS,
      summary: 'Start, pause, resume or stop recording',
      description:
        '`start` has the account’s notice said first; a start after a stop makes another recording. What is paused is not in the file.',
      ...shape(RecordingBody),
      response: answersOf(RecordingStatusSchema, 'Done', ['CONSENT_MISSING']),
    },
    handler: async (request) => {
      const { action } = request.body;
      const { id } = request.params;
      const caller = callerOf(request);
      const { recordingStatus } = await command(part, caller, id, (control) =>
        control.recording(caller.accountId, id, { action }),
      );
      const changes = { recording_status: recordingStatus };
      await part.audit.note(actorOf(request), {
        ...{ action: `recording.${action}`, targetType: 'call_record', targetId: id, changes },
      });
      return ok({ recording_status: recordingStatus });
    },
  });
}

function shape<T extends TSchema>(body: T) {
  return { params: IdParams, querystring: NoQuery, body };
}

function answersOf<T extends TSchema>(
  data: T,
  description: string,
  more: readonly ProblemCode[] = [],
) {
  return answers(200, data, { description, hasBody: true, problems: [...PROBLEMS, ...more] });
}

/** Errors: those of a call that cannot be commanded, as Problems. */
async function command<T>(
  part: CallControlPart,
  caller: Caller,
  id: Id,
  act: (control: CallControl) => Promise<ControlResult<T>>,
): Promise<T> {
  await refuseUnlessTalking(part, caller, id);
  const result = await fromNode(part, act(part.control));
  if (result.ok) return result.data;
  throw problemOf(result);
}

/** Cheap, and before anything is fetched for it. Errors: NOT_FOUND, CALL_NOT_ANSWERED, CALL_NOT_ACTIVE, INVALID_STATE. */
async function refuseUnlessTalking(part: CallControlPart, caller: Caller, id: Id): Promise<void> {
  const call = (await liveCall(part, caller, id)) ?? (await findRecord(part, caller, id));
  if (call.channel === 'text' || call.channel === 'external') throw new Problem('INVALID_STATE');
  if (!isLiveStatus(call.status)) throw new Problem('CALL_NOT_ACTIVE');
  if (call.status !== 'answered') throw new Problem('CALL_NOT_ANSWERED');
}

function problemOf(result: Extract<ControlResult<never>, { readonly ok: false }>): Problem {
  const { refusal, detail, vendorCode } = result;
  const faults = detail === undefined ? {} : { faults: [{ path: '', rule: detail }] };
  switch (refusal) {
    case 'REJECTED':
      return new Problem('PROVIDER_REJECTED', vendorCode === undefined ? {} : { vendorCode });
    case 'TIMEOUT':
      return new Problem('NODE_TIMEOUT');
    // Its row is there, and no node has it: the owner is gone, or has just ended it.
    case 'NOT_FOUND':
      return new Problem('NODE_TIMEOUT');
    case 'CALL_NOT_ACTIVE':
    case 'CALL_NOT_ANSWERED':
    case 'CONSENT_MISSING':
    case 'INVALID_STATE':
      return new Problem(refusal, faults);
  }
}
