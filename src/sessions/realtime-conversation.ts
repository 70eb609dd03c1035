/**
 * A live call with a realtime model: the same turn machine as in the cascade decides about the floor, but when the caller's
 * turn is over and what is answered the model decides. Puts together who listens, who speaks and who is asked; `close` gives
 * all back.
 */
import type { KeyMode } from '#lib/call-events.ts';
import { toAppError, type AppError } from '#lib/errors.ts';
import type { MediaEvent } from '#media/types.ts';
import type { RealtimeEvent, RealtimeProvider } from '#providers/contract.ts';
import { promptText } from '#providers/prompts.ts';
import { AgentSpeech } from './agent-speech.ts';
import { Asking } from './asking.ts';
import { soundLimitMs } from './backchannel.ts';
import { CallContext } from './call-context.ts';
import type { CallFeed } from './call-frames.ts';
import {
  configOf,
  endsLoop,
  type ConversationFacts,
  type ConversationOptions,
} from './conversation-parts.ts';
import type { PauseDials } from './end-of-turn.ts';
import { FloorWatch } from './floor-watch.ts';
import { summarise } from './latency.ts';
import { RealtimeCaller } from './realtime-caller.ts';
import { RealtimeFloor } from './realtime-floor.ts';
import type { RealtimeLink } from './realtime-link.ts';
import { roleOf } from './realtime-role.ts';
import { RealtimeTools } from './realtime-tools.ts';
import { RealtimeWords } from './realtime-words.ts';
import type { Work } from './realtime-work.ts';
import { Requests } from './requests.ts';
import { Speaker, type Voice } from './speaker.ts';
import { onStalled } from './stall.ts';
import type { HoldReason, Talk } from './talk.ts';
import { CallTools } from './tools/call-tools.ts';
import { TurnActor } from './turn-actor.ts';
import type { TurnCommand, TurnContext } from './turn-types.ts';

export type RealtimeConversationOptions = ConversationOptions & {
  readonly link: RealtimeLink;
  readonly realtime: RealtimeProvider;
};

/** At the end of a call: how long the worker may take to say what was heard of the last utterance. */
const LAST_WORDS_MS = 250;
/** Of the caller's ring, for each of whether the agent gets on with what it says. */
const LOOKS_PER_WATCH = 10;
/** Models lost one after the other, without a word in between: then the call is given up. */
const MAX_LOSSES = 2;
/** Another attempt with the same key or settings ends as this one did. */
const HOPELESS: ReadonlySet<string> = new Set(['E_PROVIDER_AUTH', 'E_PROVIDER_PARAM', 'E_CONFIG']);

export class RealtimeConversation implements Talk {
  readonly #options: RealtimeConversationOptions;
  readonly #link: RealtimeLink;
  readonly #feed: CallFeed;
  readonly #turn: TurnActor;
  readonly #speaker: Speaker;
  readonly #speech: AgentSpeech;
  readonly #words: RealtimeWords;
  readonly #caller: RealtimeCaller;
  readonly #floor: RealtimeFloor;
  readonly #watch: FloorWatch;
  readonly #requests = new Requests();
  readonly #tools: CallTools;
  readonly #effects: RealtimeTools;
  readonly #context: CallContext;
  readonly #holds = new Set<HoldReason>();
  readonly asking: Asking;
  /** Who speaks. */
  #voice: Voice;
  #realtime: RealtimeProvider;
  #lastWords: (() => void) | null = null;
  #tokens = 0;
  #losses = 0;
  #looks = 0;
  #isClosed = false;
  #isCallerMuted = false;

  constructor(options: RealtimeConversationOptions) {
    this.#options = options;
    const { providers, media, story, log, clock, link } = options;
    const tellFault = (error: unknown): void => this.#tellFault(error);
    this.#link = link;
    this.#voice = { agent: options.agent, providers };
    this.#realtime = options.realtime;
    this.#turn = this.#newTurn();
    this.#words = new RealtimeWords({ story, clock });
    const { feed } = story;
    this.#feed = feed;
    const told = {
      feed,
      callTimeMs: () => story.callTimeMs(),
      fact: story.fact.bind(story),
      message: this.#words.message.bind(this.#words),
      turnMeasured: story.turnMeasured.bind(story),
    };
    this.#speech = new AgentSpeech(told, media);
    this.#speech.onHeard = (text) => this.#turn.send({ type: 'agent.heard', text });
    this.#tools = options.tools ?? CallTools.ofCallAlone(options);
    this.#context = options.context ?? CallContext.ofCallAlone(options);
    this.#speaker = this.#newSpeaker();
    this.#caller = new RealtimeCaller({
      ...{ turn: this.#turn, link, words: this.#words, media, clock },
      over: () => this.#speech.heardSoFar,
      vendor: () => this.#realtime.vendor,
    });
    this.#effects = new RealtimeTools({
      ...{ tools: this.#tools, link, words: this.#words, clock, log, tellFault },
      agent: () => this.#voice.agent,
      language: () => this.#speaker.language,
      floor: () => this.#floor,
      handOver: (work, voice, summary) => this.#handOver(work, voice, summary),
    });
    this.#floor = new RealtimeFloor({
      ...{ turn: this.#turn, link, speaker: this.#speaker, speech: this.#speech },
      ...{ requests: this.#requests, caller: this.#caller, media, clock, log, tellFault },
      agent: () => this.#voice.agent,
      useTools: (work) => this.#effects.use(work),
    });
    this.#tools.soundLeftMs = () => this.#floor.soundLeftMs;
    this.#watch = new FloorWatch({
      now: () => this.#turn.time.now(),
      playedSamples: (sound) => media.playedSamples(sound),
      onStuck: (utterance) => this.#turn.send({ type: 'floor.stuck', utterance }),
    });
    this.asking = new Asking({
      ...{ story, requests: this.#requests },
      keepNote: (text) => this.#floor.keepNote(text),
      turn: () => (this.#turn.isOver ? null : this.#turn.context),
      isOpen: () => this.#caller.isOpen,
      send: (event) => this.#turn.send(event),
    });
  }

  #newTurn(): TurnActor {
    const { story, clock, log } = this.#options;
    return new TurnActor({
      // The model reads; what it has read comes too late to judge a turn by.
      config: { ...configOf(this.#options), reads: true },
      ...{ clock, isDeaf: false },
      callTimeMs: () => story.callTimeMs(),
      carryOut: (command) => this.#carryOut(command),
      onStep: (context) => this.#onStep(context),
      onError: (error) => {
        log.error('turn.failed', { error: toAppError(error) });
        this.#options.onEnd('provider.failed');
      },
    });
  }

  /** Says what a model may not, or cannot. */
  #newSpeaker(): Speaker {
    const { agent, providers, media, clock, story, phrases, onAgent } = this.#options;
    const { llm, tts } = providers;
    return new Speaker({
      ...{ callId: story.callId, agent, media, clock, announceOnly: false, floor: null },
      // Its own words are those of the cascade.
      providers: {
        tts,
        llm: { vendor: llm.vendor, reply: (asked, signal) => llm.reply(asked, signal) },
      },
      phrases: phrases ?? null,
      tools: this.#tools,
      onAgent,
      history: () => [],
      onUsage: () => undefined,
    });
  }

  start(): void {
    const { notice, pump } = this.#options;
    pump.add(this);
    this.#link.onEvent((event) => this.#onModel(event));
    if (notice === null) this.#caller.open();
    this.#turn.start();
    if (notice !== null) void this.#giveNotice(notice);
  }

  async #giveNotice(text: string): Promise<void> {
    if (await this.#floor.notice(text, () => this.#isClosed)) return; // its end on the wire goes on from here
    this.#options.onNoticeOver(false);
    this.#open();
  }

  /** Only a notice that was heard whole is one. */
  #noticeDone(event: MediaEvent & { readonly type: 'playout.done' }): void {
    this.#options.onNoticeOver(this.#speech.bySound(event.utterance)?.isWhole === true);
    this.#speech.onEnded(event);
    this.#open();
  }

  #open(): void {
    this.#caller.open();
    this.#turn.send({ type: 'open' });
  }

  pump(): void {
    if (!this.#caller.isDue()) {
      // Clients want to know to the frame what was said; else there is time for that.
      if (this.#feed.isHeard) this.#speech.poll();
      return;
    }
    this.#hear();
    this.#speech.poll();
    // What it waits for takes half a minute.
    if (++this.#looks % LOOKS_PER_WATCH !== 0) return;
    if (this.#turn.time.stands || this.#turn.isOver) return;
    const { utterance } = this.#turn.context;
    this.#watch.poll(this.#turn.hasFloor ? this.#speech.byNumber(utterance) : null);
  }

  #hear(): void {
    this.#caller.pump(this.#turn.time.stands || this.#floor.wantsSilence);
  }

  // ---- What is done to it from outside ----

  hold(on: boolean, why: HoldReason = 'asked'): void {
    // What came before is heard as it was.
    this.#hear();
    if (on) this.#holds.add(why);
    else this.#holds.delete(why);
    const isHeld = this.#holds.size > 0;
    if (isHeld !== this.#turn.time.stands) this.#turn.hold(isHeld);
  }

  muteCaller(on: boolean): void {
    this.#isCallerMuted = on;
    this.#turn.send({ type: 'caller.muted', on });
  }

  /** The model goes on as another agent: it is opened anew, with all that was said. */
  become(voice: Voice): void {
    this.#become(voice);
    void this.#reopen();
  }

  /** How patient it is, a realtime model decides. */
  pace(_dials: Pick<PauseDials, 'minMs' | 'maxMs'> | null): void {}

  warnOfEnd(): void {
    const how = { urgent: false, interruptible: true };
    this.asking.say(promptText('limit_warning', this.#speaker.language), how);
  }

  sayEnd(onSaid: () => void): void {
    const how = { urgent: true, interruptible: false };
    this.asking.say(promptText('goodbye_limit', this.#speaker.language), how, (isWhole) => {
      // Once the transcript has it.
      if (isWhole) queueMicrotask(onSaid);
    });
  }

  text(text: string): void {
    if (this.#turn.isOver) return;
    this.#words.written(text);
    this.#floor.text(text);
    this.#turn.send({ type: 'text' });
  }

  interrupt(): void {
    this.#turn.send({ type: 'interrupt' });
  }

  played(mark: string): void {
    this.#speech.played(mark);
  }

  onMedia(event: MediaEvent): void {
    if (this.#isClosed && event.type !== 'playout.flushed') return;
    switch (event.type) {
      case 'speech.started':
        return this.#speechStarted(event.startMs);
      case 'speech.lasted':
        if (this.#caller.isOpen && !this.#turn.time.isWithinHold(event.startMs))
          this.#turn.send({ type: 'speech.confirmed' });
        return;
      case 'speech.stopped':
        if (this.#caller.isOpen && !this.#turn.time.isWithinHold(event.startMs))
          this.#caller.stopped(event);
        return;
      case 'playout.started':
        return this.#speech.onStarted(event);
      case 'playout.paused':
      case 'playout.resumed':
        return this.#speech.onPaused(event);
      case 'playout.stalled':
        return this.#onStalled(event);
      case 'playout.done':
        if (!this.#caller.isOpen) return this.#noticeDone(event);
        return this.#floor.played(event);
      case 'playout.flushed':
        this.#floor.played(event);
        this.#lastWords?.();
        return;
      case 'dtmf':
        return this.onDtmf(event.digit, event.durationMs, event.mode ?? 'rfc4733');
      // The rest concerns the call, not the conversation.
      case 'media.latched':
      case 'media.lost':
      case 'media.failed':
      case 'recording.failed':
        return;
    }
  }

  #onStalled(event: MediaEvent & { readonly type: 'playout.stalled' }): void {
    const { media, log, story } = this.#options;
    onStalled(event, {
      ...{ callId: story.callId, turn: this.#turn, speech: this.#speech, media, log },
      awaitsVoice: (number) => this.#speaker.isVoiceAwaited || this.#floor.isModelSpeaking(number),
      yield: (number) => this.#floor.yield(number, null),
      tellFault: (error) => this.#tellFault(error),
    });
  }

  #speechStarted(startMs: number): void {
    if (!this.#turn.time.stands) return this.#caller.began(startMs);
    // An armed media plane has stopped playout for speech that nobody here hears of.
    if (this.#turn.isFlowing) this.#options.media.resume();
  }

  onDtmf(digit: string, durationMs: number, mode: KeyMode): void {
    if (this.#isClosed || this.#isCallerMuted) return;
    const { story } = this.#options;
    story.fact('dtmf.received', { digit, duration_ms: Math.round(durationMs), mode });
    if (this.#turn.time.stands) return; // the agent does not hear it
    if (this.#tools.takeKey(digit)) return;
    const at = story.callTimeMs();
    const times = { start_ms: Math.round(at), end_ms: Math.round(at + durationMs) };
    this.#words.message({ role: 'user', content: `[DTMF ${digit}]`, ...times }, at);
    this.#turn.send({ type: 'dtmf', digits: digit });
  }

  functionResult(id: string, result: unknown): boolean {
    return !this.#isClosed && this.#tools.answer(id, result);
  }

  async close(): Promise<ConversationFacts> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { pump, log } = this.#options;
      this.#turn.stop();
      pump.remove(this);
      this.#effects.close();
      this.#floor.close();
      this.#speech.abortAll();
      if (this.#speech.open > 0) await this.#flushLastWords();
      this.#speech.endAll();
      this.#link.close();
      this.#requests.close();
      this.#context.close();
      await this.#tools.close();
      this.#words.close();
      const staleMs = Math.round(this.#floor.staleSamples / 8);
      if (staleMs > 0) log.debug('realtime.stale', { ms: staleMs });
    }
    return { latency: summarise(this.#speech.latencies), tokens: this.#tokens, confidence: null };
  }

  #flushLastWords(): Promise<void> {
    const { media, clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimer(resolve, LAST_WORDS_MS);
    this.#lastWords = () => {
      if (this.#speech.open > 0) return; // each queued utterance is answered
      clock.clearTimer(timer);
      resolve();
    };
    media.flush();
    return promise;
  }

  // ---- What the machine decided ----

  #carryOut(command: TurnCommand): void {
    const { media } = this.#options;
    switch (command.type) {
      case 'bargein.arm':
        return media.armBargeIn(command.on, this.#confirmMs);
      case 'playout.pause':
        return media.pause();
      case 'playout.resume':
        return media.resume();
      case 'floor.yield':
        return this.#floor.yield(command.utterance, command.since);
      case 'floor.take':
        return this.#floor.take(command.utterance, command.task);
      // What the model has heard it will read, late or not.
      case 'speech.giveUp':
        return;
      case 'turn.ended':
        this.#options.onEnd(command.cause);
    }
  }

  /** Speech of this length is an interruption, whatever the model says; what was said it tells too late to ask. */
  get #confirmMs(): number {
    const { bargeInConfirmMs: confirmMs, interruptionSensitivity: sensitivity = 0.5 } =
      this.#voice.agent.turn;
    if (sensitivity <= 0) return Number.POSITIVE_INFINITY;
    return soundLimitMs({ sensitivity, confirmMs, reads: false });
  }

  #onStep(context: TurnContext): void {
    const saying = this.#speech.byNumber(context.utterance);
    if (saying !== null && endsLoop(context)) saying.repeats = false;
  }

  // ---- The model ----

  #onModel(event: RealtimeEvent): void {
    if (this.#isClosed) return;
    if (event.type === 'usage') this.#tokens += event.usage.inputTokens + event.usage.outputTokens;
    if (event.type === 'audio') this.#losses = 0;
    if (event.type === 'error') this.#tellFault(event.error);
    this.#caller.onModel(event);
    this.#floor.onModel(event);
    if (event.type === 'error' && event.isFatal) this.#lost(toAppError(event.error));
  }

  /** The model is gone, and with it whoever could stand in for it: tried once more, with all that was said. */
  #lost(error: AppError): void {
    this.#options.log.warn('realtime.lost', { error });
    this.#losses += 1;
    if (this.#losses >= MAX_LOSSES || HOPELESS.has(error.code)) return this.#giveUp();
    // Unless the turn that broke off apologises for itself.
    queueMicrotask(() => {
      if (this.#turn.isOver || this.#turn.hasFloor) return;
      const how = { urgent: false, interruptible: true };
      this.asking.say(promptText('apology', this.#speaker.language), { ...how, isExact: true });
    });
    void this.#reopen();
  }

  async #reopen(): Promise<void> {
    try {
      await this.#link.open(this.#role());
    } catch (thrown) {
      if (this.#isClosed) return;
      const error = toAppError(thrown);
      if (error.code === 'E_ABORTED') return; // opened for somebody else meanwhile
      this.#tellFault(error);
      this.#options.log.warn('realtime.notReopened', { error });
      this.#giveUp();
    }
  }

  /** The model did not open, and nobody else can talk. */
  unopened(error: AppError): void {
    this.#tellFault(error);
    this.#giveUp();
  }

  /** There is nobody to talk to: an apology, and the end. */
  #giveUp(): void {
    const end = (): void => this.#options.onEnd('provider.failed');
    const how = { urgent: true, interruptible: false, isExact: true };
    const text = promptText('apology', this.#speaker.language);
    const said = this.asking.say(text, how, () => queueMicrotask(end));
    if (said === null) end();
  }

  #role(): ReturnType<typeof roleOf> {
    return roleOf({
      ...{ agent: this.#voice.agent, provider: this.#realtime, tools: this.#tools },
      ...{ context: this.#context, clock: this.#options.clock, language: this.#speaker.language },
    });
  }

  #become(voice: Voice): void {
    this.#voice = voice;
    // One who has no realtime model of his own speaks by the one there is.
    this.#realtime = voice.providers.realtime ?? this.#realtime;
    this.#speaker.become(voice);
  }

  async #handOver(work: Work, voice: Voice, summary: string): Promise<void> {
    this.#become(voice);
    await this.#reopen();
    if (this.#isClosed || !this.#link.isOpen) return;
    const text =
      this.#speaker.language === 'zh'
        ? `[通话已转交给你：${summary} 请接着和来电者说。]`
        : `[The call has been handed over to you: ${summary} Go on with the caller.]`;
    this.#floor.askWithin(work, text);
  }

  #tellFault(thrown: unknown): void {
    const { code, message, fault, retryable } = toAppError(thrown, 'E_PROVIDER_SERVER');
    this.#options.story.fact('call-error', { code, message, fault, fatal: false, retryable });
  }
}
