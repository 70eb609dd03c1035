/**
 * A call with a realtime model, over as many connections as it takes: one that drops, dies or reaches its vendor's limit
 * is followed by another, which is told what was said and hears again what may not have been heard.
 */
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { RealtimeEvent, RealtimeProvider, RealtimeSession, ToolCall } from './contract.ts';
import { OwedReply } from './owed-reply.ts';
import { SAMPLES_PER_MS } from './rates.ts';
import { SpokenHistory } from './realtime-history.ts';
import type { LineEvents, RealtimeLine, RealtimeSettings } from './realtime-line.ts';
import { Replies, type Reply } from './realtime-replies.ts';
import { UnheardAudio } from './realtime-unheard.ts';

/** What the model is to be asked for, one at a time. */
type Todo =
  | { readonly kind: 'say' | 'text'; readonly text: string }
  | { readonly kind: 'answer'; readonly goesOn: boolean };

type Call = Parameters<RealtimeProvider['open']>[0];

/** More is not kept for a vendor that does not get round to it. */
const MAX_TODO = 32;
/** Connections in a row that bring nothing. */
const MAX_TRIES = 2;
/** Audio to catch up with: at once, and then so much so often (ten times real time). */
const BURST = 2_000 * SAMPLES_PER_MS;
const CATCH_UP = 600 * SAMPLES_PER_MS;
const CATCH_UP_EVERY_MS = 60;
const BUSY_WAIT_MS = 250;
const QUOTA_WAIT_MS = 500;
/** Of a session's limit: from then on the next quiet moment is used, and from then on any. */
const RENEW_BEFORE_MS = 5 * 60_000;
const RENEW_NOW_BEFORE_MS = 30_000;
const QUIET_CHECK_MS = 500;

/** Errors: those of `RealtimeProvider.open`. */
export async function openRealtimeSession(
  settings: RealtimeSettings,
  call: Call,
  signal: AbortSignal,
): Promise<RealtimeSession> {
  const session = new LongSession(settings, call);
  const giveUp = (): void => session.close();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    if (signal.aborted) throw new AppError('E_ABORTED', `${settings.vendor}: given up`);
    await session.start();
    return session;
  } catch (error) {
    session.close();
    throw toAppError(error, 'E_PROVIDER_SERVER');
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

class LongSession implements RealtimeSession {
  readonly #settings: RealtimeSettings;
  readonly #call: Call;
  /** Of connections that are being made. */
  readonly #opening = new Set<AbortController>();
  readonly #history: SpokenHistory;
  readonly #replies = new Replies();
  readonly #unheard = new UnheardAudio();
  readonly #todo: Todo[] = [];
  /** Sent to the vendor, and not answered whole. */
  #doing: Todo | null = null;
  #line: RealtimeLine | null = null;
  /** Which connection is the one in use; events of others are not told. */
  #number = 0;
  #opened = 0;
  #tries = 0;
  #texts = 0;
  #isSpeaking = false;
  #isOver = false;
  /** Of the vendor: what comes too late, or not at all, shows that its line is as good as dead. */
  readonly #owed: OwedReply;
  #catchUp: TimerHandle | undefined;
  #renewal: TimerHandle | undefined;
  /** Then the next quiet moment is no longer waited for. */
  #renewAtMs = 0;
  #busy: TimerHandle | undefined;

  constructor(settings: RealtimeSettings, call: Call) {
    this.#settings = settings;
    this.#call = call;
    this.#history = new SpokenHistory(call.history);
    this.#owed = new OwedReply(settings.tools.clock, (ms) => {
      const text = `${settings.vendor}: no reply in ${ms} ms`;
      this.#failed(new AppError('E_TIMEOUT', text));
    });
  }

  async start(): Promise<void> {
    const number = ++this.#opened;
    this.#number = number;
    const line = await this.#connect(number);
    if (this.#isOver || this.#number !== number) {
      line.close();
      throw new AppError(this.#isOver ? 'E_ABORTED' : 'E_PROVIDER_SERVER', 'the line was lost');
    }
    this.#use(line);
  }

  // ---- What the call says ----

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    if (this.#line !== null && this.#unheard.unsent === 0) {
      // Nothing to catch up with: it goes as it came.
      this.#unheard.appendSent(pcm);
      this.#line.push(pcm);
      return;
    }
    this.#unheard.append(pcm);
    if (this.#catchUp === undefined) this.#send(BURST);
  }

  say(text: string): void {
    this.#ask({ kind: 'say', text });
  }

  text(text: string): void {
    this.#ask({ kind: 'text', text });
  }

  toolResult(id: string, content: string): void {
    if (this.#isOver) return;
    const answered = this.#replies.answered(id);
    if (answered === null) return;
    this.#history.toolResult(id, content);
    // A line to come is told with the history.
    this.#line?.toolResult(id, content);
    // What the caller is saying will be answered with this result in mind.
    if (answered.isLast && !this.#isSpeaking) {
      this.#ask({ kind: 'answer', goesOn: false });
    }
  }

  interrupt(generation: number, heardMs: number): void {
    if (this.#isOver) return;
    const reply = this.#replies.void(generation);
    if (reply === undefined) return;
    this.#history.cut(generation, heardMs, reply.ms);
    if (reply.line === this.#number) this.#line?.interrupt(reply.id, heardMs);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const opening of this.#opening) opening.abort();
    this.#drop();
    this.#settings.tools.clock.clearTimer(this.#renewal);
    this.#todo.length = 0;
  }

  // ---- One thing at a time ----

  #ask(todo: Todo): void {
    if (this.#isOver || this.#todo.length >= MAX_TODO) return;
    this.#todo.push(todo);
    this.#next();
  }

  #next(): void {
    const line = this.#line;
    if (line === null || this.#doing !== null || this.#busy !== undefined) return;
    if (this.#replies.underWay(this.#number) !== undefined) return;
    const todo = this.#todo.shift();
    if (todo === undefined) return;
    this.#doing = todo;
    this.#owed.expect(this.#settings.replyMs ?? 8_000);
    if (todo.kind === 'say') line.say(todo.text);
    else if (todo.kind === 'answer') line.answer(todo.goesOn);
    else {
      this.#history.userSaid(`text:${++this.#texts}`, todo.text);
      line.text(todo.text);
    }
  }

  // ---- What the vendor says ----

  #events(number: number): LineEvents {
    const mine = (act: () => void): void => {
      if (number === this.#number && !this.#isOver) act();
    };
    return {
      speechStarted: () =>
        mine(() => {
          this.#isSpeaking = true;
          this.#unheard.speechStarted();
          this.#tell({ type: 'speech_started' });
        }),
      speechStopped: () =>
        mine(() => {
          this.#isSpeaking = false;
          this.#tell({ type: 'speech_stopped' });
        }),
      took: (key, answer) =>
        mine(() => {
          this.#isSpeaking = false;
          this.#unheard.took();
          this.#history.userTook(`${number}:${key}`);
          this.#took(answer);
        }),
      userText: (key, text, isFinal) =>
        mine(() => {
          if (isFinal) this.#history.userSaid(`${number}:${key}`, text);
          this.#tell({ type: 'user_transcript', text, isFinal });
        }),
      ...this.#replyEvents(number, mine),
      usage: (usage) => mine(() => this.#tell({ type: 'usage', usage })),
      busy: () => mine(() => this.#onBusy()),
      declined: (error) => mine(() => this.#onDeclined(error)),
      fault: (error) => mine(() => this.#tell({ type: 'error', error, isFatal: false })),
      // A line may fail while something is sent on it: that is not told from inside the call.
      failed: (error) => queueMicrotask(() => mine(() => this.#failed(error))),
    };
  }

  #replyEvents(number: number, mine: (act: () => void) => void) {
    return {
      replyStarted: (id: string) =>
        mine(() => {
          const before = this.#replies.underWay(number);
          // A vendor that begins another has finished with this one, whatever it forgot to say.
          if (before !== undefined) this.#done(before, [], null);
          const { generation } = this.#replies.begin(number, id);
          this.#history.agentBegan(generation);
          this.#owed.expect(this.#settings.replyMs ?? 8_000);
          this.#tell({ type: 'turn_started', generation });
        }),
      audio: (id: string, pcm: Int16Array) => {
        const reply = this.#goingOn(number, id);
        if (reply === null || pcm.length === 0) return;
        reply.ms += pcm.length / SAMPLES_PER_MS;
        this.#tell({ type: 'audio', pcm, generation: reply.generation });
      },
      agentText: (id: string, text: string) => {
        const reply = this.#goingOn(number, id);
        if (reply === null) return;
        const { generation } = reply;
        this.#history.agentSaid(generation, text);
        this.#tell({ type: 'agent_text', text, generation });
      },
      replyDone: (id: string, calls: readonly ToolCall[], error: AppError | null) =>
        mine(() => {
          const reply = this.#replies.find(number, id);
          if (reply !== undefined && !reply.isDone) this.#done(reply, calls, error);
        }),
    };
  }

  /** A reply of which there is more; null: it is over or void, or of another line. */
  #goingOn(line: number, id: string): Reply | null {
    if (line !== this.#number || this.#isOver) return null;
    const reply = this.#replies.find(line, id);
    if (reply === undefined || reply.isDone) return null;
    this.#owed.expect(this.#settings.stallMs ?? 5_000);
    return this.#replies.isVoid(reply) ? null : reply;
  }

  #done(reply: Reply, calls: readonly ToolCall[], error: AppError | null): void {
    reply.isDone = true;
    const wanted = this.#doing;
    this.#doing = null;
    this.#owed.expect(null);
    if (error === null && reply.ms > 0) this.#tries = 0;
    const { generation } = reply;
    if (this.#replies.isVoid(reply)) {
      // Nobody will carry these out, and a conversation with open calls is refused by some vendors.
      for (const { id } of calls) this.#line?.toolResult(id, '{"error":"interrupted"}');
    } else {
      this.#history.agentAsked(generation, calls);
      for (const call of calls) reply.open.add(call.id);
      for (const call of calls) this.#tell({ type: 'tool_call', call, generation });
      if (error !== null) this.#unanswered(reply, wanted, error);
      if (!this.#isOver) this.#tell({ type: 'turn_done', generation });
    }
    if (!this.#isOver) this.#next();
  }

  /** A reply that failed without a sound is asked for once more; else the call is told. */
  #unanswered(reply: Reply, wanted: Todo | null, error: AppError): void {
    if (error.retryable && reply.ms === 0 && this.#tries < MAX_TRIES - 1) {
      this.#tries += 1;
      this.#todo.unshift(again(wanted, false));
      if (error.code === 'E_PROVIDER_QUOTA') this.#pause(QUOTA_WAIT_MS);
    } else this.#tell({ type: 'error', error, isFatal: false });
  }

  #onBusy(): void {
    if (this.#doing === null) return;
    this.#todo.unshift(again(this.#doing, false));
    this.#doing = null;
    this.#owed.expect(null);
    // The reply that was in the way may be over by now, and then nothing else would ask again.
    this.#pause(BUSY_WAIT_MS);
  }

  #onDeclined(error: AppError): void {
    this.#doing = null;
    this.#owed.expect(null);
    this.#tell({ type: 'error', error, isFatal: false });
    if (!this.#isOver) this.#next();
  }

  #pause(ms: number): void {
    const { clock } = this.#settings.tools;
    clock.clearTimer(this.#busy);
    this.#busy = clock.setTimer(() => {
      this.#busy = undefined;
      this.#next();
    }, ms);
  }

  /** Of the caller's words. */
  #took(answer: 'comes' | 'ask' | 'none'): void {
    if (answer === 'ask') this.#ask({ kind: 'answer', goesOn: false });
    if (answer !== 'comes') return;
    this.#doing ??= { kind: 'answer', goesOn: false };
    this.#owed.expect(this.#settings.replyMs ?? 8_000);
  }

  #tell(event: RealtimeEvent): void {
    if (!this.#isOver) this.#call.onEvent(event);
  }

  // ---- Lines ----

  async #connect(number: number): Promise<RealtimeLine> {
    const { callId, language, instructions, tools, codec } = this.#call;
    const history = this.#history.messages();
    const call = { callId, language, instructions, tools, codec, history };
    const opening = new AbortController();
    this.#opening.add(opening);
    try {
      return await this.#settings.connect(call, this.#events(number), opening.signal);
    } finally {
      this.#opening.delete(opening);
    }
  }

  #use(line: RealtimeLine): void {
    this.#line = line;
    this.#renewBefore(line.lastsMs ?? this.#settings.limitMs);
    this.#send(BURST);
    this.#next();
  }

  #drop(): void {
    const { clock } = this.#settings.tools;
    this.#owed.expect(null);
    for (const timer of [this.#catchUp, this.#busy]) clock.clearTimer(timer);
    this.#catchUp = this.#busy = undefined;
    this.#line?.close();
    this.#line = null;
  }

  #failed(error: AppError): void {
    const { log } = this.#settings.tools;
    this.#breakOff();
    const isHopeless = ['E_PROVIDER_AUTH', 'E_PROVIDER_PARAM', 'E_CONFIG'].includes(error.code);
    if (isHopeless || this.#tries >= MAX_TRIES) return this.#giveUp(error);
    if (error.code !== 'E_PROVIDER_IDLE') this.#tries += 1;
    log.info('realtime.reopened', {
      ...{ vendor: this.#settings.vendor, callId: this.#call.callId },
      ...{ code: error.code, reason: error.message },
    });
    const opening = this.start();
    const number = this.#number;
    opening.catch((reason: unknown) => {
      // A line that was lost as soon as it was there has been told of already.
      if (this.#isOver || this.#number !== number) return;
      this.#failed(toAppError(reason, 'E_PROVIDER_SERVER'));
    });
  }

  /** The line is gone: what it owed is to be asked of the next. */
  #breakOff(): void {
    const reply = this.#replies.underWay(this.#number);
    const isWanted = reply !== undefined && !this.#replies.isVoid(reply);
    const wanted = this.#doing;
    this.#number = 0;
    this.#drop();
    this.#doing = null;
    this.#unheard.rewind();
    if (this.#isSpeaking) this.#tell({ type: 'speech_stopped' });
    this.#isSpeaking = false;
    if (reply === undefined ? wanted !== null : isWanted) {
      this.#todo.unshift(again(wanted, (reply?.ms ?? 0) > 0));
    }
    if (reply === undefined) return;
    reply.isDone = true;
    const { generation } = reply;
    if (isWanted) this.#tell({ type: 'turn_done', generation });
  }

  #giveUp(error: AppError): void {
    this.#tell({ type: 'error', error, isFatal: true });
    this.close();
  }

  // ---- Before the vendor's limit ----

  #renewBefore(inMs: number | null): void {
    const { clock } = this.#settings.tools;
    clock.clearTimer(this.#renewal);
    if (inMs === null) return;
    this.#renewAtMs = clock.now() + inMs - Math.min(inMs / 8, RENEW_NOW_BEFORE_MS);
    this.#checkRenewal(Math.max(inMs / 2, inMs - RENEW_BEFORE_MS));
  }

  #checkRenewal(waitMs: number): void {
    const { clock } = this.#settings.tools;
    this.#renewal = clock.setTimer(() => {
      const leftMs = this.#renewAtMs - clock.now();
      if (this.#isQuiet || leftMs <= 0) void this.#renew();
      else this.#checkRenewal(Math.min(QUIET_CHECK_MS, leftMs));
    }, waitMs);
  }

  get #isQuiet(): boolean {
    const isIdle = this.#doing === null && this.#todo.length === 0 && !this.#isSpeaking;
    return isIdle && this.#replies.underWay(this.#number) === undefined;
  }

  /** The next line is made while this one goes on; what happens meanwhile decides whether it is taken. */
  async #renew(): Promise<void> {
    // While it is being opened anew there is nothing to follow.
    if (this.#line === null) return;
    const wasQuiet = this.#isQuiet;
    const old = this.#number;
    const number = ++this.#opened;
    try {
      const line = await this.#connect(number);
      const isLate = this.#isOver || this.#number !== old || !line.isOpen;
      if (isLate || (wasQuiet && !this.#isQuiet)) {
        line.close();
        if (this.#number === old && !this.#isOver) this.#checkRenewal(QUIET_CHECK_MS);
        return;
      }
      this.#breakOff();
      this.#number = number;
      this.#use(line);
    } catch (error) {
      // The line in use still works; when its end comes it is opened again like any other.
      const reason = toAppError(error).message;
      this.#settings.tools.log.warn('realtime.renewFailed', { reason });
    }
  }

  // ---- The caller's sound ----

  #send(limit: number): void {
    const line = this.#line;
    if (line === null) return;
    this.#unheard.read(limit, (pcm) => line.push(pcm));
    if (this.#unheard.unsent === 0) return;
    this.#catchUp = this.#settings.tools.clock.setTimer(() => {
      this.#catchUp = undefined;
      this.#send(CATCH_UP);
    }, CATCH_UP_EVERY_MS);
  }
}

/** What was asked for, of a line that does not know of it. Words of the caller are in the history by now. */
function again(wanted: Todo | null, hasBegun: boolean): Todo {
  if (wanted?.kind === 'say' && !hasBegun) return wanted;
  return { kind: 'answer', goesOn: hasBegun };
}
