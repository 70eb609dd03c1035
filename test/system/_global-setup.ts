/** `node --test --test-global-setup`: one database server for the whole run. Its URL reaches the test files by env. */
import { startTestServer, type TestServer } from './_test-server.ts';

let server: TestServer | undefined;

export async function globalSetup(): Promise<void> {
  if (process.env['DATABASE_URL'] !== undefined) return;
  server = await startTestServer();
  process.env['TEST_DATABASE_SERVER'] = server.url;
}

export async function globalTeardown(): Promise<void> {
  await server?.stop();
}
