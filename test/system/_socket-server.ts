/** The facade on a real port over fake calls, with time that moves only when told. */
import type { TestContext } from 'node:test';
import { listenApi, type ApiOptions } from '#api/server.ts';
import type { ApiServer } from '#api/routing.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { makeApi, makeCall, makeFakes, type Fakes } from '../unit/_api-fakes.ts';
import type { FakeAttachment } from '../unit/_socket-fakes.ts';
import { openSocket, type Client } from './_ws-client.ts';

export const WEB = '88888888-8888-4888-8888-888888888888';

export type SocketServer = {
  readonly api: ApiServer;
  readonly fakes: Fakes;
  readonly clock: SimulatedClock;
  readonly url: string;
  readonly auth: { readonly headers: Record<string, string> };
  /** On the web call as its caller, and the call's end of it. */
  readonly join: (
    t: TestContext,
    path?: string,
  ) => Promise<{ client: Client; call: FakeAttachment }>;
};

/** There is one phone call (LIVE) and one web call (WEB). */
export async function startSocketServer(
  t: TestContext,
  options: Partial<ApiOptions> = {},
): Promise<SocketServer> {
  const fakes = makeFakes();
  const web = { id: WEB, channel: 'web', status: 'dialing', answerTime: null } as const;
  fakes.calls.set(WEB, makeCall(web));
  const clock = new SimulatedClock();
  const api = await makeApi(fakes, { clock, ...options });
  const url = await listenApi(api, '127.0.0.1', 0);
  t.after(async () => {
    let isClosed = false;
    const closing = api.close().then(() => (isClosed = true));
    // Clients that were made deaf are waited for, and time moves only when told.
    while (!isClosed) {
      await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 5))]);
      clock.advance(2_000);
    }
  });
  const auth = { headers: { authorization: `Bearer ${fakes.addKey()}` } };
  return {
    ...{ api, fakes, clock, url, auth },
    join: async (test, path = `/ws/call/${WEB}`) => {
      const client = await openSocket(test, url + path, auth);
      await client.frame('ready');
      return { client, call: fakes.sockets.attachments.at(-1) as FakeAttachment };
    },
  };
}
