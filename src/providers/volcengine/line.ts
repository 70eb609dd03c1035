/**
 * One socket for event frames (voice and dialogue): connected and started once, then any number of sessions, one after
 * another, each under an id of its own. Frames of a session that is over are never passed on.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Spare } from '../spare-sockets.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import type { Service } from './account.ts';
import { failureOf, failureOfFrame, refusalOf } from './errors.ts';
import { ASK, TOLD } from './events.ts';
import { decodeFrame, encodeFrame, FRAME, jsonPayload, type VolcFrame } from './frame.ts';

export type LineOptions = {
  readonly service: Service;
  readonly clock: Clock;
  readonly log: Log;
};

export type LineUser = {
  /** Of its own session; never after `failed`, nor from inside a call of the line. */
  frame(frame: VolcFrame): void;
  /** The line, or with it the session, is over. Once. */
  failed(error: AppError): void;
  /** Something came that cannot be read, and the line goes on. Absent: then the line is over. */
  garbled?(error: AppError): void;
};

const MAX_MESSAGE_BYTES = 1024 * 1024;
const GOODBYE_MS = 1_000;
/** Of one connection; more is no accident. */
const MAX_GARBLED = 5;

export class VolcLine implements Spare {
  readonly #options: LineOptions;
  readonly openedAtMs: number;
  #channel: Channel | null = null;
  #started: { resolve(): void; reject(error: AppError): void } | null = null;
  #sessionId: string | null = null;
  #user: LineUser | null = null;
  /** Set while a session is waited for to end. */
  #leaving: ((hasEnded: boolean) => void) | null = null;
  #garbled = 0;
  #isOver = false;

  private constructor(options: LineOptions) {
    this.#options = options;
    this.openedAtMs = options.clock.now();
  }

  /** Resolves when the vendor has said ConnectionStarted. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  static async open(options: LineOptions, signal: AbortSignal): Promise<VolcLine> {
    const line = new VolcLine(options);
    // The channel would listen to `signal` for as long as it lives, and it lives longer than who asked for it.
    const opening = new AbortController();
    const onAbort = (): void => {
      opening.abort();
      line.close();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      await line.#connect(opening.signal);
      return line;
    } catch (error) {
      line.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#channel?.isOpen === true;
  }

  /** From now on frames of `sessionId`, a new one, are `user`'s. */
  begin(sessionId: string, user: LineUser, payload: unknown): void {
    this.#sessionId = sessionId;
    this.#user = user;
    if (this.send(ASK.startSession, payload)) return;
    const error = failureOf(this.#options.service, null, 'the connection is gone');
    queueMicrotask(() => user.failed(error));
  }

  /** To the session; false once the line is over. */
  send(event: number, payload: unknown): boolean {
    const sessionId = this.#sessionId;
    if (sessionId === null) return false;
    return this.#give({
      ...{ type: FRAME.fullClient, event, sessionId, isJson: true },
      payload: jsonPayload(payload),
    });
  }

  sendAudio(pcm: Uint8Array): boolean {
    const sessionId = this.#sessionId;
    if (sessionId === null) return false;
    return this.#give({ type: FRAME.audioClient, event: ASK.task, sessionId, payload: pcm });
  }

  /**
   * Nothing more of this session is passed on; `event` (CancelSession, FinishSession) tells the vendor. Resolves with
   * whether the vendor has ended the session in time, so that the next may begin. Never rejects.
   */
  leave(event: number): Promise<boolean> {
    this.#user = null;
    if (!this.isOpen || this.#sessionId === null) return Promise.resolve(this.isOpen);
    this.send(event, {});
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const { clock } = this.#options;
    const timer = clock.setTimer(() => this.#leaving?.(false), GOODBYE_MS);
    this.#leaving = (hasEnded) => {
      clock.clearTimer(timer);
      this.#leaving = null;
      resolve(hasEnded);
    };
    return promise;
  }

  /** Idempotent; nothing is told afterwards. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#user = null;
    if (this.#channel?.isOpen === true) {
      this.#channel.send(
        encodeFrame({
          ...{ type: FRAME.fullClient, event: ASK.finishConnection, isJson: true },
          payload: jsonPayload({}),
        }),
      );
    }
    this.#channel?.close();
    this.#leaving?.(false);
    const { what } = this.#options.service;
    this.#started?.reject(new AppError('E_ABORTED', `${what}: given up`));
    this.#started = null;
  }

  #give(frame: Parameters<typeof encodeFrame>[0]): boolean {
    if (!this.isOpen) return false;
    return this.#channel?.send(encodeFrame(frame)) ?? false;
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { service, clock, log } = this.#options;
    const { startMs } = service;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // It may be over before anybody waits for it.
    promise.catch(() => this.close());
    this.#started = { resolve, reject };
    this.#channel = await openServiceChannel(
      service,
      {
        clock,
        log,
        onBinary: (data) => this.#received(data),
        onText: (error) => this.#unreadable(error),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    if (this.#isOver) {
      this.#channel.close();
      throw new AppError('E_ABORTED', `${service.what}: given up`);
    }
    const timer: TimerHandle = clock.setTimer(
      () => this.#fail(new AppError('E_TIMEOUT', `${service.what}: no start in ${startMs} ms`)),
      startMs,
    );
    this.#channel.send(
      encodeFrame({
        ...{ type: FRAME.fullClient, event: ASK.startConnection, isJson: true },
        payload: jsonPayload({}),
      }),
    );
    try {
      await promise;
    } finally {
      clock.clearTimer(timer);
    }
  }

  #received(data: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#read(decodeFrame(data, MAX_MESSAGE_BYTES));
    } catch (error) {
      const { code, message } = toAppError(error, 'E_PROVIDER_SERVER');
      const text = `${this.#options.service.what}: ${message}`;
      this.#unreadable(new AppError(code, text, { cause: error }));
    }
  }

  /** Messages are whole: one that is broken does not spoil the next. */
  #unreadable(error: AppError): void {
    this.#garbled += 1;
    const user = this.#user;
    if (user?.garbled === undefined || this.#garbled > MAX_GARBLED) this.#fail(error);
    else user.garbled(error);
  }

  #read(frame: VolcFrame): void {
    const { service } = this.#options;
    const { sessionId, event } = frame;
    if (sessionId !== null && sessionId !== this.#sessionId) return;
    if (frame.type === FRAME.error || event === TOLD.connectionFailed) {
      return this.#fail(failureOfFrame(service, frame));
    }
    if (event === TOLD.connectionStarted) {
      this.#started?.resolve();
      this.#started = null;
      return;
    }
    if (event === TOLD.connectionFinished) {
      return this.#fail(failureOf(service, null, 'the vendor ended the connection'));
    }
    if (event === null || sessionId === null) return;
    const isEnd =
      event === TOLD.sessionCanceled ||
      event === TOLD.sessionFinished ||
      event === TOLD.sessionFailed;
    const user = this.#user;
    if (isEnd) {
      this.#user = null;
      this.#sessionId = null;
    }
    if (this.#leaving !== null && isEnd) this.#leaving(true);
    else user?.frame(frame);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#channel?.close();
    this.#leaving?.(false);
    this.#started?.reject(error);
    this.#started = null;
    const user = this.#user;
    this.#user = null;
    // A line too slow for what it is sent ends in the middle of sending.
    if (user !== null) queueMicrotask(() => user.failed(error));
  }
}

export type ServiceChannelUse = {
  readonly clock: Clock;
  readonly log: Log;
  onBinary(data: Buffer): void;
  /** None of the services sends text. */
  onText(error: AppError): void;
  onEnd(error: AppError): void;
};

/** Connects with the account's headers. Errors: those of `openChannel`. */
export function openServiceChannel(
  service: Service,
  use: ServiceChannelUse,
  signal: AbortSignal,
): Promise<Channel> {
  return openChannel(
    {
      url: service.url,
      headers: service.headers(),
      what: service.what,
      clock: use.clock,
      connectMs: service.connectMs,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      refused: (status, body, headers) =>
        refusalOf(service, status, body, logIdOf(headers['x-tt-logid'])),
      upgraded: (headers) =>
        use.log.debug('volcengine.connected', {
          service: service.name,
          logId: logIdOf(headers['x-tt-logid']),
        }),
      onText: () =>
        use.onText(new AppError('E_PROVIDER_SERVER', `${service.what}: text instead of a frame`)),
      onBinary: (data) => use.onBinary(data),
      onEnd: (error) => use.onEnd(error),
    },
    signal,
  );
}

/** The vendor's name for this connection, for its support. */
function logIdOf(header: string | string[] | undefined): string | null {
  const text = Array.isArray(header) ? header[0] : header;
  return text === undefined ? null : text.slice(0, 100);
}
