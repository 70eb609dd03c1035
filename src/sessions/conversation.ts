/**
 * One live call's conversation: puts together who decides (the turn machine), who listens (the caller's side) and who
 * speaks (the floor's work), and takes what comes from outside. `close` gives all back.
 */
import type { KeyMode } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import { promptText } from '#providers/prompts.ts';
import { AgentSpeech } from './agent-speech.ts';
import { Asking } from './asking.ts';
import { CallContext } from './call-context.ts';
import { CallerSide } from './caller-side.ts';
import { CallerWords } from './caller-words.ts';
import {
  configOf,
  endsLoop,
  type ConversationFacts,
  type ConversationOptions,
} from './conversation-parts.ts';
import { EagerReplies } from './eager-reply.ts';
import { Ears } from './ears.ts';
import type { PauseDials } from './end-of-turn.ts';
import { FloorWatch } from './floor-watch.ts';
import { FloorWork } from './floor-work.ts';
import { summarise } from './latency.ts';
import { Requests } from './requests.ts';
import { Speaker, type Voice } from './speaker.ts';
import { onStalled } from './stall.ts';
import type { HoldReason } from './talk.ts';
import { CallTools } from './tools/call-tools.ts';
import { TurnActor } from './turn-actor.ts';
import type { TurnCommand, TurnContext } from './turn-types.ts';

/** At the end of a call: how long the worker may take to say what was heard of the last utterance. */
const LAST_WORDS_MS = 250;

export class Conversation {
  readonly #options: ConversationOptions;
  readonly #turn: TurnActor;
  readonly #speaker: Speaker;
  readonly #speech: AgentSpeech;
  readonly #ears: Ears;
  readonly #words: CallerWords;
  readonly #caller: CallerSide;
  readonly #floor: FloorWork;
  readonly #watch: FloorWatch;
  readonly #requests = new Requests();
  readonly #tools: CallTools;
  readonly #context: CallContext;
  /** Why it stands still. */
  readonly #holds = new Set<HoldReason>();
  /** What others want to be said. */
  readonly asking: Asking;
  #lastWords: (() => void) | null = null;
  #tokens = 0;
  #isClosed = false;
  #isCallerMuted = false;
  /** Call time at which the notice was over and the caller is listened to; null before. */
  #openedAtMs: number | null = null;

  constructor(options: ConversationOptions) {
    this.#options = options;
    const { providers, media, story, log, clock } = options;
    const { callId } = story;
    const tellFault = (error: unknown): void => this.#tellFault(error);
    this.#turn = this.#newTurn();
    this.#speech = new AgentSpeech(story, media);
    this.#speech.onHeard = (text) => this.#turn.send({ type: 'agent.heard', text });
    this.#words = new CallerWords(story);
    this.#ears = new Ears({
      ...{ callId, media, provider: providers.stt, log },
      onEvent: (event) => {
        if (!this.#isClosed) this.#caller.onStt(event, story.callTimeMs());
      },
      onFault: tellFault,
    });
    this.#tools = options.tools ?? CallTools.ofCallAlone(options);
    this.#context = options.context ?? CallContext.ofCallAlone(options);
    const drafts = this.#newDrafts();
    this.#speaker = this.#newSpeaker(drafts);
    this.#tools.soundLeftMs = () => this.#speaker.soundLeftMs;
    this.#caller = new CallerSide({
      ...{ turn: this.#turn, ears: this.#ears, words: this.#words, drafts, clock, log, tellFault },
      model: options.endOfTurn ?? null,
    });
    this.#floor = new FloorWork({
      ...{ turn: this.#turn, speaker: this.#speaker, speech: this.#speech, words: this.#words },
      ...{ requests: this.#requests, caller: this.#caller, media, log, tellFault },
    });
    this.#watch = new FloorWatch({
      now: () => this.#turn.time.now(),
      playedSamples: (sound) => media.playedSamples(sound),
      onStuck: (utterance) => {
        log.warn('floor.stuck', { callId, utterance });
        this.#turn.send({ type: 'floor.stuck', utterance });
      },
    });
    this.asking = new Asking({
      ...{ story, requests: this.#requests },
      turn: () => (this.#turn.isOver ? null : this.#turn.context),
      isOpen: () => this.#openedAtMs !== null,
      send: (event) => this.#turn.send(event),
    });
  }

  #newTurn(): TurnActor {
    const { story, clock, announceOnly, log } = this.#options;
    return new TurnActor({
      config: { ...configOf(this.#options), asksAgain: true },
      ...{ clock, isDeaf: announceOnly },
      callTimeMs: () => story.callTimeMs(),
      carryOut: (command) => this.#carryOut(command),
      onStep: (context, hasSettled) => this.#onStep(context, hasSettled),
      onError: (error) => {
        log.error('turn.failed', { error: toAppError(error) });
        this.#options.onEnd('provider.failed');
      },
    });
  }

  #newDrafts(): EagerReplies {
    return new EagerReplies({
      log: this.#options.log,
      // Who of a squad replies is decided by the words: nobody knows before.
      ask: async (partial) =>
        this.#options.floor == null ? this.#speaker.ahead(this.#words.ahead(partial)) : null,
      partial: () => this.#turn.context.turn.partial,
      onUsage: (input, output) => this.#count(input, output),
    });
  }

  #newSpeaker(drafts: EagerReplies): Speaker {
    const { agent, announceOnly, providers, media, clock, story, floor, phrases } = this.#options;
    const { onAgent } = this.#options;
    return new Speaker({
      callId: story.callId,
      agent,
      announceOnly,
      providers,
      media,
      clock,
      drafts,
      floor: floor ?? null,
      phrases: phrases ?? null,
      tools: this.#tools,
      onAgent,
      onFault: (error) => this.#tellFault(error),
      history: (of) => this.#context.history(of, this.#tools.pendingIds),
      onUsage: (input, output) => this.#count(input, output),
    });
  }

  #count(inputTokens: number, outputTokens: number): void {
    this.#tokens += inputTokens + outputTokens;
  }

  /** Takes the floor with the greeting. The media session must have been started. */
  start(): void {
    const { notice, pump } = this.#options;
    pump.add(this);
    if (notice === null) this.#listen();
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
    this.#listen();
    this.#turn.send({ type: 'open' });
  }

  /** From here on the caller is heard. */
  #listen(): void {
    this.#openedAtMs = this.#options.story.callTimeMs();
    if (!this.#options.announceOnly) this.#ears.open(this.#speaker.language);
  }

  pump(): void {
    this.#ears.pump();
    this.#speech.poll();
    if (this.#turn.time.stands || this.#turn.isOver) return;
    const { utterance } = this.#turn.context;
    this.#watch.poll(this.#turn.hasFloor ? this.#speech.byNumber(utterance) : null);
  }

  // ---- What is done to it from outside ----

  /** The agent neither hears nor speaks, and its time stands still; the owner of the call sees to the sound. */
  hold(on: boolean, why: HoldReason = 'asked'): void {
    if (on) this.#holds.add(why);
    else this.#holds.delete(why);
    const isHeld = this.#holds.size > 0;
    if (isHeld === this.#turn.time.stands) return;
    this.#ears.isDeaf = isHeld;
    this.#turn.hold(isHeld);
  }

  /** The media plane keeps the caller from being heard (or does so no more). */
  muteCaller(on: boolean): void {
    this.#isCallerMuted = on;
    this.#turn.send({ type: 'caller.muted', on });
  }

  /** Another agent speaks from the next utterance on. */
  become(voice: Voice): void {
    this.#speaker.become(voice);
  }

  /** How patient the agent is with the caller's next turn, and with that only; null: as it is set. */
  pace(dials: Pick<PauseDials, 'minMs' | 'maxMs'> | null): void {
    this.#turn.send({ type: 'dials', dials });
  }

  /** The call is near its limit: said when the floor is free. */
  warnOfEnd(): void {
    const how = { urgent: false, interruptible: true };
    this.asking.say(promptText('limit_warning', this.#speaker.language), how);
  }

  /** The call has reached its limit: said instead of anything else; then `onSaid`, unless nothing can be said. */
  sayEnd(onSaid: () => void): void {
    const how = { urgent: true, interruptible: false };
    const text = promptText('goodbye_limit', this.#speaker.language);
    this.asking.say(text, how, (isWhole) => {
      // Once the transcript has it.
      if (isWhole) queueMicrotask(onSaid);
    });
  }

  /** As if the caller had said it. */
  text(text: string): void {
    if (this.#turn.isOver) return;
    this.#caller.written(text, this.#options.story.callTimeMs());
    this.#turn.send({ type: 'text' });
  }

  /** The agent stops; nobody has said anything. */
  interrupt(): void {
    this.#turn.send({ type: 'interrupt' });
  }

  /** The caller's player has got past a mark. */
  played(mark: string): void {
    this.#speech.played(mark);
  }

  onMedia(event: MediaEvent): void {
    if (this.#isClosed && event.type !== 'playout.flushed') return;
    switch (event.type) {
      case 'speech.started':
        this.#speechStarted(event.startMs);
        return;
      case 'speech.lasted':
        if (this.#openedAtMs === null || this.#turn.time.isWithinHold(event.startMs)) return;
        this.#turn.send({ type: 'speech.lasted', speechMs: event.speechMs });
        return;
      case 'speech.stopped':
        // Begun under the notice or on hold, to which there is nothing to say.
        if (this.#openedAtMs === null || event.startMs < this.#openedAtMs) return;
        if (!this.#turn.time.isWithinHold(event.startMs)) this.#caller.stopped(event);
        return;
      case 'playout.started':
        this.#speech.onStarted(event);
        this.#tellBegun(event.utterance);
        return;
      case 'playout.paused':
      case 'playout.resumed':
        this.#speech.onPaused(event);
        return;
      case 'playout.stalled':
        this.#onStalled(event);
        return;
      case 'playout.done':
        if (this.#openedAtMs === null) return this.#noticeDone(event);
        this.#floor.played(event);
        return;
      case 'playout.flushed':
        this.#floor.played(event);
        this.#lastWords?.();
        return;
      case 'dtmf':
        this.onDtmf(event.digit, event.durationMs, event.mode ?? 'rfc4733');
        return;
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
      awaitsVoice: () => this.#speaker.isVoiceAwaited,
      yield: (number) => this.#floor.yield(number, null),
      tellFault: (error) => this.#tellFault(error),
    });
  }

  #tellBegun(sound: number): void {
    const utterance = this.#speech.bySound(sound)?.number;
    if (utterance !== undefined) this.#turn.send({ type: 'agent.began', utterance });
  }

  #speechStarted(startMs: number): void {
    // An armed media plane has stopped playout for speech that nobody here hears of, so nobody else would let it go on.
    if (this.#turn.time.stands) {
      if (this.#turn.isFlowing) this.#options.media.resume();
      return;
    }
    this.#words.began(startMs);
    this.#ears.tell((stt) => stt.speechStarted(startMs));
    if (this.#openedAtMs === null) return;
    const over = this.#speech.heardSoFar;
    this.#turn.send({ type: 'speech.started', startMs: this.#turn.time.of(startMs), over });
  }

  onDtmf(digit: string, durationMs: number, mode: KeyMode): void {
    // The media plane sees to the keys in its own packets; those by signalling are not forwarded either.
    if (this.#isClosed || this.#isCallerMuted) return;
    const { story } = this.#options;
    story.fact('dtmf.received', { digit, duration_ms: Math.round(durationMs), mode });
    if (this.#turn.time.stands) return; // the agent does not hear it
    if (this.#tools.takeKey(digit)) return;
    this.#words.endTurn();
    const at = story.callTimeMs();
    const times = { start_ms: Math.round(at), end_ms: Math.round(at + durationMs) };
    story.message({ role: 'user', content: `[DTMF ${digit}]`, ...times }, at);
    this.#turn.send({ type: 'dtmf', digits: digit });
  }

  /** A client's answer to a function; false when nobody waits for it (any more). */
  functionResult(id: string, result: unknown): boolean {
    return !this.#isClosed && this.#tools.answer(id, result);
  }

  /** Ends the conversation; the transcript keeps what was heard of the words on the line. Idempotent. */
  async close(): Promise<ConversationFacts> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { clock, pump, media } = this.#options;
      this.#turn.stop();
      pump.remove(this);
      this.#caller.close();
      this.#speech.abortAll();
      if (this.#speech.open > 0) await this.#flushLastWords(media, clock);
      this.#speech.endAll();
      this.#requests.close();
      this.#context.close();
      await this.#tools.close();
      this.#words.giveUp();
    }
    const confidence = this.#words.averageConfidence;
    return { latency: summarise(this.#speech.latencies), tokens: this.#tokens, confidence };
  }

  #flushLastWords(media: MediaSession, clock: Clock): Promise<void> {
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
        media.armBargeIn(command.on, command.confirmMs);
        return;
      case 'playout.pause':
        media.pause();
        return;
      case 'playout.resume':
        media.resume();
        return;
      case 'floor.yield':
        this.#floor.yield(command.utterance, command.since, command.isUnanswered);
        return;
      case 'floor.take':
        this.#floor.take(command.utterance, command.task);
        return;
      case 'speech.giveUp':
        this.#words.giveUp();
        return;
      case 'turn.ended':
        this.#options.onEnd(command.cause);
    }
  }

  /** `hasSettled`: nobody speaks any more, and nobody will answer what was heard. */
  #onStep(context: TurnContext, hasSettled: boolean): void {
    const saying = this.#speech.byNumber(context.utterance);
    if (saying !== null && endsLoop(context)) saying.repeats = false;
    if (hasSettled) this.#words.endTurn();
  }

  #tellFault(thrown: unknown): void {
    const { code, message, fault, retryable } = toAppError(thrown, 'E_PROVIDER_SERVER');
    this.#options.story.fact('call-error', { code, message, fault, fatal: false, retryable });
  }
}
