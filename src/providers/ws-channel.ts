/**
 * One WebSocket to a vendor, as all adapters use it: connected within a deadline, watched for a line that died without
 * a word, bounded in what waits to be sent, and told of its end once. No error names the address: signed ones hold keys.
 */
import { WebSocket, type RawData } from 'ws';
import type { IncomingMessage } from 'node:http';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';

export type ChannelOptions = {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** In messages: `Tencent recogniser`. */
  readonly what: string;
  readonly clock: Clock;
  /** Default 3000 (providers.md 12.4). */
  readonly connectMs?: number;
  /** Bytes that may wait to be sent; more end the channel. Default 256 KiB. */
  readonly maxWaitingBytes?: number;
  /** Default 8 MiB; a larger message ends the channel. */
  readonly maxMessageBytes?: number;
  /** Asks for a sign of life this often and wants it this soon; null: the vendor does not answer pings. */
  readonly ping?: { readonly everyMs: number; readonly withinMs: number } | null;
  /** Of a refused upgrade: the vendor's reason is in the body. Default: by the HTTP status. */
  refused?(status: number, body: string, headers: IncomingMessage['headers']): AppError;
  /** The headers of the upgrade: vendors put there what they want to be asked about. */
  upgraded?(headers: IncomingMessage['headers']): void;
  /** For loopback servers with a certificate of their own, in tests. */
  readonly tls?: { readonly ca?: string; readonly rejectUnauthorized?: boolean };
  onText(text: string): void;
  onBinary(data: Buffer): void;
  /** Once, unless `close` came first. `code`: of the vendor's close frame, 1006 without one. */
  onEnd(error: AppError, code: number): void;
};

export type Channel = {
  /** False once it is over; a line too slow for what it is given ends with E_QUEUE_FULL. */
  send(message: string | Uint8Array): boolean;
  /** The same for a text that is there as UTF-8: whoever has it may write over it at once. */
  sendText(utf8: Buffer): boolean;
  readonly isOpen: boolean;
  /** Says goodbye and forgets it. Idempotent; nothing is told afterwards. */
  close(): void;
};

/** A dead line is noticed in less than 3 s (lessons.md, thread 13). */
export const PING = { everyMs: 1_000, withinMs: 1_500 } as const;

const CONNECT_MS = 3_000;
const MAX_WAITING_BYTES = 256 * 1024;
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;
const MAX_REASON_BYTES = 4_096;
/** For the closing handshake. */
const GOODBYE_MS = 1_000;
const AS_TEXT = { binary: false } as const;

/**
 * Resolves when connected. Aborting `signal` gives up, also later. Errors: E_ABORTED; E_TIMEOUT; what `refused` makes of
 * a refusal, else E_PROVIDER_AUTH (401, 402, 403), _QUOTA (429), _PARAM (other 4xx), _SERVER; messages are safe to log.
 */
export function openChannel(options: ChannelOptions, signal?: AbortSignal): Promise<Channel> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new AppError('E_ABORTED', `${options.what}: given up`));
      return;
    }
    new VendorChannel(options, signal, resolve, reject);
  });
}

class VendorChannel implements Channel {
  readonly #options: ChannelOptions;
  readonly #socket: WebSocket;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: () => void;
  #settle: { resolve(channel: Channel): void; reject(error: AppError): void } | null;
  #timer: TimerHandle | undefined;
  #isAlive = true;
  #isOver = false;

  constructor(
    options: ChannelOptions,
    signal: AbortSignal | undefined,
    resolve: (channel: Channel) => void,
    reject: (error: AppError) => void,
  ) {
    this.#options = options;
    this.#settle = { resolve, reject };
    this.#signal = signal;
    this.#onAbort = () => this.#fail(new AppError('E_ABORTED', `${options.what}: given up`), 1000);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    const { clock, what, connectMs = CONNECT_MS } = options;
    this.#timer = clock.setTimer(
      () => this.#fail(new AppError('E_TIMEOUT', `${what}: no connection in ${connectMs} ms`)),
      connectMs,
    );
    this.#socket = new WebSocket(options.url, {
      headers: options.headers ?? {},
      perMessageDeflate: false,
      maxPayload: options.maxMessageBytes ?? MAX_MESSAGE_BYTES,
      followRedirects: false,
      ...options.tls,
    });
    this.#listen();
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#socket.readyState === WebSocket.OPEN;
  }

  send(message: string | Uint8Array): boolean {
    if (!this.#takes()) return false;
    this.#socket.send(message);
    return true;
  }

  /** A Buffer is copied while it is masked and leaves in one piece with its header: half the price of a string. */
  sendText(utf8: Buffer): boolean {
    if (!this.#takes()) return false;
    this.#socket.send(utf8, AS_TEXT);
    return true;
  }

  #takes(): boolean {
    if (!this.isOpen) return false;
    const { what, maxWaitingBytes = MAX_WAITING_BYTES } = this.#options;
    if (this.#socket.bufferedAmount > maxWaitingBytes) {
      this.#fail(
        new AppError('E_QUEUE_FULL', `${what}: the connection takes less than it is sent`),
      );
      return false;
    }
    return true;
  }

  close(): void {
    if (this.#isOver) return;
    this.#forget();
    if (this.#socket.readyState !== WebSocket.OPEN) {
      this.#socket.terminate();
      return;
    }
    this.#socket.close(1000);
    const timer = this.#options.clock.setTimer(() => this.#socket.terminate(), GOODBYE_MS);
    this.#socket.once('close', () => this.#options.clock.clearTimer(timer));
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('upgrade', (response) => this.#options.upgraded?.(response.headers));
    socket.on('open', () => this.#opened());
    socket.on('message', (data, isBinary) => this.#received(data, isBinary));
    socket.on('pong', () => (this.#isAlive = true));
    socket.on('ping', () => (this.#isAlive = true));
    socket.on('unexpected-response', (_request, response) => void this.#refused(response));
    socket.on('error', (error) => {
      const text = safe(messageOf(error), this.#options.url);
      this.#fail(new AppError('E_PROVIDER_SERVER', `${this.#options.what}: ${text}`));
    });
    socket.on('close', (code, reason) => {
      const said = reason.length === 0 ? '' : `: ${reason.toString('utf8').slice(0, 200)}`;
      const text = `${this.#options.what}: the vendor closed the connection (${code}${said})`;
      this.#fail(new AppError('E_PROVIDER_SERVER', safe(text, this.#options.url)), code);
    });
  }

  #opened(): void {
    if (this.#isOver) return;
    this.#options.clock.clearTimer(this.#timer);
    const { ping = PING } = this.#options;
    if (ping !== null) this.#watch(ping);
    this.#settle?.resolve(this);
    this.#settle = null;
  }

  #watch(ping: { readonly everyMs: number; readonly withinMs: number }): void {
    const { clock, what } = this.#options;
    this.#timer = clock.setTimer(() => {
      this.#isAlive = false;
      this.#socket.ping();
      this.#timer = clock.setTimer(() => {
        if (this.#isAlive) this.#watch(ping);
        else this.#fail(new AppError('E_TIMEOUT', `${what}: the connection is dead`));
      }, ping.withinMs);
    }, ping.everyMs);
  }

  #received(data: RawData, isBinary: boolean): void {
    this.#isAlive = true;
    if (this.#isOver) return;
    // Bytes are copied, lest a piece of sound keep all that was read with it; a text is a copy anyway.
    if (!isBinary && Buffer.isBuffer(data)) return this.#options.onText(data.toString('utf8'));
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as ArrayBuffer);
    if (isBinary) this.#options.onBinary(bytes);
    else this.#options.onText(bytes.toString('utf8'));
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const body = await readSome(response);
    response.destroy();
    const status = response.statusCode ?? 0;
    const told = this.#options.refused?.(status, body, response.headers);
    this.#fail(told ?? refusal(this.#options.what, status));
  }

  #fail(error: AppError, code = 1006): void {
    if (this.#isOver) return;
    this.#forget();
    this.#socket.terminate();
    if (this.#settle === null) this.#options.onEnd(error, code);
    else this.#settle.reject(error);
    this.#settle = null;
  }

  #forget(): void {
    this.#isOver = true;
    this.#options.clock.clearTimer(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

function refusal(what: string, status: number): AppError {
  const text = `${what}: the vendor refused the connection with ${status}`;
  const details = { status };
  if ([401, 402, 403].includes(status)) return new AppError('E_PROVIDER_AUTH', text, { details });
  if (status === 429) return new AppError('E_PROVIDER_QUOTA', text, { details });
  if (status >= 400 && status < 500) return new AppError('E_PROVIDER_PARAM', text, { details });
  return new AppError('E_PROVIDER_SERVER', text, { details });
}

async function readSome(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size >= MAX_REASON_BYTES) break;
    }
  } catch {
    // A refusal that breaks off is a refusal all the same; what was read of its reason will do.
  }
  return Buffer.concat(chunks).subarray(0, MAX_REASON_BYTES).toString('utf8');
}

/** Errors of the network may quote the address. */
function safe(text: string, url: string): string {
  const { search = '', host = '' } = URL.parse(url) ?? {};
  const plain = text.replaceAll(url, host);
  return search === '' ? plain : plain.replaceAll(search, '');
}
