/** Looks into a running Node process by its inspector: memory after a full collection, live objects, open handles. */
import { until } from './process.ts';

type Reply = {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
};

export type Insight = {
  /** Heap in use plus external memory, after a full garbage collection, of the main thread. */
  readonly mainBytes: number;
  /** The same, summed over the worker threads. */
  readonly workerBytes: number;
  /** Active resources by kind: sockets, servers, ports (main thread and workers together). */
  readonly resources: ReadonlyMap<string, number>;
  /** Source text of what each pending timer will call, repeating ones included. */
  readonly timers: readonly string[];
};

export type Inspector = {
  look(): Promise<Insight>;
  /** Live objects of the main thread whose constructor has this name. */
  countObjects(constructorName: string): Promise<number>;
  close(): void;
};

/** Attaches to `node --inspect=host:port`. */
export async function attach(address: string): Promise<Inspector> {
  const url = await until('the inspector', 5000, async () => {
    const response = await fetch(`http://${address}/json/list`);
    const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
    return target?.webSocketDebuggerUrl;
  });
  const socket = new WebSocket(url);
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve(), { once: true });
    socket.addEventListener('error', () => reject(new Error(`no inspector on ${url}`)), {
      once: true,
    });
  });
  const session = new Session((text) => socket.send(text));
  socket.addEventListener('message', (event) =>
    session.receive(JSON.parse(String(event.data)) as Reply),
  );
  const workers = await attachWorkers(session);
  return {
    look: async () => {
      const main = await lookInto(session);
      const others = await Promise.all([...workers.values()].map(lookInto));
      const resources = new Map<string, number>();
      for (const { kinds } of [main, ...others]) {
        for (const kind of kinds) resources.set(kind, (resources.get(kind) ?? 0) + 1);
      }
      const workerBytes = others.reduce((sum, { bytes }) => sum + bytes, 0);
      const timers = [main, ...others].flatMap((each) => each.timers);
      return { mainBytes: main.bytes, workerBytes, resources, timers };
    },
    countObjects: (name) => countInSnapshot(session, name),
    close: () => socket.close(),
  };
}

class Session {
  readonly #send: (text: string) => void;
  readonly #waiting = new Map<
    number,
    { resolve(value: unknown): void; reject(error: Error): void }
  >();
  readonly #listeners = new Map<string, (params: Record<string, unknown>) => void>();
  #id = 0;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  call<T>(method: string, params: object = {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#id;
    this.#waiting.set(id, { resolve, reject });
    this.#send(JSON.stringify({ id, method, params }));
    return promise as Promise<T>;
  }

  on(method: string, listener: (params: Record<string, unknown>) => void): void {
    this.#listeners.set(method, listener);
  }

  receive(reply: Reply): void {
    if (reply.id === undefined)
      return this.#listeners.get(reply.method ?? '')?.(reply.params ?? {});
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.error) waiting?.reject(new Error(reply.error.message));
    else waiting?.resolve(reply.result);
  }
}

/** A session inside each worker thread (CDP domain NodeWorker). */
async function attachWorkers(main: Session): Promise<Map<string, Session>> {
  const workers = new Map<string, Session>();
  main.on('NodeWorker.attachedToWorker', ({ sessionId }) => {
    const id = String(sessionId);
    const send = (message: string): void =>
      void main.call('NodeWorker.sendMessageToWorker', { sessionId: id, message });
    workers.set(id, new Session(send));
  });
  main.on('NodeWorker.receivedMessageFromWorker', ({ sessionId, message }) => {
    workers.get(String(sessionId))?.receive(JSON.parse(String(message)) as Reply);
  });
  main.on(
    'NodeWorker.detachedFromWorker',
    ({ sessionId }) => void workers.delete(String(sessionId)),
  );
  await main.call('NodeWorker.enable', { waitForDebuggerOnStart: false });
  await until('the worker threads', 3000, () => workers.size > 0);
  return workers;
}

type Look = { readonly bytes: number; readonly kinds: string[]; readonly timers: string[] };

async function lookInto(session: Session): Promise<Look> {
  await session.call('HeapProfiler.enable');
  // Twice: finalizers of the first round free what the second collects.
  for (let round = 0; round < 2; round++) await session.call('HeapProfiler.collectGarbage');
  const expression = `JSON.stringify({ memory: process.memoryUsage(), kinds: process.getActiveResourcesInfo() })`;
  type Evaluated = { readonly result: { readonly value?: string } };
  const evaluate = { expression, returnByValue: true };
  const reply = await session.call<Evaluated>('Runtime.evaluate', evaluate);
  const { memory, kinds } = JSON.parse(reply.result.value ?? '{}') as {
    memory: NodeJS.MemoryUsage;
    kinds: string[];
  };
  const timers = await pendingTimers(session);
  return { bytes: memory.heapUsed + memory.external, kinds, timers };
}

/** Node lists its timers nowhere; the inspector finds them as objects. A timer that has fired is marked destroyed. */
async function pendingTimers(session: Session): Promise<string[]> {
  const expression =
    '(() => { const timer = setTimeout(() => {}, 0); clearTimeout(timer); return Object.getPrototypeOf(timer); })()';
  const objectGroup = 'timers';
  type Remote = { readonly objectId: string };
  const evaluate = { expression, objectGroup };
  const { result } = await session.call<{ result: Remote }>('Runtime.evaluate', evaluate);
  const query = { prototypeObjectId: result.objectId, objectGroup };
  const { objects } = await session.call<{ objects: Remote }>('Runtime.queryObjects', query);
  const listed = await session.call<{ result: { value: string[] } }>('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration:
      'function () { return this.filter((t) => t._idleTimeout > 0 && !t._destroyed).map((t) => String(t._onTimeout)); }',
    returnByValue: true,
  });
  await session.call('Runtime.releaseObjectGroup', { objectGroup });
  return listed.result.value;
}

async function countInSnapshot(session: Session, name: string): Promise<number> {
  const chunks: string[] = [];
  session.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => void chunks.push(String(chunk)));
  await session.call('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
  const snapshot = JSON.parse(chunks.join('')) as {
    snapshot: { meta: { node_fields: string[]; node_types: (string[] | string)[] } };
    nodes: number[];
    strings: string[];
  };
  const { node_fields: fields, node_types: types } = snapshot.snapshot.meta;
  const kinds = types[0] ?? [];
  const isObject = typeof kinds === 'string' ? -1 : kinds.indexOf('object');
  const wanted = snapshot.strings.indexOf(name);
  let count = 0;
  for (let at = 0; at < snapshot.nodes.length; at += fields.length) {
    if (snapshot.nodes[at] === isObject && snapshot.nodes[at + 1] === wanted) count += 1;
  }
  return wanted < 0 ? 0 : count;
}
