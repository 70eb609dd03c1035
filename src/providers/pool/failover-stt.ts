/**
 * Recognisers that stand in for each other during a call: one that breaks, or lets speech pass without a word, is left,
 * and the next hears what nobody has read yet. However many are asked, an utterance is read once.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { SttEvent, SttProvider, SttSession, UtteranceAudio } from '../contract.ts';
import { failureOf } from './failures.ts';
import { HeardAudio, type Unread } from './heard-audio.ts';
import type { Candidate, Lineup } from './lineup.ts';
import type { Attempt } from './member.ts';
import { unavailable } from './race.ts';

/** From the end of speech to its text, before the next recogniser is asked instead. */
const PATIENCE = { minMs: 350, maxMs: 700 };
/** One that is at work, as its partial texts show, or has just been opened, may take longer. */
const AT_WORK_MS = 1_200;
/** Speech without a partial text, from a vendor that gives such texts: the connection is dead. */
const DEAF_MS = 2_000;
/** In an utterance of this length there should be a word. */
const WORDY_MS = 800;
/** Background noise must not send a call from one vendor to the other and back. */
const SECOND_TRY_EVERY_MS = 30_000;
/** Every so manieth sample, and what is not silence. */
const LOOK_EVERY = 16;
const LOUD = 200;
/** Of 2 s, looked at like that: a tenth. */
const LOUD_ENOUGH = 100;
/** When nobody could be asked: not sooner than this. */
const REOPEN_MS = { minMs: 500, maxMs: 4_000 };
/** The conversation has given up by then. */
const TOO_LATE_MS = 6_000;

export function failoverStt(lineup: Lineup<SttProvider>): SttProvider {
  const [first] = lineup.all;
  if (first === undefined) throw new TypeError('a lineup needs somebody in it');
  return {
    vendor: first.provider.vendor,
    servedBy: () => lineup.servedBy(),
    reads: first.provider.reads,
    warm: () => lineup.available()[0]?.provider.warm?.(),
    open: (call) => new FailoverSession(lineup, call),
  };
}

type Call = Parameters<SttProvider['open']>[0];

/** The recogniser at work. */
type Current = {
  readonly candidate: Candidate<SttProvider>;
  readonly attempt: Attempt;
  session: SttSession | null;
  /** It has thrown: it is not told anything more. */
  isBroken: boolean;
  /** It has told words in this session. */
  hasRead: boolean;
  /** Utterances in a row without a word. */
  silent: number;
};

class FailoverSession implements SttSession {
  readonly #lineup: Lineup<SttProvider>;
  readonly #call: Call;
  readonly #heard = new HeardAudio();
  #current: Current | null = null;
  #deaf: TimerHandle | undefined;
  #late: TimerHandle | undefined;
  #reopen: TimerHandle | undefined;
  #later = new Set<TimerHandle>();
  /** A partial text came since the speech that is under way, or not read yet, began. */
  #hasPartial = false;
  #stoppedMs = 0;
  #secondTryMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** Left since anything was read: they are not gone back to for the same words. */
  readonly #left = new Set<Candidate<SttProvider>>();
  /** Of the speech under way, samples looked at that were loud: a detector may forget to say that it is over. */
  #loud = 0;
  #isOver = false;

  constructor(lineup: Lineup<SttProvider>, call: Call) {
    this.#lineup = lineup;
    this.#call = call;
    this.#open(null);
  }

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    this.#heard.push(pcm);
    for (let at = 0; at < pcm.length; at += LOOK_EVERY) {
      if (Math.abs(pcm[at] ?? 0) > LOUD) this.#loud += 1;
    }
    this.#tell((session) => session.push(pcm));
  }

  speechStarted(startMs: number): void {
    if (this.#isOver) return;
    if (this.#heard.unread.length === 0) this.#hasPartial = false;
    this.#heard.started(startMs);
    this.#tell((session) => session.speechStarted(startMs));
    this.#armDeaf();
  }

  speechStopped(audio: UtteranceAudio): void {
    if (this.#isOver) return;
    const { clock } = this.#lineup;
    clock.clearTimer(this.#deaf);
    this.#stoppedMs = clock.now();
    this.#heard.forgetBefore(audio.endMs - TOO_LATE_MS);
    this.#heard.stopped(audio);
    this.#tell((session) => session.speechStopped(audio));
    this.#armLate();
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { clock } = this.#lineup;
    for (const timer of [this.#deaf, this.#late, this.#reopen, ...this.#later])
      clock.clearTimer(timer);
    this.#later.clear();
    this.#leave();
  }

  // ---- Who hears ----

  /** The best one that may be asked hears everything unread. */
  #open(from: Candidate<SttProvider> | null, why?: unknown): void {
    this.#leave();
    this.#lineup.clock.clearTimer(this.#reopen);
    if (from !== null) this.#left.add(from);
    for (const candidate of this.#lineup.available(this.#left)) {
      const attempt = candidate.member.begin();
      if (attempt === null) continue;
      if (from !== null && from !== candidate) this.#lineup.failedOver(from, candidate, why);
      const current: Current = {
        candidate,
        attempt,
        session: null,
        isBroken: false,
        hasRead: false,
        silent: 0,
      };
      this.#current = current;
      try {
        const session = candidate.provider.open({
          ...this.#call,
          onEvent: (event) => {
            if (this.#current === current && !this.#isOver) this.#on(current, event);
          },
        });
        current.session = session;
        this.#heard.replay(session);
        this.#lineup.use(candidate);
        this.#armAll();
        return;
      } catch (error) {
        attempt.failed(error);
        this.#leave();
        this.#lineup.log.error('stt.crashed', { error: toAppError(error) });
      }
    }
    this.#nobody();
  }

  /** Nobody may be asked now: the call goes on deaf until somebody may. */
  #nobody(): void {
    const { clock } = this.#lineup;
    const error = toAppError(unavailable(this.#lineup), 'E_PROVIDER_SERVER');
    // Once for each outage: what follows is the same trouble.
    if (this.#failures === 0) this.#soon(() => this.#call.onEvent({ type: 'error', error }));
    this.#failures += 1;
    this.#left.clear();
    const pauseMs = Math.min(REOPEN_MS.maxMs, REOPEN_MS.minMs * 2 ** (this.#failures - 1));
    const waitMs = Math.max(pauseMs, Math.min(this.#lineup.waitMs, REOPEN_MS.maxMs));
    this.#reopen = clock.setTimer(() => this.#open(null), waitMs);
  }

  #replace(current: Current, error: AppError): void {
    current.attempt.failed(error);
    this.#open(current.candidate, error);
  }

  #leave(): void {
    const current = this.#current;
    this.#current = null;
    if (current === null) return;
    current.attempt.end();
    try {
      current.session?.close();
    } catch (error) {
      this.#lineup.log.error('stt.crashed', { error: toAppError(error) });
    }
  }

  /** One that throws is replaced, but not from inside the call of whoever told it. */
  #tell(act: (session: SttSession) => void): void {
    const current = this.#current;
    if (current?.session == null || current.isBroken) return;
    try {
      act(current.session);
    } catch (thrown) {
      const error = toAppError(thrown);
      current.isBroken = true;
      this.#lineup.log.error('stt.crashed', { error });
      this.#soon(() => {
        if (this.#current === current) this.#replace(current, error);
      });
    }
  }

  /** Somebody else may be asked now. */
  #hasOthers({ candidate }: Current): boolean {
    const others = this.#lineup.available().filter((each) => !this.#left.has(each));
    return others.some((each) => each !== candidate && !each.isLastResort);
  }

  // ---- What it says ----

  #on(current: Current, event: SttEvent): void {
    switch (event.type) {
      case 'partial':
        this.#partial(current, event);
        return;
      case 'final':
        this.#final(current, event);
        return;
      case 'error':
        this.#failed(current, event);
    }
  }

  #partial({ candidate }: Current, event: SttEvent & { readonly type: 'partial' }): void {
    if (event.text !== '') {
      this.#hasPartial = true;
      candidate.member.givesPartials = true;
      if (this.#heard.isSpeaking) this.#armDeaf();
    }
    this.#call.onEvent(event);
  }

  #final(current: Current, event: SttEvent & { readonly type: 'final' }): void {
    const [unread] = this.#heard.unread;
    if (unread === undefined) return; // it was read already, or given up
    const { clock } = this.#lineup;
    if (event.text === '' && this.#isSuspicious(current, unread)) {
      unread.isSecondTry = true;
      this.#secondTryMs = clock.now();
      const error = new AppError(
        'E_TIMEOUT',
        `${current.candidate.member.vendor}: it heard nothing`,
      );
      return this.#open(current.candidate, error);
    }
    this.#heard.read(event.endMs);
    this.#left.clear();
    current.silent = event.text === '' ? current.silent + 1 : 0;
    if (event.text !== '') {
      current.hasRead = true;
      this.#failures = 0;
      current.attempt.answered(Math.max(0, clock.now() - this.#stoppedMs), true);
    }
    clock.clearTimer(this.#late);
    if (this.#heard.unread.length > 0) this.#armLate();
    else if (!this.#heard.isSpeaking) this.#hasPartial = false;
    this.#call.onEvent(event);
  }

  /** A vendor that hangs and one that hears noise look alike: the first time, another one is asked. */
  #isSuspicious(current: Current, { audio, isSecondTry }: Unread): boolean {
    if (this.#hasPartial || isSecondTry || audio.endMs - audio.startMs < WORDY_MS) return false;
    if (current.hasRead && current.silent === 0) return false;
    const isDue = this.#lineup.clock.now() - this.#secondTryMs >= SECOND_TRY_EVERY_MS;
    return isDue && this.#hasOthers(current);
  }

  #failed(current: Current, event: SttEvent & { readonly type: 'error' }): void {
    const error = toAppError(event.error, 'E_PROVIDER_SERVER');
    if (failureOf(error) === 'content') return this.#call.onEvent(event);
    if (this.#hasOthers(current)) return this.#replace(current, error);
    if (event.isFatal !== true) {
      current.candidate.member.events.failed(current.candidate.member, failureOf(error));
      return this.#call.onEvent(event);
    }
    current.attempt.failed(error);
    this.#leave();
    this.#nobody();
  }

  // ---- Deadlines ----

  #armAll(): void {
    const { unread, isSpeaking } = this.#heard;
    if (isSpeaking) this.#armDeaf();
    if (unread.length > 0) this.#armLate();
  }

  /** Speech goes on, and no word of it comes. */
  #armDeaf(): void {
    const { clock } = this.#lineup;
    clock.clearTimer(this.#deaf);
    const current = this.#current;
    if (current === null || !current.candidate.member.givesPartials) return;
    this.#loud = 0;
    this.#deaf = clock.setTimer(() => {
      if (this.#current !== current || !this.#heard.isSpeaking || !this.#hasOthers(current)) return;
      if (this.#loud < LOUD_ENOUGH) return;
      const { vendor } = current.candidate.member;
      this.#replace(current, new AppError('E_TIMEOUT', `${vendor}: no word of what is being said`));
    }, DEAF_MS);
  }

  /** Speech is over, and its text does not come. */
  #armLate(): void {
    const { clock } = this.#lineup;
    clock.clearTimer(this.#late);
    const current = this.#current;
    if (current === null) return;
    const { member } = current.candidate;
    const patienceMs = member.patienceMs(PATIENCE);
    const isAtWork = this.#hasPartial || this.#left.size > 0;
    const limitMs = isAtWork ? Math.max(AT_WORK_MS, patienceMs) : patienceMs;
    this.#late = clock.setTimer(() => {
      if (this.#current !== current || !this.#hasOthers(current)) return;
      const what = `${member.vendor}: no text ${Math.round(limitMs)} ms after the end of speech`;
      this.#replace(current, new AppError('E_TIMEOUT', what));
    }, limitMs);
  }

  #soon(act: () => void): void {
    const { clock } = this.#lineup;
    const timer = clock.setTimer(() => {
      this.#later.delete(timer);
      if (!this.#isOver) act();
    }, 0);
    this.#later.add(timer);
  }
}
