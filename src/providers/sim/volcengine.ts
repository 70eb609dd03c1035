/**
 * Volcengine's three services on loopback (providers.md 7): keys and resource ids are checked at the handshake, then each
 * socket is a recogniser, a voice or a dialogue, which refuse what the vendor refuses.
 */
import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { systemClock, type Clock } from '#lib/clock.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';
import { playAsr } from './volcengine-asr.ts';
import { playDialogue } from './volcengine-dialogue.ts';
import { playVoice } from './volcengine-voice.ts';

export type VolcSimOptions = {
  /** Utterance id of tone-coded speech -> words. */
  readonly words?: Readonly<Record<string, string>>;
  /** For the dialogue's answer to words. Default: it repeats them. */
  readonly reply?: (text: string) => string;
  readonly clock?: Clock;
  /** Sound that goes out at once, and then every so many ms. */
  readonly chunkMs?: number;
  readonly everyMs?: number;
  /** StartSession of a dialogue per minute. Default 60. */
  readonly perMinute?: number;
};

/** What a socket of the vendor works with. */
export type VolcPeer = {
  readonly socket: WebSocket;
  readonly resource: string;
  readonly fault: VendorFault | null;
  readonly state: VolcState;
};

export type VolcState = {
  readonly options: VolcSimOptions;
  readonly clock: Clock;
  readonly violations: string[];
  /** Of all sockets: an id is never used twice. */
  readonly sessionIds: Set<string>;
  /** What sessions and recognitions were started with. */
  readonly starts: Record<string, unknown>[];
  /** Times of StartSession at the dialogue. */
  readonly startedAtMs: number[];
  /** dialog_id -> what was said under it. */
  readonly dialogs: Map<string, { role: 'user' | 'assistant'; text: string; id: string }[]>;
  /** What clients asked for, in order: `[event, payload]`. */
  readonly asked: [number, unknown][];
  note(what: string): void;
};

export type VolcSim = VolcState & {
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  /** Every socket that is open now. */
  cutAll(): void;
  close(): Promise<void>;
};

export const SIM_APP_ID = 'app-1';
export const SIM_TOKEN = 'token-of-app-1';
export const SIM_API_KEY = 'api-key-of-app-1';
export const SIM_LOG_ID = '20260101000000ABCDEF';

const PATHS = {
  '/api/v3/sauc/bigmodel_async': /^volc\.(?:bigasr|seedasr)\.sauc\.(?:duration|concurrent)$/,
  '/api/v3/tts/bidirection':
    /^(?:seed-tts-[12]\.0|seed-tts-1\.0-concurr|seed-icl-[12]\.0|volc\.service_type\.10029)$/,
  '/api/v3/realtime/dialogue': /^volc\.speech\.dialog$/,
} as const;

const APP_KEY = 'PlgvMymc7f3tQnJ6';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function startVolcSim(options: VolcSimOptions = {}): Promise<VolcSim> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const state: VolcState = {
    ...{ options, violations, clock: options.clock ?? systemClock },
    ...{ sessionIds: new Set(), starts: [], startedAtMs: [], dialogs: new Map(), asked: [] },
    note: (what) => void violations.push(what),
  };
  const sockets = new Set<WebSocket>();
  const taken = new WeakMap<IncomingMessage, VendorFault>();
  const server = await startVendorServer({
    headers: { 'X-Tt-Logid': SIM_LOG_ID },
    onUpgrade: (request, url) => {
      const fault = faults.take();
      if (fault?.kind === 'refuse') return refusal(fault.status, 45000000, 'refused for a test');
      if (fault !== null) taken.set(request, fault);
      return judge(request, url, state);
    },
    onSocket: (socket, request, url) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      const resource = headerOf(request, 'x-api-resource-id');
      const peer = { socket, resource, fault: taken.get(request) ?? null, state };
      if (peer.fault?.kind === 'hang') return;
      if (url.pathname.startsWith('/api/v3/sauc')) playAsr(peer);
      else if (url.pathname.startsWith('/api/v3/tts')) playVoice(peer);
      else playDialogue(peer);
    },
  });
  const cutAll = (): void => sockets.forEach((socket) => socket.terminate());
  return { ...state, server, faults, cutAll, close: () => server.close() };
}

type Refusal = { readonly status: number; readonly body: string };

function judge(request: IncomingMessage, url: URL, state: VolcState): Refusal | null {
  const { pathname } = url;
  if (!Object.hasOwn(PATHS, pathname)) return refusal(404, 45000000, 'no such service');
  const isDialogue = pathname.includes('realtime');
  const apiKey = headerOf(request, 'x-api-key');
  const id = headerOf(request, isDialogue ? 'x-api-app-id' : 'x-api-app-key');
  const token = headerOf(request, 'x-api-access-key');
  const isKnown = apiKey === '' ? id === SIM_APP_ID && token === SIM_TOKEN : apiKey === SIM_API_KEY;
  if (!isKnown) return refusal(401, 45000010, `invalid auth token: ${token || apiKey}`);
  if (isDialogue && headerOf(request, 'x-api-app-key') !== APP_KEY) {
    return refusal(401, 45000010, 'X-Api-App-Key is not the fixed value');
  }
  if (!PATHS[pathname as keyof typeof PATHS].test(headerOf(request, 'x-api-resource-id'))) {
    return refusal(403, 45000030, 'requested resource not granted');
  }
  if (!UUID.test(headerOf(request, 'x-api-connect-id'))) state.note('X-Api-Connect-Id is no uuid');
  return null;
}

function refusal(status: number, code: number, message: string): Refusal {
  return { status, body: JSON.stringify({ header: { reqid: 'r-1', code, message } }) };
}

function headerOf(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}
