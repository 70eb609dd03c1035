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

/** The first choice of each place. */
export function wordsOf(ws: unknown): string {
  return choicesOf(ws)
    .map(({ word }) => word)
    .join('');
}

/**
 * The words of a sentence of RTASR (`rt`): without those that the vendor would smooth away (`wp: "s"`, a "hm"), unless
 * they are wanted or all there is.
 */
export function spokenWordsOf(rt: unknown, keepsFillers: boolean): string {
  const all = (Array.isArray(rt) ? rt : []).flatMap((each: { readonly ws?: unknown } | null) =>
    choicesOf(each?.ws),
  );
  const spoken = all.filter(({ kind }) => kind !== 's');
  const hasWords = spoken.some(({ word, kind }) => kind !== 'p' && word.trim() !== '');
  return (keepsFillers || !hasWords ? all : spoken)
    .map(({ word }) => word)
    .join('')
    .trim();
}

type Choice = { readonly word: string; readonly kind: unknown };

function choicesOf(ws: unknown): Choice[] {
  return (Array.isArray(ws) ? ws : []).flatMap((each: { readonly cw?: unknown } | null) => {
    const cw = each?.cw;
    const first = (Array.isArray(cw) ? cw[0] : null) as { w?: unknown; wp?: unknown } | null;
    return typeof first?.w === 'string' ? [{ word: first.w, kind: first.wp }] : [];
  });
}
