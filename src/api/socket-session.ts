/**
 * One open socket and the limits that hold for all of them (contract 2.5): frames, silence, slow readers, the end of the
 * credentials. What is said on it is the business of its handlers.
 */
import type { WebSocket, RawData } from 'ws';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { Caller, Grant } from './auth.ts';
import type { Language } from './language.ts';
import { Problem, toProblem } from './problem.ts';
import { closeCodeOf, socketText, type SocketErrorCode } from './socket-problems.ts';
import { parseJsonObject } from './strict-json.ts';

/** Largest frame, text or binary; ws closes with 1009 beyond it. */
export const MAX_FRAME_BYTES = 64 * 1024;
/** Bad JSON or an unknown `type` so often ends the socket. */
const MAX_BAD_FRAMES = 10;
const SILENCE_MS = 15_000;
/** A probe is answered by the client's library once it has read all that came before it. */
const PROBE_EVERY_MS = 5_000;
const PROBE_ANSWER_MS = 10_000;
/** What a client may leave unread here, beyond what the kernel holds for it. */
const MAX_BEHIND_BYTES = 256 * 1024;
/** Audio is left out sooner: late audio is of no use, and frames must still get through. */
const MAX_AUDIO_BEHIND_BYTES = 64 * 1024;
/** From our close frame to the end of a connection whose other side does not answer it. */
const LINGER_MS = 2_000;
/** Longest delay of a timer. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export type SocketHandlers = {
  /** A JSON frame. False: no such `type`. */
  text(type: string, frame: Readonly<Record<string, unknown>>): boolean;
  /** Null: this socket takes no binary frames (1003). */
  readonly binary: ((data: Buffer) => void) | null;
  /** Once, as soon as nothing is said any more, whoever ended it. */
  closed(): void;
};

export type SessionOptions = {
  readonly grant: Grant;
  readonly requestId: string;
  readonly language: Language;
  readonly clock: Clock;
  readonly log: Log;
  /** An answered probe counts as a word of the client. */
  readonly mayListenOnly: boolean;
  /** Default 15 s. */
  readonly silenceMs?: number;
  /** The connection is gone. Once. */
  readonly onGone: () => void;
};

type Watch = { silenceAtMs: number; probeAtMs: number; recheckAtMs: number; expiresAtMs: number };

export class SocketSession {
  readonly grant: Grant;
  readonly requestId: string;
  readonly log: Log;
  readonly #socket: WebSocket;
  readonly #options: SessionOptions;
  readonly #clock: Clock;
  readonly #watch: Watch;
  readonly #silenceMs: number;
  #handlers: SocketHandlers | null = null;
  #isOpen = true;
  #badFrames = 0;
  #probeSentAtMs: number | null = null;
  #timer: TimerHandle | undefined;
  #lingering: TimerHandle | undefined;

  constructor(socket: WebSocket, options: SessionOptions) {
    const { grant, clock } = options;
    this.#socket = socket;
    this.#options = options;
    this.#clock = clock;
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    this.grant = grant;
    this.requestId = options.requestId;
    this.log = options.log;
    const nowMs = clock.now();
    const { expiresAtMs } = grant;
    this.#watch = {
      silenceAtMs: nowMs + this.#silenceMs,
      probeAtMs: nowMs + PROBE_EVERY_MS,
      recheckAtMs: nowMs + grant.recheckMs,
      expiresAtMs:
        expiresAtMs === null ? Number.POSITIVE_INFINITY : nowMs + expiresAtMs - clock.wallMs(),
    };
    socket.on('message', (data, isBinary) => this.#take(data, isBinary));
    // ws answers each by itself, and ends a client that does not read the answers.
    socket.on('ping', () => this.#heard());
    socket.on('pong', () => {
      this.#probeSentAtMs = null;
      if (options.mayListenOnly) this.#heard();
    });
    // A frame that is too large or no WebSocket at all: ws has begun to close with its code.
    socket.on('error', (error) => this.close(1002, error.message));
    socket.on('close', () => this.#gone());
    this.#arm();
  }

  get caller(): Caller {
    return this.grant.caller;
  }

  /** False once either side has begun to close. */
  get isOpen(): boolean {
    return this.#isOpen && this.#socket.readyState === this.#socket.OPEN;
  }

  /** To be set before the event loop turns; frames that come earlier would be lost. */
  handle(handlers: SocketHandlers): void {
    this.#handlers = handlers;
  }

  /** `sent`: once the frame has left this process, or never will. */
  send(frame: object, sent?: () => void): void {
    if (!this.isOpen) {
      sent?.();
      return;
    }
    this.#socket.send(JSON.stringify(frame), sent);
    if (this.#socket.bufferedAmount > MAX_BEHIND_BYTES)
      this.close(4408, 'the client does not read');
  }

  /** What the client has not read, beyond what the kernel holds for it. */
  get unsentBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** `bytes` are kept until they are sent. False: left out, because the client has not read what came before. */
  sendAudio(bytes: Uint8Array): boolean {
    if (!this.isOpen || this.#socket.bufferedAmount > MAX_AUDIO_BEHIND_BYTES) return false;
    this.#socket.send(bytes, { binary: true });
    return true;
  }

  /** The client is being served: its silence begins anew. */
  noteWork(): void {
    this.#heard();
  }

  /** What a code means, in the client's language. */
  textOf(code: SocketErrorCode): string {
    return socketText(code, this.#options.language);
  }

  /** Tells the client of a fault that leaves the socket open. */
  error(code: SocketErrorCode, message?: string): void {
    this.#sendError(code, message, false);
  }

  /** As `error`, for anything thrown; our own faults go to the log. */
  refuse(thrown: unknown): void {
    const problem = this.#problemOf(thrown);
    this.error(problem.problem, socketText(problem, this.#options.language));
  }

  /** Tells the client why, and closes with the code that belongs to it. */
  fail(thrown: unknown): void {
    const problem = this.#problemOf(thrown);
    const text = socketText(problem, this.#options.language);
    this.#sendError(problem.problem, text, true, problem.vendorCode);
    this.close(closeCodeOf(problem), problem.problem);
  }

  /** Our own fault (1011): into the log, and out. */
  fault(thrown: unknown): void {
    this.#problemOf(thrown);
    this.close(1011, 'INTERNAL');
  }

  /** Idempotent. What was sent before still arrives. */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#end();
    this.log.debug('socket.closed', { requestId: this.requestId, code, reason });
    this.#socket.close(code, reason.slice(0, 120));
    this.#lingering = this.#clock.setTimer(() => this.#socket.terminate(), LINGER_MS);
  }

  #sendError(
    code: SocketErrorCode,
    message: string | undefined,
    fatal: boolean,
    vendorCode: string | null = null,
  ): void {
    const text = message ?? socketText(code, this.#options.language);
    const details = vendorCode === null ? {} : { details: { vendor_code: vendorCode } };
    this.send({ type: 'error', code, message: text, fatal, ...details });
  }

  #problemOf(thrown: unknown): Problem {
    const problem = toProblem(thrown);
    if (problem.status < 500) return problem;
    const level = problem.problem === 'INTERNAL' ? 'error' : 'warn';
    const { requestId } = this;
    this.log[level]('socket.failed', { requestId, code: problem.problem, error: problem });
    return problem;
  }

  // ---- What comes in ----

  #take(data: RawData, isBinary: boolean): void {
    if (!this.#isOpen || this.#handlers === null) return;
    this.#heard();
    // ws gives one Buffer unless told otherwise.
    const bytes = data as Buffer;
    try {
      if (!isBinary) this.#takeText(bytes, this.#handlers);
      else if (this.#handlers.binary === null) this.close(1003, 'no binary frames here');
      else this.#handlers.binary(bytes);
    } catch (error) {
      this.fault(error);
    }
  }

  #takeText(bytes: Buffer, handlers: SocketHandlers): void {
    const frame = readFrame(bytes);
    if (frame === null) return this.#noteBad('a text frame must be a JSON object with a `type`');
    if (!handlers.text(frame.type, frame)) this.#noteBad(`no frame of type ${shown(frame.type)}`);
  }

  #noteBad(message: string): void {
    if (++this.#badFrames >= MAX_BAD_FRAMES) return this.close(1008, 'BAD_FRAME');
    this.error('BAD_FRAME', message);
  }

  #heard(): void {
    this.#watch.silenceAtMs = this.#clock.now() + this.#silenceMs;
  }

  // ---- What is watched ----

  #arm(): void {
    const { silenceAtMs, probeAtMs, recheckAtMs, expiresAtMs } = this.#watch;
    const nextMs = Math.min(silenceAtMs, probeAtMs, recheckAtMs, expiresAtMs) - this.#clock.now();
    const delayMs = Math.min(MAX_DELAY_MS, Math.max(0, nextMs));
    this.#timer = this.#clock.setTimer(() => this.#check(), delayMs);
  }

  #check(): void {
    const nowMs = this.#clock.now();
    const watch = this.#watch;
    if (nowMs >= watch.expiresAtMs) return this.close(4401, 'TOKEN_EXPIRED');
    if (nowMs >= watch.silenceAtMs)
      return this.close(4408, `silent for ${this.#silenceMs / 1_000} s`);
    if (nowMs >= watch.probeAtMs) this.#probe(nowMs);
    if (nowMs >= watch.recheckAtMs) {
      watch.recheckAtMs = nowMs + this.grant.recheckMs;
      void this.#recheck();
    }
    if (this.#isOpen) this.#arm();
  }

  #probe(nowMs: number): void {
    const sentAtMs = this.#probeSentAtMs;
    if (sentAtMs !== null && nowMs - sentAtMs >= PROBE_ANSWER_MS) {
      return this.close(4408, 'the client does not read');
    }
    this.#watch.probeAtMs = nowMs + PROBE_EVERY_MS;
    if (sentAtMs !== null || !this.isOpen) return;
    this.#probeSentAtMs = nowMs;
    this.#socket.ping();
  }

  async #recheck(): Promise<void> {
    try {
      if (!(await this.grant.recheck())) this.close(4401, 'KEY_REVOKED');
    } catch (error) {
      // With the database away a right that was there is taken as still there.
      this.log.debug('socket.notRechecked', { requestId: this.requestId, error });
    }
  }

  #end(): void {
    this.#isOpen = false;
    this.#clock.clearTimer(this.#timer);
    try {
      this.#handlers?.closed();
    } catch (error) {
      this.#problemOf(error);
    }
  }

  #gone(): void {
    this.#clock.clearTimer(this.#lingering);
    if (this.#isOpen) this.#end();
    this.#options.onGone();
  }

  /** Ends the connection at once, for a server that cannot wait. */
  terminate(): void {
    this.#socket.terminate();
  }
}

function readFrame(bytes: Buffer): (Record<string, unknown> & { readonly type: string }) | null {
  let frame: object;
  try {
    frame = parseJsonObject(bytes);
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
  const { type } = frame as { readonly type?: unknown };
  return typeof type === 'string' ? { ...frame, type } : null;
}

/** What a client wrote, short enough for a message to it. */
function shown(type: string): string {
  return JSON.stringify(type.slice(0, 40));
}
