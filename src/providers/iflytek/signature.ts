/** iFlytek's signed addresses (providers.md 3.1, 3.4). */
import { createHash, createHmac } from 'node:crypto';

export type Key = { readonly apiKey: string; readonly apiSecret: string };

/** `date`: RFC 1123 GMT. Base64 of HMAC-SHA256 over host, date and request line. */
export function signatureOf(apiSecret: string, host: string, path: string, date: string): string {
  const origin = `host: ${host}\ndate: ${date}\nGET ${path} HTTP/1.1`;
  return createHmac('sha256', apiSecret).update(origin, 'utf8').digest('base64');
}

export function authorizationOf(
  { apiKey, apiSecret }: Key,
  host: string,
  path: string,
  date: string,
): string {
  const signature = signatureOf(apiSecret, host, path, date);
  const header = `api_key="${apiKey}", algorithm="hmac-sha256", headers="host date request-line", signature="${signature}"`;
  return Buffer.from(header, 'utf8').toString('base64');
}

/** `address` signed for the host and path that it names, at `nowMs` (unix). The vendor takes 300 s of difference. */
export function signedUrl(address: string, key: Key, nowMs: number): string {
  const { host, pathname } = new URL(address);
  const date = new Date(nowMs).toUTCString();
  const authorization = authorizationOf(key, host, pathname, date);
  return withQuery(address, encoded({ authorization, date, host }));
}

/** RTASR: base64 of HMAC-SHA1 with the key over the hexadecimal MD5 of app id and time (unix seconds). */
export function rtasrSignature(appId: string, apiKey: string, timeS: number): string {
  const digest = createHash('md5').update(`${appId}${timeS}`, 'utf8').digest('hex');
  return createHmac('sha1', apiKey).update(digest, 'utf8').digest('base64');
}

export type RtasrLlmCall = {
  readonly appId: string;
  readonly lang: string;
  readonly uuid: string;
  readonly nowMs: number;
  readonly more: Readonly<Record<string, string>>;
};

/** RTASR LLM: base64 of HMAC-SHA1 with the secret over the sorted, URL-encoded query. */
export function rtasrLlmUrl(
  address: string,
  key: Key,
  { appId, lang, uuid, nowMs, more }: RtasrLlmCall,
): string {
  const query = {
    ...more,
    ...{ accessKeyId: key.apiKey, appId, uuid, utc: beijingTime(nowMs), lang },
    ...{ audio_encode: 'pcm_s16le', samplerate: '16000' },
  };
  const sorted = Object.fromEntries(Object.entries(query).sort(([a], [b]) => (a < b ? -1 : 1)));
  const signature = createHmac('sha1', key.apiSecret).update(encoded(sorted)).digest('base64');
  return withQuery(address, encoded({ ...sorted, signature }));
}

/** `2026-11-20T10:00:00+0800`. */
export function beijingTime(nowMs: number): string {
  return `${new Date(nowMs + 8 * 3_600_000).toISOString().slice(0, 19)}+0800`;
}

export function encoded(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&');
}

/** An address may have a query of its own. */
export function withQuery(address: string, query: string): string {
  return `${address}${address.includes('?') ? '&' : '?'}${query}`;
}
