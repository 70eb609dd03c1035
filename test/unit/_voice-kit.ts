/** Spoken turns on a simulated clock: one agent whose recogniser, model and voice tests hold in their hands. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type {
  ProviderSet,
  ReplyPart,
  ReplyRequest,
  SttEvent,
  TtsChunk,
} from '#providers/contract.ts';
import { simWordSound } from '#providers/sim/tts.ts';
import type { AgentDirectory } from '#sessions/ports.ts';
import type { Said, VoiceEvent } from '#sessions/spoken-turn.ts';
import { SquadDesk } from '#sessions/squad-desk.ts';
import type { StoredConversation } from '#sessions/squad-held.ts';
import {
  createVoiceTurns,
  type RunningVoiceTurns,
  type VoiceTurnRequest,
} from '#sessions/voice-turns.ts';
import { AGENT } from './_fakes.ts';
import { storedOf } from './_squad-kit.ts';

export const { accountId: ACCOUNT } = AGENT;
export const OTHER = '00000000-0000-4000-8000-0000000000f1';

export type VoiceKit = {
  readonly clock: SimulatedClock;
  readonly journal: JournalEntry[];
  readonly desk: SquadDesk;
  readonly turns: RunningVoiceTurns;
  readonly agents: Map<string, AgentConfig>;
  readonly stored: Map<string, StoredConversation>;
  /** What the model was asked. */
  readonly asked: ReplyRequest[];
  /** What the voice was given, and how many chunks of it were fetched. */
  readonly spoken: { readonly text: string; readonly language: string }[];
  chunks: number;
  vendor: string;
  reads: boolean;
  /** What the recogniser makes of an utterance. */
  hears: string | Error | null;
  says: (request: ReplyRequest, signal: AbortSignal) => AsyncIterable<ReplyPart>;
  voice: (text: string, signal: AbortSignal) => AsyncIterable<TtsChunk>;
  /** Errors of `providersFor`. */
  fault: Error | null;
  begin(
    said: Partial<Said>,
    more?: Partial<VoiceTurnRequest>,
  ): ReturnType<RunningVoiceTurns['begin']>;
};

/** 200 ms for each word, as the scripted voice has it. */
export async function* wordByWord(text: string): AsyncGenerator<TtsChunk> {
  let chars = 0;
  for (const [at, word] of text.split(' ').entries()) {
    chars += word.length + (at === 0 ? 0 : 1);
    yield { pcm: simWordSound(word), marks: [{ chars, ms: (at + 1) * 200 }] };
  }
}

export async function* parts(...all: (string | ReplyPart)[]): AsyncGenerator<ReplyPart> {
  for (const part of all) yield typeof part === 'string' ? { type: 'text', text: part } : part;
}

export function makeVoiceKit(
  agent: Partial<AgentConfig> = {},
  clock = new SimulatedClock(),
): VoiceKit {
  const own = { ...AGENT, greeting: null, systemPrompt: 'Be brief.', ...agent };
  const kit: Omit<VoiceKit, 'desk' | 'turns' | 'begin'> = {
    ...{ clock, journal: [], asked: [], spoken: [], chunks: 0, vendor: 'test', reads: true },
    ...{ stored: new Map(), hears: 'hello there', fault: null, voice: wordByWord },
    agents: new Map([[own.id, own]]),
    says: () => parts('Good day. ', 'How can I help?'),
  };
  const providersFor = (): ProviderSet => {
    if (kit.fault !== null) throw kit.fault;
    return providersOf(kit);
  };
  const directory = {
    byId: async (account: string, id: string) =>
      account === ACCOUNT ? (kit.agents.get(id) ?? null) : null,
    defaultFor: async () => own,
  } as unknown as AgentDirectory;
  const desk = new SquadDesk({
    ...{ clock, log: silentLog, node: 'node-1', providersFor, agents: directory },
    journal: { append: (entry) => void kit.journal.push(entry) },
    desk: { ask: async () => null },
    squads: { plan: async () => null },
    stored: { read: async (_account, id) => kit.stored.get(id) ?? null },
  });
  const turns = createVoiceTurns({ desk, agents: directory, clock, log: silentLog, providersFor });
  return Object.assign(kit, {
    ...{ desk, turns },
    begin: (said: Partial<Said>, more: Partial<VoiceTurnRequest> = {}) =>
      turns.begin({
        ...{ accountId: ACCOUNT, agentIds: null, requestId: 'r-1' },
        signal: new AbortController().signal,
        said: { audio: null, text: null, results: [], ...said },
        ...more,
      }),
  });
}

function providersOf(kit: Omit<VoiceKit, 'desk' | 'turns' | 'begin'>): ProviderSet {
  return {
    stt: {
      ...{ vendor: 'test', reads: kit.reads },
      open: (options) => ({
        push: () => undefined,
        speechStarted: () => undefined,
        speechStopped: () => {
          const { hears } = kit;
          if (hears !== null) queueMicrotask(() => options.onEvent(heardOf(hears)));
        },
        close: () => undefined,
      }),
    },
    llm: {
      vendor: kit.vendor,
      async *reply(request, signal) {
        kit.asked.push(request);
        yield* kit.says(request, signal);
        return { inputTokens: 10, outputTokens: 5 };
      },
    },
    tts: {
      vendor: 'test',
      async *speak({ text, language }, signal) {
        kit.spoken.push({ text, language });
        for await (const chunk of kit.voice(text, signal)) {
          kit.chunks++;
          yield chunk;
        }
      },
    },
  };
}

function heardOf(hears: string | Error): SttEvent {
  if (hears instanceof Error) return { type: 'error', error: hears };
  const nothing = { startMs: null, endMs: null, language: null };
  return { type: 'final', text: hears, confidence: 0.9, ...nothing };
}

/** One second of a voice-like tone. */
export function someSpeech(rateHz = 8_000): { readonly pcm: Int16Array; readonly rateHz: number } {
  const pcm = new Int16Array(rateHz);
  for (let i = 0; i < pcm.length; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / rateHz);
    pcm[i] = 6_000 * envelope * Math.sin((2 * Math.PI * 180 * i) / rateHz);
  }
  return { pcm, rateHz };
}

export type Taken = { readonly conversationId: string; readonly events: readonly VoiceEvent[] };

/** A turn to its end. */
export async function takeAll(begun: ReturnType<RunningVoiceTurns['begin']>): Promise<Taken> {
  const turn = await begun;
  if (!turn.ok) throw new Error(`refused: ${turn.refusal}`);
  const events: VoiceEvent[] = [];
  for await (const event of turn.events) events.push(event);
  return { conversationId: turn.conversationId, events };
}

/** As the database would have it. */
export function keptOf({ journal }: Pick<VoiceKit, 'journal'>, id: string): StoredConversation {
  return { ...storedOf(journal, id), squadId: null, agentId: AGENT.id, agentName: AGENT.name };
}
