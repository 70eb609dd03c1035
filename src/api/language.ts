/** The language of messages: Chinese when the client prefers it, else English (contract 1.5). */

export type Language = 'en' | 'zh';

/** RFC 9110 12.5.4: the range with the highest weight wins; among equals the one named first. */
export function languageOf(acceptLanguage: string | undefined): Language {
  let best: { readonly range: string; readonly weight: number } | null = null;
  for (const item of (acceptLanguage ?? '').split(',').slice(0, 20)) {
    const [range = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    if (range === '') continue;
    const weight = weightOf(parameters);
    if (weight > 0 && (best === null || weight > best.weight)) best = { range, weight };
  }
  return best !== null && /^zh(?:-|$)/.test(best.range) ? 'zh' : 'en';
}

function weightOf(parameters: readonly string[]): number {
  const given = parameters.find((parameter) => parameter.startsWith('q='));
  if (given === undefined) return 1;
  const weight = Number(given.slice(2));
  return Number.isNaN(weight) ? 0 : weight;
}
