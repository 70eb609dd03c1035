/** The words of `/v1/voice/ws` and `/v1/voice/stream` (contract 2.4). */
import { Type, type Static } from 'typebox';
import { command, frameReader, readerOf, type Skin } from './socket-frames.ts';
import { IdSchema } from './schemas.ts';

export const VOICE_RATE_HZ = 16_000;

const nothing = Type.Object({});

const StartFrame = Type.Object(
  {
    type: Type.Literal('start'),
    assistant_id: Type.Optional(IdSchema),
    call_id: Type.Optional(IdSchema),
    config: Type.Optional(
      Type.Object(
        {
          voice: Type.Optional(
            Type.Object(
              {
                sample_rate: Type.Optional(
                  Type.Unsafe<number>({ type: 'integer', enum: [8_000, 16_000, 24_000, 48_000] }),
                ),
                encoding: Type.Optional(Type.Enum(['pcm', 'opus'])),
                language: Type.Optional(
                  // What the agents speak; a region makes no difference to them.
                  Type.String({ pattern: '^(?:en|zh)(?:-[A-Za-z0-9]{2,8})*$', maxLength: 35 }),
                ),
              },
              { additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    variables: Type.Optional(Type.Unsafe<Record<string, unknown>>({ type: 'object' })),
    sdp: Type.Optional(Type.String({ maxLength: 65_536 })),
  },
  { additionalProperties: false },
);
export type StartFrame = Static<typeof StartFrame>;

/** Errors: VALIDATION_FAILED; an unknown field too, for it may be a misspelt one. */
export const readStart = frameReader(StartFrame);

const read = readerOf({
  text: command(
    Type.Object({ text: Type.String({ minLength: 1, maxLength: 4_000 }) }),
    (frame) => ({
      type: 'text',
      text: frame.text,
    }),
  ),
  function_result: command(
    Type.Object({
      call_id: Type.String({ minLength: 1, maxLength: 128 }),
      result: Type.Unknown(),
    }),
    ({ call_id, result }) => ({ type: 'result', id: call_id, result }),
  ),
  interrupt: command(nothing, () => ({ type: 'interrupt' })),
  mark: command(Type.Object({ name: Type.String({ minLength: 1, maxLength: 128 }) }), (frame) => ({
    type: 'mark',
    name: frame.name,
  })),
  stop: command(nothing, () => ({ type: 'hangup', reason: null })),
  ping: command(nothing, () => ({ type: 'ping' })),
  ice_candidate: command(nothing, () => ({ type: 'webrtc' })),
});

export const voiceSkin: Skin = {
  read,
  answersFunctions: true,
  ready: (callId, { uplinkHz, downlinkHz }) => ({
    type: 'ready',
    call_id: callId,
    uplink: { rate: uplinkHz, encoding: 'pcm' },
    downlink: { rate: downlinkHz, encoding: 'pcm' },
  }),
  tell: (frame) => {
    switch (frame.type) {
      case 'status':
        return { type: 'status', status: frame.status };
      case 'heard':
        return { type: 'transcript', text: frame.text, is_final: frame.isFinal };
      case 'reply':
        return { type: 'response', text: frame.text, audio_url: null, is_final: frame.isFinal };
      case 'function_call':
        return {
          type: 'function_call',
          ...{ function_name: frame.name, arguments: frame.arguments, call_id: frame.id },
        };
      case 'mark':
        return { type: 'mark', name: frame.name };
      case 'clear':
        return { type: 'clear' };
      case 'fault':
        return {
          type: 'error',
          ...{ code: frame.code, message: frame.message, fatal: frame.fatal },
        };
      case 'ended':
        return {
          type: 'ended',
          ...{ hangup_reason: frame.hangupReason, outcome: frame.outcome },
          duration: frame.duration,
        };
      case 'interrupted':
        // `clear` says what the client has to do.
        return null;
    }
  },
  warning: (code, message) => ({ type: 'error', code, message, fatal: false }),
};
