/**
 * Tencent Cloud on loopback (providers.md section 4): recogniser and flowing voice. It holds clients to the protocol:
 * signature, parameters, ids used once, order of messages, frames, pacing, and the idle rules.
 */
import { SimTencentEars } from './tencent-asr.ts';
import type { SimTencentLink, SimTencentOptions } from './tencent-rules.ts';
import { SimTencentVoice } from './tencent-tts.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export type { SimTencentOptions } from './tencent-rules.ts';

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
