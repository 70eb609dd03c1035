/** A receiver of webhooks that believes nothing it cannot verify, and a store with a worker on a clock of the test's. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import type { Actor } from '#lib/actor.ts';
import { SimulatedClock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import type { PublicEvent } from '#lib/public-event.ts';
import type { Store } from '#store/store.ts';
import { createWebhookDeliveries, type WebhookDeliveries } from '#store/webhook-deliveries.ts';
import { createWebhookQueue, type WebhookQueue } from '#store/webhook-queue.ts';
import { createWebhookSender } from '#store/webhook-sender.ts';
import { WebhookWorker } from '#store/webhook-worker.ts';
import { createWebhooks, type IssuedWebhook, type Webhooks } from '#store/webhooks.ts';
import { scriptCall, type CallScript } from '../unit/_store-entries.ts';
import { atEnd, newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

export type Received = {
  readonly path: string;
  readonly id: string;
  readonly body: string;
  readonly event: PublicEvent;
  readonly headers: Readonly<Record<string, string>>;
  /** What it was answered; 0: nothing yet. */
  status: number;
};

/** How to answer: a status, or by hand. */
export type Answering = number | ((request: Received, response: ServerResponse) => void);

export class Receiver {
  readonly received: Received[] = [];
  /** Requests that did not verify under `secret`. */
  readonly refused: string[] = [];
  answer: Answering = 204;
  /** Null: nothing is verified. */
  secret: string | null = null;
  port = 0;
  #server: Server | undefined;

  /** On the same port again after `close`. */
  async open(): Promise<void> {
    const server = createServer((request, response) => void this.#take(request, response));
    const listening = Promise.withResolvers<void>();
    server.listen(this.port, '127.0.0.1', listening.resolve);
    await listening.promise;
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    await closed.promise;
  }

  url(path = '/hook'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Events that were answered with a 2xx, in order. */
  get taken(): Received[] {
    return this.received.filter(({ status }) => status >= 200 && status < 300);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const headers = request.headers as Record<string, string>;
    if (this.secret !== null) {
      try {
        new Webhook(this.secret).verify(body, headers);
      } catch (error) {
        this.refused.push(String(error));
        response.writeHead(401).end();
        return;
      }
    }
    const event = JSON.parse(body) as PublicEvent;
    const one: Received = {
      ...{ path: request.url ?? '', id: headers['webhook-id'] ?? '', body, event, headers },
      status: 0,
    };
    this.received.push(one);
    if (typeof this.answer === 'function') return this.answer(one, response);
    one.status = this.answer;
    response.writeHead(this.answer).end();
  }
}

export async function newReceiver(t: TestContext): Promise<Receiver> {
  const receiver = new Receiver();
  await receiver.open();
  atEnd(t, () => receiver.close());
  return receiver;
}

export type WebhookKit = {
  readonly store: Store;
  readonly actor: Actor;
  readonly clock: SimulatedClock;
  readonly queue: WebhookQueue;
  readonly webhooks: Webhooks;
  readonly deliveries: WebhookDeliveries;
  readonly worker: WebhookWorker;
  readonly attempts: string[];
  makeWorker(queue?: WebhookQueue): WebhookWorker;
  /** As if its process were gone: nobody waits for it any more. */
  abandon(worker: WebhookWorker): void;
  newCall(): CallScript;
  hook(url: string, events?: string[]): Promise<IssuedWebhook>;
  /** Appends what a call says, and waits until it is stored and queued. */
  tell(...entries: Parameters<Store['journal']['append']>[0][]): Promise<void>;
  /** Time goes on by `ms`, and the workers do what falls due. */
  pass(ms: number, stepMs?: number): Promise<void>;
  rows(): Promise<DeliveryState[]>;
};

export type DeliveryState = {
  readonly id: Id;
  readonly event_id: Id;
  readonly event_type: string;
  readonly webhook_id: Id;
  readonly status: string;
  readonly attempts: number;
  readonly response_status: number | null;
  readonly last_error: string | null;
};

export function actorOn(accountId: Id): Actor {
  return {
    ...{ accountId, name: 'user:test', role: 'owner', agentIds: null },
    ...{ requestId: null, ip: null },
  };
}

/** `worker` runs from the start; `Date` goes with the clock, so that receivers see its time. */
export async function newWebhookKit(t: TestContext): Promise<WebhookKit> {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const clock = new SimulatedClock(Date.now());
  t.mock.timers.enable({ apis: ['Date'], now: clock.wallMs() });
  const accountId = await store.defaultAccount();
  const { id: agentId } = await store.agents.defaultFor(accountId);
  const actor = actorOn(accountId);
  const { database, sealer } = store;
  const workers: WebhookWorker[] = [];
  const attempts: string[] = [];
  const queue = createWebhookQueue(database);
  const sender = createWebhookSender({
    ...{ sealer, allowPrivate: ['127.0.0.0/8'], userAgent: 'callyard/test', clock },
    log: silentLog,
  });
  const onDue = (): void => {
    for (const each of workers) each.wake();
  };
  const makeWorker = (from = queue): WebhookWorker => {
    const worker = new WebhookWorker({
      ...{ queue: from, sender, clock, log: silentLog, random: () => 0.5 },
      onAttempt: (status) => attempts.push(status),
    });
    workers.push(worker);
    worker.start();
    return worker;
  };
  const settle = async (): Promise<void> => {
    for (let quiet = 0; quiet < 3;) {
      clock.advance(10);
      t.mock.timers.setTime(clock.wallMs());
      await new Promise((resolve) => setTimeout(resolve, 3));
      quiet = workers.every(({ isIdle }) => isIdle) ? quiet + 1 : 0;
    }
  };
  const worker = makeWorker();
  store.projection.onDeliveries(onDue);
  atEnd(t, async () => {
    for (const each of workers) await each.stop();
  });
  const webhooks = createWebhooks({ database, sealer, clock, onDue });
  return {
    ...{ store, actor, clock, queue, webhooks, worker, attempts, makeWorker },
    deliveries: createWebhookDeliveries({ database, sender, node: 'node-1', clock, onDue }),
    abandon: (gone) => void workers.splice(workers.indexOf(gone), 1),
    newCall: () => scriptCall(accountId, agentId, clock.wallMs()),
    async hook(url, events = ['*']) {
      const made = await webhooks.create(actor, { url, events, description: null, enabled: true });
      if (made === 'full') throw new Error('too many hooks');
      return made;
    },
    async tell(...entries) {
      for (const entry of entries) store.journal.append(entry);
      if (!(await store.projection.drain(15_000))) throw new Error('not drained');
    },
    async pass(ms, stepMs = ms) {
      for (let gone = 0; gone < ms; gone += stepMs) {
        clock.advance(stepMs);
        await settle();
      }
    },
    rows: () =>
      database.withSystem((sql) =>
        sql.rows<DeliveryState>(
          `SELECT id, event_id, event_type, webhook_id, status, attempts, response_status, last_error
             FROM webhook_deliveries ORDER BY created_at, id`,
        ),
      ),
  };
}
