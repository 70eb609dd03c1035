/** Turns a task of the turn machine into sound: language model -> speakable pieces -> voice -> playout ring. */
import { AppError } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import { delay, withDeadline } from '#lib/deadline.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';
import { promptText } from '#providers/prompts.ts';
import { sentenceSplitter } from '#providers/sentences.ts';
import type {
  ChatMessage,
  Language,
  ProviderSet,
  ReplyPart,
  ReplyRequest,
  ToolCall,
  TurnInput,
} from '#providers/contract.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { ClientFunctions } from './client-functions.ts';
import { fillIn } from './history.ts';
import type { TurnPrompt } from './turn-types.ts';
import type { TurnTimes } from './latency.ts';
import type { PieceBase, Utterance } from './utterance.ts';

/** A provider that says nothing for this long has failed, whatever its own deadlines are. */
const PROVIDER_STALL_MS = 10_000;

/** After so many rounds of functions the model has to do with what it knows. */
const MAX_ROUNDS = 5;

/** Sound is handed over in pieces of 200 ms. */
const SOUND_SAMPLES = 1600;
/** A loop is queued so far ahead of what is heard of it, however much the media plane takes: its end is to be near. */
const LOOP_LEAD_MS = 1000;
/** A loop lets others run between two pieces, even where the media plane takes everything at once. */
const LOOP_PAUSE_MS = 20;

/** Who speaks, and by whose help. */
export type Voice = {
  readonly agent: AgentConfig;
  readonly providers: Pick<ProviderSet, 'llm' | 'tts'>;
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
  readonly functions: Pick<ClientFunctions, 'ask'>;
  /** Who of a squad replies; null: there is no squad. */
  readonly floor: SpeakerFloor | null;
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

/** What came of one answer of the model besides sound. */
type Round = { endCall: boolean; text: string; readonly calls: ToolCall[] };

export type Spoken = { readonly endCall: boolean; readonly empty: boolean };

export class Speaker {
  readonly #options: SpeakerOptions;
  readonly #providerState = new Map<string, unknown>();
  #voice: Voice;
  #language: Language;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.#voice = options;
    this.#language = options.agent.language;
  }

  get language(): Language {
    return this.#language;
  }

  /** From the next utterance on; the language of the conversation stays. */
  become(voice: Voice): void {
    this.#voice = voice;
    this.#providerState.clear();
  }

  /**
   * Says `saying` as `utterance`; resolves when all of it is queued. Errors: AppError of the provider that failed;
   * E_ABORTED after `utterance.abort`. What was queued until then still plays unless it is flushed.
   */
  async speak(utterance: Utterance, saying: Saying): Promise<Spoken> {
    const { media } = this.#options;
    media.beginUtterance(utterance.sound);
    try {
      const endCall = await this.#carryOut(utterance, saying);
      return { endCall, empty: utterance.audioMs === 0 };
    } catch (error) {
      utterance.isTorn = true;
      throw error;
    } finally {
      utterance.isQueued = true;
      utterance.frames?.queued(utterance);
      media.endUtterance(utterance.sound);
    }
  }

  /** True when the call ends with it. */
  async #carryOut(utterance: Utterance, saying: Saying): Promise<boolean> {
    const { times } = utterance;
    switch (saying.kind) {
      case 'prompt':
        await this.#say(utterance, this.#promptText(saying.name), times);
        return this.#options.announceOnly;
      case 'reply':
        await this.#handOver(utterance, saying.input);
        return this.#replyOrHandBack(utterance, saying.input);
      case 'words':
        await this.#sayAll(utterance, saying.text);
        return false;
      case 'sound':
        await this.#playAll(utterance, saying.pcm, saying.title);
        return false;
    }
  }

  /** Sentence by sentence: the first is heard while the others are made, and vendors limit the length of a text. */
  async #sayAll(utterance: Utterance, text: string, voice = this.#voice): Promise<void> {
    const splitter = sentenceSplitter();
    for (const piece of [...splitter.push(text), ...splitter.end()])
      await this.#say(utterance, piece, utterance.times, this.#language, voice);
  }

  /** However little of it is heard, the transcript names it. */
  async #playAll(utterance: Utterance, pcm: Int16Array, title: string): Promise<void> {
    utterance.times.mark('pieceReady');
    const base = utterance.addPiece(title);
    const marks = [{ chars: title.length, ms: 0 }];
    const round = utterance.repeats ? atLeast(SOUND_SAMPLES, pcm) : pcm;
    do {
      for (let at = 0; at < round.length; at += SOUND_SAMPLES) {
        const part = round.subarray(at, at + SOUND_SAMPLES);
        await this.#write(utterance, base, part, marks, utterance.times);
        marks.length = 0;
        if (utterance.abort.signal.aborted)
          throw new AppError('E_ABORTED', 'the sound was stopped');
        if (utterance.repeats) await this.#keepPace(utterance);
      }
    } while (utterance.repeats && round.length > 0);
    utterance.endPiece();
  }

  async #keepPace(utterance: Utterance): Promise<void> {
    const { media, clock } = this.#options;
    const aheadMs = (): number => {
      const played = media.playedSamples(utterance.sound) ?? 0;
      return utterance.audioMs - (played * 1000) / SAMPLE_RATE_HZ - LOOP_LEAD_MS;
    };
    do await delay(Math.max(LOOP_PAUSE_MS, aheadMs()), utterance.abort.signal, clock);
    while (aheadMs() > 0 && utterance.repeats);
  }

  #promptText(name: TurnPrompt): string {
    const { agent, providers } = this.#voice;
    if (name === 'greeting' && agent.greeting !== null)
      return fillIn(agent.greeting, agent.variables);
    if (name === 'greeting')
      return providers.llm.greeting?.(this.#language) ?? promptText(name, this.#language);
    if (name === 'still_there' && agent.silence.promptText !== null)
      return agent.silence.promptText;
    return promptText(name, this.#language);
  }

  /** The notice is the present agent's last word; whatever becomes of it, the next one has the floor already. */
  async #handOver(utterance: Utterance, input: TurnInput): Promise<void> {
    const { signal } = utterance.abort;
    const how = { language: this.#language, signal };
    const next = (await this.#options.floor?.beforeReply(input, how)) ?? null;
    if (next === null) return;
    const leaving = this.#voice;
    this.become(next.voice);
    await this.#sayAll(utterance, `${next.notice}\n`, leaving);
  }

  /** An agent whose model fails before its first word gives the turn to another, if there is one. */
  async #replyOrHandBack(utterance: Utterance, input: TurnInput): Promise<boolean> {
    const { times, audioMs } = utterance;
    try {
      return await this.#reply(utterance, input, times);
    } catch (error) {
      const isOver = utterance.abort.signal.aborted || utterance.audioMs > audioMs;
      const { signal } = utterance.abort;
      const other = isOver ? null : await this.#options.floor?.afterFailure(this.#language, signal);
      if (other == null) throw error;
      this.become(other);
      return this.#reply(utterance, input, times);
    }
  }

  async #reply(utterance: Utterance, input: TurnInput, times: TurnTimes): Promise<boolean> {
    const { callId, history, functions } = this.#options;
    const { functions: offered } = this.#voice.agent;
    const { signal } = utterance.abort;
    const messages = history(this.#voice.agent);
    for (let round = 1; ; round++) {
      const request = {
        ...{ callId, language: this.#language, messages, input, state: this.#providerState },
        tools: round > MAX_ROUNDS ? [] : offered,
      };
      const { endCall, text, calls } = await this.#round(utterance, request, times);
      if (calls.length === 0 || endCall || round > MAX_ROUNDS) return endCall;
      messages.push({ role: 'assistant', content: text, toolCalls: calls });
      for (const call of calls) {
        const content = await functions.ask(call, offered, signal);
        messages.push({ role: 'tool', content, toolCallId: call.id });
      }
    }
  }

  /** One answer of the model, said as it comes. */
  async #round(utterance: Utterance, request: ReplyRequest, times: TurnTimes): Promise<Round> {
    const { signal } = utterance.abort;
    const round: Round = { endCall: false, text: '', calls: [] };
    const splitter = sentenceSplitter();
    const parts = this.#voice.providers.llm.reply(request, signal);
    const usage = await eachWithin(parts, 'the language model', signal, async (part) => {
      times.mark('llmFirst');
      if (part.type === 'text') {
        round.text += part.text;
        for (const piece of splitter.push(part.text))
          await this.#say(utterance, piece, times, part.language);
        return;
      }
      for (const piece of splitter.end()) await this.#say(utterance, piece, times);
      if (part.type === 'end_call') round.endCall = true;
      else if (part.type === 'language') this.#language = part.language;
      else if (part.type === 'tool_call') round.calls.push(part.call);
      else await this.#play(utterance, part, times);
    });
    for (const piece of splitter.end()) await this.#say(utterance, piece, times);
    if (usage !== undefined) this.#options.onUsage(usage.inputTokens, usage.outputTokens);
    return round;
  }

  async #say(
    utterance: Utterance,
    text: string,
    times: TurnTimes,
    language = this.#language,
    { providers, agent } = this.#voice,
  ): Promise<void> {
    times.mark('pieceReady');
    const base = utterance.addPiece(text);
    const request = { text, language, ...(agent.voice === null ? {} : { voice: agent.voice }) };
    const chunks = providers.tts.speak(request, utterance.abort.signal);
    await eachWithin(chunks, 'the voice', utterance.abort.signal, async (chunk) => {
      await this.#write(utterance, base, chunk.pcm, chunk.marks, times);
    });
    utterance.endPiece();
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
    utterance.endPiece();
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
    await this.#options.media.write(utterance.sound, pcm);
  }
}

/** `pcm`, or as many whole rounds of it as make up `samples`. */
function atLeast(samples: number, pcm: Int16Array): Int16Array {
  if (pcm.length === 0 || pcm.length >= samples) return pcm;
  const rounds = new Int16Array(pcm.length * Math.ceil(samples / pcm.length));
  for (let at = 0; at < rounds.length; at += pcm.length) rounds.set(pcm, at);
  return rounds;
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
