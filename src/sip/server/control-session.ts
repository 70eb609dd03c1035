/** One application on a control connection: its frames in, replies and SIP events out. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { decodePayload, encodeFrame, FrameReader, timeOf } from './control-frame.ts';
import { parseDraft } from './control-message.ts';
import type { AppClient, AppEvent, Reply, SendResult } from './control-types.ts';
import type { SipMessage } from './message.ts';

/** drachtio-srf pings only servers from v0.8.2 on. */
export const PROTOCOL_VERSION = 'v1.0.0';
const AUTHENTICATION_DEADLINE_MS = 5000;
/** An application that reads this slowly is lost: better one reconnect than an engine without memory. */
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
const MAX_ROUTES = 64;

/** What the SIP core does with the application's messages. */
export type ControlHandler = {
  respond(transactionId: string, draft: SipMessage): SendResult;
  submit(client: AppClient, draft: SipMessage, routeUrl: string | null, reply: Reply): void;
  submitInDialog(client: AppClient, dialogId: string, draft: SipMessage, reply: Reply): void;
  cancel(transactionId: string, draft: SipMessage, reply: Reply): void;
};

export type SessionOptions = {
  readonly socket: Socket;
  readonly secret: string;
  /** `tcp/192.0.2.7:5060,udp/192.0.2.7:5060`. */
  readonly hostPorts: () => string;
  readonly handler: ControlHandler;
  readonly clock: Clock;
  readonly log: Log;
  onClosed(session: ControlSession): void;
};

export class ControlSession implements AppClient {
  tags: readonly string[] = [];
  /** Lower-case methods this application wants. */
  readonly routes = new Set<string>();
  readonly #options: SessionOptions;
  readonly #reader = new FrameReader();
  readonly #deadline: TimerHandle;
  #authenticated = false;
  #closed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { socket, clock } = options;
    this.#deadline = clock.setTimer(
      () => this.close('no authentication in time'),
      AUTHENTICATION_DEADLINE_MS,
    );
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', (error) => options.log.debug('control.failed', { error }));
    socket.on('close', () => this.#onClose());
  }

  get isOpen(): boolean {
    return this.#authenticated && !this.#closed;
  }

  deliver(event: AppEvent): void {
    const { message, peer, receivedOn } = event;
    const bytes = message.serialize();
    const tokens = [
      newId(),
      'sip',
      event.source,
      bytes.length,
      peer.protocol,
      peer.address,
      peer.port,
      timeOf(this.#options.clock.wallMs()),
      event.transactionId,
      event.dialogId,
    ];
    if (receivedOn !== undefined) tokens.push(receivedOn.address, receivedOn.port);
    this.#write(encodeFrame(tokens, bytes));
  }

  /** Ends the connection after what is queued. Idempotent. */
  close(reason: string): void {
    if (this.#closed) return;
    this.#options.log.debug('control.closing', { reason });
    this.#options.socket.end();
    this.#onClose();
    // A peer that does not close its side in turn must not hold the socket.
    this.#options.socket.destroySoon();
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.clock.clearTimer(this.#deadline);
    this.#options.onClosed(this);
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return;
    const result = this.#reader.push(chunk);
    for (const frame of result.frames) {
      if (!this.#closed) this.#onFrame(frame);
    }
    if ('error' in result) this.#drop(result.error);
  }

  /** As drachtio-server: after a frame that cannot be understood the connection is dropped. */
  #drop(reason: string): void {
    this.#options.log.warn('control.dropped', { reason });
    this.close(reason);
  }

  #onFrame(payload: Buffer): void {
    const { tokens, rest } = decodePayload(payload);
    const [id = '', kind = '', ...args] = tokens;
    if (id === '') return this.#drop('a frame without an id');
    if (!this.#authenticated && kind !== 'authenticate') return this.#drop('not authenticated');
    switch (kind) {
      case 'authenticate':
        return this.#authenticate(id, args);
      case 'route':
        return this.#route(id, args[0] ?? '');
      case 'remove_route':
        this.routes.delete((args[0] ?? '').toLowerCase());
        return this.#reply(id, ['OK']);
      case 'ping':
        return this.#reply(id, ['OK', 'pong']);
      case 'sip':
        return this.#sip(id, args, rest);
      case 'proxy':
        return this.#reply(id, ['NOK', 'the embedded engine does not proxy']);
      default:
        return this.#drop('a frame of unknown kind');
    }
  }

  #authenticate(id: string, [secret = '', tags = '']: string[]): void {
    this.#options.clock.clearTimer(this.#deadline);
    if (!isEqual(secret, this.#options.secret)) {
      this.#options.log.warn('control.refused', { reason: 'wrong secret' });
      this.#reply(id, ['NO', 'incorrect secret']);
      return this.close('wrong secret');
    }
    this.#authenticated = true;
    this.tags = tags.split(',').filter((tag) => tag !== '');
    const hostPorts = this.#options.hostPorts();
    return this.#reply(id, ['OK', hostPorts, PROTOCOL_VERSION, hostPorts]);
  }

  #route(id: string, verb: string): void {
    // Call detail records are accepted and never sent: the node keeps its own.
    const isKnown = /^(?:cdr:)?[a-z]{1,32}$/i.test(verb);
    if (!isKnown || this.routes.size >= MAX_ROUTES) {
      return this.#reply(id, ['NOK', 'not a method that can be routed']);
    }
    this.routes.add(verb.toLowerCase());
    return this.#reply(id, ['OK']);
  }

  #sip(
    id: string,
    [transactionId = '', dialogId = '', routeUrl = '']: string[],
    text: string,
  ): void {
    const draft = parseDraft(text);
    const { handler, log } = this.#options;
    if (draft === undefined) {
      // The frame itself was whole: one bad header value must not cost every other call its link.
      log.warn('control.unreadable', { transactionId });
      return this.#reply(id, ['NOK', 'unreadable SIP message']);
    }
    const reply: Reply = (result) => this.#sent(id, result);
    if (draft.kind === 'response') return reply(handler.respond(transactionId, draft));
    if (draft.method === 'CANCEL') return handler.cancel(transactionId, draft, reply);
    if (dialogId !== '') return handler.submitInDialog(this, dialogId, draft, reply);
    if (draft.method === 'ACK') {
      return reply({ ok: false, reason: 'an ACK needs the dialog it belongs to' });
    }
    return handler.submit(this, draft, routeUrl === '' ? null : routeUrl, reply);
  }

  #sent(id: string, result: SendResult): void {
    if (!result.ok) return this.#reply(id, ['NOK', oneLine(result.reason)]);
    const { message, peer, transactionId, dialogId } = result;
    const bytes = message.serialize();
    const time = timeOf(this.#options.clock.wallMs());
    const about = [bytes.length, peer.protocol, peer.address, peer.port, time, transactionId];
    const tail = message.kind === 'response' ? [dialogId, '', 'Msg sent:', ''] : ['Msg sent:', ''];
    return this.#reply(id, ['OK', 'application', ...about, ...tail], bytes);
  }

  #reply(id: string, tokens: readonly (string | number)[], message?: Buffer): void {
    this.#write(encodeFrame([newId(), 'response', id, ...tokens], message));
  }

  #write(frame: Buffer): void {
    if (this.#closed) return;
    const { socket, log } = this.#options;
    socket.write(frame);
    if (socket.writableLength > MAX_UNSENT_BYTES) {
      log.error('control.stuck', { unsentBytes: socket.writableLength });
      this.#onClose();
      socket.destroy();
    }
  }
}

/** In constant time, and without telling the length. */
function isEqual(given: string, expected: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(expected));
}

/** A reason becomes one token of the leader. */
function oneLine(text: string): string {
  return text.replace(/[|\r\n]+/g, ' ');
}
