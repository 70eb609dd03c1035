/**
 * Baidu speech on loopback (providers.md section 5): recognisers (classic and large), voice, and the token service. It holds
 * clients to the protocol: tokens, start message, order, sample rate, frames, lengths, ids used once, and the idle rule.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { WebSocket } from 'ws';
import type { Clock } from '#lib/clock.ts';
import { SimBaiduEars } from './baidu-asr.ts';
import { problemOfVoice, SimBaiduVoice } from './baidu-tts.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export type SimBaiduOptions = {
  readonly clock: Clock;
  readonly appId: number;
  readonly apiKey: string;
  readonly secretKey: string;
  /** Utterance id -> words, for the recogniser. */
  readonly words?: Readonly<Record<string, string>>;
  /** Without audio, until -3101; the vendor's page gives no number. Default 10 s. */
  readonly idleMs?: number;
  /** Of a token. Default 30 days. */
  readonly tokenLifeS?: number;
};

export type SimBaiduLink = {
  readonly clock: Clock;
  readonly options: SimBaiduOptions;
  readonly socket: WebSocket;
  readonly query: URLSearchParams;
  readonly isLarge: boolean;
  readonly fault: VendorFault | null;
  violation(text: string): void;
  note(message: Readonly<Record<string, unknown>>): void;
};

export type SimBaidu = {
  readonly asrUrl: string;
  readonly largeUrl: string;
  readonly ttsUrl: string;
  readonly tokenUrl: string;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  readonly tokenFaults: FaultPlan;
  readonly violations: string[];
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Path and query of every connection, and its Authorization header. */
  readonly handshakes: readonly { readonly url: URL; readonly authorization: string | null }[];
  /** Requests for a token, in order: the client id. */
  readonly asked: readonly string[];
  /** Tokens that are good now; taking one away makes it expire. */
  readonly tokens: Set<string>;
  close(): Promise<void>;
};

const ASR = '/realtime_asr';
const LARGE = '/ws/2.0/speech/publiccloudspeech/v1/asr';
const TTS = '/ws/2.0/speech/publiccloudspeech/v1/tts';
const TOKEN = '/oauth/2.0/token';
const DAYS_30_S = 2_592_000;

type Shared = {
  readonly options: SimBaiduOptions;
  readonly violations: string[];
  readonly asked: string[];
  readonly tokens: Set<string>;
  readonly tokenFaults: FaultPlan;
};

export async function startSimBaidu(options: SimBaiduOptions): Promise<SimBaidu> {
  const faults = new FaultPlan();
  const messages: Readonly<Record<string, unknown>>[] = [];
  const handshakes: { url: URL; authorization: string | null }[] = [];
  const shared: Shared = {
    ...{ options, violations: [], asked: [], tokens: new Set(), tokenFaults: new FaultPlan() },
  };
  const { violations } = shared;
  const serials = new Set<string>();
  const taken: (VendorFault | null)[] = [];
  const server = await startVendorServer({
    onRequest: (request, response, url) => giveToken(shared, request, response, url),
    onUpgrade(request, url) {
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        violations.push('permessage-deflate was offered');
      }
      if (![ASR, LARGE, TTS].includes(url.pathname)) return { status: 404, body: '' };
      handshakes.push({ url, authorization: request.headers.authorization ?? null });
      const fault = faults.take();
      if (fault?.kind === 'refuse') return refusalOf(fault.status);
      const wrong = problemOfHandshake(shared, request, url, serials);
      if (wrong !== null) return wrong;
      taken.push(fault);
      return null;
    },
    onSocket(socket, _request, url) {
      const link: SimBaiduLink = {
        ...{ clock: options.clock, options, socket, query: url.searchParams },
        ...{ isLarge: url.pathname === LARGE, fault: taken.shift() ?? null },
        violation: (text) => void violations.push(text),
        note: (message) => void messages.push(message),
      };
      if (url.pathname === TTS) new SimBaiduVoice(link);
      else new SimBaiduEars(link);
    },
  });
  return {
    asrUrl: server.wsUrl + ASR,
    largeUrl: server.wsUrl + LARGE,
    ttsUrl: server.wsUrl + TTS,
    tokenUrl: server.httpUrl + TOKEN,
    ...{ server, faults, messages, handshakes, violations },
    ...{ asked: shared.asked, tokens: shared.tokens, tokenFaults: shared.tokenFaults },
    close: () => server.close(),
  };
}

type Refusal = { readonly status: number; readonly body: string };

/** As the vendor's page has the statuses. */
function refusalOf(status: number): Refusal {
  const code = status === 429 ? 276_001 : 276_000 + (status % 100);
  return { status, body: JSON.stringify({ code, message: `refused with ${status}` }) };
}

function problemOfHandshake(
  { options, tokens, violations }: Shared,
  request: IncomingMessage,
  url: URL,
  serials: Set<string>,
): Refusal | null {
  if (url.pathname === TTS) {
    const problem = problemOfVoice(url.searchParams);
    if (problem !== null) {
      violations.push(`voice: ${problem}`);
      return refusalOf(400);
    }
  } else {
    const serial = url.searchParams.get('sn') ?? '';
    if (serial === '' || serials.has(serial)) {
      violations.push('recogniser: sn is missing, or was used again');
      return refusalOf(400);
    }
    serials.add(serial);
    // The classic one reads its key in the START message.
    if (url.pathname === ASR) return null;
  }
  const token = url.searchParams.get('access_token');
  if (token === null) {
    return request.headers.authorization === `Bearer ${options.apiKey}` ? null : refusalOf(401);
  }
  if (tokens.has(token)) return null;
  const body = { error_code: 111, error_msg: 'Access token expired' };
  return { status: 401, body: JSON.stringify(body) };
}

function giveToken(
  shared: Shared,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): void {
  const { options, tokens, violations, asked } = shared;
  const fault = shared.tokenFaults.take();
  const answer = (status: number, body: string): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  };
  if (url.pathname !== TOKEN) return answer(404, '{}');
  const get = (name: string): string => url.searchParams.get(name) ?? '';
  asked.push(get('client_id'));
  if (request.method !== 'POST' || get('grant_type') !== 'client_credentials') {
    violations.push(`token: ${request.method} with grant_type ${get('grant_type')}`);
    return answer(400, '{"error":"unsupported_grant_type"}');
  }
  if (fault?.kind === 'hang') return;
  if (fault?.kind === 'cut') return void request.socket.destroy();
  if (fault?.kind === 'junk') return answer(200, '<html>not now</html>');
  if (fault?.kind === 'huge') return answer(200, ' '.repeat(fault.bytes));
  if (fault?.kind === 'refuse') return answer(fault.status, '{"error":"server_error"}');
  if (get('client_id') !== options.apiKey || get('client_secret') !== options.secretKey) {
    return answer(
      401,
      '{"error":"invalid_client","error_description":"Client authentication failed"}',
    );
  }
  const token = `24.made-up.${asked.length}`;
  tokens.add(token);
  const life = { expires_in: options.tokenLifeS ?? DAYS_30_S };
  // Not at once: several may ask meanwhile.
  options.clock.setTimer(
    () => answer(200, JSON.stringify({ access_token: token, ...life, scope: 'public' })),
    5,
  );
}
