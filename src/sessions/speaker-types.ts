/** What the speaker is made with, and what it is asked for. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import type { MediaSession } from '#media/types.ts';
import type {
  ChatMessage,
  Language,
  ProviderSet,
  TtsProvider,
  TurnInput,
} from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import type { EagerReplies } from './eager-reply.ts';
import type { ToolBox } from './tool-box.ts';
import type { TurnPrompt } from './turn-types.ts';

/** Who speaks, and by whose help. */
export type Voice = {
  readonly agent: AgentConfig;
  readonly providers: Pick<ProviderSet, 'llm' | 'tts' | 'realtime'>;
};

export type SpeakerOptions = Voice & {
  readonly callId: string;
  /** Whatever is said first is said last. */
  readonly announceOnly: boolean;
  readonly media: MediaSession;
  readonly clock: Clock;
  /** The conversation as it was heard, system prompt first. */
  readonly history: (agent: AgentConfig) => ChatMessage[];
  readonly onUsage: (inputTokens: number, outputTokens: number) => void;
  readonly tools: ToolBox;
  /** Who of a squad replies; null: there is no squad. */
  readonly floor: SpeakerFloor | null;
  /** Keeps the sound of what is said in many calls; null or absent: nothing is kept. */
  readonly phrases?: PhraseStore | null;
  /** Replies that were begun ahead (`Speaker.ahead`); null or absent: the model is asked. */
  readonly drafts?: Pick<EagerReplies, 'take'> | null;
  /** Something went wrong, and the reply goes on all the same: the vendor's moderation withheld it. */
  readonly onFault?: (error: unknown) => void;
  /** Another agent has the floor; what the former one said is heard for so many ms more. */
  readonly onAgent?: ((agent: AgentConfig, inMs: number) => void) | undefined;
  /** Nobody had anything to say for so long (ms), so that a filler is said. */
  readonly onSlow?: (quietMs: number) => void;
};

/** As `SquadFloor` gives it: neither ever rejects. */
export type SpeakerFloor = {
  beforeReply(
    input: TurnInput,
    how: { readonly language: Language; readonly signal: AbortSignal },
  ): Promise<{ readonly voice: Voice; readonly notice: string } | null>;
  /** Of the agent that replies instead when the present one's model has failed. */
  afterFailure(language: Language, signal: AbortSignal): Promise<Voice | null>;
};

/** What is to be said. */
export type Saying =
  | { readonly kind: 'prompt'; readonly name: TurnPrompt }
  | { readonly kind: 'reply'; readonly input: TurnInput }
  | { readonly kind: 'words'; readonly text: string }
  /** `title` stands for it in the transcript. */
  | { readonly kind: 'sound'; readonly pcm: Int16Array; readonly title: string };

export type Spoken = { readonly endCall: boolean; readonly empty: boolean };

/** Who speaks at present, in what language, and what his model remembers of the call. */
export type Self = {
  voice: Voice;
  language: Language;
  readonly memory: Map<string, unknown>;
  /** The voice of the present call, with what is kept of its sound. */
  readonly ttsOf: (voice: Voice) => TtsProvider;
};
