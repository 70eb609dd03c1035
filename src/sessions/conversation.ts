/**
 * Carries out what the turn machine decides: listens through the recogniser, speaks through the speaker, and tells the
 * story. Owns the recogniser session, the utterances and the turn actor of one live call; `close` gives all back.
 */
import { createActor, type ActorRefFrom } from 'xstate';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import type { SttEvent } from '#providers/contract.ts';
import { AgentSpeech } from './agent-speech.ts';
import { Ears } from './ears.ts';
import { CallerWords } from './caller-words.ts';
import {
  configOf,
  endsLoop,
  inputOf,
  NOTHING_SAID,
  NOTICE,
  type ConversationFacts,
  type ConversationOptions,
} from './conversation-parts.ts';
import { ClientFunctions } from './client-functions.ts';
import { historyOf } from './history.ts';
import { TurnTimes, summarise } from './latency.ts';
import { Asking } from './asking.ts';
import { Requests } from './requests.ts';
import { Speaker, type Saying, type Voice } from './speaker.ts';
import { turnMachine } from './turn.machine.ts';
import { TurnTime } from './turn-time.ts';
import { TURN_COMMANDS, type FloorTask, type TurnCommand, type TurnEvent } from './turn-types.ts';
import { Utterance } from './utterance.ts';

/** At the end of a call: how long the worker may take to say what was heard of the last utterance. */
const LAST_WORDS_MS = 250;
/** What the caller does, as the turn machine hears of it. */
const CALLER_EVENTS: ReadonlySet<TurnEvent['type']> = new Set([
  'speech.started',
  'speech.stopped',
  'stt.partial',
  'stt.final',
  'dtmf',
  'text',
  'interrupt',
]);

export class Conversation {
  readonly #options: ConversationOptions;
  readonly #actor: ActorRefFrom<typeof turnMachine>;
  readonly #time: TurnTime;
  readonly #speaker: Speaker;
  readonly #speech: AgentSpeech;
  readonly #ears: Ears;
  readonly #words: CallerWords;
  readonly #requests = new Requests();
  readonly #functions: ClientFunctions;
  /** Why it stands still: at somebody's command, or because nobody is there. */
  readonly #holds = new Set<'asked' | 'away'>();
  /** What others want to be said. */
  readonly asking: Asking;
  #times: TurnTimes;
  /** Utterances given to the media plane. */
  #sounds = 0;
  #timer: TimerHandle | undefined;
  #lastWords: (() => void) | null = null;
  #tokens = 0;
  #isClosed = false;
  #isCallerMuted = false;
  /** Call time at which the notice was over and the caller is listened to; null before. */
  #openedAtMs: number | null = null;

  constructor(options: ConversationOptions) {
    this.#options = options;
    const { agent, providers, media, story, log } = options;
    const { callId } = story;
    this.#time = new TurnTime(() => story.callTimeMs());
    this.#times = this.#newTimes();
    this.#speech = new AgentSpeech(story, media);
    this.#words = new CallerWords(story);
    this.#ears = new Ears({
      ...{ callId, media, provider: providers.stt, log },
      onEvent: (event) => this.#onStt(event),
      onFault: (error) => this.#tellFault(error),
    });
    this.#functions = new ClientFunctions({ story, clock: options.clock });
    this.#speaker = new Speaker({
      callId,
      agent,
      announceOnly: options.announceOnly,
      providers,
      media,
      clock: options.clock,
      floor: options.floor ?? null,
      functions: this.#functions,
      history: (agent) => historyOf(agent, story.messages),
      onUsage: (input, output) => {
        this.#tokens += input + output;
      },
    });
    this.#actor = createActor(turnMachine, { input: { config: configOf(options) } });
    this.asking = new Asking({
      ...{ story, requests: this.#requests },
      turn: () => (this.#isOver() ? null : this.#actor.getSnapshot().context),
      isOpen: () => this.#openedAtMs !== null,
      send: (event) => this.#send({ ...event, at: this.#at() }),
    });
  }

  /** Takes the floor with the greeting. The media session must have been started. */
  start(): void {
    const { notice, pump, log } = this.#options;
    for (const type of TURN_COMMANDS) this.#actor.on(type, (command) => this.#carryOut(command));
    this.#actor.subscribe({
      next: ({ context }) => {
        const saying = this.#speech.byNumber(context.utterance);
        if (saying !== null && endsLoop(context)) saying.repeats = false;
        this.#arm(context.deadlineAt);
      },
      error: (error) => {
        log.error('turn.failed', { error: toAppError(error) });
        this.#options.onEnd('provider.failed');
      },
    });
    pump.add(this);
    if (notice !== null) {
      this.#actor.start();
      void this.#giveNotice(notice);
      return;
    }
    this.#listen();
    this.#actor.start();
  }

  /** Whatever comes of it, the conversation follows; only a notice that was heard whole is one. */
  async #giveNotice(text: string): Promise<void> {
    const utterance = new Utterance(NOTICE, ++this.#sounds, this.#newTimes());
    this.#speech.add(utterance);
    try {
      await this.#speaker.speak(utterance, { kind: 'words', text });
    } catch (thrown) {
      if (this.#isClosed) return;
      const error = toAppError(thrown);
      this.#options.log.warn('notice.failed', { error });
      this.#tellFault(error);
    }
    if (this.#isClosed || utterance.audioMs > 0) return; // its end on the wire goes on from here
    this.#options.onNoticeOver(false);
    this.#speech.forget(utterance);
    this.#open();
  }

  #noticeDone(event: MediaEvent & { readonly type: 'playout.done' }): void {
    this.#options.onNoticeOver(this.#speech.bySound(event.utterance)?.isWhole === true);
    this.#speech.onEnded(event);
    this.#open();
  }

  #open(): void {
    this.#listen();
    this.#send({ type: 'open', at: this.#at() });
  }

  /** From here on the caller is heard. */
  #listen(): void {
    this.#openedAtMs = this.#options.story.callTimeMs();
    if (!this.#options.announceOnly) this.#ears.open(this.#speaker.language);
  }

  pump(): void {
    this.#ears.pump();
    this.#speech.poll();
  }

  // ---- What is done to it from outside ----

  /** The agent neither hears nor speaks, and its time stands still; the owner of the call sees to the sound. */
  hold(on: boolean, why: 'asked' | 'away' = 'asked'): void {
    if (on) this.#holds.add(why);
    else this.#holds.delete(why);
    const isHeld = this.#holds.size > 0;
    if (isHeld === this.#time.stands) return;
    this.#ears.isDeaf = isHeld;
    if (isHeld) this.#time.stop();
    else this.#time.go();
    this.#arm(this.#actor.getSnapshot().context.deadlineAt);
  }

  /** The media plane keeps the caller from being heard (or does so no more). */
  muteCaller(on: boolean): void {
    this.#isCallerMuted = on;
    this.#send({ type: 'caller.muted', at: this.#at(), on });
  }

  /** Another agent speaks from the next utterance on. */
  become(voice: Voice): void {
    this.#speaker.become(voice);
  }

  /** As if the caller had said it. */
  text(text: string): void {
    if (this.#isOver()) return;
    this.#words.written(text, this.#options.story.callTimeMs());
    this.#times = this.#newTimes();
    this.#send({ type: 'text', at: this.#at() });
  }

  /** The agent stops; nobody has said anything. */
  interrupt(): void {
    this.#send({ type: 'interrupt', at: this.#at() });
  }

  /** The caller's player has got past a mark. */
  played(mark: string): void {
    this.#speech.played(mark);
  }

  #isOver(): boolean {
    return this.#isClosed || this.#actor.getSnapshot().status !== 'active';
  }

  onMedia(event: MediaEvent): void {
    if (this.#isClosed && event.type !== 'playout.flushed') return;
    switch (event.type) {
      case 'speech.started':
        if (this.#time.stands) return this.#unpause();
        this.#words.began(event.startMs);
        this.#ears.tell((stt) => stt.speechStarted(event.startMs));
        if (this.#openedAtMs === null) return;
        this.#send({
          type: 'speech.started',
          at: this.#at(),
          startMs: this.#time.of(event.startMs),
        });
        return;
      case 'speech.stopped':
        // Begun under the notice or on hold, to which there is nothing to say.
        if (this.#openedAtMs === null || event.startMs < this.#openedAtMs) return;
        if (!this.#time.isWithinHold(event.startMs)) this.#speechStopped(event);
        return;
      case 'playout.started':
        this.#speech.onStarted(event);
        return;
      case 'playout.paused':
      case 'playout.resumed':
        this.#speech.onPaused(event);
        return;
      case 'playout.done':
        if (this.#openedAtMs === null) return this.#noticeDone(event);
        this.#played(event);
        return;
      case 'playout.flushed':
        this.#played(event);
        this.#lastWords?.();
        return;
      case 'dtmf':
        this.onDtmf(event.digit, event.durationMs, 'rfc4733');
        return;
      // The rest concerns the call, not the conversation.
      case 'media.latched':
      case 'media.lost':
      case 'media.failed':
      case 'recording.failed':
        return;
    }
  }

  /** An armed media plane has stopped playout for speech that nobody here hears of, so nobody else would let it go on. */
  #unpause(): void {
    if (this.#actor.getSnapshot().matches({ agent: 'flowing' })) this.#options.media.resume();
  }

  /** One of the agent's utterances is over on the wire. */
  #played(event: MediaEvent & { readonly type: 'playout.done' | 'playout.flushed' }): void {
    const utterance = this.#speech.bySound(event.utterance);
    if (utterance === null) return;
    const { number, isWhole } = utterance;
    const isDone = event.type === 'playout.done';
    this.#requests.over(number, isDone && isWhole);
    this.#speech.onEnded(event);
    if (isDone) this.#send({ type: 'playout.done', at: this.#at(), utterance: number });
  }

  onDtmf(digit: string, durationMs: number, mode: 'rfc4733' | 'info' | 'web'): void {
    // The media plane sees to the keys in its own packets; those by signalling are not forwarded either.
    if (this.#isClosed || this.#isCallerMuted) return;
    const { story } = this.#options;
    story.fact('dtmf.received', { digit, duration_ms: Math.round(durationMs), mode });
    if (this.#time.stands) return; // the agent does not hear it
    const at = story.callTimeMs();
    const times = { start_ms: Math.round(at), end_ms: Math.round(at + durationMs) };
    story.message({ role: 'user', content: `[DTMF ${digit}]`, ...times }, at);
    this.#send({ type: 'dtmf', at: this.#at(), digits: digit });
  }

  /** A client's answer to a function; false when nobody waits for it (any more). */
  functionResult(id: string, result: unknown): boolean {
    return !this.#isClosed && this.#functions.answer(id, result);
  }

  /** Ends the conversation; the transcript keeps what was heard of the words on the line. Idempotent. */
  async close(): Promise<ConversationFacts> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { clock, pump, media } = this.#options;
      clock.clearTimer(this.#timer);
      this.#actor.stop();
      pump.remove(this);
      this.#ears.close();
      this.#speech.abortAll();
      if (this.#speech.open > 0) await this.#flushLastWords(media, clock);
      this.#speech.endAll();
      this.#requests.close();
      this.#functions.close();
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
        media.armBargeIn(command.on);
        return;
      case 'playout.pause':
        media.pause();
        return;
      case 'playout.resume':
        media.resume();
        return;
      case 'floor.yield':
        this.#yield(command.utterance, command.since);
        return;
      case 'floor.take':
        this.#take(command.utterance, command.task);
        return;
      case 'speech.giveUp':
        this.#words.giveUp();
        return;
      case 'turn.ended':
        this.#options.onEnd(command.cause);
    }
  }

  #yield(number: number, since: number | null): void {
    this.#speech.giveUp(number, since === null ? null : this.#time.toCall(since));
    this.#options.media.flush();
  }

  #take(number: number, task: FloorTask): void {
    const saying = this.#sayingOf(number, task);
    if (saying === null) return;
    const answersSpeech = task.kind === 'reply' && task.input.kind === 'speech';
    // Only an answer to speech has a mouth-to-ear time; a prompt or a key press is measured from nothing.
    const times = answersSpeech ? this.#times.again() : this.#newTimes();
    times.mark('asked');
    const utterance = new Utterance(number, ++this.#sounds, times);
    utterance.repeats = this.#requests.get(number)?.repeats === true;
    this.#speech.add(utterance);
    this.#options.media.resume();
    void this.#speak(utterance, saying);
  }

  /** What is to be said. Null for a request that is gone: then its turn is over at once. */
  #sayingOf(number: number, task: FloorTask): Saying | null {
    const asked = this.#requests.get(number)?.what ?? null;
    if (task.kind === 'asked') {
      if (asked !== null && asked.kind !== 'note') return asked;
      this.#send({ ...NOTHING_SAID, at: this.#at(), utterance: number });
      return null;
    }
    const heard = this.#words.takeInput();
    if (task.kind === 'prompt') return task;
    return { kind: 'reply', input: inputOf(task.input, heard, asked) };
  }

  async #speak(utterance: Utterance, saying: Saying): Promise<void> {
    const { number } = utterance;
    try {
      const { endCall, empty } = await this.#speaker.speak(utterance, saying);
      if (empty) this.#silent(utterance);
      else this.#speech.tellReply(utterance);
      this.#send({ type: 'reply.queued', at: this.#at(), utterance: number, endCall, empty });
    } catch (thrown) {
      if (utterance.abort.signal.aborted) return; // given up by us: the caller went on, or the call is over
      utterance.abort.abort(); // whatever else the providers still hold for it
      const error = toAppError(thrown);
      this.#options.log.warn('reply.failed', { error });
      this.#tellFault(error);
      const empty = utterance.audioMs === 0;
      if (empty) this.#silent(utterance);
      // The agent has nothing to apologise for where others chose the words.
      const isAsked = saying.kind === 'words' || saying.kind === 'sound';
      if (!isAsked) this.#send({ type: 'reply.failed', at: this.#at(), utterance: number });
      else if (empty) this.#send({ ...NOTHING_SAID, at: this.#at(), utterance: number });
    }
  }

  /** Nothing of it will ever be heard. */
  #silent(utterance: Utterance): void {
    this.#speech.forget(utterance);
    this.#requests.over(utterance.number, false);
  }

  // ---- What the caller said ----

  #speechStopped(event: MediaEvent & { readonly type: 'speech.stopped' }): void {
    const { startMs, endMs } = event;
    this.#times = this.#newTimes();
    this.#times.mark('speechEnd', event.wireMs);
    this.#times.mark('detected');
    this.pump();
    const { history } = this.#ears;
    this.#words.stopped(startMs, endMs, () => history.utterance(startMs, endMs));
    const turnTimes = { startMs: this.#time.of(startMs), endMs: this.#time.of(endMs) };
    this.#send({ type: 'speech.stopped', at: this.#at(), ...turnTimes });
    // After the machine: a recogniser that answers at once must find the utterance already counted as unread.
    this.#ears.tell((stt) => stt.speechStopped(history.utterance(startMs, endMs)));
  }

  #onStt(event: SttEvent): void {
    if (this.#isClosed) return;
    if (event.type === 'partial') {
      this.#words.partial(event.text, this.#options.story.callTimeMs());
      this.#send({ type: 'stt.partial', at: this.#at(), text: event.text });
      return;
    }
    if (event.type === 'error') {
      this.#options.log.warn('stt.failed', { error: event.error });
      this.#tellFault(event.error);
      return;
    }
    const isNoise = event.text === '' && this.#actor.getSnapshot().matches({ agent: 'flowing' });
    if (!this.#words.read(event, isNoise)) return;
    this.#times.mark('read');
    this.#send({ type: 'stt.final', at: this.#at(), text: event.text });
  }

  #tellFault(thrown: unknown): void {
    const { code, message, fault, retryable } = toAppError(thrown, 'E_PROVIDER_SERVER');
    this.#options.story.fact('call-error', { code, message, fault, fatal: false, retryable });
  }

  // ---- Time ----

  /** In the agent's time. */
  #at(): number {
    return this.#time.now();
  }

  #newTimes(): TurnTimes {
    return new TurnTimes(() => performance.timeOrigin + this.#options.clock.now());
  }

  #send(event: TurnEvent): void {
    if (this.#options.announceOnly && CALLER_EVENTS.has(event.type)) return; // nobody listens
    if (!this.#isOver()) this.#actor.send(event);
  }

  #arm(deadlineAt: number | null): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (deadlineAt === null || this.#isClosed || this.#time.stands) return;
    this.#timer = clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#send({ type: 'deadline.reached', at: this.#at() });
      },
      Math.max(0, Math.ceil(deadlineAt - this.#at())),
    );
  }
}
