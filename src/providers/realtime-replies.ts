/** The replies of a realtime model: a number for each, and which of them are void. */

export type Reply = {
  readonly generation: number;
  /** Which connection, and the vendor's id on it. */
  readonly line: number;
  readonly id: string;
  /** Sound given out. */
  ms: number;
  isDone: boolean;
  /** Calls that were told and not answered. */
  readonly open: Set<string>;
};

/** Older ones are no longer played, and cannot be cut. */
const KEPT = 16;

export class Replies {
  readonly #known: Reply[] = [];
  #generation = 0;
  #voidTo = 0;

  begin(line: number, id: string): Reply {
    this.#generation += 1;
    const reply = {
      ...{ generation: this.#generation, line, id },
      ...{ ms: 0, isDone: false, open: new Set<string>() },
    };
    this.#known.push(reply);
    if (this.#known.length > KEPT) this.#known.shift();
    return reply;
  }

  find(line: number, id: string): Reply | undefined {
    return this.#known.findLast((reply) => reply.line === line && reply.id === id);
  }

  isVoid(reply: Reply): boolean {
    return reply.generation <= this.#voidTo;
  }

  /** Everything up to `generation` is void; returns that one, or undefined when it was void already or never was. */
  void(generation: number): Reply | undefined {
    if (generation <= this.#voidTo || generation > this.#generation) return undefined;
    this.#voidTo = generation;
    return this.#known.find((reply) => reply.generation === generation);
  }

  /** Being made on this connection. */
  underWay(line: number): Reply | undefined {
    return this.#known.findLast((reply) => reply.line === line && !reply.isDone);
  }

  /** Takes the call off the list. Null: nobody waits for it. `isLast`: the model can go on. */
  answered(id: string): { readonly reply: Reply; readonly isLast: boolean } | null {
    const reply = this.#known.find((each) => each.open.delete(id));
    return reply === undefined ? null : { reply, isLast: reply.open.size === 0 };
  }
}
