/** Single requests outside any dialog (OPTIONS, REGISTER): sent over the present control connection, answered once. */
import type { Clock } from '#lib/clock.ts';
import type { Headers, SentRequest, SrfLink } from './srf.ts';

export type PlainRequest = {
  readonly method: 'OPTIONS' | 'REGISTER';
  readonly uri: string;
  /** Next hop. */
  readonly route: string;
  readonly headers: Headers;
  /** No final response within this: `timeout`. */
  readonly timeoutMs: number;
};

export type PlainResponse = {
  readonly status: number;
  header(name: string): string | undefined;
  /** A header of the request as it went out, with our own address filled in. */
  sentHeader(name: string): string | undefined;
};

/** `engine`: our own engine is away; `unsendable`: it could not send the request, or nobody there takes it. */
export type PlainResult =
  | { readonly ok: true; readonly response: PlainResponse }
  | { readonly ok: false; readonly cause: 'engine' | 'unsendable' | 'timeout' };

type Link = Pick<SrfLink, 'send' | 'isOpen'>;

export class PlainRequests {
  readonly #clock: Clock;
  readonly #lost = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Never rejects. */
  send(link: Link | null, request: PlainRequest): Promise<PlainResult> {
    if (link === null || !link.isOpen) return Promise.resolve({ ok: false, cause: 'engine' });
    const { promise, resolve } = Promise.withResolvers<PlainResult>();
    const settle = (result: PlainResult): void => {
      this.#clock.clearTimer(timer);
      this.#lost.delete(onLost);
      resolve(result);
    };
    const fail = (cause: 'engine' | 'unsendable' | 'timeout'): void => settle({ ok: false, cause });
    const onLost = (): void => fail('engine');
    const timer = this.#clock.setTimer(() => fail('timeout'), request.timeoutMs);
    this.#lost.add(onLost);
    const { method, uri, route, headers } = request;
    let sent: SentRequest | null = null;
    link.send(
      { method, uri, route, headers },
      {
        onSent: (message) => {
          sent = message;
        },
        onResponse: (response) => {
          const { status } = response;
          if (status < 200) return;
          // RFC 3261 8.1.3.1: made by the engine in place of one that did not come.
          if (response.isLocal && (status === 408 || status === 503)) {
            return fail(status === 408 ? 'timeout' : 'unsendable');
          }
          const sentHeader = (name: string): string | undefined => sent?.header(name);
          settle({
            ok: true,
            response: { status, header: (name) => response.header(name), sentHeader },
          });
        },
        onError: () => fail(link.isOpen ? 'unsendable' : 'engine'),
      },
    );
    return promise;
  }

  /** The control connection is gone: nothing that was sent over it will be answered. */
  lost(): void {
    for (const fail of [...this.#lost]) fail();
  }
}
