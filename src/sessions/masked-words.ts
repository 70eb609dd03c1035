/** Words as they are kept where `mask_at_rest` is set (contract 7.3). */
import { maskDeep, maskText } from '#lib/mask.ts';

/** One key at a time is a card number or a PIN in pieces that no pattern finds, so no key is kept. */
const PRESSED = /^\[DTMF [^\]]+\]$/;

/** Whatever somebody said or pressed, wherever it stands. */
export function maskWords<T extends object>(data: T): T {
  const isWords = (key: string): boolean => ['content', 'text', 'heard_text'].includes(key);
  const masked = (key: string, value: unknown): unknown => {
    if (key === 'tool_calls') return maskDeep(value);
    if (typeof value !== 'string') return value;
    if (key === 'digit') return '*';
    if (!isWords(key)) return value;
    return PRESSED.test(value) ? '[DTMF *]' : maskText(value);
  };
  return Object.fromEntries(
    Object.entries(data).map(([key, value]: [string, unknown]) => [key, masked(key, value)]),
  ) as T;
}
