/**
 * Carries out what the turn machine decides: listens through the recogniser, speaks through the speaker, and tells the
 * story. Owns the recogniser session, the utterances and the turn actor of one live call; `close` gives all back.
 */
import { createActor, type ActorRefFrom } from 'xstate';
import type { Latency } from '#lib/call-events.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { VAD_HANGOVER_MS, type MediaEvent, type MediaSession } from '#media/types.ts';
import type { ProviderSet, SttEvent, SttSession, TurnInput } from '#providers/contract.ts';
import { AgentSpeech } from './agent-speech.ts';
import { AudioHistory } from './audio-history.ts';
import type { AudioPump } from './audio-pump.ts';
import { Hearing, type HeardUtterance } from './hearing.ts';
import { historyOf } from './history.ts';
import { TurnTimes, summarise } from './latency.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { Speaker } from './speaker.ts';
import type { CallStory } from './story.ts';
import { turnMachine } from './turn.machine.ts';
import {
  TURN_COMMANDS,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnEndCause,
  type TurnEvent,
} from './turn-types.ts';
import { Utterance } from './utterance.ts';

/** How long a recogniser may take to read an utterance (providers.md 12.4). */
const STT_FINAL_MS = 2000;
/** At the end of a call: how long the worker may take to say what was heard of the last utterance. */
const LAST_WORDS_MS = 250;
const PUMP_SAMPLES = 1600;
/** Number of the notice's utterance, if there is one: the turn machine's begin behind it. */
const NOTICE = 1;
/** What the caller does, as the turn machine hears of it. */
const CALLER_EVENTS: ReadonlySet<TurnEvent['type']> = new Set([
  'speech.started',
  'speech.stopped',
  'stt.partial',
  'stt.final',
  'dtmf',
]);

export type ConversationOptions = {
  readonly agent: AgentConfig;
  /** The greeting is all that is said, whatever is heard meanwhile. */
  readonly announceOnly: boolean;
  /** Said whole before anything else, and not to be interrupted; null: nothing is. */
  readonly notice: string | null;
  readonly providers: ProviderSet;
  readonly media: MediaSession;
  readonly story: CallStory;
  readonly pump: AudioPump;
  readonly clock: Clock;
  readonly log: Log;
  onEnd(cause: TurnEndCause): void;
  /** The other side has heard all of the notice. Before its message is told. */
  onNoticeHeard(): void;
};

/** What the record keeps of a conversation besides its messages. */
export type ConversationFacts = {
  readonly latency: Latency | null;
  readonly tokens: number;
  readonly confidence: number | null;
};

export class Conversation {
  readonly #options: ConversationOptions;
  readonly #actor: ActorRefFrom<typeof turnMachine>;
  readonly #speaker: Speaker;
  readonly #speech: AgentSpeech;
  readonly #hearing = new Hearing();
  readonly #history = new AudioHistory();
  readonly #chunk = new Int16Array(PUMP_SAMPLES);
  #times: TurnTimes;
  #stt: SttSession | null = null;
  #timer: TimerHandle | undefined;
  #lastWords: (() => void) | null = null;
  #tokens = 0;
  #isClosed = false;
  /** Call time at which the notice was over and the caller is listened to; null before. */
  #openedAtMs: number | null = null;

  constructor(options: ConversationOptions) {
    this.#options = options;
    const { agent, providers, media, story } = options;
    this.#times = this.#newTimes();
    this.#speech = new AgentSpeech(story);
    this.#speaker = new Speaker({
      callId: story.callId,
      agent,
      announceOnly: options.announceOnly,
      providers,
      media,
      history: () => historyOf(agent, story.messages),
      onUsage: (input, output) => {
        this.#tokens += input + output;
      },
    });
    this.#actor = createActor(turnMachine, { input: { config: configOf(options) } });
  }

  /** Takes the floor with the greeting. The media session must have been started. */
  start(): void {
    const { notice, pump } = this.#options;
    pump.add(this);
    if (notice === null) this.#open();
    else void this.#giveNotice(notice);
  }

  /** Whatever comes of it, the conversation follows; only a notice that was heard whole is one. */
  async #giveNotice(text: string): Promise<void> {
    const utterance = new Utterance(NOTICE, this.#newTimes());
    this.#speech.add(utterance);
    try {
      await this.#speaker.announce(utterance, text);
    } catch (thrown) {
      if (this.#isClosed) return;
      const error = toAppError(thrown);
      this.#options.log.warn('notice.failed', { error });
      this.#tellFault(error);
    }
    if (this.#isClosed || utterance.audioMs > 0) return; // its end on the wire goes on from here
    this.#speech.forget(utterance);
    this.#open();
  }

  #noticeDone(event: MediaEvent & { readonly type: 'playout.done' }): void {
    if (this.#speech.isWhole(NOTICE)) this.#options.onNoticeHeard();
    this.#speech.onEnded(event);
    this.#open();
  }

  /** The caller's ears and mouth: from here on it is a conversation. */
  #open(): void {
    const { providers, story, log, announceOnly } = this.#options;
    this.#openedAtMs = this.#at();
    if (!announceOnly) {
      this.#stt = providers.stt.open({
        callId: story.callId,
        language: this.#speaker.language,
        onEvent: (event) => this.#onStt(event),
      });
    }
    for (const type of TURN_COMMANDS) this.#actor.on(type, (command) => this.#carryOut(command));
    this.#actor.subscribe({
      next: (snapshot) => this.#arm(snapshot.context.deadlineAt),
      error: (error) => {
        log.error('turn.failed', { error: toAppError(error) });
        this.#options.onEnd('provider.failed');
      },
    });
    this.#actor.start();
  }

  /** Drains the caller's ring into the recogniser and the history. A recogniser that throws is told and left out. */
  pump(): void {
    for (;;) {
      const count = this.#options.media.readCaller(this.#chunk);
      if (count === 0) return;
      const pcm = this.#chunk.subarray(0, count);
      this.#history.append(pcm);
      this.#toStt((stt) => stt.push(pcm));
    }
  }

  onMedia(event: MediaEvent): void {
    if (this.#isClosed && event.type !== 'playout.flushed') return;
    switch (event.type) {
      case 'speech.started':
        this.#toStt((stt) => stt.speechStarted(event.startMs));
        this.#send({ type: 'speech.started', at: this.#at(), startMs: event.startMs });
        return;
      case 'speech.stopped':
        // Begun under the notice, to which there is nothing to say.
        if (this.#openedAtMs === null || event.startMs < this.#openedAtMs) return;
        this.#speechStopped(event);
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
        this.#speech.onEnded(event);
        this.#send({ type: 'playout.done', at: this.#at(), utterance: event.utterance });
        return;
      case 'playout.flushed':
        this.#speech.onEnded(event);
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

  onDtmf(digit: string, durationMs: number, mode: 'rfc4733' | 'info'): void {
    if (this.#isClosed) return;
    const { story } = this.#options;
    story.fact('dtmf.received', { digit, duration_ms: Math.round(durationMs), mode });
    const at = story.callTimeMs();
    const times = { start_ms: Math.round(at), end_ms: Math.round(at + durationMs) };
    story.message({ role: 'user', content: `[DTMF ${digit}]`, ...times }, at);
    this.#send({ type: 'dtmf', at: this.#at(), digits: digit });
  }

  /** Ends the conversation; the transcript keeps what was heard of the words on the line. Idempotent. */
  async close(): Promise<ConversationFacts> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { clock, pump, media } = this.#options;
      clock.clearTimer(this.#timer);
      this.#actor.stop();
      pump.remove(this);
      this.#toStt((stt) => stt.close());
      this.#speech.abortAll();
      if (this.#speech.open > 0) await this.#flushLastWords(media, clock);
      this.#speech.endAll();
      this.#tellUnread();
    }
    const confidence = this.#hearing.averageConfidence;
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
        this.#speech.giveUp(command.utterance, command.since);
        media.flush();
        return;
      case 'floor.take':
        this.#take(command.utterance, command.task);
        return;
      case 'speech.giveUp':
        this.#tellUnread();
        return;
      case 'turn.ended':
        this.#options.onEnd(command.cause);
    }
  }

  #take(number: number, task: FloorTask): void {
    const heard = this.#hearing.takeInput();
    const answersSpeech = task.kind === 'reply' && task.input.kind === 'speech';
    const input = task.kind !== 'reply' ? null : task.input.kind === 'dtmf' ? task.input : heard;
    // Only an answer to speech has a mouth-to-ear time; a prompt or a key press is measured from nothing.
    const times = answersSpeech ? this.#times.again() : this.#newTimes();
    times.mark('asked');
    const utterance = new Utterance(number, times);
    this.#speech.add(utterance);
    this.#options.media.resume();
    void this.#speak(utterance, task, input);
  }

  async #speak(utterance: Utterance, task: FloorTask, input: TurnInput | null): Promise<void> {
    try {
      const { endCall, empty } = await this.#speaker.speak(utterance, task, input);
      if (empty) this.#speech.forget(utterance);
      else this.#speech.tellReply(utterance);
      const { number } = utterance;
      this.#send({ type: 'reply.queued', at: this.#at(), utterance: number, endCall, empty });
    } catch (thrown) {
      if (utterance.abort.signal.aborted) return; // given up by us: the caller went on, or the call is over
      utterance.abort.abort(); // whatever else the providers still hold for it
      const error = toAppError(thrown);
      this.#options.log.warn('reply.failed', { error });
      this.#tellFault(error);
      if (utterance.audioMs === 0) this.#speech.forget(utterance);
      this.#send({ type: 'reply.failed', at: this.#at(), utterance: utterance.number });
    }
  }

  // ---- What the caller said ----

  #speechStopped(event: MediaEvent & { readonly type: 'speech.stopped' }): void {
    const { startMs, endMs } = event;
    this.#times = this.#newTimes();
    this.#times.mark('speechEnd', event.wireMs);
    this.#times.mark('detected');
    this.pump();
    this.#hearing.stopped(startMs, endMs, () => this.#history.utterance(startMs, endMs));
    this.#send({ type: 'speech.stopped', at: this.#at(), startMs, endMs });
    // After the machine: a recogniser that answers at once must find the utterance already counted as unread.
    this.#toStt((stt) => stt.speechStopped(this.#history.utterance(startMs, endMs)));
  }

  #onStt(event: SttEvent): void {
    if (this.#isClosed) return;
    if (event.type === 'partial') {
      this.#send({ type: 'stt.partial', at: this.#at(), text: event.text });
      return;
    }
    if (event.type === 'error') {
      this.#options.log.warn('stt.failed', { error: event.error });
      this.#tellFault(event.error);
      return;
    }
    const heard = this.#hearing.read(event);
    if (heard === null) return;
    this.#times.mark('read');
    const isNoise = event.text === '' && this.#actor.getSnapshot().matches({ agent: 'flowing' });
    if (!isNoise) {
      this.#tellHeard(heard, event.language);
      this.#hearing.keep(heard);
    }
    this.#send({ type: 'stt.final', at: this.#at(), text: event.text });
  }

  /** Speech that no recogniser has read is in the transcript all the same, without words. */
  #tellUnread(): void {
    for (const unread of this.#hearing.giveUp()) this.#tellHeard(unread, null);
  }

  #tellHeard({ startMs, endMs, text, confidence }: HeardUtterance, language: string | null): void {
    const { story } = this.#options;
    const times = { start_ms: startMs, end_ms: endMs };
    story.fact('user-speech', { text, is_final: true, ...times, confidence, language });
    const sure = confidence === null ? {} : { confidence };
    story.message({ role: 'user', content: text, ...times, ...sure }, startMs);
  }

  /** A recogniser that throws costs its own call its ears, and no other call anything. */
  #toStt(act: (stt: SttSession) => void): void {
    const stt = this.#stt;
    if (stt === null) return;
    try {
      act(stt);
    } catch (error) {
      this.#stt = null;
      this.#options.log.error('stt.crashed', { error: toAppError(error) });
      this.#tellFault(error);
    }
  }

  #tellFault(thrown: unknown): void {
    const { code, message, fault, retryable } = toAppError(thrown, 'E_PROVIDER_SERVER');
    this.#options.story.fact('call-error', { code, message, fault, fatal: false, retryable });
  }

  // ---- Time ----

  #at(): number {
    return this.#options.story.callTimeMs();
  }

  #newTimes(): TurnTimes {
    return new TurnTimes(() => performance.timeOrigin + this.#options.clock.now());
  }

  #send(event: TurnEvent): void {
    if (this.#options.announceOnly && CALLER_EVENTS.has(event.type)) return; // nobody listens
    if (this.#openedAtMs === null) return; // the notice is being said
    const isActive = !this.#isClosed && this.#actor.getSnapshot().status === 'active';
    if (isActive) this.#actor.send(event);
  }

  #arm(deadlineAt: number | null): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (deadlineAt === null || this.#isClosed) return;
    this.#timer = clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#send({ type: 'deadline.reached', at: this.#at() });
      },
      Math.max(0, Math.ceil(deadlineAt - this.#at())),
    );
  }
}

function configOf({ agent, providers, announceOnly, notice }: ConversationOptions): TurnConfig {
  const { turn, silence } = agent;
  return {
    saidBefore: notice === null ? 0 : NOTICE,
    endpointMinMs: turn.endpointMinMs,
    bargeIn: turn.bargeIn && !announceOnly,
    bargeInConfirmMs: turn.bargeInConfirmMs,
    falseBargeInMs: turn.falseBargeInMs,
    vadHangoverMs: VAD_HANGOVER_MS,
    sttFinalMs: STT_FINAL_MS,
    promptAfterMs: silence.promptAfterS * 1000,
    prompts: silence.prompts,
    hangupAfterMs: silence.hangupAfterS * 1000,
    reads: providers.stt.reads,
  };
}
