/**
 * Aliyun's token service on loopback, as strict as the real one: signatures are computed anew from the request, a nonce
 * works once, a timestamp for 15 minutes. It counts, and fails when told to.
 */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { atEnd } from './_store.ts';

/** `ok`, or what goes wrong: an answer, a status, a connection. */
export type Fault =
  | 'ok'
  | 'hang'
  | 'cut'
  | 'status-500'
  | 'html'
  | 'redirect'
  | 'too-long'
  | 'no-token'
  | 'expired'
  | 'milliseconds'
  | 'quoting';

export type FakeAliyun = {
  readonly url: string;
  /** Secret by AccessKey ID. */
  readonly keys: Map<string, string>;
  /** Requests so far, whatever became of them. */
  requests: number;
  /** Tokens given out. */
  readonly tokens: string[];
  /** Codes of the refusals. */
  readonly refusals: string[];
  fault: Fault;
  /** Faults of the next requests, before `fault` holds again. */
  readonly next: Fault[];
  lifeS: number;
  delayMs: number;
};

const VALID_MS = 15 * 60_000;
const EXPECTED = [
  ...['AccessKeyId', 'Action', 'Format', 'RegionId', 'Signature', 'SignatureMethod'],
  ...['SignatureNonce', 'SignatureVersion', 'Timestamp', 'Version'],
];

export async function startFakeAliyun(t: TestContext): Promise<FakeAliyun> {
  const nonces = new Set<string>();
  const server = createServer((request, response) => {
    fake.requests++;
    const fault = fake.next.shift() ?? fake.fault;
    const timer = setTimeout(() => answer(request, response, fault), fake.delayMs);
    response.on('close', () => clearTimeout(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const fake: FakeAliyun = {
    ...{ url, keys: new Map(), requests: 0, tokens: [], refusals: [] },
    ...{ fault: 'ok', next: [], lifeS: 3_600, delayMs: 0 },
  };
  const answer = (request: IncomingMessage, response: ServerResponse, fault: Fault): void => {
    if (fault === 'hang') return;
    if (fault === 'cut') request.socket.destroy();
    else if (fault === 'status-500') sendJson(response, 500, { Code: 'InternalError' });
    else if (fault === 'html') response.writeHead(200).end('<html>a proxy</html>');
    else if (fault === 'redirect') response.writeHead(302, { location: `${url}elsewhere` }).end();
    else if (fault === 'too-long') response.end(`{"x":"${'x'.repeat(200_000)}"}`);
    else if (fault === 'no-token') sendJson(response, 200, { Token: { Id: '' } });
    else if (fault === 'milliseconds')
      sendJson(response, 200, { Token: { Id: 'x', ExpireTime: Date.now() + 3_600_000 } });
    else if (fault === 'quoting') sendJson(response, 400, quoting(request));
    else give(request, response, fault === 'expired' ? -10 : fake.lifeS);
  };
  const give = (request: IncomingMessage, response: ServerResponse, lifeS: number): void => {
    const code = refusalOf(request, fake.keys, nonces);
    if (code !== null) {
      fake.refusals.push(code);
      sendJson(response, 400, { RequestId: 'r', HostId: 'h', Code: code, Message: 'refused' });
      return;
    }
    const token = `vendor-token-${fake.tokens.length + 1}`;
    fake.tokens.push(token);
    const ExpireTime = Math.floor(Date.now() / 1_000) + lifeS;
    sendJson(response, 200, {
      NlsRequestId: 'n',
      RequestId: 'r',
      Token: { ExpireTime, Id: token },
    });
  };
  atEnd(t, () => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return fake;
}

/** As the real one does when a signature is wrong: the whole query, and what was signed, in the message. */
function quoting(request: IncomingMessage): object {
  const query = request.url ?? '';
  return { Code: 'SignatureDoesNotMatch', Message: `server string to sign is: ${query}` };
}

function refusalOf(
  request: IncomingMessage,
  keys: ReadonlyMap<string, string>,
  nonces: Set<string>,
): string | null {
  const [path, query = ''] = (request.url ?? '').split('?');
  if (request.method !== 'GET' || path !== '/') return 'InvalidAction.NotFound';
  const given = new Map(
    query.split('&').map((pair) => {
      const [name = '', value = ''] = pair.split('=');
      return [decodeURIComponent(name), decodeURIComponent(value)] as const;
    }),
  );
  if ([...given.keys()].sort().join() !== EXPECTED.join()) return 'MissingParameter';
  const secret = keys.get(given.get('AccessKeyId') ?? '');
  if (secret === undefined) return 'InvalidAccessKeyId.NotFound';
  const time = given.get('Timestamp') ?? '';
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time);
  if (!isTime || Math.abs(Date.now() - Date.parse(time)) > VALID_MS)
    return 'InvalidTimeStamp.Expired';
  if (given.get('Signature') !== signatureOf(given, secret)) return 'SignatureDoesNotMatch';
  const nonce = given.get('SignatureNonce') ?? '';
  if (nonces.has(nonce)) return 'SignatureNonceUsed';
  nonces.add(nonce);
  return null;
}

function signatureOf(given: ReadonlyMap<string, string>, secret: string): string {
  const joined = [...given]
    .filter(([name]) => name !== 'Signature')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${strict(name)}=${strict(value)}`)
    .join('&');
  return createHmac('sha1', `${secret}&`)
    .update(`GET&${strict('/')}&${strict(joined)}`)
    .digest('base64');
}

/** Every byte but the unreserved ones of RFC 3986, one by one. */
function strict(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte);
    encoded += /[A-Za-z0-9._~-]/.test(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
