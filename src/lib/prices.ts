/** What vendors charge for a unit of their work (`provider_configs.prices`), and what a call's use of them comes to. */

/** Names as in the database and the API; each a number of money units, 0 or more. */
export const PRICE_NAMES = [
  'stt_per_minute',
  'tts_per_1k_chars',
  'llm_per_1m_input',
  'llm_per_1m_output',
  'realtime_per_minute',
] as const;
export type PriceName = (typeof PRICE_NAMES)[number];

/** Null: not known. */
export type PriceTable = { readonly currency: string } & {
  readonly [K in PriceName]: number | null;
};

/** What was used of a vendor; absent is nothing. */
export type UsedUnits = {
  readonly stt_seconds?: number;
  readonly tts_chars?: number;
  readonly realtime_seconds?: number;
  readonly llm_tokens_in?: number;
  readonly llm_tokens_out?: number;
};

export type Money = { readonly amount: number; readonly currency: string };

/** Money is kept to the sixth decimal, as the database does. */
export const MICROS = 1_000_000;

const UNITS: readonly (readonly [keyof UsedUnits, PriceName, number])[] = [
  ['stt_seconds', 'stt_per_minute', 60],
  ['tts_chars', 'tts_per_1k_chars', 1_000],
  ['llm_tokens_in', 'llm_per_1m_input', 1_000_000],
  ['llm_tokens_out', 'llm_per_1m_output', 1_000_000],
  ['realtime_seconds', 'realtime_per_minute', 60],
];

/**
 * Prices as an account has stored them. Null when none of them is known, or when they are in another currency than the
 * account's: money is not converted.
 */
export function priceTableOf(
  stored: Readonly<Record<string, unknown>> | undefined,
  accountCurrency: string,
): PriceTable | null {
  if (stored === undefined) return null;
  const { currency = accountCurrency } = stored;
  const priceOf = (name: PriceName): number | null => {
    const value = stored[name];
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
  };
  const isKnown = PRICE_NAMES.some((name) => priceOf(name) !== null);
  if (!isKnown || currency !== accountCurrency) return null;
  const prices = Object.fromEntries(PRICE_NAMES.map((name) => [name, priceOf(name)]));
  return { currency, ...(prices as Record<PriceName, number | null>) };
}

/** In money units, not rounded. Null when nothing that was used has a known price. */
export function costOf(used: UsedUnits, prices: PriceTable | null): number | null {
  if (prices === null) return null;
  let cost: number | null = null;
  for (const [unit, name, per] of UNITS) {
    const count = used[unit] ?? 0;
    const price = prices[name];
    if (count > 0 && price !== null) cost = (cost ?? 0) + (count * price) / per;
  }
  return cost;
}
