/**
 * Encodes recordings on a thread of its own, so that no packet of a call waits for it. One thread for all recordings of a
 * media worker, started with the first; a thread that dies fails what it had in hand, and the next recording starts another.
 */
import { Worker } from 'node:worker_threads';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { OpenSidesEncoder, SidesEncoder } from './opus-sides.ts';

export type OpusRequest =
  | { readonly type: 'open'; readonly request: number; readonly encoder: number }
  | {
      readonly type: 'encode';
      readonly request: number;
      readonly encoder: number;
      readonly stereo: Int16Array<ArrayBuffer>;
    }
  | { readonly type: 'close'; readonly encoder: number };

export type OpusReply =
  | { readonly type: 'opened'; readonly request: number; readonly lookahead: number }
  /** `packets` one behind the other, and their lengths. */
  | {
      readonly type: 'encoded';
      readonly request: number;
      readonly packets: Uint8Array<ArrayBuffer>;
      readonly lengths: Uint16Array<ArrayBuffer>;
    }
  | { readonly type: 'failed'; readonly request: number; readonly message: string };

export type OpusThread = {
  /** Errors of it and of what it opens: E_MEDIA (the thread died, or refuses), E_TIMEOUT. */
  readonly open: OpenSidesEncoder;
  close(): Promise<void>;
};

/** Half a second of call takes 4 ms; all calls of a worker are before it in the queue at worst. */
const ANSWER_MS = 10_000;

type Waiting = PromiseWithResolvers<Exclude<OpusReply, { type: 'failed' }>>;

export function createOpusThread(entry = new URL('opus-worker.ts', import.meta.url)): OpusThread {
  return new Thread(entry);
}

class Thread implements OpusThread {
  readonly #entry: URL;
  #worker: Worker | null = null;
  #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(entry: URL) {
    this.#entry = entry;
  }

  readonly open: OpenSidesEncoder = async () => {
    const encoder = ++this.#lastId;
    const worker = this.#start();
    try {
      const reply = await this.#ask(worker, (request) => ({ type: 'open', request, encoder }));
      if (reply.type !== 'opened') throw new AppError('E_MEDIA', 'not an answer to this');
      return this.#handle(worker, encoder, reply.lookahead);
    } catch (error) {
      // It may be opened all the same, too late.
      worker.postMessage({ type: 'close', encoder } satisfies OpusRequest);
      throw error;
    }
  };

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #handle(worker: Worker, encoder: number, lookahead: number): SidesEncoder {
    let isClosed = false;
    return {
      lookahead,
      encode: async (stereo) => {
        const message = (request: number) =>
          ({ type: 'encode', request, encoder, stereo }) as const;
        const reply = await this.#ask(worker, message, [stereo.buffer]);
        if (reply.type !== 'encoded') throw new AppError('E_MEDIA', 'not an answer to this');
        let at = 0;
        return Array.from(reply.lengths, (length) => reply.packets.subarray(at, (at += length)));
      },
      close: () => {
        if (isClosed) return;
        isClosed = true;
        worker.postMessage({ type: 'close', encoder } satisfies OpusRequest);
      },
    };
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(this.#entry, {
      name: 'recording-encoder',
      resourceLimits: { maxOldGenerationSizeMb: 256 },
    });
    worker.unref();
    this.#worker = worker;
    const waiting = this.#waiting;
    let cause: unknown;
    worker.on('message', (reply: OpusReply) => {
      const asked = waiting.get(reply.request);
      waiting.delete(reply.request);
      if (reply.type === 'failed') asked?.reject(new AppError('E_MEDIA', reply.message));
      else asked?.resolve(reply);
    });
    worker.once('error', (error) => (cause = error));
    worker.once('exit', () => {
      this.#worker = null;
      this.#waiting = new Map();
      const error = new AppError('E_MEDIA', 'the encoder of recordings died', {
        ...(cause === undefined ? {} : { cause: toAppError(cause) }),
      });
      for (const asked of waiting.values()) asked.reject(error);
      waiting.clear();
    });
    return worker;
  }

  async #ask(
    worker: Worker,
    message: (request: number) => OpusRequest,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<Exclude<OpusReply, { type: 'failed' }>> {
    if (this.#worker !== worker) throw new AppError('E_MEDIA', 'the encoder of recordings died');
    const request = ++this.#lastId;
    const asked: Waiting = Promise.withResolvers();
    const waiting = this.#waiting;
    waiting.set(request, asked);
    worker.postMessage(message(request), transfer);
    try {
      return await withDeadline(asked.promise, ANSWER_MS, 'encoding a recording');
    } finally {
      waiting.delete(request);
    }
  }
}
