/**
 * One reply: the model's words become pieces as they come, what it asks for is carried out, and it is asked again with the
 * answers, until it has said all it wants.
 */
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type {
  ChatMessage,
  Language,
  ReplyPart,
  ReplyRequest,
  ToolCall,
  ToolSpec,
  TurnInput,
} from '#providers/contract.ts';
import { promptText } from '#providers/prompts.ts';
import { sentenceSplitter } from '#providers/sentences.ts';
import type { FillerWatch, Fillers } from './speaker-fillers.ts';
import { PieceLine, type Piece } from './speaker-line.ts';
import { soundPiece } from './speaker-sound.ts';
import { eachWithin } from './speaker-stream.ts';
import type { Self, SpeakerOptions, Voice } from './speaker-types.ts';
import { PieceVoice, type Words } from './speaker-voice.ts';
import type { ToolAnswer } from './tool-box.ts';
import type { Utterance } from './utterance.ts';

/** After so many rounds of functions the model has to do with what it knows. */
const MAX_ROUNDS = 5;
/** Tools that have to be asked for by then are done without. */
const OFFER_MS = 2000;

export type ReplyDeps = {
  readonly options: SpeakerOptions;
  readonly self: Self;
  readonly fillers: Fillers;
  readonly become: (voice: Voice) => void;
};

/** What came of one answer of the model besides sound. */
type Round = { endCall: boolean; text: string; readonly calls: ToolCall[] };

/** What the model is asked first. Never rejects for want of tools. */
export async function firstRequest(
  { options, self }: Pick<ReplyDeps, 'options' | 'self'>,
  input: TurnInput,
): Promise<ReplyRequest> {
  const tools = await offered(options, self);
  return {
    ...{ callId: options.callId, language: self.language, input, tools },
    ...{ messages: options.history(self.voice.agent), state: self.memory },
  };
}

async function offered(
  { tools, clock }: SpeakerOptions,
  { voice: { agent } }: Self,
): Promise<readonly ToolSpec[]> {
  try {
    return await withDeadline(tools.offered(agent), OFFER_MS, 'the list of tools', clock);
  } catch (error) {
    if (error instanceof AppError && error.code === 'E_TIMEOUT') return agent.functions;
    throw error;
  }
}

export class Reply {
  readonly #deps: ReplyDeps;
  readonly #utterance: Utterance;
  readonly #pieces: PieceVoice;
  readonly #line: PieceLine;
  readonly #watch: FillerWatch;
  /** Of the model's words, handed over to be said. */
  #pieceCount = 0;

  constructor(deps: ReplyDeps, utterance: Utterance) {
    const { options, self, fillers } = deps;
    this.#deps = deps;
    this.#utterance = utterance;
    this.#pieces = new PieceVoice(self.language);
    this.#line = new PieceLine({ ...options, utterance });
    this.#watch = fillers.watch({
      quietMs: () => this.#line.quietMs,
      hasAside: () => this.#line.hasAside,
      agent: () => self.voice.agent,
      language: () => self.language,
      say: (text) => {
        // It has a place of its own: what is said before or after it does not matter to it.
        const words: Words = { text, language: self.language, keep: 'always' };
        this.#line.interject(this.#pieceOf(words, new PieceVoice(self.language)));
      },
    });
  }

  /** Whether any of it was said, fillers aside. */
  get hasSpoken(): boolean {
    return this.#line.hasSpoken;
  }

  get soundLeftMs(): number {
    return this.#line.soundLeftMs;
  }

  get isVoiceAwaited(): boolean {
    return this.#line.isVoiceAwaited;
  }

  /** True when the call ends with it. Errors: AppError of the provider that failed; E_ABORTED. */
  async run(input: TurnInput): Promise<boolean> {
    try {
      const endCall = await this.#converse(input);
      await this.#line.drain();
      return endCall;
    } catch (error) {
      if (this.#utterance.abort.signal.aborted) throw error;
      // What the model said before it failed was meant to be heard.
      if (!this.#line.hasFailed) await this.#line.drain();
      if (!(error instanceof AppError) || error.code !== 'E_PROVIDER_CONTENT') throw error;
      this.#deps.options.onFault?.(error);
      this.#line.close();
      await this.#sayWithheld();
      return false;
    } finally {
      this.#watch.stop();
      this.#line.close();
    }
  }

  /** The vendor's moderation has refused the words: asking again would be in vain. */
  async #sayWithheld(): Promise<void> {
    const { options, self } = this.#deps;
    const text = self.voice.agent.fallbackPhrase ?? promptText('withheld', self.language);
    const line = new PieceLine({ ...options, utterance: this.#utterance });
    try {
      const words: Words = { text, language: null, keep: 'always' };
      await line.add(this.#pieceOf(words));
      await line.drain();
    } finally {
      line.close();
    }
  }

  async #converse(input: TurnInput): Promise<boolean> {
    const { self } = this.#deps;
    this.#watch.waits('thinking');
    let request = await firstRequest(this.#deps, input);
    let messages: ChatMessage[] = [...request.messages];
    for (let round = 1; ; round++) {
      const isLast = round > MAX_ROUNDS;
      const { tools = [] } = request;
      const { endCall, text, calls } = await this.#round({
        ...{ ...request, messages, language: self.language },
        tools: isLast ? [] : tools,
      });
      if (calls.length === 0 || endCall || isLast) return endCall;
      const answers = await this.#carryOut(calls);
      messages.push({ role: 'assistant', content: text, toolCalls: calls });
      for (const [i, { content }] of answers.entries())
        messages.push({ role: 'tool', content, toolCallId: calls[i]?.id ?? '' });
      const { isOver, next } = await this.#takeEffects(answers);
      if (isOver) return true;
      this.#watch.waits('thinking');
      if (next === null) continue;
      this.#deps.become(next);
      request = await firstRequest(this.#deps, input);
      messages = [...request.messages];
    }
  }

  /** One answer of the model. One that breaks off before a word of it could be said is asked for once more. */
  async #round(request: ReplyRequest): Promise<Round> {
    const saidBefore = this.#pieceCount;
    try {
      return await this.#ask(request);
    } catch (error) {
      const isOver = this.#utterance.abort.signal.aborted || this.#line.hasFailed;
      if (isOver || this.#pieceCount > saidBefore || !isPassing(error)) throw error;
      this.#deps.options.onFault?.(error);
      return this.#ask(request);
    }
  }

  /** Said as it comes. */
  async #ask(request: ReplyRequest): Promise<Round> {
    const { options, self } = this.#deps;
    const { signal } = this.#utterance.abort;
    const { llm } = self.voice.providers;
    const round: Round = { endCall: false, text: '', calls: [] };
    const splitter = sentenceSplitter();
    const parts = options.drafts?.take(llm, request, signal) ?? llm.reply(request, signal);
    const watch = {
      ...{ what: 'the language model', signal, clock: options.clock },
      failed: this.#line.failed,
    };
    const usage = await eachWithin(parts, watch, async (part) => {
      this.#utterance.times.mark('llmFirst');
      this.#utterance.times.servedBy('llm', llm.servedBy?.() ?? llm.vendor);
      if (part.type === 'text') {
        round.text += part.text;
        await this.#say(splitter.push(part.text), part.language);
        return;
      }
      await this.#say(splitter.end());
      if (part.type === 'end_call') round.endCall = true;
      else if (part.type === 'language') this.#turnTo(part.language);
      else if (part.type === 'tool_call') round.calls.push(part.call);
      else await this.#play(part);
    });
    await this.#say(splitter.end());
    if (usage !== undefined) options.onUsage(usage.inputTokens, usage.outputTokens);
    return round;
  }

  async #say(pieces: readonly string[], language?: Words['language']): Promise<void> {
    this.#pieceCount += pieces.length;
    for (const text of pieces)
      await this.#line.add(this.#pieceOf({ text, language: language ?? null }));
  }

  #pieceOf(words: Words, pieces = this.#pieces): Piece {
    const { voice, ttsOf } = this.#deps.self;
    return pieces.piece(words, voice.agent, ttsOf(voice));
  }

  #turnTo(language: Language): void {
    this.#deps.self.language = language;
    this.#pieces.turnTo(language);
  }

  #play({ text, pcm }: Extract<ReplyPart, { type: 'audio' }>): Promise<void> {
    this.#pieceCount += 1;
    return this.#line.add(soundPiece(text, pcm, 'end'));
  }

  // ---- Tools ----

  /** All at once; the answers are in the order of the calls. */
  async #carryOut(calls: readonly ToolCall[]): Promise<readonly ToolAnswer[]> {
    const { tools } = this.#deps.options;
    const { agent } = this.#deps.self.voice;
    const { signal } = this.#utterance.abort;
    const manners = calls.map((call) => tools.manner(call, agent));
    const said = manners.flatMap(({ say }) => (say === null ? [] : [say]));
    await this.#say(said);
    const isQuiet = manners.some((manner) => manner.isQuiet);
    // What is said before it, and what it waits for the caller's answer to, is in the playout first.
    if (isQuiet || said.length > 0) await this.#line.drain();
    this.#watch.waits(isQuiet ? null : 'tool');
    const answers = Promise.all(calls.map((call) => tools.ask(call, agent, signal)));
    return Promise.race([answers, this.#line.failed]);
  }

  async #takeEffects(
    answers: readonly ToolAnswer[],
  ): Promise<{ readonly isOver: boolean; readonly next: Voice | null }> {
    let isOver = false;
    let next: Voice | null = null;
    for (const { effect } of answers) {
      if (effect?.kind === 'play') {
        await this.#line.add(soundPiece(effect.title, effect.pcm, 'start'));
      } else if (effect?.kind === 'end_call') isOver = true;
      else if (effect?.kind === 'hand_off') next = effect.voice;
    }
    // Nobody hangs up without a word.
    if (isOver && !this.#line.hasWords) {
      await this.#say([promptText('goodbye', this.#deps.self.language)]);
    }
    return { isOver, next };
  }
}

/** The same request may go well at once, or with the vendor that stands in. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof AppError)) return false;
  return error.code === 'E_PROVIDER_SERVER' || error.code === 'E_PROVIDER_IDLE';
}
