/**
 * Speech-to-speech models that stand in for each other: a session that breaks is opened anew, at the same vendor or at the
 * next, and told what was said. Generations go on rising; words that were not answered to the end are answered again.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { RealtimeEvent, RealtimeProvider, RealtimeSession } from '../contract.ts';
import { failureOf } from './failures.ts';
import { KeptAudio } from './kept-audio.ts';
import type { Candidate, Lineup } from './lineup.ts';
import { givenUp, race, type Won } from './race.ts';
import { RealtimeStory } from './realtime-story.ts';

/** To open a session, before the next one is tried as well. */
const PATIENCE = { minMs: 500, maxMs: 1_000 };
const AGAIN_MS = 1_500;
/** Caller audio that a session to come hears first. */
const KEPT_MS = 3_000;
const KEPT_STILL_MS = 500;
/** Sessions opened without anything said in between. */
const MAX_TRIES = 4;
const RETRY_MS = 500;
/** After these the caller is not speaking. */
const STILL: ReadonlySet<RealtimeEvent['type']> = new Set(['speech_stopped', 'turn_started']);

export function failoverRealtime(lineup: Lineup<RealtimeProvider>): RealtimeProvider {
  const [first] = lineup.all;
  if (first === undefined) throw new TypeError('a lineup needs somebody in it');
  return {
    vendor: first.provider.vendor,
    hasTools: first.provider.hasTools,
    warm: () => lineup.available()[0]?.provider.warm?.(),
    async open(options, signal) {
      if (signal.aborted) throw givenUp();
      const session = new FailoverSession(lineup, options);
      const onAbort = (): void => session.close();
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        await session.begin();
      } catch (error) {
        session.close();
        throw signal.aborted ? givenUp() : error;
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
      return session;
    },
  };
}

type Call = Parameters<RealtimeProvider['open']>[0];
type Opened = { readonly session: RealtimeSession; readonly link: Link };

/** Which of the sessions a word comes from. */
type Link = { isMine: boolean; readonly offset: number; readonly early: RealtimeEvent[] };

class FailoverSession implements RealtimeSession {
  readonly #lineup: Lineup<RealtimeProvider>;
  readonly #call: Call;
  readonly #story: RealtimeStory;
  readonly #abort = new AbortController();
  #won: Won<RealtimeProvider, Opened, void> | null = null;
  #current: Opened | null = null;
  /** Generations told so far. */
  #lastGeneration = 0;
  readonly #kept = new KeptAudio(KEPT_MS);
  #isSpeaking = false;
  #waiting: ((session: RealtimeSession) => void)[] = [];
  readonly #calls = new Set<string>();
  #tries = 0;
  #timer: TimerHandle | undefined;
  #isOver = false;

  constructor(lineup: Lineup<RealtimeProvider>, call: Call) {
    this.#lineup = lineup;
    this.#call = call;
    this.#story = new RealtimeStory(call.history);
  }

  /** Errors: those of the first one tried. */
  async begin(): Promise<void> {
    await this.#open(new Set());
  }

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    // Only what a session to come would need: the speech that is under way, and all of it while there is no session.
    const isNeeded = this.#isSpeaking || this.#current === null;
    this.#kept.push(pcm, isNeeded ? KEPT_MS : KEPT_STILL_MS);
    this.#current?.session.push(pcm);
  }

  say(text: string): void {
    this.#whenOpen((session) => session.say(text));
  }

  text(text: string): void {
    if (this.#isOver) return;
    this.#story.asked(text);
    // A session to come is asked what was not answered: this is.
    this.#current?.session.text(text);
  }

  toolResult(id: string, content: string): void {
    // What another session wanted to know, this one did not ask.
    if (this.#calls.delete(id)) this.#current?.session.toolResult(id, content);
  }

  interrupt(generation: number, heardMs: number): void {
    if (this.#isOver) return;
    this.#story.interrupted(generation, heardMs);
    const offset = this.#current?.link.offset ?? generation;
    if (generation > offset) this.#current?.session.interrupt(generation - offset, heardMs);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#lineup.clock.clearTimer(this.#timer);
    this.#abort.abort();
    this.#leave();
    this.#kept.forget();
    this.#waiting = [];
  }

  async #open(failed: ReadonlySet<Candidate<RealtimeProvider>>): Promise<void> {
    this.#tries += 1;
    const won = await race<RealtimeProvider, Opened, void>({
      ...{ lineup: this.#lineup, failed, signal: this.#abort.signal, patience: PATIENCE },
      ...{ needsItems: true, againAfterMs: AGAIN_MS },
      ask: (candidate, signal) => this.#session(candidate, signal),
    });
    const opened = won.step.value;
    if (this.#isOver || opened === undefined) return won.stop();
    this.#won = won;
    this.#current = opened;
    this.#takeOver(opened);
  }

  /** One session, closed when its generator is left: so a race can give it up like any stream. */
  async *#session(
    { provider }: Candidate<RealtimeProvider>,
    signal: AbortSignal,
  ): AsyncGenerator<Opened, void> {
    const link: Link = { isMine: true, offset: this.#lastGeneration, early: [] };
    const history = this.#story.history();
    const onEvent = (event: RealtimeEvent): void => this.#on(link, event);
    const session = await provider.open({ ...this.#call, history, onEvent }, signal);
    try {
      yield { session, link };
    } finally {
      link.isMine = false;
      session.close();
    }
  }

  #takeOver({ session, link }: Opened): void {
    const { unanswered } = this.#story;
    if (this.#tries > 1) this.#kept.read((pcm) => session.push(pcm));
    if (unanswered !== null) session.text(unanswered);
    this.#kept.forget();
    for (const act of this.#waiting.splice(0)) act(session);
    for (const event of link.early.splice(0)) this.#on(link, event);
  }

  #on(link: Link, event: RealtimeEvent): void {
    if (!link.isMine || this.#isOver) return;
    if (this.#current?.link !== link) {
      // Of one that has not won yet, and may not.
      if (this.#current === null && link.early.length < 100) link.early.push(event);
      return;
    }
    if (event.type === 'error') return this.#failed(event);
    const told =
      link.offset > 0 && 'generation' in event
        ? { ...event, generation: event.generation + link.offset }
        : event;
    if ('generation' in told)
      this.#lastGeneration = Math.max(this.#lastGeneration, told.generation);
    if (told.type === 'tool_call') this.#calls.add(told.call.id);
    if (told.type === 'speech_started') this.#isSpeaking = true;
    if (STILL.has(told.type)) this.#isSpeaking = false;
    if (told.type === 'audio' || told.type === 'user_transcript') {
      this.#tries = 1;
      this.#won?.attempt.answered();
    }
    this.#story.note(told);
    this.#call.onEvent(told);
  }

  #failed(event: RealtimeEvent & { readonly type: 'error' }): void {
    if (!event.isFatal) return this.#call.onEvent(event);
    const won = this.#won;
    const failure = failureOf(event.error);
    won?.attempt.failed(event.error, failure);
    this.#leave();
    this.#calls.clear();
    const { openGeneration: generation, unanswered } = this.#story;
    if (generation !== null) {
      const done = { type: 'turn_done', generation } as const;
      this.#story.note(done);
      // Answered in part is not answered.
      if (unanswered !== null) this.#story.asked(unanswered);
      this.#call.onEvent(done);
    }
    if (won !== null) this.#lineup.log.warn('realtime.reopened', { error: event.error });
    const isLeft = won !== null && failure !== 'idle';
    this.#openAgain(event.error, new Set(isLeft ? [won.candidate] : []));
  }

  #openAgain(why: Error, failed: ReadonlySet<Candidate<RealtimeProvider>>): void {
    const failure = failureOf(why);
    if (this.#isOver) return;
    if (this.#tries >= MAX_TRIES || failure === 'content' || failure === 'aborted') {
      return this.#giveUp(why);
    }
    const delayMs = this.#tries <= 1 ? 0 : RETRY_MS * (this.#tries - 1);
    this.#timer = this.#lineup.clock.setTimer(() => {
      this.#open(failed).catch((error: unknown) => this.#openAgain(toAppError(error), failed));
    }, delayMs);
  }

  #giveUp(error: Error): void {
    if (this.#isOver) return;
    this.close();
    this.#call.onEvent({ type: 'error', error, isFatal: true });
  }

  #leave(): void {
    const won = this.#won;
    this.#won = null;
    this.#current = null;
    won?.stop();
  }

  #whenOpen(act: (session: RealtimeSession) => void): void {
    if (this.#isOver) return;
    if (this.#current !== null) act(this.#current.session);
    else if (this.#waiting.length < 16) this.#waiting.push(act);
  }
}
