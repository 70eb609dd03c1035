/** What clients on a call are told of its events: those that are frames too (contract 2.4, 2.5). */
import type { EventData, EventType } from '#lib/call-events.ts';
import type { CallFrame } from './call-frames.ts';

/** Events that change no column of the record. */
export type FactType =
  | 'user-speech'
  | 'ai-response'
  | 'user-interrupted'
  | 'call-error'
  | 'dtmf.received'
  | 'amd.result';

/** Null for events that clients hear of in another way, or not at all. */
export function frameOf(type: EventType, data: object): CallFrame | null {
  if (type === 'user-speech') {
    const { text, is_final, start_ms, end_ms } = data as EventData['user-speech'];
    return { type: 'heard', text, isFinal: is_final, startMs: start_ms, endMs: end_ms };
  }
  if (type === 'user-interrupted') {
    const { turn, heard_ms, heard_text } = data as EventData['user-interrupted'];
    return { type: 'interrupted', turn, heardMs: heard_ms, heardText: heard_text };
  }
  if (type === 'call-error') {
    const { code, message, fatal } = data as EventData['call-error'];
    return { type: 'fault', code, message, fatal };
  }
  return null;
}
