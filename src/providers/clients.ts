/**
 * The clients of vendors: each made once for what it is made of, shared by all calls, and closed when nobody has used it
 * for long and others need the room.
 */
import { createHash } from 'node:crypto';

type Closeable = { close?(): void };

const MAX_CLIENTS = 300;

export class Clients {
  readonly #clients = new Map<string, Closeable>();
  readonly #limit: number;
  #isClosed = false;

  constructor(limit = MAX_CLIENTS) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Whoever works with one asks for it each time: one that was closed meanwhile is made again. Errors: those of `make`. */
  get<T extends Closeable>(key: string, make: () => T): T {
    const known = this.#clients.get(key) as T | undefined;
    if (known !== undefined) {
      // The latest one used stands last.
      this.#clients.delete(key);
      this.#clients.set(key, known);
      return known;
    }
    const made = make();
    if (this.#isClosed) {
      made.close?.();
      return made;
    }
    this.#clients.set(key, made);
    for (const [oldest, client] of this.#clients) {
      if (this.#clients.size <= this.#limit) break;
      this.#clients.delete(oldest);
      client.close?.();
    }
    return made;
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const client of this.#clients.values()) client.close?.();
    this.#clients.clear();
  }
}

/** A name for what a client is made of, which gives none of it away. */
export function keyOf(...parts: readonly unknown[]): string {
  const text = JSON.stringify(parts, (_name, value: unknown) =>
    isPlain(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(text).digest('base64url');
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
