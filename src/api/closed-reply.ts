/** The end of an answer, whichever way it comes. */
import type { FastifyReply } from 'fastify';

/**
 * Calls `work` once the answer is sent or its client has left: at once where that was so before, as behind a hook that
 * waited for the database. `close` is emitted only once.
 */
export function whenClosed({ raw }: Pick<FastifyReply, 'raw'>, work: () => void): void {
  if (raw.closed || raw.destroyed) work();
  else raw.once('close', work);
}
