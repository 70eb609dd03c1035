/**
 * Carries out what the turn machine decides: listens through the recogniser, speaks through the speaker, and tells the
 * story. Owns the recogniser session, the utterances and the turn actor of one live call; `close` gives all back.
 */
import { createActor, type ActorRefFrom } from 'xstate';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import type { ProviderSet, SttEvent, SttSession, TurnInput } from '#providers/contract.ts';
import { AudioHistory } from './audio-history.ts';
import type { AudioPump } from './audio-pump.ts';
import { Hearing } from './hearing.ts';
import { historyOf } from './history.ts';
import { TurnTimes, summarise, type TurnLatency } from './latency.ts';
import type { AgentConfig } from './ports.ts';
import { Speaker } from './speaker.ts';
import type { CallStory } from './story.ts';
import {
  turnMachine,
  type TurnCommand,
  type TurnEndCause,
  type TurnEvent,
} from './turn.machine.ts';
import { Utterance } from './utterance.ts';

/** How long a recogniser may take to read an utterance (providers.md 12.4). */
const STT_FINAL_MS = 2000;
/** At the end of a call: how long the worker may take to say what was heard of the last utterance. */
const LAST_WORDS_MS = 250;
const PUMP_SAMPLES = 1600;

export type ConversationOptions = {
  readonly agent: AgentConfig;
  readonly providers: ProviderSet;
  readonly media: MediaSession;
  readonly story: CallStory;
  readonly pump: AudioPump;
  readonly clock: Clock;
  readonly log: Log;
  onEnd(cause: TurnEndCause): void;
};

export class Conversation {
  readonly #options: ConversationOptions;
  readonly #actor: ActorRefFrom<typeof turnMachine>;
  readonly #speaker: Speaker;
  readonly #hearing = new Hearing();
  readonly #history = new AudioHistory();
  readonly #chunk = new Int16Array(PUMP_SAMPLES);
  readonly #utterances = new Map<number, Utterance>();
  readonly #replyTimes = new Map<number, TurnTimes>();
  readonly #turns: TurnLatency[] = [];
  #times: TurnTimes;
  #stt: SttSession | null = null;
  #timer: TimerHandle | undefined;
  #interruptedSinceMs: number | null = null;
  #lastWords: (() => void) | null = null;
  #tokens = 0;
  #isClosed = false;

  constructor(options: ConversationOptions) {
    this.#options = options;
    const { agent, providers, media, story } = options;
    this.#times = this.#newTimes();
    this.#speaker = new Speaker({
      callId: story.callId,
      agent,
      providers,
      media,
      history: () => historyOf(agent, story.messages),
      onUsage: (input, output) => {
        this.#tokens += input + output;
      },
    });
    const config = {
      endpointMinMs: agent.turn.endpointMinMs,
      bargeIn: agent.turn.bargeIn,
      bargeInConfirmMs: agent.turn.bargeInConfirmMs,
      falseBargeInMs: agent.turn.falseBargeInMs,
      sttFinalMs: STT_FINAL_MS,
      promptAfterMs: agent.silence.promptAfterS * 1000,
      prompts: agent.silence.prompts,
      hangupAfterMs: agent.silence.hangupAfterS * 1000,
      reads: providers.stt.reads,
    };
    this.#actor = createActor(turnMachine, { input: { config } });
  }

  /** Takes the floor with the greeting. The media session must have been started. */
  start(): void {
    const { providers, story, pump, log } = this.#options;
    this.#stt = providers.stt.open({
      callId: story.callId,
      language: this.#speaker.language,
      onEvent: (event) => this.#onStt(event),
    });
    const types: TurnCommand['type'][] = [
      'floor.take',
      'floor.yield',
      'playout.resume',
      'bargein.arm',
      'turn.ended',
    ];
    for (const type of types) this.#actor.on(type, (command) => this.#carryOut(command));
    this.#actor.subscribe({
      next: (snapshot) => this.#arm(snapshot.context.deadlineAt),
      error: (error) => {
        log.error('turn.failed', { error: toAppError(error) });
        this.#options.onEnd('provider.failed');
      },
    });
    this.#actor.start();
    pump.add(this);
  }

  /** Drains the caller's ring into the recogniser and the history. */
  pump(): void {
    for (;;) {
      const count = this.#options.media.readCaller(this.#chunk);
      if (count === 0) return;
      const pcm = this.#chunk.subarray(0, count);
      this.#history.append(pcm);
      this.#stt?.push(pcm);
    }
  }

  onMedia(event: MediaEvent): void {
    if (this.#isClosed && event.type !== 'playout.flushed') return;
    switch (event.type) {
      case 'speech.started':
        this.#stt?.speechStarted(event.startMs);
        this.#send({ type: 'speech.started', at: this.#at(), startMs: event.startMs });
        return;
      case 'speech.stopped':
        this.#speechStopped(event);
        return;
      case 'playout.started':
        this.#playoutStarted(event.utterance, event.atMs, event.wireMs);
        return;
      case 'playout.done':
        this.#heard(event.utterance, event.heardMs, false);
        this.#send({ type: 'playout.done', at: this.#at(), utterance: event.utterance });
        return;
      case 'playout.flushed':
        this.#heard(event.utterance, event.heardMs, true);
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
      case 'playout.paused':
      case 'playout.resumed':
        return;
    }
  }

  onDtmf(digit: string, durationMs: number, mode: 'rfc4733' | 'info'): void {
    if (this.#isClosed) return;
    const { story } = this.#options;
    story.fact('dtmf.received', { digit, duration_ms: Math.round(durationMs), mode });
    const at = story.callTimeMs();
    story.message(
      {
        role: 'user',
        content: `[DTMF ${digit}]`,
        start_ms: Math.round(at),
        end_ms: Math.round(at + durationMs),
      },
      at,
    );
    this.#send({ type: 'dtmf', at: this.#at(), digits: digit });
  }

  /** Ends the conversation; the transcript keeps what was heard of the words on the line. Idempotent. */
  async close(): Promise<{
    readonly latency: ReturnType<typeof summarise>;
    readonly tokens: number;
    readonly confidence: number | null;
  }> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { clock, pump, media } = this.#options;
      clock.clearTimer(this.#timer);
      this.#actor.stop();
      pump.remove(this);
      this.#stt?.close();
      for (const utterance of this.#utterances.values()) utterance.abort.abort();
      if (this.#utterances.size > 0) await this.#flushLastWords(media, clock);
      for (const utterance of this.#utterances.values()) this.#tellHeard(utterance, 0, true);
    }
    return {
      latency: summarise(this.#turns),
      tokens: this.#tokens,
      confidence: this.#hearing.averageConfidence,
    };
  }

  #flushLastWords(media: MediaSession, clock: Clock): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimer(resolve, LAST_WORDS_MS);
    this.#lastWords = () => {
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
      case 'playout.resume':
        media.resume();
        return;
      case 'floor.yield':
        this.#interruptedSinceMs = command.since;
        this.#utterances.get(command.utterance)?.abort.abort();
        media.flush();
        return;
      case 'floor.take':
        this.#take(command);
        return;
      case 'turn.ended':
        this.#options.onEnd(command.cause);
    }
  }

  #take(command: TurnCommand & { readonly type: 'floor.take' }): void {
    const { task } = command;
    const utterance = new Utterance(command.utterance);
    this.#utterances.set(utterance.number, utterance);
    const heard = this.#hearing.takeInput();
    const input: TurnInput | null =
      task.kind === 'reply' ? (task.input.kind === 'dtmf' ? task.input : heard) : null;
    // Only an answer to speech has a mouth-to-ear time; a prompt or a key press is measured from nothing.
    const answersSpeech = task.kind === 'reply' && task.input.kind === 'speech';
    const times = answersSpeech ? this.#times : this.#newTimes();
    times.mark('asked');
    this.#replyTimes.set(utterance.number, times);
    this.#options.media.resume();
    void this.#speak(utterance, task, input, times);
  }

  async #speak(
    utterance: Utterance,
    task: (TurnCommand & { readonly type: 'floor.take' })['task'],
    input: TurnInput | null,
    times: TurnTimes,
  ): Promise<void> {
    try {
      const { endCall, empty } = await this.#speaker.speak(utterance, task, input, times);
      if (empty) this.#forget(utterance);
      else this.#tellReply(utterance);
      this.#send({
        type: 'reply.queued',
        at: this.#at(),
        utterance: utterance.number,
        endCall,
        empty,
      });
    } catch (thrown) {
      if (utterance.abort.signal.aborted) return; // given up by us: the caller went on, or the call is over
      utterance.abort.abort(); // whatever else the providers still hold for it
      const error = toAppError(thrown);
      const { code, message, fault, retryable } = error;
      this.#options.log.warn('reply.failed', { callId: this.#options.story.callId, error });
      this.#options.story.fact('call-error', { code, message, fault, fatal: false, retryable });
      if (utterance.audioMs === 0) this.#forget(utterance);
      this.#send({ type: 'reply.failed', at: this.#at(), utterance: utterance.number });
    }
  }

  // ---- What was said and heard ----

  #speechStopped(event: MediaEvent & { readonly type: 'speech.stopped' }): void {
    this.#times = this.#newTimes();
    this.#times.mark('speechEnd', event.wireMs);
    this.#times.mark('detected');
    this.pump();
    this.#hearing.stopped(event.startMs, event.endMs, () =>
      this.#history.utterance(event.startMs, event.endMs),
    );
    const { at, startMs, endMs } = { at: this.#at(), startMs: event.startMs, endMs: event.endMs };
    this.#send({ type: 'speech.stopped', at, startMs, endMs });
    // After the machine: a recogniser that answers at once must find the utterance already counted as unread.
    this.#stt?.speechStopped(this.#history.utterance(startMs, endMs));
  }

  #onStt(event: SttEvent): void {
    if (this.#isClosed) return;
    const { story, log } = this.#options;
    if (event.type === 'partial') {
      this.#send({ type: 'stt.partial', at: this.#at(), text: event.text });
      return;
    }
    if (event.type === 'error') {
      const { code, message, fault, retryable } = toAppError(event.error, 'E_PROVIDER_SERVER');
      log.warn('stt.failed', { callId: story.callId, error: event.error });
      story.fact('call-error', { code, message, fault, fatal: false, retryable });
      return;
    }
    this.#times.mark('read');
    const utterance = this.#hearing.read(event);
    const isNoise = event.text === '' && this.#actor.getSnapshot().matches({ agent: 'flowing' });
    if (!isNoise) {
      const { startMs, endMs, text, confidence } = utterance;
      const data = {
        text,
        is_final: true,
        start_ms: startMs,
        end_ms: endMs,
        confidence,
        language: event.language,
      };
      story.fact('user-speech', data);
      const sure = confidence === null ? {} : { confidence };
      story.message(
        { role: 'user', content: text, start_ms: startMs, end_ms: endMs, ...sure },
        startMs,
      );
      this.#hearing.keep(utterance);
    }
    this.#send({ type: 'stt.final', at: this.#at(), text: event.text });
  }

  #playoutStarted(number: number, atMs: number, wireMs: number): void {
    const utterance = this.#utterances.get(number);
    if (utterance === undefined) return;
    utterance.startedAtMs = atMs;
    const times = this.#replyTimes.get(number);
    this.#replyTimes.delete(number);
    times?.mark('firstPacket', wireMs);
    const latency = times?.latency() ?? null;
    if (latency !== null) {
      this.#turns.push(latency);
      utterance.latencyMs = Math.round(latency.totalMs);
    }
    this.#tellReply(utterance);
  }

  /** `ai-response`, once per reply: its first audio has been sent and all of it is known. */
  #tellReply(utterance: Utterance): void {
    if (utterance.isTold || !utterance.isQueued || utterance.startedAtMs === null) return;
    utterance.isTold = true;
    const { text, number, latencyMs, audioMs } = utterance;
    this.#options.story.fact('ai-response', {
      text,
      turn: number,
      latency_ms: latencyMs,
      audio_ms: audioMs,
    });
  }

  #heard(number: number, heardMs: number, flushed: boolean): void {
    const utterance = this.#utterances.get(number);
    if (utterance === undefined) return;
    this.#tellReply(utterance);
    this.#tellHeard(
      utterance,
      heardMs,
      flushed && !(utterance.isQueued && heardMs >= utterance.audioMs),
    );
  }

  #tellHeard(utterance: Utterance, heardMs: number, interrupted: boolean): void {
    this.#forget(utterance);
    const content = interrupted ? utterance.heard(heardMs) : utterance.text;
    const { story } = this.#options;
    const since = this.#interruptedSinceMs;
    if (interrupted && since !== null && utterance.startedAtMs !== null) {
      this.#interruptedSinceMs = null;
      const reactionMs = Math.max(0, Math.round(utterance.startedAtMs + heardMs - since));
      const data = {
        turn: utterance.number,
        heard_ms: Math.round(heardMs),
        heard_text: content,
        reaction_ms: reactionMs,
      };
      story.fact('user-interrupted', data);
    }
    if (content === '' || utterance.startedAtMs === null) return; // nothing of it was heard
    const startMs = Math.round(utterance.startedAtMs);
    const latency = utterance.latencyMs === null ? {} : { latency_ms: utterance.latencyMs };
    const cut = interrupted ? { interrupted: true } : {};
    const times = { start_ms: startMs, end_ms: Math.round(startMs + heardMs) };
    story.message({ role: 'assistant', content, ...times, ...latency, ...cut }, startMs);
  }

  #forget(utterance: Utterance): void {
    this.#utterances.delete(utterance.number);
    this.#replyTimes.delete(utterance.number);
  }

  // ---- Time ----

  #at(): number {
    return this.#options.story.callTimeMs();
  }

  #newTimes(): TurnTimes {
    return new TurnTimes(() => performance.timeOrigin + this.#options.clock.now());
  }

  #send(event: TurnEvent): void {
    if (!this.#isClosed && this.#actor.getSnapshot().status === 'active') this.#actor.send(event);
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
