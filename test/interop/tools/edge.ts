/** The edge of docker/kamailio-rtpengine as its container runs it: its own start script, on these addresses. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPeer, until, type Peer } from './process.ts';
import { isTcpOpen } from './tcp.ts';

const EDGE_FOLDER = fileURLToPath(new URL('../../../docker/kamailio-rtpengine', import.meta.url));

export async function startEdge(options: {
  readonly folder: string;
  readonly address: string;
  /** URIs of our nodes, and of the carrier's host. */
  readonly nodes: readonly string[];
  readonly carrier: string;
}): Promise<Peer> {
  const { folder, address, nodes, carrier } = options;
  const peer = startPeer({
    name: 'the edge',
    command: 'sh',
    args: [join(EDGE_FOLDER, 'start.sh')],
    logPath: join(folder, 'edge.log'),
    env: {
      ...process.env,
      ...{ EDGE_FOLDER, ADDRESS: address, NODES: nodes.join(' '), CARRIER: carrier },
    },
  });
  try {
    await until('the edge to listen', 10_000, () => {
      if (!peer.isRunning) throw new Error(`the edge exited: ${peer.log().slice(-3000)}`);
      return isTcpOpen(address, 5060);
    });
    return peer;
  } catch (error) {
    await peer.stop();
    throw error;
  }
}
