/** Turns a task of the turn machine into sound: language model -> speakable pieces -> voice -> playout ring. */
import { promptText } from '#providers/prompts.ts';
import { sentenceSplitter } from '#providers/sentences.ts';
import type { ChatMessage, Language, TurnInput } from '#providers/contract.ts';
import type { DraftRequest } from './eager-reply.ts';
import { fillIn } from './history.ts';
import { Fillers } from './speaker-fillers.ts';
import { PieceLine } from './speaker-line.ts';
import { firstRequest, Reply, type ReplyDeps } from './speaker-reply.ts';
import { playSound } from './speaker-sound.ts';
import type { Saying, Self, SpeakerOptions, Spoken, Voice } from './speaker-types.ts';
import { keptVoices, PieceVoice, type Words } from './speaker-voice.ts';
import type { TurnPrompt } from './turn-types.ts';
import type { Utterance } from './utterance.ts';

export type { Saying, SpeakerFloor, SpeakerOptions, Spoken, Voice } from './speaker-types.ts';

export class Speaker {
  readonly #options: SpeakerOptions;
  readonly #self: Self;
  readonly #fillers: Fillers;
  /** What is being said. */
  #sounding: Pick<PieceLine, 'soundLeftMs' | 'isVoiceAwaited'> | null = null;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    const { agent, providers, clock, onSlow = () => undefined } = options;
    this.#self = {
      voice: { agent, providers },
      language: agent.language,
      memory: new Map(),
      ttsOf: keptVoices(options.phrases ?? null),
    };
    this.#fillers = new Fillers({ clock, onSlow });
  }

  get language(): Language {
    return this.#self.language;
  }

  /** How long what has been queued of the present utterance is still to be heard. */
  get soundLeftMs(): number {
    return this.#sounding?.soundLeftMs ?? 0;
  }

  /** The voice has broken off in the middle of what it was to say. */
  get isVoiceAwaited(): boolean {
    return this.#sounding?.isVoiceAwaited ?? false;
  }

  /** From the next utterance on; the language of the conversation stays. */
  become(voice: Voice): void {
    this.#take(voice);
    this.#options.onAgent?.(voice.agent, 0);
  }

  #take(voice: Voice): void {
    this.#self.voice = voice;
    this.#self.memory.clear();
  }

  /** The one who speaks now has the floor for good once what is queued has been heard. */
  #tellAgent(isCutOff = false): void {
    this.#options.onAgent?.(this.#self.voice.agent, isCutOff ? 0 : this.soundLeftMs);
  }

  /**
   * What a reply to these words would ask the model now, for whoever begins it ahead. `message`: what the transcript would
   * have besides what it has. Null: nothing is to be begun ahead.
   */
  async ahead({
    input,
    message,
  }: {
    readonly input: string;
    readonly message: string;
  }): Promise<DraftRequest | null> {
    const { llm } = this.#self.voice.providers;
    // The built-in agent answers to the sound.
    if (llm.vendor === 'local') return null;
    const request = await firstRequest(this.#deps, { kind: 'speech', text: input, audio: null });
    const told: ChatMessage[] = message === '' ? [] : [{ role: 'user', content: message }];
    return { llm, request: { ...request, messages: [...request.messages, ...told] } };
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

  get #deps(): ReplyDeps {
    const become = (voice: Voice): void => {
      this.#take(voice);
      this.#tellAgent();
    };
    return { options: this.#options, self: this.#self, fillers: this.#fillers, become };
  }

  /** True when the call ends with it. */
  async #carryOut(utterance: Utterance, saying: Saying): Promise<boolean> {
    switch (saying.kind) {
      case 'prompt':
        await this.#sayAll(utterance, this.#promptPieces(saying.name), this.#self.voice);
        return this.#options.announceOnly;
      case 'reply':
        await this.#handOver(utterance, saying.input);
        return this.#replyOrHandBack(utterance, saying.input);
      case 'words':
        await this.#sayAll(utterance, piecesOf(saying.text), this.#self.voice);
        return false;
      case 'sound':
        await playSound(this.#options, utterance, saying);
        return false;
    }
  }

  async #sayAll(utterance: Utterance, words: readonly Words[], voice: Voice): Promise<void> {
    const line = new PieceLine({ ...this.#options, utterance });
    const pieces = new PieceVoice(this.#self.language);
    this.#sounding = line;
    try {
      for (const each of words)
        await line.add(pieces.piece(each, voice.agent, this.#self.ttsOf(voice)));
      await line.drain();
    } finally {
      line.close();
    }
  }

  /** Whole: the recordings of the installation's prompts are. */
  #promptPieces(name: TurnPrompt): readonly Words[] {
    const { language, voice } = this.#self;
    const { agent, providers } = voice;
    const own =
      name === 'greeting'
        ? agent.greeting
        : name === 'still_there'
          ? agent.silence.promptText
          : null;
    if (own !== null) {
      const text = name === 'greeting' ? fillIn(own, agent.variables) : own;
      // What is filled in is one caller's.
      const keep = text === own ? { keep: 'always' as const } : {};
      return [{ text, language, ...keep }];
    }
    const greeting = name === 'greeting' ? providers.llm.greeting?.(language) : null;
    return [{ text: greeting ?? promptText(name, language), language, keep: 'always' }];
  }

  /** The notice is the present agent's last word; whatever becomes of it, the next one has the floor already. */
  async #handOver(utterance: Utterance, input: TurnInput): Promise<void> {
    const { signal } = utterance.abort;
    const how = { language: this.#self.language, signal };
    const next = (await this.#options.floor?.beforeReply(input, how)) ?? null;
    if (next === null) return;
    const leaving = this.#self.voice;
    this.#take(next.voice);
    try {
      await this.#sayAll(utterance, piecesOf(`${next.notice}\n`), leaving);
    } finally {
      this.#tellAgent(signal.aborted);
    }
  }

  /** An agent whose model fails before its first word gives the turn to another, if there is one. */
  async #replyOrHandBack(utterance: Utterance, input: TurnInput): Promise<boolean> {
    const reply = this.#newReply(utterance);
    try {
      return await reply.run(input);
    } catch (error) {
      const { signal } = utterance.abort;
      const isOver = signal.aborted || reply.hasSpoken;
      const { floor } = this.#options;
      const other = isOver ? null : await floor?.afterFailure(this.#self.language, signal);
      if (other == null) throw error;
      this.become(other);
      return this.#newReply(utterance).run(input);
    }
  }

  #newReply(utterance: Utterance): Reply {
    const reply = new Reply(this.#deps, utterance);
    this.#sounding = reply;
    return reply;
  }
}

/** Sentence by sentence: the first is heard while the others are made, and vendors limit the length of a text. */
function piecesOf(text: string): readonly Words[] {
  const splitter = sentenceSplitter();
  const pieces = [...splitter.push(text), ...splitter.end()];
  return pieces.map((each) => ({ text: each, language: null }));
}
