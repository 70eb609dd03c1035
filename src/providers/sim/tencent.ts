/**
 * Tencent Cloud on loopback (providers.md section 4): recogniser and flowing voice. It holds clients to the protocol:
 * signature, parameters, ids used once, order of messages, frames, pacing, and the idle rules.
 */
import { createHmac } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Clock } from '#lib/clock.ts';
import { SimTencentEars } from './tencent-asr.ts';
import { SimTencentVoice } from './tencent-tts.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export type SimTencentOptions = {
  readonly clock: Clock;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  /** Utterance id -> words, for the recogniser. */
  readonly words?: Readonly<Record<string, string>>;
  /** Default 15 s. */
  readonly asrIdleMs?: number;
  /** Default 10 min. */
  readonly ttsIdleMs?: number;
  /** At once. Default 200 recognisers and 20 voices. */
  readonly maxEars?: number;
  readonly maxVoices?: number;
};

/** What a connection may do and know. */
export type SimTencentLink = {
  readonly clock: Clock;
  readonly options: SimTencentOptions;
  readonly socket: WebSocket;
  /** As they came, decoded. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly fault: VendorFault | null;
  /** Whether `id` was used by no connection before. */
  isNew(id: string): boolean;
  violation(text: string): void;
  /** A text message of the client. */
  note(message: Readonly<Record<string, unknown>>): void;
};

export type SimTencent = {
  readonly asrUrl: string;
  readonly ttsUrl: string;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  /** What clients did that the vendor does not allow; each was refused too, where the vendor would. */
  readonly violations: string[];
  /** The text messages of clients, in order. */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** The parameters of every connection. */
  readonly queries: readonly ReadonlyMap<string, string>[];
  /** Connections that speak or hear now. */
  readonly ears: number;
  readonly voices: number;
  close(): Promise<void>;
};

const ASR_HOST = 'asr.cloud.tencent.com';
const TTS_HOST = 'tts.cloud.tencent.com';
const MAX_VALID_S = 90 * 86_400;

export async function startSimTencent(options: SimTencentOptions): Promise<SimTencent> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const messages: Readonly<Record<string, unknown>>[] = [];
  const queries: ReadonlyMap<string, string>[] = [];
  const ids = new Set<string>();
  const live = { ears: 0, voices: 0 };
  const taken: (VendorFault | null)[] = [];
  const server = await startVendorServer({
    onUpgrade(request, url) {
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        violations.push('permessage-deflate was offered');
      }
      if (kindOf(url) === null) return { status: 404, body: '' };
      const fault = faults.take();
      if (fault?.kind === 'refuse') return { status: fault.status, body: '{"code":1}' };
      taken.push(fault);
      return null;
    },
    onSocket(socket, _request, url) {
      const parameters = new Map(url.searchParams);
      queries.push(parameters);
      const link: SimTencentLink = {
        ...{ clock: options.clock, options, socket, parameters, fault: taken.shift() ?? null },
        isNew(id) {
          const isFirst = !ids.has(id);
          ids.add(id);
          return isFirst;
        },
        violation: (text) => void violations.push(text),
        note: (message) => void messages.push(message),
      };
      const kind = kindOf(url) === 'voice' ? 'voices' : 'ears';
      live[kind] += 1;
      socket.on('close', () => (live[kind] -= 1));
      if (kind === 'voices') new SimTencentVoice(link, live.voices);
      else new SimTencentEars(link, url.pathname.slice('/asr/v2/'.length), live.ears);
    },
  });
  return {
    asrUrl: `${server.wsUrl}/asr/v2`,
    ttsUrl: `${server.wsUrl}/stream_wsv2`,
    ...{ server, faults, violations, messages, queries },
    get ears() {
      return live.ears;
    },
    get voices() {
      return live.voices;
    },
    close: () => server.close(),
  };
}

function kindOf(url: URL): 'ears' | 'voice' | null {
  if (url.pathname === '/stream_wsv2') return 'voice';
  return /^\/asr\/v2\/[^/]+$/.test(url.pathname) ? 'ears' : null;
}

/** What is wrong with the signature or its time, or null. The text is signed without any encoding. */
export function problemOfSignature(link: SimTencentLink, asrAppId: string | null): string | null {
  const { parameters, options } = link;
  const isVoice = asrAppId === null;
  const name = isVoice ? 'Signature' : 'signature';
  const address = isVoice ? `GET${TTS_HOST}/stream_wsv2` : `${ASR_HOST}/asr/v2/${asrAppId}`;
  const pairs = [...parameters].filter(([key]) => key !== name);
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  const text = `${address}?${pairs.map(([key, value]) => `${key}=${value}`).join('&')}`;
  const wanted = createHmac('sha1', options.secretKey).update(text).digest('base64');
  if (parameters.get(name) !== wanted) return 'the signature does not fit';
  const get = (key: string): string => parameters.get(isVoice ? key : key.toLowerCase()) ?? '';
  if (get('SecretId') !== options.secretId) return 'nobody has this secret id';
  const [from, to] = [Number(get('Timestamp')), Number(get('Expired'))];
  const nowS = link.clock.wallMs() / 1000;
  if (!(to > from && to - from <= MAX_VALID_S && to > nowS)) return 'the signature has expired';
  const appId = asrAppId ?? get('AppId');
  return appId === options.appId ? null : 'nobody has this app id';
}

export function parsedMessage(data: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(data.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null; // the vendor answers that with a code of its own
  }
}
