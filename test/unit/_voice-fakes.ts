/** Turns over HTTP as tests hold them in their hands: what was asked for, and the events that answer. */
import type { VoiceEvent } from '#sessions/spoken-turn.ts';
import type { VoiceRefusal, VoiceTurnRequest, VoiceTurns } from '#sessions/voice-turns.ts';

export const CONVERSATION = '88888888-8888-4888-8888-888888888888';

export type VoiceFakes = {
  readonly ports: VoiceTurns;
  readonly asked: VoiceTurnRequest[];
  refusal: VoiceRefusal | null;
  /** Thrown before the first event. */
  error: Error | null;
  events: (request: VoiceTurnRequest) => AsyncIterable<VoiceEvent>;
};

export function makeVoice(): VoiceFakes {
  const fakes: Omit<VoiceFakes, 'ports'> = {
    ...{ asked: [], refusal: null, error: null },
    events: async function* ({ said }): AsyncGenerator<VoiceEvent> {
      yield { type: 'transcript', text: said.text ?? '' };
      yield { type: 'done', ...DONE };
    },
  };
  const ports: VoiceTurns = {
    begin: async (request) => {
      fakes.asked.push(request);
      if (fakes.error !== null) throw fakes.error;
      if (fakes.refusal !== null) return { ok: false, refusal: fakes.refusal };
      return { ok: true, conversationId: CONVERSATION, events: fakes.events(request) };
    },
  };
  return Object.assign(fakes, { ports });
}

export const DONE = {
  latencyMs: 12.5,
  pendingCalls: [],
  status: 'active',
  expiresAtS: 1_767_225_600,
} as const;
