/** drachtio-srf as it comes from its package, with just enough types for tests. */
import { once } from 'node:events';
import type { EventEmitter } from 'node:events';

export type SrfMessage = {
  readonly method: string;
  readonly status: number;
  readonly uri: string;
  readonly body: string;
  readonly source: string;
  readonly receivedOn?: string;
  get(name: string): string;
  has(name: string): boolean;
};

export type SrfRequest = SrfMessage & EventEmitter & { cancel(): void };

export type SrfResponse = SrfMessage & {
  send(status: number, reason?: string | object, options?: object): void;
};

export type SrfDialog = EventEmitter & {
  readonly id: string;
  readonly sip: { readonly callId: string; readonly localTag: string; readonly remoteTag: string };
  readonly remote: { readonly uri: string; readonly sdp: string };
  readonly local: { readonly uri: string; readonly sdp: string };
  destroy(options?: object): Promise<SrfMessage>;
  modify(sdp: string): Promise<string>;
  request(options: { method: string; body?: string; headers?: object }): Promise<SrfMessage>;
};

type Handler = (request: SrfRequest, response: SrfResponse) => void;

export type SrfInstance = EventEmitter & {
  connect(options: {
    host: string;
    port: number;
    secret: string;
    reconnect: { maxAttempts: number };
  }): void;
  disconnect(): void;
  invite(handler: Handler): void;
  options(handler: Handler): void;
  message(handler: Handler): void;
  register(handler: Handler): void;
  createUAS(
    request: SrfRequest,
    response: SrfResponse,
    options: { localSdp: string; headers?: object },
  ): Promise<SrfDialog>;
  createUAC(
    uri: string,
    options: object,
    progress?: {
      cbRequest?(error: unknown, request: SrfRequest): void;
      cbProvisional?(response: SrfMessage): void;
    },
  ): Promise<SrfDialog>;
  request(
    uri: string,
    options: object,
    callback: (error: Error | null, request: SrfRequest) => void,
  ): void;
};

/** A connected srf, or the error that the server gave. */
export async function connectSrf(
  port: number,
  secret: string,
  prepare: (srf: SrfInstance) => void = () => undefined,
): Promise<SrfInstance> {
  const { default: Srf } = (await import('drachtio-srf')) as unknown as {
    default: new () => SrfInstance;
  };
  const srf = new Srf();
  prepare(srf);
  // One attempt: a closed engine must not keep the test alive with reconnects.
  srf.connect({ host: '127.0.0.1', port, secret, reconnect: { maxAttempts: 1 } });
  const [error] = (await once(srf, 'connect')) as [Error | null];
  if (error !== null) throw error;
  return srf;
}

/** The next time `emitter` says `event`, as its first arguments. */
export async function heard<T>(emitter: EventEmitter, event: string): Promise<T[]> {
  return (await once(emitter, event, { signal: AbortSignal.timeout(8000) })) as T[];
}
