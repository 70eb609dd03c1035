/** A small S3 over HTTP for tests: objects in memory, path style, faults on demand. Shares no code with the client. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { atEnd } from './_store.ts';

/** False, or why tests that talk to a store cannot run: the client is an optional package. */
export const NO_S3_CLIENT: false | string = await import('@aws-sdk/client-s3').then(
  () => false as const,
  () => 'the optional package @aws-sdk/client-s3 is not installed',
);

export type FakeS3 = {
  readonly endpoint: string;
  /** By `bucket/key`. */
  readonly objects: Map<string, Buffer>;
  /** `METHOD bucket/key` in order. */
  readonly requests: string[];
  /** Requests that bore no signature of version 4 with the expected key id. */
  readonly unsigned: string[];
  /** What the next requests meet: a status, `reset` in the middle of the body, or `hang`. */
  readonly faults: (number | 'reset' | 'hang')[];
};

export const S3_KEY_ID = 'TESTKEYID';
export const S3_SECRET = 'test-secret-that-is-no-secret';

export async function startFakeS3(t: TestContext): Promise<FakeS3> {
  const s3: FakeS3 = { endpoint: '', objects: new Map(), requests: [], unsigned: [], faults: [] };
  const server = createServer((request, response) => {
    answer(s3, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(s3, { endpoint: `http://127.0.0.1:${port}` });
}

async function answer(
  s3: FakeS3,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', s3.endpoint);
  const name = decodeURIComponent(url.pathname.slice(1));
  s3.requests.push(`${request.method} ${name}`);
  const signature = new RegExp(
    `^AWS4-HMAC-SHA256 Credential=${S3_KEY_ID}/\\d{8}/[a-z0-9-]+/s3/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$`,
  );
  if (!signature.test(request.headers.authorization ?? '')) s3.unsigned.push(name);
  const fault = s3.faults.shift();
  if (fault === 'hang') return;
  if (fault === 'reset') {
    request.once('data', () => request.socket.destroy());
    if (request.method !== 'PUT') request.socket.destroy();
    return;
  }
  const body = await bodyOf(request);
  if (fault !== undefined) return refuse(response, fault, 'Fault');
  if (request.method === 'PUT') {
    if (body.length !== Number(request.headers['content-length'])) {
      return refuse(response, 400, 'IncompleteBody');
    }
    s3.objects.set(name, body);
    response.writeHead(200, { etag: '"x"' }).end();
  } else if (request.method === 'DELETE') {
    s3.objects.delete(name);
    response.writeHead(204).end();
  } else {
    give(response, request, s3.objects.get(name));
  }
}

function give(
  response: ServerResponse,
  request: IncomingMessage,
  object: Buffer | undefined,
): void {
  if (object === undefined) return refuse(response, 404, 'NoSuchKey');
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  const part = from === undefined ? object : object.subarray(Number(from), Number(to) + 1);
  response.writeHead(from === undefined ? 200 : 206, {
    'content-length': String(part.length),
    'content-type': 'application/octet-stream',
    ...(from === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${object.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : part);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
