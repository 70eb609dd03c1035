/** A server of tools that counts what it does, once per order, and can be slow or out of order. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { TestContext } from 'node:test';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { atEnd } from './_store.ts';

export type ToolRequest = {
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: {
    readonly id: string;
    readonly call_id: string;
    readonly name: string;
    readonly arguments: Record<string, unknown>;
    readonly call: Record<string, unknown>;
  };
};

export type ToolReply = {
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly delayMs?: number;
  /** The connection is cut instead of an answer. */
  readonly isCut?: boolean;
};

export async function startToolServer(
  t: TestContext,
  reply: (request: ToolRequest, count: number) => ToolReply,
) {
  const requests: ToolRequest[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    void (async () => {
      const text = Buffer.concat(await request.toArray()).toString();
      const { headers } = request;
      const asked = { headers, text, body: JSON.parse(text) as ToolRequest['body'] };
      requests.push(asked);
      for (const check of waiting) check();
      const answer = reply(asked, requests.length);
      await sleep(answer.delayMs ?? 0);
      if (answer.isCut === true) return request.socket.destroy();
      const type = { 'content-type': 'application/json' };
      response.writeHead(answer.status ?? 200, { ...type, ...answer.headers });
      return response.end(answer.body ?? '{"ok":true}');
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/tools`,
    requests,
    /** The first request that `isIt`; waits for it. */
    async request(isIt: (request: ToolRequest) => boolean): Promise<ToolRequest> {
      const { promise, resolve } = Promise.withResolvers<ToolRequest>();
      const check = (): void => {
        const found = requests.find(isIt);
        if (found === undefined) return;
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
      return promise;
    },
  };
}
