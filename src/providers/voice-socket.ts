/**
 * One connection to a voice as the adapters use it: ready within a deadline, then pieces whose sound must begin and go on
 * in time. What the messages mean is the vendor's file's to say.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toldElsewhere } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { WordMark } from './contract.ts';
import { Inbox } from './inbox.ts';
import type { PieceSession } from './piece-tts.ts';
import { brokenMessage, isJson } from './vendor-json.ts';
import { openChannel, type Channel, type ChannelOptions } from './ws-channel.ts';

/** What the vendor's file may do with the connection, and what it tells of the messages. */
export type VoiceLine = {
  readonly send: (message: string | Uint8Array) => void;
  /** Text may be sent. */
  readonly ready: () => void;
  /** s16le. */
  readonly sound: (bytes: Uint8Array) => void;
  /** The piece was said to its end. */
  readonly said: () => void;
  /** The vendor's times of the piece under way, all that are known so far. */
  readonly marks: (marks: readonly WordMark[]) => void;
  /** What `cancel` asked for has happened: nothing of the piece comes any more. */
  readonly cancelled: () => void;
  readonly failed: (error: AppError) => void;
};

export type VoiceProtocol = {
  /** The connection is there. */
  opened(line: VoiceLine): void;
  /** May throw AppError: the session fails with it. */
  text?(text: string, line: VoiceLine): void;
  /** Absent: the vendor sends none. */
  binary?(data: Buffer, line: VoiceLine): void;
  /** Begins a piece. */
  say(text: string, line: VoiceLine): void;
  /** Says goodbye, if the vendor wants a word once it is ready; also in the middle of a piece that is given up. */
  leave?(line: VoiceLine): void;
  /** Gives up the piece and keeps the connection: `cancelled` must follow. Absent: the connection is closed. */
  cancel?(line: VoiceLine): void;
};

export type VoiceSocketOptions = {
  readonly vendor: string;
  readonly clock: Clock;
  readonly channel: Pick<ChannelOptions, 'url' | 'headers' | 'refused' | 'ping' | 'upgraded'>;
  readonly protocol: VoiceProtocol;
  /** After a piece it may say another; else it is closed. */
  readonly lasts: boolean;
  /** Whoever keeps it from now on; absent: nobody. */
  onDone?(socket: VoiceSocket): void;
  /** Default 3000, 3000, 5000 (providers.md 12.4). */
  readonly readyMs?: number;
  readonly firstMs?: number;
  readonly gapMs?: number;
};

/** For the vendor's answer to `cancel`. */
const CANCEL_MS = 1_000;
/** Messages of sound that may wait: minutes of speech. */
const MAX_CHUNKS = 8_192;

export class VoiceSocket implements PieceSession {
  readonly #options: VoiceSocketOptions;
  readonly #ready = Promise.withResolvers<void>();
  readonly #line: VoiceLine;
  #channel: Channel | null = null;
  /** The first message may come with the upgrade itself, before there is a channel to answer by. */
  readonly #early: (() => void)[] = [];
  #inbox: Inbox<Uint8Array> | null = null;
  #timer: TimerHandle | undefined;
  #isReady = false;
  #isOver = false;
  /** It went back to whoever keeps it, or will when the vendor has cancelled. */
  #isKept = false;
  #isCancelling = false;
  #marks: readonly WordMark[] = [];

  /** Resolves when text may be sent. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  static async open(options: VoiceSocketOptions, signal: AbortSignal): Promise<VoiceSocket> {
    const socket = new VoiceSocket(options);
    try {
      await socket.#connect(signal);
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  private constructor(options: VoiceSocketOptions) {
    this.#options = options;
    toldElsewhere(this.#ready.promise);
    this.#line = {
      send: (message) => void this.#channel?.send(message),
      ready: () => this.#becomeReady(),
      sound: (bytes) => this.#sound(bytes),
      said: () => this.#inbox?.end(),
      marks: (marks) => (this.#marks = marks),
      cancelled: () => this.#cancelled(),
      failed: (error) => this.#fail(error),
    };
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#channel?.isOpen === true;
  }

  async *say(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const inbox = new Inbox<Uint8Array>(MAX_CHUNKS);
    this.#inbox = inbox;
    this.#isKept = false;
    this.#marks = [];
    const onAbort = (): void => this.#giveUp();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted || !this.isOpen) this.#fail(closed(this.#options.vendor, signal));
      if (this.#isOver) inbox.fail(closed(this.#options.vendor, signal));
      else {
        this.#watch(this.#options.firstMs ?? 3_000, 'begin to speak');
        this.#options.protocol.say(text, this.#line);
      }
      for (let next = await inbox.take(); next !== null; next = await inbox.take()) yield next;
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (!this.#isCancelling) this.#options.clock.clearTimer(this.#timer);
    }
  }

  marks(): readonly WordMark[] {
    return this.#marks;
  }

  done(): void {
    this.#inbox = null;
    if (!this.#options.lasts || this.#options.onDone === undefined) return this.close();
    this.#isKept = true;
    this.#options.onDone(this);
  }

  close(): void {
    // Whoever keeps it closes it, or has it closed by saying another piece.
    if (this.#isOver || this.#isKept) return;
    this.#end();
  }

  /** For whoever keeps it. */
  discard(): void {
    this.#isKept = false;
    this.close();
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { vendor, clock, channel, protocol } = this.#options;
    // A channel heeds its signal for as long as it lives, but this connection outlives the piece it was opened for.
    const connecting = new AbortController();
    const onAbort = (): void => {
      connecting.abort();
      this.#fail(new AppError('E_ABORTED', `${vendor}: given up`));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      this.#channel = await openChannel(
        {
          ...channel,
          ...{ what: `${vendor} voice`, clock },
          onText: (text) => this.#hear(() => protocol.text?.(text, this.#line)),
          onBinary: (data) => this.#hear(() => this.#binary(data)),
          onEnd: (error) => this.#fail(error),
        },
        connecting.signal,
      );
      this.#watch(this.#options.readyMs ?? 3_000, 'get ready');
      protocol.opened(this.#line);
      for (const act of this.#early.splice(0)) this.#hear(act);
      await this.#ready.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      clock.clearTimer(this.#timer);
    }
  }

  #becomeReady(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#ready.resolve();
  }

  #hear(act: () => void): void {
    if (this.#isOver) return;
    if (this.#channel === null) {
      this.#early.push(act);
      return;
    }
    try {
      act();
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #binary(data: Buffer): void {
    const { vendor, protocol } = this.#options;
    if (protocol.binary === undefined) {
      throw brokenMessage(vendor, 'binary data where text belongs');
    }
    if (isJson(data)) throw brokenMessage(vendor, 'text where sound belongs');
    protocol.binary(data, this.#line);
  }

  #giveUp(): void {
    const error = new AppError('E_ABORTED', 'the speech was given up');
    const { protocol, lasts } = this.#options;
    const isKept = lasts && this.#options.onDone !== undefined && this.isOpen;
    if (protocol.cancel === undefined || !isKept) {
      this.#fail(error);
      return;
    }
    this.#inbox?.fail(error);
    this.#inbox = null;
    this.#isKept = true;
    this.#isCancelling = true;
    this.#watch(CANCEL_MS, 'cancel');
    protocol.cancel(this.#line);
  }

  #cancelled(): void {
    if (!this.#isCancelling || this.#isOver) return;
    this.#isCancelling = false;
    this.#options.clock.clearTimer(this.#timer);
    this.#options.onDone?.(this);
  }

  /** Sound that nobody waits for is the end of what was given up. */
  #sound(bytes: Uint8Array): void {
    if (this.#inbox === null || bytes.length === 0) return;
    this.#watch(this.#options.gapMs ?? 5_000, 'go on');
    this.#inbox.push(bytes);
  }

  #watch(ms: number, what: string): void {
    const { clock, vendor } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `${vendor}: the voice did not ${what} within ${ms} ms`));
    }, ms);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#end();
    this.#ready.reject(error);
    this.#inbox?.fail(error);
  }

  #end(): void {
    this.#options.clock.clearTimer(this.#timer);
    if (this.#isReady && this.#channel?.isOpen === true) {
      this.#options.protocol.leave?.(this.#line);
    }
    this.#isOver = true;
    this.#channel?.close();
  }
}

function closed(vendor: string, signal: AbortSignal): AppError {
  if (signal.aborted) return new AppError('E_ABORTED', 'the speech was given up');
  return new AppError('E_PROVIDER_SERVER', `${vendor}: the connection was closed`);
}
