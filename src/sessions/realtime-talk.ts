/**
 * A call's talk when its agent is a realtime model: opens the model, and only then decides who talks. One that does not
 * open leaves the call to the cascade of the same agent where there is one, else to an apology.
 */
import type { CodecName } from '#lib/audio-codec.ts';
import type { KeyMode } from '#lib/call-events.ts';
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { MediaEvent } from '#media/types.ts';
import type { RealtimeProvider } from '#providers/contract.ts';
import { promptText } from '#providers/prompts.ts';
import { CallContext } from './call-context.ts';
import type { ConversationFacts, ConversationOptions } from './conversation-parts.ts';
import { Conversation } from './conversation.ts';
import type { PauseDials } from './end-of-turn.ts';
import { fillIn } from './history.ts';
import { RealtimeConversation } from './realtime-conversation.ts';
import { RealtimeLink } from './realtime-link.ts';
import { hasOwnVoice, roleOf } from './realtime-role.ts';
import type { Voice } from './speaker.ts';
import type { HoldReason, Talk } from './talk.ts';
import { CallTools } from './tools/call-tools.ts';

/** What a model can be handed as it came; any other line's audio goes decoded. */
type Codec = 'PCMA' | 'PCMU' | 'L16';

/** Nobody is kept waiting for the first word longer than this. */
const PATIENCE_MS = 1_500;
/** What is written or pressed before anybody is there. */
const MAX_EARLY = 32;

/** Whoever talks in this call. */
export function newTalk(options: ConversationOptions, lineCodec: CodecName): Talk {
  const codec: Codec = lineCodec === 'PCMA' || lineCodec === 'PCMU' ? lineCodec : 'L16';
  const { providers, announceOnly, story } = options;
  const realtime = providers.realtime ?? null;
  if (realtime === null || announceOnly) return new Conversation(options);
  if (options.floor == null) return new RealtimeTalk(options, realtime, codec);
  // Who of a squad answers is decided by the words, which a realtime model answers by itself.
  const message = 'an agent of mode realtime talks as a cascade while it is in a squad';
  options.log.warn('realtime.inSquad', { callId: story.callId });
  story.fact('call-error', {
    ...{ code: 'E_CONFIG', message, fault: 'us', fatal: false, retryable: false },
  });
  return new Conversation(options);
}

class RealtimeTalk implements Talk {
  readonly #options: ConversationOptions & Required<Pick<ConversationOptions, 'tools' | 'context'>>;
  readonly #realtime: RealtimeProvider;
  readonly #link: RealtimeLink;
  readonly #early: ((talk: Talk) => void)[] = [];
  #talk: Talk | null = null;
  #timer: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: ConversationOptions, realtime: RealtimeProvider, codec: Codec) {
    const { tools, context, story, clock } = options;
    this.#options = {
      ...options,
      tools: tools ?? CallTools.ofCallAlone(options),
      context: context ?? CallContext.ofCallAlone(options),
    };
    this.#realtime = realtime;
    this.#link = new RealtimeLink({ callId: story.callId, codec, clock });
  }

  /** Nothing can be said before somebody is there: it is refused as when too much waits. */
  get asking(): Talk['asking'] {
    return this.#talk?.asking ?? NOBODY;
  }

  start(): void {
    const { clock } = this.#options;
    this.#timer = clock.setTimer(() => this.#tooLate(), PATIENCE_MS);
    void this.#open();
  }

  async #open(): Promise<void> {
    const { agent, tools, context, clock } = this.#options;
    const { language } = agent;
    const role = roleOf({ agent, provider: this.#realtime, language, tools, context, clock });
    const history = (): ReturnType<typeof role.history> => [...role.history(), ...this.#greeting()];
    try {
      await this.#link.open({ ...role, history });
      if (!this.#isClosed) this.#begin();
    } catch (thrown) {
      if (!this.#isClosed) this.#unopened(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  /** What the agent's own voice says first, the model has to know. */
  #greeting(): readonly { readonly role: 'assistant'; readonly content: string }[] {
    const { agent } = this.#options;
    if (!hasOwnVoice(agent)) return [];
    const { greeting, variables, language } = agent;
    const content =
      greeting === null ? promptText('greeting', language) : fillIn(greeting, variables);
    return content === '' ? [] : [{ role: 'assistant', content }];
  }

  /** The model is there. */
  #begin(): void {
    if (this.#talk !== null) return;
    this.#talkBy(new RealtimeConversation(this.#realtimeOptions));
  }

  get #realtimeOptions(): ConstructorParameters<typeof RealtimeConversation>[0] {
    return { ...this.#options, link: this.#link, realtime: this.#realtime };
  }

  #tooLate(): void {
    if (this.#talk !== null || this.#isClosed) return;
    if (this.#hasCascade) {
      this.#unopened(new AppError('E_TIMEOUT', 'the realtime model did not open in time'));
    } else {
      // Greeted by the agent's own voice, while the model is still on its way.
      this.#begin();
    }
  }

  /** Whoever can read, think and speak without the model. */
  get #hasCascade(): boolean {
    const { stt, llm } = this.#options.providers;
    return stt.reads && llm.vendor !== 'local';
  }

  #unopened(error: AppError): void {
    const { story, log } = this.#options;
    // Somebody else talks already.
    if (this.#talk instanceof Conversation) return;
    const { code, message, fault, retryable } = error;
    const isCascade = this.#talk === null && this.#hasCascade;
    log.warn('realtime.unopened', { callId: story.callId, error, isCascade });
    if (isCascade) {
      story.fact('call-error', { code, message, fault, fatal: false, retryable });
      this.#link.close();
      return this.#talkBy(new Conversation(this.#options));
    }
    const talk =
      this.#talk instanceof RealtimeConversation
        ? this.#talk
        : new RealtimeConversation(this.#realtimeOptions);
    if (this.#talk === null) this.#talkBy(talk);
    talk.unopened(error);
  }

  #talkBy(talk: Talk): void {
    this.#options.clock.clearTimer(this.#timer);
    this.#talk = talk;
    talk.start();
    for (const act of this.#early.splice(0)) act(talk);
  }

  /** Now, or once somebody is there. */
  #tell(act: (talk: Talk) => void): void {
    if (this.#talk !== null) act(this.#talk);
    else if (this.#early.length < MAX_EARLY && !this.#isClosed) this.#early.push(act);
  }

  hold(on: boolean, why: HoldReason = 'asked'): void {
    this.#tell((talk) => talk.hold(on, why));
  }

  muteCaller(on: boolean): void {
    this.#tell((talk) => talk.muteCaller(on));
  }

  become(voice: Voice): void {
    this.#tell((talk) => talk.become(voice));
  }

  pace(dials: Pick<PauseDials, 'minMs' | 'maxMs'> | null): void {
    this.#tell((talk) => talk.pace(dials));
  }

  warnOfEnd(): void {
    this.#tell((talk) => talk.warnOfEnd());
  }

  sayEnd(onSaid: () => void): void {
    this.#tell((talk) => talk.sayEnd(onSaid));
  }

  text(text: string): void {
    this.#tell((talk) => talk.text(text));
  }

  interrupt(): void {
    this.#talk?.interrupt();
  }

  played(mark: string): void {
    this.#talk?.played(mark);
  }

  /** Speech before there is anybody is heard with the ring that waits for him; nothing is played before either. */
  onMedia(event: MediaEvent): void {
    this.#talk?.onMedia(event);
  }

  onDtmf(digit: string, durationMs: number, mode: KeyMode): void {
    this.#tell((talk) => talk.onDtmf(digit, durationMs, mode));
  }

  functionResult(id: string, result: unknown): boolean {
    return this.#talk?.functionResult(id, result) ?? false;
  }

  async close(): Promise<ConversationFacts> {
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#timer);
    this.#early.length = 0;
    if (this.#talk !== null) return this.#talk.close();
    this.#link.close();
    this.#options.context.close();
    await this.#options.tools.close();
    return { latency: null, tokens: 0, confidence: null };
  }
}

const NOBODY: Talk['asking'] = {
  takesNotes: true,
  say: () => null,
  play: () => false,
  note: () => false,
};
