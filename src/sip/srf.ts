/**
 * The only importer of drachtio-srf, used as a protocol client: frames, messages, transactions. Its dialogs, createUAS,
 * createUAC, digest and reconnect are left alone: each loses calls or credentials in some race or answers unasked.
 */
import { connect as connectTcp } from 'node:net';
import Srf from 'drachtio-srf';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, messageOf, systemCodeOf, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';

export type Headers = Readonly<Record<string, string>>;

/** A message as it stands on the wire. Header values that were repeated come joined by commas. */
export type WireMessage = {
  readonly body: string;
  header(name: string): string | undefined;
};

export type SentResponse = WireMessage & { readonly dialogId: string };

/** A request from the network, or one that the engine made by itself (`byEngine`: its BYE after a missing ACK). */
export type WireRequest = WireMessage & {
  readonly method: string;
  readonly uri: string;
  readonly byEngine: boolean;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly protocol: string;
  /** Local address it arrived on; null for requests inside a dialog. */
  readonly receivedAddress: string | null;
  /**
   * Answers it. `sent` gets the message as it went out, or the engine's refusal: E_SIP_CANCELLED when the transaction
   * is gone, E_SIP_ENGINE otherwise. It is called before any later frame is looked at.
   */
  respond(
    status: number,
    options?: { readonly reason?: string; readonly headers?: Headers; readonly body?: string },
    sent?: (result: SentResponse | AppError) => void,
  ): void;
  /** INVITE only: its CANCEL. */
  onCancel(listener: (cancel: WireMessage) => void): void;
  /** INVITE only: UPDATE before the final response. */
  onUpdate(listener: (update: WireRequest) => void): void;
};

export type WireResponse = WireMessage & {
  readonly status: number;
  readonly reason: string;
  readonly dialogId: string;
  /** Made by the engine in place of one that did not come: its timeout (408) or transport error (503). */
  readonly isLocal: boolean;
  /** ACK of a final response to INVITE, PRACK of a reliable provisional one. */
  acknowledge(): void;
};

/** A request of ours as it went out. */
export type SentRequest = WireMessage & {
  readonly uri: string;
  cancel(headers?: Headers): void;
};

export type OutgoingRequest = {
  readonly method: string;
  readonly headers?: Headers;
  readonly body?: string;
} & (
  | { readonly uri: string; /** Next hop when it is not the URI's host. */ readonly route?: string }
  | { readonly dialogId: string }
);

export type RequestHandlers = {
  onSent?(sent: SentRequest): void;
  onResponse(response: WireResponse): void;
  /** UPDATE from the far end while an INVITE of ours has no final answer. */
  onUpdate?(update: WireRequest): void;
  /** It was not taken: E_SIP_DIALOG_GONE or E_SIP_ENGINE; E_CONFIG for an address or header nobody could read. */
  onError(error: AppError): void;
};

/** One control connection. When it is closed it stays closed: make a new one. */
export type SrfLink = {
  /** What the engine listens on: `udp/192.0.2.7:5060`. */
  readonly listening: readonly string[];
  readonly isOpen: boolean;
  send(request: OutgoingRequest, handlers: RequestHandlers): void;
  close(): void;
};

export type SrfLinkOptions = {
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  readonly log: Log;
  onRequest(request: WireRequest): void;
  onClosed(): void;
};

// What of srf is used, typed here: its own declarations leave most of it out or call it any.
type RawMessage = {
  readonly body?: string;
  readonly method: string;
  readonly uri: string;
  readonly source: string;
  readonly source_address: string;
  readonly source_port: number;
  readonly protocol: string;
  readonly receivedOn?: string;
  get(name: string): string | undefined;
};
type RawRequest = RawMessage & {
  on(event: 'cancel', listener: (message: RawMessage) => void): void;
  on(event: 'update', listener: (req: RawRequest, res: RawResponse) => void): void;
  on(event: 'response', listener: (res: RawResponse, ack: RawAck) => void): void;
  cancel(options: object, callback: (error: unknown) => void): void;
};
type RawAck = (options?: object) => void;
type RawResponse = RawMessage & {
  readonly status: number;
  readonly reason: string;
  readonly stackDialogId?: string;
  send(
    status: number,
    reason: string | undefined,
    options: object,
    callback: (error: unknown, message?: RawMessage) => void,
  ): void;
};
type RawSrf = {
  on(event: 'connect', listener: (error: unknown, hostports?: string) => void): void;
  on(event: 'error', listener: (error: unknown) => void): void;
  on(event: 'close', listener: () => void): void;
  use(handler: (req: RawRequest, res: RawResponse) => void): void;
  use(method: string, handler: () => void): void;
  connect(options: object): void;
  disconnect(): void;
  request(
    uri: string,
    options: object,
    callback: (error: unknown, request?: RawRequest) => void,
  ): void;
};

/** Requests outside a dialog that the engine is asked for. */
const ROUTES = [
  'invite',
  'options',
  'register',
  'message',
  'notify',
  'subscribe',
  'publish',
  'refer',
  'info',
  'update',
];
const CONNECT_TIMEOUT_MS = 5000;
const CLASS_STATUS: Readonly<Record<number, number>> = { 4: 400, 5: 500, 6: 603 };

/** Connects and authenticates. Errors: E_SIP_ENGINE, whose message says what to look at. */
export async function connectSrf(options: SrfLinkOptions): Promise<SrfLink> {
  const where = `SIP engine at ${options.host}:${options.port}`;
  await probe(options.host, options.port, where);
  const srf = new Srf() as unknown as RawSrf;
  const opened = Promise.withResolvers<string>();
  let isOpen = false;
  let closed = false;
  const onGone = (): void => {
    opened.reject(new AppError('E_SIP_ENGINE', `${where} closed the connection`));
    const wasOpen = isOpen;
    isOpen = false;
    if (wasOpen && !closed) options.onClosed();
  };
  srf.use((req, res) => guard(options.log, () => options.onRequest(wrapRequest(req, res))));
  for (const method of ROUTES) srf.use(method, () => undefined);
  srf.on('error', (error) => options.log.debug('sip.linkError', { error: messageOf(error) }));
  srf.on('close', onGone);
  srf.on('connect', (error, hostports) => {
    if (error !== null && error !== undefined) {
      opened.reject(new AppError('E_SIP_ENGINE', `${where} refused the secret`, { cause: error }));
    } else opened.resolve(hostports ?? '');
  });
  const close = (): void => {
    if (closed) return;
    closed = true;
    isOpen = false;
    try {
      srf.disconnect();
    } catch (error) {
      options.log.debug('sip.linkError', { error: messageOf(error) }); // it was not connected any more
    }
  };
  // srf would reconnect with the old connection's dialogs and transactions: one attempt, then a new link.
  srf.connect({ ...pick(options), reconnect: { maxAttempts: 1 }, enablePing: true });
  try {
    const hostports = await withDeadline(opened.promise, CONNECT_TIMEOUT_MS, `${where}: login`);
    isOpen = true;
    const listening = hostports.split(',').filter((one) => one !== '');
    return {
      listening,
      get isOpen() {
        return isOpen;
      },
      send: (request, handlers) =>
        isOpen
          ? sendRequest(srf, options.log, request, handlers)
          : handlers.onError(new AppError('E_SIP_ENGINE', 'the SIP engine is not connected')),
      close,
    };
  } catch (error) {
    close();
    throw toAppError(error, 'E_SIP_ENGINE');
  }
}

function pick({ host, port, secret }: SrfLinkOptions): object {
  return { host, port, secret };
}

/** srf gives no handle on a socket that is still connecting, so the port is tried with one of our own first. */
async function probe(host: string, port: number, where: string): Promise<void> {
  const socket = connectTcp({ host, port });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('connect', () => resolve());
  socket.once('error', reject);
  try {
    await withDeadline(promise, CONNECT_TIMEOUT_MS, `connecting to ${where}`);
  } catch (error) {
    throw new AppError('E_SIP_ENGINE', `${where} cannot be reached: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}

/** A fault of ours must not travel into srf, which would print it and answer 500 behind our back. */
function guard(log: Log, work: () => void): void {
  try {
    work();
  } catch (error) {
    log.error('sip.handlerFailed', { error: toAppError(error) });
  }
}

function wrapMessage(raw: RawMessage): WireMessage {
  return { body: raw.body ?? '', header: (name) => raw.get(name) };
}

function wrapRequest(req: RawRequest, res: RawResponse): WireRequest {
  return {
    ...wrapMessage(req),
    method: req.method,
    uri: req.uri,
    byEngine: req.source === 'application',
    sourceAddress: req.source_address,
    sourcePort: req.source_port,
    protocol: req.protocol,
    receivedAddress: hostOf(req.receivedOn),
    respond: (status, options = {}, sent) => respond(res, status, options, sent),
    onCancel: (listener) => req.on('cancel', (cancel) => listener(wrapMessage(cancel))),
    onUpdate: (listener) =>
      req.on('update', (update, answer) => listener(wrapRequest(update, answer))),
  };
}

/** `receivedOn` is `address:port`, an IPv6 address with or without brackets. */
function hostOf(receivedOn: string | undefined): string | null {
  const match = /^\[?(.+?)\]?:(\d+)$/.exec(receivedOn ?? '');
  return match?.[1] ?? null;
}

function respond(
  res: RawResponse,
  status: number,
  options: { readonly reason?: string; readonly headers?: Headers; readonly body?: string },
  sent: (result: SentResponse | AppError) => void = () => undefined,
): void {
  const message = {
    headers: { ...options.headers },
    ...(options.body ? { body: options.body } : {}),
  };
  const onSent = (error: unknown, raw?: RawMessage): void => {
    if (raw === undefined || error) sent(refusedResponse(error));
    else sent({ ...wrapMessage(raw), dialogId: res.stackDialogId ?? '' });
  };
  const send = (code: number): void => res.send(code, options.reason, message, onSent);
  try {
    send(status);
  } catch {
    // srf throws for a status it has no text for; another of the same class says the same to the far end.
    send(CLASS_STATUS[Math.floor(status / 100)] ?? 500);
  }
}

/** srf rejects with the engine's words as a string, with Errors for its own troubles. */
function refusedResponse(error: unknown): AppError {
  const text = messageOf(error);
  const gone = /(unknown|find) transaction|no longer be answered|already sent/i.test(text);
  return new AppError(gone ? 'E_SIP_CANCELLED' : 'E_SIP_ENGINE', `response not sent: ${text}`, {
    cause: error,
  });
}

function sendRequest(
  srf: RawSrf,
  log: Log,
  request: OutgoingRequest,
  handlers: RequestHandlers,
): void {
  const fault = faultOf(request);
  if (fault !== null) return handlers.onError(fault);
  const inDialog = 'dialogId' in request;
  const options = {
    method: request.method,
    headers: { ...request.headers },
    ...(request.body ? { body: request.body } : {}),
    ...(inDialog ? { stackDialogId: request.dialogId } : {}),
    ...(!inDialog && request.route !== undefined ? { proxy: request.route } : {}),
  };
  const isInvite = request.method === 'INVITE';
  // The callback form: a response may stand in the same chunk as the frame that announces the request, and srf
  // emits it at once; behind a promise it would find no listener.
  const onTaken = (error: unknown, req?: RawRequest): void => {
    if (req === undefined || error) return handlers.onError(refusedRequest(error));
    req.on('response', (res, ack) =>
      guard(log, () => handlers.onResponse(wrapResponse(log, res, ack, isInvite))),
    );
    req.on('update', (update, answer) =>
      guard(log, () => {
        const wrapped = wrapRequest(update, answer);
        if (handlers.onUpdate === undefined) wrapped.respond(481);
        else handlers.onUpdate(wrapped);
      }),
    );
    handlers.onSent?.(wrapSent(log, req));
  };
  try {
    const uri = inDialog ? 'sip:placeholder' : request.uri;
    srf.request(uri, options, (error, req) => guard(log, () => onTaken(error, req)));
  } catch (error) {
    handlers.onError(refusedRequest(error));
  }
}

/** What the engine could not read, or would read as something else: refused here, for this request alone. */
function faultOf(request: OutgoingRequest): AppError | null {
  const uris = 'dialogId' in request ? [] : [request.uri, request.route ?? ''];
  if (uris.some((uri) => /[\s<>"\0]/.test(uri))) {
    return new AppError('E_CONFIG', 'request not sent: an address has a space, quote or bracket');
  }
  const bad = Object.entries(request.headers ?? {}).find(([, value]) => /[\r\n\0]/.test(value));
  if (bad === undefined) return null;
  return new AppError('E_CONFIG', `request not sent: the value of ${bad[0]} has a line break`);
}

function wrapSent(log: Log, req: RawRequest): SentRequest {
  return {
    ...wrapMessage(req),
    uri: req.uri,
    cancel: (headers = {}) => {
      const onCancelled = (error: unknown): void => {
        if (error) log.debug('sip.cancelRefused', { error: messageOf(error) });
      };
      try {
        req.cancel({ headers: { ...headers } }, onCancelled);
      } catch (error) {
        onCancelled(error); // the control connection is gone, and with it the call
      }
    },
  };
}

function wrapResponse(log: Log, res: RawResponse, ack: RawAck, isInvite: boolean): WireResponse {
  return {
    ...wrapMessage(res),
    status: res.status,
    reason: res.reason,
    dialogId: res.stackDialogId ?? '',
    // drachtio-server and the embedded engine leave the address empty. A missing To tag says nothing: old peers do so.
    isLocal: res.source_address === '',
    acknowledge: () => {
      if (isInvite) guard(log, () => ack());
    },
  };
}

/** ENODIALOG: the engine has no such dialog any more. */
function refusedRequest(error: unknown): AppError {
  const code = systemCodeOf(error) === 'ENODIALOG' ? 'E_SIP_DIALOG_GONE' : 'E_SIP_ENGINE';
  return new AppError(code, `request not sent: ${messageOf(error)}`, { cause: error });
}
