/** A control connection that a test plays by hand: keeps what was sent, makes requests and responses. */
import type {
  OutgoingRequest,
  RequestHandlers,
  SentRequest,
  SrfLink,
  WireMessage,
  WireRequest,
  WireResponse,
} from '#sip/srf.ts';
import type { AppError } from '#lib/errors.ts';

export type Taken = {
  readonly request: OutgoingRequest;
  readonly handlers: RequestHandlers;
  /** How often it was cancelled, and acknowledged. */
  cancels: number;
  acks: number;
  /** A response of the far end. */
  respond(status: number, headers?: Record<string, string>, body?: string): void;
};

export class FakeLink implements Pick<SrfLink, 'send'> {
  readonly taken: Taken[] = [];
  /** Set to refuse what is sent next. */
  refuseWith: AppError | null = null;

  send(request: OutgoingRequest, handlers: RequestHandlers): void {
    if (this.refuseWith !== null) return handlers.onError(this.refuseWith);
    const cseq = `${this.taken.length + 1} ${request.method}`;
    const own = { 'call-id': 'c1', from: '<sip:us@h>;tag=us', to: '<sip:them@h>', cseq };
    const given = Object.entries(request.headers ?? {});
    const sentHeaders = {
      ...own,
      ...Object.fromEntries(given.map(([name, value]) => [name.toLowerCase(), value])),
    };
    const taken: Taken = {
      request,
      handlers,
      cancels: 0,
      acks: 0,
      respond: (status, headers = {}, body = '') => {
        const all = { ...sentHeaders, to: '<sip:them@h>;tag=them', ...headers };
        const response: WireResponse = {
          ...message(all, body),
          status,
          reason: `Status ${status}`,
          dialogId: 'd1',
          isLocal: headers['x-local'] === 'yes',
          acknowledge: () => {
            taken.acks += 1;
          },
        };
        handlers.onResponse(response);
      },
    };
    this.taken.push(taken);
    const sent: SentRequest = {
      ...message(sentHeaders, request.body ?? ''),
      uri: 'uri' in request ? request.uri : 'sip:target@h',
      cancel: () => {
        taken.cancels += 1;
      },
    };
    handlers.onSent?.(sent);
  }

  get last(): Taken {
    const last = this.taken.at(-1);
    if (last === undefined) throw new Error('nothing was sent');
    return last;
  }
}

export type Answered = { status: number; headers: Record<string, string>; body: string };

/** A request from the far end, with the list of what it was answered. */
export function incoming(
  method: string,
  options: { headers?: Record<string, string>; body?: string; byEngine?: boolean } = {},
): { readonly request: WireRequest; readonly answers: Answered[] } {
  const answers: Answered[] = [];
  const headers = {
    'call-id': 'c1',
    from: '<sip:them@h>;tag=them',
    to: '<sip:us@h>;tag=us',
    contact: '<sip:them@h>',
    ...options.headers,
  };
  const request: WireRequest = {
    ...message(headers, options.body ?? ''),
    method,
    uri: 'sip:us@h',
    byEngine: options.byEngine ?? false,
    sourceAddress: '192.0.2.9',
    sourcePort: 5060,
    protocol: 'udp',
    receivedAddress: '192.0.2.1',
    respond: (status, { headers: own = {}, body = '' } = {}, sent) => {
      answers.push({ status, headers: { ...own }, body });
      const echo = { ...headers, to: `${headers.to.replace(/;tag=.*/, '')};tag=us` };
      sent?.({ ...message(echo, body), dialogId: 'd1' });
    },
    onCancel: () => undefined,
    onUpdate: () => undefined,
  };
  return { request, answers };
}

function message(headers: Record<string, string>, body: string): WireMessage {
  return { body, header: (name) => headers[name.toLowerCase()] };
}

/** Lets promises that are already settled run their course. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
