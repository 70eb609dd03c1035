/** A queue with a capacity, a drop rule and a counter: nothing in Callyard grows without a bound. */

export type DropRule = 'oldest' | 'newest';

export class BoundedQueue<T> {
  readonly capacity: number;
  readonly #rule: DropRule;
  #items: T[] = [];
  #dropped = 0;

  constructor(capacity: number, rule: DropRule) {
    this.capacity = capacity;
    this.#rule = rule;
  }

  get length(): number {
    return this.#items.length;
  }

  /** Items thrown away because the queue was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False when the new item itself was dropped. */
  push(item: T): boolean {
    if (this.#items.length >= this.capacity) {
      this.#dropped++;
      if (this.#rule === 'newest') return false;
      this.#items.shift();
    }
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    return this.#items.shift();
  }

  /** All items, leaving the queue empty. */
  drain(): T[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}
