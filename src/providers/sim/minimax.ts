/**
 * MiniMax's voice on loopback (providers.md section 6): `/ws/v1/t2a_v2`, `/ws/v1/t2a_v2_bidi` and `POST /v1/t2a_v2`. It holds
 * clients to the protocol: key, order of events, parameters, and the 120 s of rest.
 */
import { answerMinimaxHttp } from './minimax-http.ts';
import type { SimMinimaxOptions } from './minimax-rules.ts';
import { SimMinimaxTask } from './minimax-task.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export type { SimMinimaxOptions } from './minimax-rules.ts';

export type SimMinimax = {
  readonly wsUrl: string;
  readonly twoWayUrl: string;
  readonly httpUrl: string;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  readonly violations: string[];
  /** Events of the sockets' clients, and bodies of HTTP requests, in order. */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Path and query of every connection and request. */
  readonly urls: readonly URL[];
  close(): Promise<void>;
};

const ONE_WAY = '/ws/v1/t2a_v2';
const TWO_WAY = '/ws/v1/t2a_v2_bidi';
const HTTP = '/v1/t2a_v2';

export async function startSimMinimax(options: SimMinimaxOptions): Promise<SimMinimax> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const messages: Readonly<Record<string, unknown>>[] = [];
  const urls: URL[] = [];
  const taken: (VendorFault | null)[] = [];
  const isKnown = (authorization: string | undefined): boolean =>
    authorization === `Bearer ${options.apiKey}`;
  const shared = {
    ...{ clock: options.clock, options },
    violation: (text: string) => void violations.push(text),
    note: (message: Readonly<Record<string, unknown>>) => void messages.push(message),
  };
  const server = await startVendorServer({
    onRequest(request, response, url) {
      urls.push(url);
      if (url.pathname !== HTTP) return void response.writeHead(404).end();
      const fault = faults.take();
      const link = { ...shared, isKnown: isKnown(request.headers.authorization), fault };
      void answerMinimaxHttp(link, request, response);
    },
    onUpgrade(request, url) {
      urls.push(url);
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        violations.push('permessage-deflate was offered');
      }
      if (url.pathname !== ONE_WAY && url.pathname !== TWO_WAY) return { status: 404, body: '' };
      const fault = faults.take();
      if (fault?.kind === 'refuse') return { status: fault.status, body: '{"error":"refused"}' };
      taken.push(fault);
      return null;
    },
    onSocket(socket, request, url) {
      new SimMinimaxTask({
        ...{ ...shared, socket, isTwoWay: url.pathname === TWO_WAY },
        ...{ isKnown: isKnown(request.headers.authorization), fault: taken.shift() ?? null },
      });
    },
  });
  return {
    wsUrl: server.wsUrl + ONE_WAY,
    twoWayUrl: server.wsUrl + TWO_WAY,
    httpUrl: server.httpUrl + HTTP,
    ...{ server, faults, violations, messages, urls },
    close: () => server.close(),
  };
}
