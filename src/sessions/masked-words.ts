/** Words as they are kept where `mask_at_rest` is set (contract 7.3). */
import { maskDeep, maskText } from '#lib/mask.ts';

/** One key at a time is a card number or a PIN in pieces that no pattern finds, so no key is kept. */
const PRESSED = /^\[DTMF [^\]]+\]$/;

/** What tools that press or collect keys call them. */
const KEYS = /("digits":")[^"]*(")/g;
const KEY_TOOLS: ReadonlySet<unknown> = new Set(['collect_dtmf', 'send_dtmf']);

/** Whatever somebody said or pressed, wherever it stands. */
export function maskWords<T extends object>(data: T): T {
  const isWords = (key: string): boolean => ['content', 'text', 'heard_text'].includes(key);
  const masked = (key: string, value: unknown): unknown => {
    if (key === 'tool_calls')
      return maskDeep(Array.isArray(value) ? value.map(withoutKeys) : value);
    if (typeof value !== 'string') return value;
    if (key === 'digit') return '*';
    if (!isWords(key)) return value;
    if (PRESSED.test(value)) return '[DTMF *]';
    return maskText(isOfKeys(data) ? value.replace(KEYS, '$1*$2') : value);
  };
  return Object.fromEntries(
    Object.entries(data).map(([key, value]: [string, unknown]) => [key, masked(key, value)]),
  ) as T;
}

function isOfKeys(message: object): boolean {
  return 'name' in message && KEY_TOOLS.has(message.name);
}

/** A call of such a tool, with its keys hidden. */
function withoutKeys(call: unknown): unknown {
  const isCall = typeof call === 'object' && call !== null && isOfKeys(call);
  return isCall ? (JSON.parse(JSON.stringify(call).replace(KEYS, '$1*$2')) as unknown) : call;
}
