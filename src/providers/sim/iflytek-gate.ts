/** Who may come in at the simulated iFlytek: signatures as providers.md 3.1 and 3.4 have them, worked out here anew. */
import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export type SimIflytekAccount = {
  readonly appId: string;
  readonly apiKey: string;
  readonly apiSecret: string;
};

export type SimRefusal = { readonly status: number; readonly body: string };

const MAX_SKEW_MS = 300_000;
const AUTHORIZATION =
  /^api_key="([^"]*)", algorithm="hmac-sha256", headers="host date request-line", signature="([^"]*)"$/;

function refused(status: number, message: string): SimRefusal {
  return { status, body: JSON.stringify({ message }) };
}

/** IAT, Spark IAT and the voices. Null: welcome. */
export function refusalOfSigned(
  request: IncomingMessage,
  url: URL,
  account: SimIflytekAccount,
  nowMs: number,
): SimRefusal | null {
  if (/[+ ]/.test(url.search)) return refused(401, 'the query is not URL-encoded');
  const [authorization, date, host] = ['authorization', 'date', 'host'].map((name) =>
    url.searchParams.get(name),
  );
  const header = Buffer.from(authorization ?? '', 'base64').toString('utf8');
  const [, apiKey, signature] = AUTHORIZATION.exec(header) ?? [];
  if (apiKey === undefined) return refused(401, 'Unauthorized');
  if (host !== request.headers.host) return refused(403, 'the host is another one');
  const atMs = Date.parse(date ?? '');
  const isRfc1123 = !Number.isNaN(atMs) && new Date(atMs).toUTCString() === date;
  if (!isRfc1123 || Math.abs(atMs - nowMs) > MAX_SKEW_MS) {
    return refused(403, 'HMAC signature cannot be verified, a valid date is required');
  }
  const origin = ['host: ', host, '\n', 'date: ', date, '\n', `GET ${url.pathname} HTTP/1.1`];
  const due = createHmac('sha256', account.apiSecret).update(origin.join('')).digest('base64');
  if (apiKey !== account.apiKey) return refused(401, 'HMAC signature cannot be verified');
  return signature === due ? null : refused(401, 'HMAC signature does not match');
}

/** RTASR tells it behind the handshake: the code of its error, or null. */
export function rtasrProblem(url: URL, account: SimIflytekAccount, nowMs: number): string | null {
  const query = Object.fromEntries(url.searchParams);
  const { appid = '', ts = '', signa, lang } = query;
  if (appid === '' || !/^\d{10}$/.test(ts) || signa === undefined) return '10106';
  if (lang !== 'cn' && lang !== 'en') return '10107';
  if (appid !== account.appId) return '10110';
  const digest = createHash('md5')
    .update(appid + ts)
    .digest('hex');
  const due = createHmac('sha1', account.apiKey).update(digest).digest('base64');
  return signa === due && Math.abs(Number(ts) * 1000 - nowMs) <= MAX_SKEW_MS ? null : '10105';
}

const LLM_FIELDS = 'accessKeyId appId audio_encode lang samplerate signature utc uuid'.split(' ');

/** The large RTASR: the answer to a wrong signature is a guess. */
export function refusalOfLlm(
  url: URL,
  account: SimIflytekAccount,
  nowMs: number,
): SimRefusal | null {
  const query = Object.fromEntries(url.searchParams);
  const missing = LLM_FIELDS.find((name) => (query[name] ?? '') === '');
  if (missing !== undefined) return refused(401, `${missing} is missing`);
  if (query['audio_encode'] !== 'pcm_s16le' || query['samplerate'] !== '16000') {
    return refused(400, 'audio_encode or samplerate');
  }
  const utc = query['utc'] ?? '';
  const atMs = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0800$/.test(utc) ? Date.parse(utc) : Number.NaN;
  if (!(Math.abs(atMs - nowMs) <= MAX_SKEW_MS)) return refused(403, 'utc is not of now');
  const sorted = Object.keys(query)
    .filter((name) => name !== 'signature')
    .sort()
    .map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(query[name] ?? '')}`);
  const due = createHmac('sha1', account.apiSecret).update(sorted.join('&')).digest('base64');
  const isMine = query['accessKeyId'] === account.apiKey && query['appId'] === account.appId;
  return isMine && query['signature'] === due ? null : refused(401, 'signature does not match');
}
