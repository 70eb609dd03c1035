/** The guard over TLS: the certificate must be of the name in the URL, whatever address it was resolved to. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { AppError } from '#lib/errors.ts';
import { guardedFetch } from '#lib/safe-fetch.ts';
import { atEnd, newDataDir } from './_store.ts';

const NAME = 'receiver.test';

/** Null without openssl, which Node has no stand-in for. */
function makeCertificate(folder: string): { key: string; cert: string } | null {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const args = [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${NAME}`],
    ...['-addext', `subjectAltName=DNS:${NAME}`],
  ];
  try {
    execFileSync('openssl', args, { stdio: 'ignore', timeout: 10_000 });
  } catch {
    // Said by the test that is skipped.
    return null;
  }
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

async function serve(t: TestContext, made: { key: string; cert: string }): Promise<number> {
  const server = createServer(made, (request, response) => {
    response.end(`${request.headers.host}`);
  });
  const listening = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', listening.resolve);
  await listening.promise;
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test('https: a certificate that is trusted and of this name, and no other', async (t) => {
  const made = makeCertificate(newDataDir(t));
  if (made === null) return t.skip('openssl is not installed');
  const port = await serve(t, made);
  const ask = (host: string) =>
    guardedFetch(`https://${host}:${port}/`, {
      ...{ allowPrivate: ['127.0.0.0/8'], timeoutMs: 5_000, maxBytes: 1_000 },
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    });
  const reasonOf = async (host: string): Promise<unknown> => {
    const error = await ask(host).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AppError && error.code === 'E_UNREACHABLE');
    return error.details['reason'];
  };
  assert.equal(await reasonOf(NAME), 'DEPTH_ZERO_SELF_SIGNED_CERT');
  const before = getCACertificates('default');
  setDefaultCACertificates([...before, made.cert]);
  try {
    const answer = await ask(NAME);
    assert.deepEqual([answer.status, answer.body.toString()], [200, `${NAME}:${port}`]);
    assert.equal(await reasonOf('other.test'), 'ERR_TLS_CERT_ALTNAME_INVALID');
  } finally {
    setDefaultCACertificates(before);
  }
});
