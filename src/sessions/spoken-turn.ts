/**
 * One spoken turn of a text conversation (contract 2.4, `POST /v1/voice/stream`): what came in is read, the agent answers,
 * and its words become sound sentence by sentence, as fast as they are taken and no faster.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { StreamResampling } from '#lib/stream-resampler.ts';
import type {
  ChatMessage,
  Language,
  ProviderSet,
  ToolCall,
  UtteranceAudio,
  WordMark,
} from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import { sentenceSplitter } from '#providers/sentences.ts';
import { EventPipe } from './event-pipe.ts';
import { TurnTimes } from './latency.ts';
import {
  answersTo,
  clientFunctions,
  pendingCalls,
  roundOf,
  type FunctionResult,
} from './pending-calls.ts';
import { joined, readSpeech, type RecordedSpeech } from './recorded-speech.ts';
import { OUT_RATE_HZ, SoundPieces } from './sound-pieces.ts';
import type { Standing, TakenTurn } from './squad-desk.ts';
import { languageOfText } from './squad-handoff.ts';
import { keptVoices, PieceVoice } from './speaker-voice.ts';
import { cleanText, replyParts } from './squad-reply.ts';
import { Utterance, type PieceBase } from './utterance.ts';
import { within } from './vendor-stream.ts';

/** `pcm` is mono at 16 kHz, at most 200 ms. */
export type VoiceEvent =
  | { readonly type: 'transcript'; readonly text: string }
  | { readonly type: 'response'; readonly text: string; readonly isFinal: boolean }
  | { readonly type: 'audio'; readonly pcm: Int16Array }
  | { readonly type: 'function_call'; readonly call: ToolCall }
  | (Standing & {
      readonly type: 'done';
      /** From the request to the first sound, or to the first word when there is no sound; null: no answer. */
      readonly latencyMs: number | null;
      readonly pendingCalls: readonly string[];
    })
  | { readonly type: 'error'; readonly error: AppError };

/** What the client sent. */
export type Said = {
  /** Mono. */
  readonly audio: { readonly pcm: Int16Array; readonly rateHz: number } | null;
  readonly text: string | null;
  readonly results: readonly FunctionResult[];
};

export type SpokenTurnOptions = {
  readonly clock: Clock;
  readonly log: Log;
  readonly resampling: StreamResampling;
  readonly turn: TakenTurn;
  /** As it takes part in this conversation. */
  readonly agent: AgentConfig;
  readonly providers: ProviderSet;
  readonly said: Said;
  /** Keeps the sound of what is said in many turns; absent: nothing is kept. */
  readonly phrases?: PhraseStore;
  /** Aborted when nobody listens any more. */
  readonly signal: AbortSignal;
};

const NOTHING: Said = { audio: null, text: null, results: [] };

type Heard = {
  readonly input: string;
  readonly audio: UtteranceAudio | null;
} & ReturnType<typeof roundOf>;

type Piece = { readonly text: string } & (
  | { readonly language: Language | undefined }
  | { readonly pcm: Int16Array }
);

/** Made before it is taken, of a client that reads slowly. */
const ROOM_MS = 10_000;
const STALL_MS = 10_000;
const LISTEN_MS = 15_000;
/** Of a turn in all, however slowly it is read. */
const LONGEST_MS = 15 * 60_000;

export class SpokenTurn {
  readonly events = new EventPipe<VoiceEvent>(ROOM_MS);
  readonly #options: Omit<SpokenTurnOptions, 'said'>;
  /** A recording of a minute is large: it is kept until it is read. */
  #said: Said | null;
  readonly #startMs: number;
  readonly #utterance: Utterance;
  readonly #giveUp = new AbortController();
  readonly #calls: ToolCall[] = [];
  #text = '';
  #endsConversation = false;
  #wordsMs: number | null = null;
  #soundMs: number | null = null;

  constructor({ said: given, ...options }: SpokenTurnOptions) {
    const { clock, turn } = options;
    this.#options = options;
    this.#said = given;
    this.#startMs = clock.now();
    const { messages } = turn.held.story;
    const said = messages.filter(({ role, content }) => role === 'assistant' && content !== '');
    this.#utterance = new Utterance(said.length + 1, 0, new TurnTimes(() => clock.now()));
  }

  /** From what was said to `done` or `error`, which `events` gets last. Never rejects. */
  async run(): Promise<void> {
    const { signal, clock, log, turn } = this.#options;
    const onLeft = (): void => {
      this.events.close();
      this.#giveUp.abort();
    };
    if (signal.aborted) onLeft();
    signal.addEventListener('abort', onLeft, { once: true });
    const timer = clock.setTimer(onLeft, LONGEST_MS);
    try {
      const heard = await this.#listen();
      const pending = heard === null ? [] : await this.#answer(heard);
      const standing = turn.close(this.#endsConversation ? 'completed' : null);
      const latencyMs = this.#latencyMs;
      this.events.tell({ type: 'done', ...standing, latencyMs, pendingCalls: pending });
    } catch (thrown) {
      const error = toAppError(thrown);
      const { conversationId } = turn;
      turn.close(null);
      if (!this.events.isClosed) log.warn('voice.turnFailed', { conversationId, error });
      this.events.tell({ type: 'error', error });
    } finally {
      clock.clearTimer(timer);
      signal.removeEventListener('abort', onLeft);
      this.#giveUp.abort();
      this.events.end();
    }
  }

  get #latencyMs(): number | null {
    return this.#soundMs ?? this.#wordsMs;
  }

  // ---- What was said ----

  /** Null when there is nothing to answer. */
  async #listen(): Promise<Heard | null> {
    const { held } = this.#options.turn;
    const said = this.#said ?? NOTHING;
    this.#said = null;
    const { story } = held;
    const speech = said.audio === null ? null : await this.#recognise(said.audio);
    const text = speech === null ? said.text : joined(speech.segments).text;
    if (speech !== null && this.#isNothing(speech, text ?? '')) {
      this.events.tell({ type: 'transcript', text: '' });
      return null;
    }
    const messages = [...story.messages];
    const answers = answersTo(pendingCalls(messages), said.results);
    for (const { call, content } of answers) {
      story.add({ role: 'function', name: call.name, content });
    }
    const { before, round } = roundOf(messages, answers);
    const last = messages.findLast(({ role }) => role === 'user')?.content ?? '';
    if (text === null) return { input: last, audio: null, before, round };
    held.language = languageOfText(text) ?? held.language;
    this.#tellSaid(text, speech);
    this.events.tell({ type: 'transcript', text });
    const audio = speech?.spoken ?? null;
    if (round.length === 0) return { input: text, audio, before: [...story.messages], round };
    const asked: ChatMessage = { role: 'user', content: text };
    return { input: text, audio, before, round: [...round, asked] };
  }

  async #recognise({ pcm, rateHz }: NonNullable<Said['audio']>): Promise<RecordedSpeech> {
    const { providers, agent, turn, clock } = this.#options;
    const language = turn.held.language ?? agent.language;
    const work = readSpeech(providers.stt, pcm, rateHz, language, this.#giveUp.signal);
    return withDeadline(work, LISTEN_MS, 'the vendor of the recogniser', clock);
  }

  /** A recogniser that reads has understood nothing; one that does not has heard nothing. */
  #isNothing({ spoken }: RecordedSpeech, text: string): boolean {
    return spoken === null || (text === '' && this.#options.providers.stt.reads);
  }

  #tellSaid(text: string, speech: RecordedSpeech | null): void {
    const { story } = this.#options.turn.held;
    if (speech === null || speech.spoken === null) {
      story.add({ role: 'user', content: text });
      return;
    }
    const { spoken, segments } = speech;
    const { confidence } = joined(segments);
    const endMs = story.timeMs();
    const startMs = Math.max(0, endMs - Math.round(spoken.endMs - spoken.startMs));
    const times = { start_ms: startMs, end_ms: endMs };
    const language = languageOfText(text);
    story.fact('user-speech', { text, is_final: true, ...times, confidence, language });
    const sure = confidence === null ? {} : { confidence };
    story.add({ role: 'user', content: text, ...times, ...sure });
  }

  // ---- The answer ----

  /** Says it and keeps it; the ids of functions that the client is to answer. */
  async #answer(heard: Heard): Promise<string[]> {
    const { held } = this.#options.turn;
    try {
      await this.#speakAsItComes(heard);
      this.#utterance.isQueued = true;
      if (cleanText(this.#text) === '' && this.#calls.length === 0 && !this.#endsConversation) {
        throw new AppError('E_PROVIDER_SERVER', 'language model: the reply had nothing to say');
      }
      if (!(await this.events.drained())) {
        throw new AppError('E_ABORTED', 'the client has left');
      }
    } catch (error) {
      this.#utterance.isTorn = !this.#utterance.isQueued;
      // After a failure the client still gets what was made before it.
      await this.events.drained();
      const content = this.#utterance.heard(this.events.takenMs);
      this.#keep(content, !this.#utterance.isWhole || content !== this.#utterance.text);
      throw error;
    }
    this.#keep(cleanText(this.#text), false);
    held.answered.add(this.#options.agent.id);
    return this.#endsConversation ? [] : this.#askClient();
  }

  /** What the model has said is spoken, also when it fails behind it; a voice that fails gives up the model. */
  async #speakAsItComes(heard: Heard): Promise<void> {
    const pieces = new EventPipe<Piece>(Infinity);
    const failures: unknown[] = [];
    const reading = this.#read(heard, pieces).catch((error: unknown) => {
      failures.push(error);
      pieces.end();
    });
    const speaking = this.#speak(pieces).catch((error: unknown) => {
      failures.push(error);
      this.#giveUp.abort();
      pieces.close();
    });
    await Promise.all([reading, speaking]);
    if (failures.length > 0) throw failures[0];
  }

  /** The words as the model says them, and whole sentences for the voice. */
  async #read({ input, audio, before, round }: Heard, pieces: EventPipe<Piece>): Promise<void> {
    const { agent, providers, turn, clock } = this.#options;
    const { held, conversationId } = turn;
    const state = held.states.get(agent.id) ?? new Map<string, unknown>();
    held.states.set(agent.id, state);
    const splitter = sentenceSplitter();
    const give = (sentences: readonly string[], language?: Language): void => {
      for (const text of sentences) pieces.tell({ text, language });
    };
    const parts = replyParts({
      ...{ agent, conversationId, input, round, state, clock, note: null, messages: before },
      ...{ llm: providers.llm, language: held.language ?? agent.language },
      ...{ nextMs: () => STALL_MS, signal: this.#giveUp.signal, tools: clientFunctions(agent) },
      ...(audio === null ? {} : { audio }),
      isFirst: !held.answered.has(agent.id),
    });
    for await (const part of parts) {
      if (part.type === 'text') {
        this.#tellWords(part.text);
        give(splitter.push(part.text), part.language);
        continue;
      }
      give(splitter.end());
      if (part.type === 'end_call') this.#endsConversation = true;
      else if (part.type === 'language') held.language = part.language;
      else if (part.type === 'tool_call') this.#noteCall(part.call);
      else {
        this.#tellWords(part.text);
        pieces.tell({ text: part.text, pcm: part.pcm });
      }
    }
    give(splitter.end());
    pieces.end();
    if (this.#text !== '') this.events.tell({ type: 'response', text: '', isFinal: true });
  }

  #tellWords(text: string): void {
    if (text === '') return;
    this.#wordsMs ??= this.#sinceStart();
    this.#text += text;
    this.events.tell({ type: 'response', text, isFinal: false });
  }

  async #speak(pieces: EventPipe<Piece>): Promise<void> {
    const { providers, resampling, agent, clock, turn, phrases = null } = this.#options;
    const { signal } = this.#giveUp;
    const voice = new PieceVoice(turn.held.language ?? agent.language);
    const tts = keptVoices(phrases)({ agent, providers });
    const sound = new SoundPieces(resampling);
    try {
      for await (const piece of pieces) {
        const base = this.#utterance.addPiece(piece.text);
        if ('pcm' in piece) {
          const marks = [{ chars: piece.text.length, ms: piece.pcm.length / 8 }];
          await this.#play(sound, base, piece.pcm, marks);
        } else {
          voice.turnTo(turn.held.language ?? agent.language);
          const words = { text: piece.text, language: piece.language ?? null };
          const { speak } = voice.piece(words, agent, tts);
          const limits = { nextMs: () => STALL_MS, what: 'the vendor of the voice', clock };
          for await (const { pcm, marks } of within(speak(signal), limits))
            await this.#play(sound, base, pcm, marks);
        }
        await this.#send(sound.flush());
      }
      await this.#send(sound.end());
    } finally {
      sound.close();
    }
  }

  async #play(
    sound: SoundPieces,
    base: PieceBase,
    pcm: Int16Array,
    marks: readonly WordMark[],
  ): Promise<void> {
    this.#utterance.addAudio(base, pcm.length, marks);
    await this.#send(sound.write(pcm));
  }

  async #send(pieces: Iterable<Int16Array>): Promise<void> {
    for (const pcm of pieces) {
      this.#soundMs ??= this.#sinceStart();
      await this.events.write({ type: 'audio', pcm }, (pcm.length * 1000) / OUT_RATE_HZ);
    }
  }

  // ---- What is kept of it ----

  #keep(content: string, isCut: boolean): void {
    if (content === '') return;
    const { story } = this.#options.turn.held;
    const latencyMs = this.#latencyMs;
    const audioMs = Math.round(this.events.takenMs);
    if (this.#soundMs !== null) {
      const turn = this.#utterance.number;
      const latency = { latency_ms: latencyMs === null ? null : Math.round(latencyMs) };
      story.fact('ai-response', { text: content, turn, ...latency, audio_ms: audioMs });
    }
    const latency = latencyMs === null ? {} : { latency_ms: Math.round(latencyMs) };
    const cut = isCut ? { interrupted: true } : {};
    story.add({ role: 'assistant', content, ...latency, ...cut });
  }

  #noteCall({ name, arguments: given }: ToolCall): void {
    const { agent, turn, log } = this.#options;
    const isOffered = clientFunctions(agent).some((each) => each.name === name);
    if (isOffered) this.#calls.push({ id: newId(), name, arguments: given });
    else log.warn('voice.unknownFunction', { conversationId: turn.conversationId, name });
  }

  /** The turn ends with what it wants done: the answers come with the next request. */
  #askClient(): string[] {
    const { turn } = this.#options;
    const calls = this.#calls;
    if (calls.length === 0) return [];
    turn.held.story.add({ role: 'assistant', content: '', tool_calls: calls });
    for (const call of calls) this.events.tell({ type: 'function_call', call });
    return calls.map(({ id }) => id);
  }

  #sinceStart(): number {
    return this.#options.clock.now() - this.#startMs;
  }
}
