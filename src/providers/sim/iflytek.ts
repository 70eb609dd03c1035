/**
 * iFlytek on loopback (providers.md section 3): dictation in two generations, realtime transcription in two, voices in
 * two. It holds clients to the protocol: signatures and clock, order, frames, rates, and the vendor's patience.
 */
import type { Clock } from '#lib/clock.ts';
import {
  refusalOfLlm,
  refusalOfSigned,
  rtasrProblem,
  type SimIflytekAccount,
} from './iflytek-gate.ts';
import { SimIat } from './iflytek-iat.ts';
import { SimRtasr } from './iflytek-rtasr.ts';
import { SimIflytekVoice } from './iflytek-voice.ts';
import { SimPeer, type SimService } from './speech-peer.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export const SIM_IFLYTEK_ACCOUNT: SimIflytekAccount = {
  appId: 'made0001',
  apiKey: 'made-up-key-of-a-simulator-00001',
  apiSecret: 'made-up-secret-of-a-simulator-01',
};

export type SimIflytekOptions = {
  readonly clock: Clock;
  /** Utterance id -> words. */
  readonly words?: Readonly<Record<string, string>>;
};

export type SimIflytekKit = {
  readonly account: SimIflytekAccount;
  readonly words: Readonly<Record<string, string>>;
  readonly messages: Readonly<Record<string, unknown>>[];
  /** Connections that the vendor ended because nothing came. */
  readonly expired: string[];
  /** What the connection (of a recogniser) or the request (of a voice) plays. */
  takeFault(): VendorFault | null;
};

export type SimIflytek = {
  readonly urls: Readonly<Record<'iat' | 'spark' | 'rtasr' | 'rtasrLlm' | 'tts' | 'oral', string>>;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  readonly violations: string[];
  /** Text messages of clients, as they came. */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Connections that the vendor ended because nothing came, by their path. */
  readonly expired: readonly string[];
  /** Path and query of every handshake. */
  readonly asked: readonly URL[];
  close(): Promise<void>;
};

const PATHS = {
  iat: '/v2/iat',
  spark: '/v1',
  rtasr: '/v1/ws',
  rtasrLlm: '/ast/communicate/v1',
  tts: '/v2/tts',
  oral: '/v1/private/medd90fec',
} as const;

export async function startSimIflytek({
  clock,
  words = {},
}: SimIflytekOptions): Promise<SimIflytek> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const asked: URL[] = [];
  const messages: Readonly<Record<string, unknown>>[] = [];
  const expired: string[] = [];
  const account = SIM_IFLYTEK_ACCOUNT;
  const kit: SimIflytekKit = {
    ...{ account, words, messages, expired, takeFault: () => faults.take() },
  };
  const server = await startVendorServer({
    onUpgrade(request, url) {
      asked.push(url);
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        violations.push('permessage-deflate was offered');
      }
      const isKnown = Object.values<string>(PATHS).includes(url.pathname);
      if (!isKnown) return { status: 404, body: '' };
      const fault = faults.takeIf('refuse');
      if (fault !== null) return { status: fault.status, body: '{"message":"refused"}' };
      if (url.pathname === PATHS.rtasr) return null;
      if (url.pathname === PATHS.rtasrLlm) return refusalOfLlm(url, account, clock.wallMs());
      return refusalOfSigned(request, url, account, clock.wallMs());
    },
    onSocket(socket, _request, url) {
      const peer = new SimPeer(clock, socket, url.pathname, violations);
      peer.serve(serviceOf(url, peer, kit, clock));
    },
  });
  const at = (path: string): string => `${server.wsUrl}${path}`;
  return {
    urls: {
      ...{ iat: at(PATHS.iat), spark: at(PATHS.spark), rtasr: at(PATHS.rtasr) },
      ...{ rtasrLlm: at(PATHS.rtasrLlm), tts: at(PATHS.tts), oral: at(PATHS.oral) },
    },
    ...{ server, faults, violations, messages, asked, expired },
    close: () => server.close(),
  };
}

function serviceOf(url: URL, peer: SimPeer, kit: SimIflytekKit, clock: Clock): SimService {
  switch (url.pathname) {
    case PATHS.iat:
      return new SimIat(peer, kit, 'plain');
    case PATHS.spark:
      return new SimIat(peer, kit, 'spark');
    case PATHS.rtasr:
      return new SimRtasr(peer, kit, {
        problem: rtasrProblem(url, kit.account, clock.wallMs()),
        sessionId: null,
      });
    case PATHS.rtasrLlm:
      return new SimRtasr(peer, kit, { problem: null, sessionId: 'sim-session-of-rtasr' });
    case PATHS.tts:
      return new SimIflytekVoice(peer, kit, 'plain');
    default:
      return new SimIflytekVoice(peer, kit, 'oral');
  }
}
