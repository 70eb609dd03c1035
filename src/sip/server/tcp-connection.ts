/** One TCP connection: framing, keep-alives, deadlines, bounded sending. */
import type { Socket } from 'node:net';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { StreamFramer } from './framing.ts';
import type { Frame } from './framing.ts';
import { CLOSE_TIMEOUT_MS, IDLE_TIMEOUT_MS, MAX_UNSENT, MESSAGE_TIMEOUT_MS } from './limits.ts';
import type { Flow } from './types.ts';

type ConnectionOptions = {
  readonly flow: Flow;
  readonly clock: Clock;
  readonly log: Log;
  readonly isAccepted: boolean;
  onFrame(frame: Frame, flow: Flow): void;
  onClosed(): void;
};

const PONG = Buffer.from('\r\n');

export class TcpConnection {
  readonly flow: Flow;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #framer = new StreamFramer();
  readonly #closed = Promise.withResolvers<void>();
  #timer: TimerHandle | undefined;
  #timerAtMs = Infinity;
  #dueMs: number;
  #isEnding = false;

  /** Takes the socket over: from here on only this object closes it. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.flow = options.flow;
    this.#socket = socket;
    this.#options = options;
    this.#dueMs = options.clock.now() + (options.isAccepted ? MESSAGE_TIMEOUT_MS : IDLE_TIMEOUT_MS);
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', (error) =>
      options.log.debug('tcp.failed', { connection: options.flow.connection, error }),
    );
    socket.once('close', () => {
      options.clock.clearTimer(this.#timer);
      options.onClosed();
      this.#closed.resolve();
    });
    this.#arm();
  }

  get isOpen(): boolean {
    return !this.#isEnding && this.#socket.writable;
  }

  /**
   * Queues bytes; they leave in order. Errors: E_SIP_ENGINE when the connection is gone, or when the peer does not
   * read what is queued already (the connection is then closed).
   */
  send(bytes: Buffer): void {
    const where = `TCP connection ${this.flow.connection}`;
    if (!this.isOpen) throw new AppError('E_SIP_ENGINE', `${where} is gone`);
    if (!this.#queue(bytes)) {
      throw new AppError('E_SIP_ENGINE', `${where} was closed: its peer does not read`);
    }
    this.#extend(IDLE_TIMEOUT_MS);
  }

  #queue(bytes: Buffer): boolean {
    if (this.#socket.writableLength + bytes.length > MAX_UNSENT) {
      this.#socket.destroy();
      return false;
    }
    this.#socket.write(bytes);
    return true;
  }

  /** Sends what is queued, reads nothing more, closes. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#limit(CLOSE_TIMEOUT_MS);
    this.#socket.end();
  }

  /** Closes at once; resolves when the handle is gone. */
  destroy(): Promise<void> {
    this.#isEnding = true;
    this.#socket.destroy();
    return this.#closed.promise;
  }

  #read(chunk: Buffer): void {
    if (this.#isEnding) return;
    const wasPartial = this.#framer.isPartial;
    const frames = this.#framer.push(chunk);
    const { isPartial } = this.#framer;
    if (isPartial && (!wasPartial || frames.length > 0)) this.#limit(MESSAGE_TIMEOUT_MS);
    else if (!isPartial && frames.length > 0) this.#limit(IDLE_TIMEOUT_MS);
    for (const frame of frames) {
      if (!this.isOpen) break;
      if (frame.kind === 'ping') this.#queue(PONG);
      this.#options.onFrame(frame, this.flow);
      if (frame.kind === 'broken') this.end();
    }
  }

  /** Sending keeps an idle connection open, but gives no more time to a message that does not come to its end. */
  #extend(ms: number): void {
    if (!this.#framer.isPartial)
      this.#dueMs = Math.max(this.#dueMs, this.#options.clock.now() + ms);
  }

  #limit(ms: number): void {
    this.#dueMs = this.#options.clock.now() + ms;
    this.#arm();
  }

  /** One timer per connection: a later deadline is looked at when the earlier one fires. */
  #arm(): void {
    const { clock } = this.#options;
    if (this.#timerAtMs <= this.#dueMs || this.#socket.closed) return;
    clock.clearTimer(this.#timer);
    this.#timerAtMs = this.#dueMs;
    this.#timer = clock.setTimer(() => {
      this.#timerAtMs = Infinity;
      if (clock.now() >= this.#dueMs) this.#socket.destroy();
      else this.#arm();
    }, this.#dueMs - clock.now());
  }
}
