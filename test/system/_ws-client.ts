/** A WebSocket client that writes down all it is told, over a real connection. */
import type { TestContext } from 'node:test';
import { WebSocket, type ClientOptions } from 'ws';

export type Frame = Record<string, unknown> & { readonly type: string };

export type Close = { readonly code: number; readonly reason: string };

export type Client = {
  readonly socket: WebSocket;
  /** JSON frames in order. */
  readonly frames: Frame[];
  /** Binary frames in order. */
  readonly audio: Buffer[];
  /** Both, in the order they came: the type of a frame, or `audio`. */
  readonly order: string[];
  send(frame: object | string | Uint8Array): void;
  /** The first frame of this type, or the `count`th; waits for it. */
  frame(type: string, count?: number): Promise<Frame>;
  /** The first frame of this type that `isIt`; waits for it. */
  found(type: string, isIt: (frame: Frame) => boolean): Promise<Frame>;
  /** Waits for so many bytes of audio in all. */
  heard(bytes: number): Promise<Buffer>;
  /** A ping, and its pong: all that was sent before has been read by the server. */
  settle(): Promise<void>;
  readonly closed: Promise<Close>;
};

export type Refusal = {
  readonly status: number;
  readonly code: string | null;
  readonly body: string;
};

type Wish = {
  readonly headers?: Record<string, string>;
  readonly protocols?: string[];
  readonly options?: ClientOptions;
};

/** Fails when the upgrade is refused. */
export async function openSocket(t: TestContext, url: string, wish: Wish = {}): Promise<Client> {
  const opened = await trySocket(t, url, wish);
  if ('status' in opened) throw new Error(`${url}: ${opened.status} ${opened.body}`);
  return opened;
}

/** An open socket, or how the server refused it. */
export async function trySocket(
  t: Pick<TestContext, 'after'>,
  url: string,
  { headers = {}, protocols = [], options = {} }: Wish = {},
): Promise<Client | Refusal> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, { ...options, headers });
  t.after(() => socket.terminate());
  const client = watch(socket);
  const { promise, resolve, reject } = Promise.withResolvers<Client | Refusal>();
  socket.on('open', () => resolve(client));
  socket.on('error', reject);
  socket.on('unexpected-response', (_request, response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const parsed = body.startsWith('{') ? (JSON.parse(body) as { error?: { code: string } }) : {};
      resolve({ status: response.statusCode ?? 0, code: parsed.error?.code ?? null, body });
    });
  });
  return promise;
}

function watch(socket: WebSocket): Client {
  const frames: Frame[] = [];
  const audio: Buffer[] = [];
  const order: string[] = [];
  const waiting = new Set<() => void>();
  const { promise: closed, resolve } = Promise.withResolvers<Close>();
  let end: Close | null = null;
  const told = (): void => {
    for (const check of waiting) check();
  };
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) audio.push(data);
    else frames.push(JSON.parse(data.toString()) as Frame);
    order.push(isBinary ? 'audio' : (frames.at(-1) as Frame).type);
    told();
  });
  socket.on('close', (code, reason) => {
    end = { code, reason: reason.toString() };
    resolve(end);
    told();
  });
  /** Waits for what will come, or says what came instead of it. */
  const until = async <T>(what: string, look: () => T | undefined): Promise<T> => {
    const { promise, resolve: found, reject } = Promise.withResolvers<T>();
    const check = (): void => {
      const value = look();
      if (value === undefined && end === null) return;
      waiting.delete(check);
      clearTimeout(late);
      if (value !== undefined) found(value);
      else reject(new Error(`closed with ${JSON.stringify(end)} before ${what}: ${order.join()}`));
    };
    const late = setTimeout(() => {
      waiting.delete(check);
      reject(new Error(`no ${what}, only ${JSON.stringify(frames).slice(0, 2_000)}`));
    }, 20_000);
    waiting.add(check);
    check();
    return promise;
  };
  const send: Client['send'] = (frame) => {
    const isRaw = typeof frame === 'string' || frame instanceof Uint8Array;
    socket.send(isRaw ? frame : JSON.stringify(frame));
  };
  const frame: Client['frame'] = (type, count = 1) =>
    until(`${type} ${count}`, () => frames.filter((each) => each.type === type)[count - 1]);
  return {
    ...{ socket, frames, audio, order, closed, send, frame },
    found: (type, isIt) =>
      until(`such ${type}`, () => frames.find((each) => each.type === type && isIt(each))),
    heard: (bytes) =>
      until(`${bytes} bytes`, () => {
        const all = Buffer.concat(audio);
        return all.length >= bytes ? all : undefined;
      }),
    settle: async () => {
      const pongs = frames.filter((each) => each.type === 'pong').length;
      send({ type: 'ping' });
      await frame('pong', pongs + 1);
    },
  };
}
