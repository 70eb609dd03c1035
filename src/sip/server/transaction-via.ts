/** Where the responses to a request go (RFC 3261 18.2.2, RFC 3581 4). The transport stamped its top Via before. */
import type { SipMessage } from './message.ts';
import type { Flow } from './types.ts';

/**
 * The flow a response is sent on. UDP with rport: the source port. Without: the sent-by port, except when sent-by
 * names another host than the source, which is a client behind NAT that only its source port reaches.
 */
export function responseFlow(request: SipMessage, flow: Flow): Flow {
  if (flow.protocol !== 'udp') return flow;
  const via = request.topVia;
  if (via === undefined || via.params.has('rport') || bare(via.host) !== flow.remoteAddress) {
    return flow;
  }
  return { ...flow, remotePort: via.port ?? 5060 };
}

function bare(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
