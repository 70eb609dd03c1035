/** Words of a result that is corrected while it grows (providers.md 3.2, `dwa: "wpgs"`). */
import { brokenMessage, type Json } from '../vendor-json.ts';

/** Entries of one utterance; more are a vendor gone wild. */
const MAX_ENTRIES = 2_000;

export class GrowingWords {
  readonly #bySn = new Map<number, string>();

  /** The whole text with this result in it. Errors: E_PROVIDER_SERVER. */
  add(result: Json): string {
    const { sn, pgs, rg } = result;
    if (typeof sn !== 'number') throw brokenMessage('iflytek', 'a result without a number');
    if (pgs === 'rpl' && Array.isArray(rg)) {
      const [from, to] = rg as unknown[];
      for (const known of [...this.#bySn.keys()]) {
        if (typeof from === 'number' && typeof to === 'number' && known >= from && known <= to) {
          this.#bySn.delete(known);
        }
      }
    }
    if (this.#bySn.size >= MAX_ENTRIES) throw brokenMessage('iflytek', 'a result without end');
    this.#bySn.set(sn, wordsOf(result['ws']));
    return this.text;
  }

  get text(): string {
    return [...this.#bySn]
      .sort(([a], [b]) => a - b)
      .map(([, words]) => words)
      .join('');
  }
}

/** The first choice of each place; `rt` results of RTASR have the same form. */
export function wordsOf(ws: unknown): string {
  return (Array.isArray(ws) ? ws : [])
    .map((each: { readonly cw?: readonly { readonly w?: unknown }[] } | null) => {
      const word = each?.cw?.[0]?.w;
      return typeof word === 'string' ? word : '';
    })
    .join('');
}
