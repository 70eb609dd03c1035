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
  const query = new URLSearchParams({
    authorization: authorizationOf(key, host, pathname, date),
    ...{ date, host },
  });
  return `${address}?${query.toString().replaceAll('+', '%20')}`;
}

/** RTASR: base64 of HMAC-SHA1 with the key over the hexadecimal MD5 of app id and time (unix seconds). */
export function rtasrSignature(appId: string, apiKey: string, timeS: number): string {
  const digest = createHash('md5').update(`${appId}${timeS}`, 'utf8').digest('hex');
  return createHmac('sha1', apiKey).update(digest, 'utf8').digest('base64');
}
