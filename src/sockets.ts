/** Plugs calls, the resampler and the audit log into the sockets of the facade. */
import type { SocketPorts } from '#api/socket-attach.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { CallAttaching } from '#sessions/call-attach-types.ts';
import { noteListening } from '#store/listened.ts';
import type { Database } from '#store/pool.ts';

export async function socketPorts(
  attaching: CallAttaching,
  database: Database,
): Promise<SocketPorts> {
  return {
    attaching,
    resampling: await loadStreamResampling(),
    noteListening: (actor, callId) => noteListening(database, actor, callId),
  };
}
