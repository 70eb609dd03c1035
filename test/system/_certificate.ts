/** A certificate for 127.0.0.1, signed by itself, for servers of tests. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** PEM. Null without openssl, which Node has no stand-in for. */
export function loopbackCertificate(folder: string): { key: string; cert: string } | null {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const args = [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=loopback'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1'],
  ];
  try {
    execFileSync('openssl', args, { stdio: 'ignore', timeout: 10_000 });
  } catch {
    // Said by the test that is skipped.
    return null;
  }
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}
