/**
 * One connection to a recogniser as the adapters use it: started within a deadline, fed, told of its end once. What the
 * messages mean is the vendor's file's to say.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toldElsewhere } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { HearingEvents, HearingLine } from './stt-line.ts';
import { brokenMessage } from './vendor-json.ts';
import { openChannel, type Channel, type ChannelOptions } from './ws-channel.ts';

/** What the vendor's file may do with the connection. */
export type HearingOut = Pick<HearingEvents, 'partial' | 'final'> & {
  readonly send: (message: string | Uint8Array) => void;
  /** Audio may be sent. */
  readonly ready: () => void;
  /** All was read: nothing more is told, and nothing is wrong. */
  readonly end: () => void;
};

export type HearingProtocol = {
  /** The connection is there. A vendor that has no word for its start is ready at once. */
  opened(out: HearingOut): void;
  /** May throw AppError: the line fails with it. */
  text(text: string, out: HearingOut): void;
  /** One frame as the vendor wants it; null: it wants none now. */
  frame(frame: Int16Array): string | Uint8Array | null;
  /** The utterance is over. */
  flush?(out: HearingOut): void;
  /** Said in going. */
  leave?(): string | Uint8Array | null;
};

export type HearingSocketOptions = {
  readonly vendor: string;
  readonly clock: Clock;
  readonly channel: Pick<ChannelOptions, 'url' | 'headers' | 'refused' | 'ping' | 'upgraded'>;
  readonly protocol: HearingProtocol;
  readonly events: HearingEvents;
  /** Default 3000 (providers.md 12.4). */
  readonly startedMs?: number;
};

/** Resolves when audio may be sent. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
export async function openHearing(
  options: HearingSocketOptions,
  signal: AbortSignal,
): Promise<HearingLine> {
  const socket = new HearingSocket(options);
  try {
    await socket.connect(signal);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

class HearingSocket implements HearingLine {
  readonly #options: HearingSocketOptions;
  readonly #started = Promise.withResolvers<void>();
  readonly #out: HearingOut;
  #channel: Channel | null = null;
  #timer: TimerHandle | undefined;
  #isStarted = false;
  #isOver = false;

  constructor(options: HearingSocketOptions) {
    this.#options = options;
    toldElsewhere(this.#started.promise);
    const { events } = options;
    this.#out = {
      send: (message) => void this.#channel?.send(message),
      ready: () => this.#start(),
      partial: (text) => events.partial(text),
      final: (text, confidence) => events.final(text, confidence),
      end: () => this.#end(),
    };
  }

  send(frame: Int16Array): void {
    if (this.#isOver) return;
    const message = this.#options.protocol.frame(frame);
    if (message !== null) this.#channel?.send(message);
  }

  flush(): void {
    if (!this.#isOver) this.#options.protocol.flush?.(this.#out);
  }

  close(): void {
    if (this.#isOver) return;
    const last = this.#isStarted ? (this.#options.protocol.leave?.() ?? null) : null;
    if (last !== null) this.#channel?.send(last);
    this.#end();
  }

  async connect(signal: AbortSignal): Promise<void> {
    const { vendor, clock, channel, protocol, startedMs = 3_000 } = this.#options;
    this.#channel = await openChannel(
      {
        ...channel,
        ...{ what: `${vendor} recogniser`, clock },
        onText: (text) => this.#hear(text),
        onBinary: () => this.#fail(brokenMessage(vendor, 'binary data where text belongs')),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    this.#timer = clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `${vendor}: no start within ${startedMs} ms`));
    }, startedMs);
    const onAbort = (): void => this.#fail(new AppError('E_ABORTED', `${vendor}: given up`));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      protocol.opened(this.#out);
      await this.#started.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      clock.clearTimer(this.#timer);
    }
  }

  #start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#started.resolve();
  }

  #hear(text: string): void {
    if (this.#isOver) return;
    try {
      this.#options.protocol.text(text, this.#out);
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#end();
    if (this.#isStarted) this.#options.events.failed(error);
    else this.#started.reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#options.clock.clearTimer(this.#timer);
    this.#channel?.close();
  }
}
