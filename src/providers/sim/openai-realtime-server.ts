/** The door of a simulated realtime vendor: who may come in, which fault his connection plays, what is kept of it. */
import type { IncomingMessage } from 'node:http';
import type {
  RealtimeSim,
  RealtimeSimOptions,
  RealtimeVendor,
  SeenEvent,
} from './openai-realtime-kit.ts';
import { SimRealtimeSession } from './openai-realtime-session.ts';
import { startVendorServer, type VendorFault } from './vendor-server.ts';

export type Turned = { readonly status: number; readonly code: string };

/** `admit`: null lets in; else the status and code of the refusal. */
export async function startRealtimeServer(
  options: RealtimeSimOptions,
  vendor: RealtimeVendor,
  admit: (request: IncomingMessage, url: URL) => Turned | null,
): Promise<RealtimeSim> {
  const violations: string[] = [];
  const seen: SeenEvent[] = [];
  const heardMs: number[] = [];
  const faults = new WeakMap<IncomingMessage, VendorFault>();
  let count = 0;
  const server = await startVendorServer({
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    onUpgrade(request, url) {
      const fault = options.faults.take();
      if (fault !== null) faults.set(request, fault);
      const turned =
        fault?.kind === 'refuse' ? { status: fault.status, code: 'scripted' } : admit(request, url);
      if (turned === null) return null;
      const { status, code } = turned;
      const error = { message: `refused: ${code}`, type: 'invalid_request_error', code };
      return { status, body: JSON.stringify({ error }) };
    },
    onSocket(socket, request) {
      heardMs.push(0);
      const connection = heardMs.length;
      new SimRealtimeSession(socket, {
        ...{ vendor, options, fault: faults.get(request) ?? null },
        newId: (prefix) => `${prefix}_${(++count).toString(36).padStart(6, '0')}`,
        violated: (what) => violations.push(what),
        seen: (event) => seen.push({ connection, event }),
        heard: (ms) => (heardMs[connection - 1] = (heardMs[connection - 1] ?? 0) + ms),
      });
    },
  });
  return { server, violations, seen, heardMs, close: () => server.close() };
}
