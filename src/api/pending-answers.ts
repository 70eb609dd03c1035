/** Connections on which an answer is still owed: a pipelined `Upgrade` behind it would take the connection away. */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class PendingAnswers {
  readonly #counts = new WeakMap<Socket, number>();

  /** Before the server's first request. */
  watch(server: Pick<Server, 'prependListener'>): void {
    server.prependListener('request', ({ socket }, response: ServerResponse) => {
      this.#count(socket, 1);
      response.once('close', () => this.#count(socket, -1));
    });
  }

  isOwed(socket: Socket): boolean {
    return (this.#counts.get(socket) ?? 0) > 0;
  }

  #count(socket: Socket, change: number): void {
    this.#counts.set(socket, (this.#counts.get(socket) ?? 0) + change);
  }
}
