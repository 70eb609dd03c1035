/**
 * The agent's side of a talk with a realtime model: gives the floor to what the model says by itself, has the model (or the
 * agent's own voice) say what others want, and tells the model what was heard of it. Owns what is being said.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { SAMPLE_RATE_HZ, type MediaEvent, type MediaSession } from '#media/types.ts';
import type { Language, RealtimeEvent } from '#providers/contract.ts';
import { promptText } from '#providers/prompts.ts';
import type { AgentSpeech } from './agent-speech.ts';
import { NOTHING_SAID, NOTICE } from './conversation-parts.ts';
import { fillIn } from './history.ts';
import type { RealtimeCaller } from './realtime-caller.ts';
import type { RealtimeLink } from './realtime-link.ts';
import { RealtimeReply } from './realtime-reply.ts';
import { hasOwnVoice } from './realtime-role.ts';
import { RealtimeVoice } from './realtime-voice.ts';
import { newWork, type Work } from './realtime-work.ts';
import type { Request, Requests } from './requests.ts';
import type { Saying, Speaker } from './speaker.ts';
import type { TurnActor } from './turn-actor.ts';
import { MAX_WAITING, type FloorTask, type TurnPrompt } from './turn-types.ts';
import { Utterance } from './utterance.ts';

export type RealtimeFloorOptions = {
  readonly turn: TurnActor;
  readonly link: RealtimeLink;
  readonly speaker: Speaker;
  readonly speech: AgentSpeech;
  readonly requests: Requests;
  readonly caller: RealtimeCaller;
  readonly media: MediaSession;
  readonly clock: Clock;
  readonly log: Log;
  readonly agent: () => AgentConfig;
  /** The model wants these carried out; nothing of the work follows until it says so (`settle`). */
  readonly useTools: (work: Work) => void;
  readonly tellFault: (error: unknown) => void;
};

type Ended = MediaEvent & { readonly type: 'playout.done' | 'playout.flushed' };

/** A reply that was asked for begins within: longer than the line itself takes to find out and to ask once more. */
const REPLY_MS = 10_000;
/** Once something has gone wrong, nothing may come any more. */
const DOUBTFUL_MS = 1_500;

export class RealtimeFloor {
  readonly #options: RealtimeFloorOptions;
  readonly #voice: RealtimeVoice;
  /** By the number of the turn: on the floor, or waiting for it. */
  readonly #works = new Map<number, Work>();
  /** By the generation that is being made for it. */
  readonly #owners = new Map<number, Work>();
  /** The model was asked and has not begun yet, in order. */
  #asked: Work[] = [];
  /** Goes on with the model's next reply, which follows a tool. */
  #goesOn: Work | null = null;
  #texts: string[] = [];
  #notes: string[] = [];
  #sounds = 0;
  #staleSamples = 0;

  constructor(options: RealtimeFloorOptions) {
    this.#options = options;
    this.#voice = new RealtimeVoice(options);
  }

  /** Sound of replies that nobody was to hear any more. */
  get staleSamples(): number {
    return this.#staleSamples;
  }

  /** The model is making what the caller may not interrupt: if it heard him, it would stop. */
  get wantsSilence(): boolean {
    // Asked for every frame: mostly nothing is being made.
    if (this.#asked.length === 0 && this.#owners.size === 0) return false;
    const { task, utterance, config } = this.#options.turn.context;
    if (config.bargeIn && (task.kind !== 'asked' || task.interruptible)) return false;
    const work = this.#works.get(utterance);
    if (work === undefined) return false;
    return this.#asked.includes(work) || [...this.#owners.values()].includes(work);
  }

  /** Of what is being said. */
  get soundLeftMs(): number {
    const { turn, media, speaker } = this.#options;
    const work = this.#works.get(turn.context.utterance);
    if (work === undefined || work.utterance === null || !work.reply.hasSound)
      return speaker.soundLeftMs;
    const playedMs = ((media.playedSamples(work.utterance.sound) ?? 0) * 1000) / SAMPLE_RATE_HZ;
    return Math.max(0, work.reply.soundMs - playedMs);
  }

  /** As if the caller had said it; asked when the agent takes the floor for it. */
  text(text: string): void {
    this.#texts = [...this.#texts, text].slice(-MAX_WAITING);
  }

  /** The model is told with whatever it is to answer next. */
  keepNote(text: string): void {
    this.#notes = [...this.#notes, noteOf(text, this.#language)].slice(-MAX_WAITING);
  }

  // ---- What the turn machine decided ----

  take(number: number, task: FloorTask): void {
    const { requests, media } = this.#options;
    const own = this.#works.get(number);
    media.resume();
    if (own !== undefined) return this.#speak(own, this.#options.caller.takeTimes());
    if (task.kind === 'prompt') return this.#prompt(number, task.name);
    const asked = requests.get(number);
    if (task.kind === 'asked') {
      if (asked === null || asked.what.kind === 'note') return this.#nothing(number);
      return this.#say(number, asked.what, asked);
    }
    const { input } = task;
    if (input.kind === 'dtmf') return this.#ask(number, `[DTMF ${input.digits}]`);
    if (asked?.what.kind === 'note')
      return this.#ask(number, noteOf(asked.what.text, this.#language));
    const text = this.#texts.splice(0).join('\n');
    if (text === '') this.#nothing(number);
    else this.#ask(number, text);
  }

  /** As `RealtimeVoice.notice`. */
  notice(text: string, isClosed: () => boolean): Promise<boolean> {
    const utterance = new Utterance(NOTICE, ++this.#sounds, this.#options.caller.newTimes());
    return this.#voice.notice(utterance, text, isClosed);
  }

  /** Throws turn `number` away. `since`: the caller began then, in the agent's time; null: it was not he. */
  yield(number: number, since: number | null): void {
    const { speech, media, turn } = this.#options;
    speech.giveUp(number, since === null ? null : turn.time.toCall(since));
    const work = this.#works.get(number);
    if (work !== undefined) this.#giveUp(work);
    media.flush();
    if (since !== null) this.#dropWaiting();
  }

  /** The model has begun to say turn `number` and has not said that it is through. */
  isModelSpeaking(number: number): boolean {
    return [...this.#owners.values()].some((work) => work.number === number && !work.calls.length);
  }

  /** One of the agent's utterances is over on the wire. */
  played(event: Ended): void {
    const { speech, requests, turn, link } = this.#options;
    const utterance = speech.bySound(event.utterance);
    if (utterance === null) return;
    const { number } = utterance;
    const isDone = event.type === 'playout.done';
    const work = this.#works.get(number);
    if (!isDone && work !== undefined) {
      for (const { generation, heardMs } of work.reply.cutAt(event.heardMs))
        link.interrupt(generation, heardMs);
    }
    requests.over(number, isDone && utterance.isWhole);
    speech.onEnded(event);
    this.#works.delete(number);
    if (isDone) turn.send({ type: 'playout.done', utterance: number });
  }

  // ---- What the model says ----

  onModel(event: RealtimeEvent): void {
    switch (event.type) {
      case 'turn_started':
        return this.#begun(event.generation);
      case 'audio':
        if (this.#owners.get(event.generation)?.reply.audio(event.generation, event.pcm) !== true)
          this.#staleSamples += event.pcm.length;
        return;
      case 'agent_text':
        this.#owners.get(event.generation)?.reply.text(event.generation, event.text);
        return;
      case 'tool_call': {
        const work = this.#owners.get(event.generation);
        const none = JSON.stringify({ error: 'interrupted' });
        if (work === undefined) this.#options.link.toolResult(event.call.id, none);
        else work.calls.push(event.call);
        return;
      }
      case 'turn_done':
        return this.#done(event.generation);
      case 'error':
        return this.#failed(toAppError(event.error, 'E_PROVIDER_SERVER'), event.isFatal);
      // The caller's, and the call's.
      case 'speech_started':
      case 'speech_stopped':
      case 'user_transcript':
      case 'usage':
        return;
    }
  }

  /** Has the model say this in the middle of `work`; resolves when it has, or will not. */
  async sayWithin(work: Work, text: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    work.onReply = resolve;
    this.#expect(work);
    this.#options.link.say(text);
    await promise;
  }

  /** What `work` waits for next is the model's own: it has its answers. */
  goOn(work: Work): void {
    if (work.isOver) return;
    this.#goesOn = work;
    work.open += 1;
    this.#watch(work, REPLY_MS);
  }

  /** As if the caller had said it, for `work`. */
  askWithin(work: Work, text: string): void {
    if (work.isOver) return this.#options.link.text(text);
    this.#expect(work);
    this.#options.link.text(text);
  }

  /** One of the things that `work` waited for has come. */
  settle(work: Work): void {
    work.open -= 1;
    if (work.open === 0 && work.utterance !== null) void this.#finish(work, work.utterance);
  }

  /** Nothing is said any more. Idempotent. */
  close(): void {
    for (const work of this.#works.values()) this.#options.clock.clearTimer(work.timer);
    for (const work of this.#asked) this.#options.clock.clearTimer(work.timer);
    for (const work of this.#works.values()) {
      work.isOver = true;
      work.abort.abort();
      work.reply.giveUp();
    }
    this.#asked = [];
    this.#owners.clear();
  }

  // ---- Filling a turn ----

  get #language(): Language {
    return this.#options.speaker.language;
  }

  #prompt(number: number, name: TurnPrompt): void {
    const { greeting, variables, silence } = this.#options.agent();
    // What went wrong may be the model itself.
    if (name === 'apology')
      return this.#sayOurselves(this.#newWork(number, null), { kind: 'prompt', name });
    const own =
      name === 'greeting'
        ? greeting && fillIn(greeting, variables)
        : name === 'still_there'
          ? silence.promptText
          : null;
    this.#say(number, { kind: 'prompt', name }, null, own ?? promptText(name, this.#language));
  }

  /** `request`: who asked for it. */
  #say(
    number: number,
    saying: Saying,
    request: Request | null,
    text = saying.kind === 'words' ? saying.text : null,
  ): void {
    const { link, agent } = this.#options;
    const isExact = request?.isExact === true || hasOwnVoice(agent()) || !link.isOpen;
    if (text === '') return this.#nothing(number);
    if (text === null || isExact) return this.#sayOurselves(this.#newWork(number, null), saying);
    const work = this.#newWork(number, text);
    this.#speak(work);
    this.#expect(work);
    link.say(text);
  }

  #ask(number: number, text: string): void {
    const { link } = this.#options;
    const work = this.#newWork(number, null);
    this.#speak(work);
    if (!link.isOpen) {
      work.error = new AppError('E_PROVIDER_SERVER', 'the realtime model is not there');
      work.open += 1;
      return this.settle(work);
    }
    this.#expect(work);
    link.text([...this.#notes.splice(0), text].join('\n'));
  }

  #nothing(number: number): void {
    this.#options.requests.over(number, false);
    this.#options.turn.send({ ...NOTHING_SAID, utterance: number });
  }

  #newWork(number: number, wanted: string | null): Work {
    const { media, log } = this.#options;
    const work = newWork(number, new RealtimeReply({ media, log }), wanted);
    this.#works.set(number, work);
    return work;
  }

  #newUtterance(work: Work, times = this.#options.caller.newTimes()): Utterance {
    const { speech, requests } = this.#options;
    const utterance = new Utterance(work.number, ++this.#sounds, times);
    utterance.repeats = requests.get(work.number)?.repeats === true;
    work.utterance = utterance;
    speech.add(utterance);
    return utterance;
  }

  /** It has the floor. */
  #speak(work: Work, times?: Utterance['times']): void {
    const utterance = this.#newUtterance(work, times);
    work.reply.speak(utterance);
    // All of it came while it waited.
    if (work.open === 0 && times !== undefined) void this.#finish(work, utterance);
  }

  async #finish(work: Work, utterance: Utterance): Promise<void> {
    const { speech, requests, turn } = this.#options;
    if (work.isOver) return;
    if (!work.reply.hasSound && work.wanted !== null) {
      // The model has not said it: the agent's own voice does.
      this.#forget(work, utterance);
      return this.#sayOurselves(work, { kind: 'words', text: work.wanted });
    }
    if (!(await work.reply.end()) || work.isOver) return;
    work.isOver = true;
    const { number, endCall } = work;
    const empty = !work.reply.hasSound;
    if (empty) {
      this.#forget(work, utterance);
      this.#works.delete(number);
      requests.over(number, false);
    } else speech.tellReply(utterance);
    if (empty && work.error !== null) turn.send({ type: 'reply.failed', utterance: number });
    else turn.send({ type: 'reply.queued', utterance: number, endCall, empty });
  }

  #forget(work: Work, utterance: Utterance): void {
    this.#options.speech.forget(utterance);
    work.utterance = null;
  }

  /** Words that a model must not change, or cannot say, and sound. */
  #sayOurselves(work: Work, saying: Saying): void {
    const utterance = this.#newUtterance(work);
    void this.#voice.say(utterance, saying, () => this.#silent(work, utterance));
  }

  #silent(work: Work, utterance: Utterance): void {
    this.#forget(work, utterance);
    this.#works.delete(work.number);
    this.#options.requests.over(work.number, false);
  }

  /** Answers that the caller has not waited for: what he says now is answered instead. */
  #dropWaiting(): void {
    for (const work of [...this.#works.values()]) {
      if (work.utterance !== null || work.isOver) continue;
      this.#options.turn.send({ type: 'unask', utterance: work.number });
      this.#giveUp(work);
    }
  }

  /** Whatever is still made for it is not wanted. */
  #giveUp(work: Work): void {
    const { link, clock, requests } = this.#options;
    work.isOver = true;
    work.abort.abort();
    work.reply.giveUp();
    // One that was asked for and has not begun is still to come, and to be told apart from what the model says then.
    if (!this.#asked.includes(work)) clock.clearTimer(work.timer);
    work.onReply?.();
    for (const [generation, owner] of this.#owners)
      if (owner === work) this.#owners.delete(generation);
    if (this.#goesOn === work) this.#goesOn = null;
    if (work.reply.hasBegun || (work.utterance?.samples ?? 0) > 0) return;
    // The media plane has nothing of it, and will not say so.
    for (const { generation } of work.reply.cutAt(0)) link.interrupt(generation, 0);
    if (work.utterance !== null) this.#forget(work, work.utterance);
    this.#works.delete(work.number);
    requests.over(work.number, false);
  }

  // ---- Whose reply is it ----

  #expect(work: Work): void {
    this.#asked.push(work);
    work.open += 1;
    this.#watch(work, REPLY_MS);
  }

  #watch(work: Work, ms: number): void {
    const { clock } = this.#options;
    clock.clearTimer(work.timer);
    work.timer = clock.setTimer(() => {
      work.error ??= new AppError('E_TIMEOUT', 'the realtime model did not answer');
      this.#missed(work);
    }, ms);
  }

  /** The reply that it waits for will not come. */
  #missed(work: Work): void {
    this.#options.clock.clearTimer(work.timer);
    this.#asked = this.#asked.filter((each) => each !== work);
    if (this.#goesOn === work) this.#goesOn = null;
    work.onReply?.();
    work.onReply = null;
    if (!work.isOver) this.settle(work);
  }

  /**
   * In the order in which the model was asked; else it goes on after a tool, or speaks by itself. (When it answers the
   * caller just before it says what it was asked to, the two change places; both are heard, and told as they were said.)
   */
  #begun(generation: number): void {
    const { link, clock } = this.#options;
    const work = this.#asked.shift() ?? this.#goesOn ?? this.#newTurn();
    if (work !== null) clock.clearTimer(work.timer);
    if (work === this.#goesOn) this.#goesOn = null;
    if (work === null || work.isOver) return link.interrupt(generation, 0);
    this.#owners.set(generation, work);
    work.reply.begin(generation);
  }

  /** The model takes a turn by itself. Null: too much waits already. */
  #newTurn(): Work | null {
    const { turn } = this.#options;
    if (turn.isOver) return null;
    const { lastNumber, waiting } = turn.context;
    const urgent = !turn.hasFloor;
    if (!urgent && waiting.length >= MAX_WAITING) return null;
    const work = this.#newWork(lastNumber + 1, null);
    work.open = 1;
    turn.send({ type: 'ask', task: { kind: 'reply', input: { kind: 'speech' } }, urgent });
    return work;
  }

  #done(generation: number): void {
    const work = this.#owners.get(generation);
    if (work === undefined) return;
    this.#owners.delete(generation);
    work.reply.done(generation);
    const { onReply } = work;
    work.onReply = null;
    if (work.isWithheld) return this.#sayWithheld(work);
    if (work.calls.length > 0) this.#options.useTools(work);
    else this.settle(work);
    onReply?.();
  }

  #sayWithheld(work: Work): void {
    const { agent } = this.#options;
    work.isWithheld = false;
    const text = agent().fallbackPhrase ?? promptText('withheld', this.#language);
    void this.sayWithin(work, text);
    this.settle(work);
  }

  #failed(error: AppError, isFatal: boolean): void {
    const owners = [...this.#owners.entries()];
    const owner = owners.at(-1)?.[1];
    const work = owner ?? this.#asked[0];
    if (work !== undefined) {
      // Once is enough: the phrase itself may be withheld too.
      work.isWithheld =
        owner !== undefined && error.code === 'E_PROVIDER_CONTENT' && work.error === null;
      work.error = error;
    }
    if (!isFatal) {
      const [waiting] = this.#asked;
      if (waiting !== undefined && owner === undefined) this.#watch(waiting, DOUBTFUL_MS);
      return;
    }
    for (const [generation, each] of owners) {
      each.isWithheld = false;
      each.calls = [];
      this.#done(generation);
    }
    for (const each of this.#asked) {
      each.error = error;
      this.#missed(each);
    }
    if (this.#goesOn !== null) this.#missed(this.#goesOn);
  }
}

/** A model that is told something takes it for the caller's words, unless they say whose they are. */
function noteOf(text: string, language: Language): string {
  return language === 'zh'
    ? `[这不是来电者说的话，而是给你的内部指示，请照做，不要提及它：${text}]`
    : `[This is not the caller: an instruction for you. Act on it, and do not mention it: ${text}]`;
}
