/** How much sound of each item a vendor made, so that a cut is told in the item's own milliseconds and never beyond. */

export type Cut = {
  readonly itemId: string;
  readonly contentIndex: number;
  /** Whole ms of the item that were heard. */
  readonly endMs: number;
};

type Item = { readonly itemId: string; readonly contentIndex: number; ms: number };

/** Replies that can still be cut. */
const KEPT_REPLIES = 16;

export class PlayedItems {
  readonly #replies = new Map<string, Item[]>();

  /** `ms` more of the item; items of a reply are played one after the other, as they first came. */
  made(reply: string, itemId: string, contentIndex: number, ms: number): void {
    let items = this.#replies.get(reply);
    if (items === undefined) {
      items = [];
      this.#replies.set(reply, items);
      const [oldest] = this.#replies.keys();
      if (this.#replies.size > KEPT_REPLIES && oldest !== undefined) this.#replies.delete(oldest);
    }
    const known = items.find(
      (item) => item.itemId === itemId && item.contentIndex === contentIndex,
    );
    if (known !== undefined) {
      known.ms += ms;
      return;
    }
    // Its own characters: a part of a message would keep all of the message.
    const own = Buffer.from(itemId).toString();
    items.push({ itemId: own, contentIndex, ms });
  }

  /**
   * What is to be cut when only `heardMs` of the reply were heard. An item that was heard whole is left alone, unless
   * there may be more of it at the vendor (`isGrowing`).
   */
  cuts(reply: string, heardMs: number, isGrowing: boolean): readonly Cut[] {
    const cuts: Cut[] = [];
    const items = this.#replies.get(reply) ?? [];
    let leftMs = Math.max(0, heardMs);
    for (const [index, { itemId, contentIndex, ms }] of items.entries()) {
      const endMs = Math.floor(Math.min(leftMs, ms));
      const hasMore = isGrowing && index === items.length - 1;
      if (leftMs < ms || hasMore) cuts.push({ itemId, contentIndex, endMs });
      leftMs = Math.max(0, leftMs - ms);
    }
    return cuts;
  }
}
