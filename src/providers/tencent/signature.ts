/** Tencent Cloud's signed addresses (providers.md 4.1, 4.2): HMAC-SHA1 over the parameters by name, values as they are. */
import { createHmac } from 'node:crypto';

export type Parameters = Readonly<Record<string, string | number>>;

/** What is signed: `method` and address without scheme, `?`, `k=v` sorted by name and joined by `&`. */
export function textToSign(address: string, parameters: Parameters, method = ''): string {
  const pairs = Object.entries(parameters)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`);
  return `${method}${address}?${pairs.join('&')}`;
}

/** Base64. */
export function signatureOf(text: string, secretKey: string): string {
  return createHmac('sha1', secretKey).update(text, 'utf8').digest('base64');
}

/** The query of a signed address, everything encoded; `name` is that of the signature. */
export function signedQuery(
  parameters: Parameters,
  name: 'signature' | 'Signature',
  signature: string,
): string {
  const all = [...Object.entries(parameters), [name, signature] as const];
  return all.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&');
}
