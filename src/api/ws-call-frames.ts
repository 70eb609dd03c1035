/** The words of `/ws/call/{id}` (contract 2.5). */
import { Type } from 'typebox';
import { consoleStatusOf } from './console-view.ts';
import { command, readerOf, type Skin } from './socket-frames.ts';

export const CALL_RATES = { uplinkHz: 8_000, downlinkHz: 16_000 } as const;

const rate = (values: readonly number[]) =>
  Type.Unsafe<number>({ type: 'integer', enum: [...values] });
const nothing = Type.Object({});

const read = readerOf({
  config: command(
    Type.Object({
      uplink_rate: Type.Optional(rate([8_000, 16_000])),
      downlink_rate: Type.Optional(rate([8_000, 16_000, 24_000])),
    }),
    ({ uplink_rate, downlink_rate }) => ({
      type: 'config',
      uplinkHz: uplink_rate ?? CALL_RATES.uplinkHz,
      downlinkHz: downlink_rate ?? CALL_RATES.downlinkHz,
    }),
  ),
  text: command(
    Type.Object({ text: Type.String({ minLength: 1, maxLength: 4_000 }) }),
    (frame) => ({
      type: 'text',
      text: frame.text,
    }),
  ),
  dtmf: command(
    Type.Object({ digits: Type.String({ pattern: '^[0-9A-D*#]{1,64}$' }) }),
    (frame) => ({
      type: 'dtmf',
      digits: frame.digits,
    }),
  ),
  interrupt: command(nothing, () => ({ type: 'interrupt' })),
  hangup: command(
    Type.Object({ reason: Type.Optional(Type.String({ maxLength: 200 })) }),
    ({ reason = null }) => ({ type: 'hangup', reason }),
  ),
  mark: command(Type.Object({ name: Type.String({ minLength: 1, maxLength: 128 }) }), (frame) => ({
    type: 'mark',
    name: frame.name,
  })),
  ping: command(nothing, () => ({ type: 'ping' })),
});

export const callSkin: Skin = {
  read,
  answersFunctions: false,
  ready: (callId, { uplinkHz, downlinkHz }) => ({
    type: 'ready',
    call_id: callId,
    uplink: { rate: uplinkHz, encoding: 'pcm_s16le' },
    downlink: { rate: downlinkHz, encoding: 'pcm_s16le' },
  }),
  tell: (frame) => {
    switch (frame.type) {
      case 'status':
        return { type: 'status', status: consoleStatusOf(frame.status) };
      case 'heard':
        return {
          type: 'user-speech',
          ...{ text: frame.text, is_final: frame.isFinal },
          ...{ start_ms: frame.startMs, end_ms: frame.endMs },
        };
      case 'reply':
        return {
          type: 'ai-response',
          ...{ text: frame.text, turn: frame.turn, is_final: frame.isFinal },
        };
      case 'mark':
        return { type: 'mark', name: frame.name };
      case 'interrupted':
        return {
          type: 'user-interrupted',
          ...{ turn: frame.turn, heard_ms: frame.heardMs, heard_text: frame.heardText },
        };
      case 'clear':
        return { type: 'clear' };
      case 'fault':
        return {
          type: 'call-error',
          ...{ code: frame.code, message: frame.message, fatal: frame.fatal },
        };
      case 'ended':
        return {
          type: 'ended',
          ...{ hangup_reason: frame.hangupReason, outcome: frame.outcome },
          duration: frame.duration,
        };
      case 'function_call':
        // Asked of another client of this call: only those of `/v1/voice/ws` answer.
        return null;
    }
  },
  warning: (code) => ({ type: 'warning', code }),
};
