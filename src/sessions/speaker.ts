/** Turns a task of the turn machine into sound: language model -> speakable pieces -> voice -> playout ring. */
import { AppError } from '#lib/errors.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { MediaSession } from '#media/types.ts';
import { promptText } from '#providers/prompts.ts';
import { sentenceSplitter } from '#providers/sentences.ts';
import type {
  ChatMessage,
  Language,
  ProviderSet,
  ReplyPart,
  TurnInput,
} from '#providers/contract.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { fillIn } from './history.ts';
import type { FloorTask } from './turn-types.ts';
import type { TurnTimes } from './latency.ts';
import type { PieceBase, Utterance } from './utterance.ts';

/** A provider that says nothing for this long has failed, whatever its own deadlines are. */
const PROVIDER_STALL_MS = 10_000;

export type SpeakerOptions = {
  readonly callId: string;
  readonly agent: AgentConfig;
  /** Whatever is said first is said last. */
  readonly announceOnly: boolean;
  readonly providers: ProviderSet;
  readonly media: MediaSession;
  /** The conversation as it was heard, system prompt first. */
  readonly history: () => ChatMessage[];
  readonly onUsage: (inputTokens: number, outputTokens: number) => void;
};

export type Spoken = { readonly endCall: boolean; readonly empty: boolean };

export class Speaker {
  readonly #options: SpeakerOptions;
  readonly #providerState = new Map<string, unknown>();
  #language: Language;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.#language = options.agent.language;
  }

  get language(): Language {
    return this.#language;
  }

  /**
   * Says `task` as `utterance`; resolves when all of it is queued. Errors: AppError of the provider that failed;
   * E_ABORTED after `utterance.abort`. What was queued until then still plays unless it is flushed.
   */
  async speak(utterance: Utterance, task: FloorTask, input: TurnInput | null): Promise<Spoken> {
    const { media, announceOnly } = this.#options;
    const { times } = utterance;
    media.beginUtterance(utterance.number);
    try {
      if (task.kind === 'prompt') {
        await this.#say(utterance, this.#promptText(task.name), times);
        return { endCall: announceOnly, empty: utterance.audioMs === 0 };
      }
      const endCall = await this.#reply(
        utterance,
        input ?? { kind: 'speech', text: '', audio: null },
        times,
      );
      return { endCall, empty: utterance.audioMs === 0 };
    } catch (error) {
      utterance.isTorn = true;
      throw error;
    } finally {
      utterance.isQueued = true;
      media.endUtterance(utterance.number);
    }
  }

  /** Says `text` as it stands. Errors: as `speak`. */
  async announce(utterance: Utterance, text: string): Promise<void> {
    const { media } = this.#options;
    media.beginUtterance(utterance.number);
    try {
      await this.#say(utterance, text, utterance.times);
    } catch (error) {
      utterance.isTorn = true;
      throw error;
    } finally {
      utterance.isQueued = true;
      media.endUtterance(utterance.number);
    }
  }

  #promptText(name: 'greeting' | 'still_there' | 'goodbye_silence' | 'apology'): string {
    const { agent, providers } = this.#options;
    if (name === 'greeting' && agent.greeting !== null)
      return fillIn(agent.greeting, agent.variables);
    if (name === 'greeting')
      return providers.llm.greeting?.(this.#language) ?? promptText(name, this.#language);
    if (name === 'still_there' && agent.silence.promptText !== null)
      return agent.silence.promptText;
    return promptText(name, this.#language);
  }

  async #reply(utterance: Utterance, input: TurnInput, times: TurnTimes): Promise<boolean> {
    const { callId, providers, history } = this.#options;
    const request = {
      callId,
      language: this.#language,
      messages: history(),
      input,
      state: this.#providerState,
    };
    let splitter = sentenceSplitter();
    let endCall = false;
    const parts = providers.llm.reply(request, utterance.abort.signal);
    const usage = await eachWithin(
      parts,
      'the language model',
      utterance.abort.signal,
      async (part) => {
        times.mark('llmFirst');
        if (part.type === 'text') {
          for (const piece of splitter.push(part.text))
            await this.#say(utterance, piece, times, part.language);
          return;
        }
        for (const piece of splitter.end()) await this.#say(utterance, piece, times);
        if (part.type === 'end_call') endCall = true;
        else if (part.type === 'language') this.#language = part.language;
        else await this.#play(utterance, part, times);
      },
    );
    for (const piece of splitter.end()) await this.#say(utterance, piece, times);
    if (usage !== undefined) this.#options.onUsage(usage.inputTokens, usage.outputTokens);
    return endCall;
  }

  async #say(
    utterance: Utterance,
    text: string,
    times: TurnTimes,
    language = this.#language,
  ): Promise<void> {
    times.mark('pieceReady');
    const { providers, agent } = this.#options;
    const base = utterance.addPiece(text);
    const request = { text, language, ...(agent.voice === null ? {} : { voice: agent.voice }) };
    const chunks = providers.tts.speak(request, utterance.abort.signal);
    await eachWithin(chunks, 'the voice', utterance.abort.signal, async (chunk) => {
      await this.#write(utterance, base, chunk.pcm, chunk.marks, times);
    });
  }

  async #play(
    utterance: Utterance,
    part: ReplyPart & { type: 'audio' },
    times: TurnTimes,
  ): Promise<void> {
    times.mark('pieceReady');
    const base = utterance.addPiece(part.text);
    const ms = (part.pcm.length / 8) | 0;
    await this.#write(utterance, base, part.pcm, [{ chars: part.text.length, ms }], times);
  }

  async #write(
    utterance: Utterance,
    base: PieceBase,
    pcm: Int16Array,
    marks: readonly { readonly chars: number; readonly ms: number }[],
    times: TurnTimes,
  ): Promise<void> {
    times.mark('audioReady');
    utterance.addAudio(base, pcm.length, marks);
    await this.#options.media.write(utterance.number, pcm);
  }
}

/** Runs `each` over a provider's stream; a stream that stalls is closed and fails with E_TIMEOUT. */
async function eachWithin<T, R>(
  stream: AsyncGenerator<T, R>,
  what: string,
  signal: AbortSignal,
  each: (item: T) => Promise<void>,
): Promise<R> {
  for (;;) {
    const step = await nextWithin(stream, what);
    if (signal.aborted) {
      await stream.return(undefined as R);
      throw new AppError('E_ABORTED', 'the reply was given up');
    }
    if (step.done) return step.value;
    await each(step.value);
  }
}

async function nextWithin<T, R>(
  stream: AsyncGenerator<T, R>,
  what: string,
): Promise<IteratorResult<T, R>> {
  try {
    return await withDeadline(stream.next(), PROVIDER_STALL_MS, what);
  } catch (error) {
    // Not awaited: a generator stuck in its own await would never return.
    void stream.return(undefined as R).then(
      () => undefined,
      () => undefined, // it has failed already, with the error that is thrown below
    );
    throw error;
  }
}
