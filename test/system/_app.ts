/**
 * The whole server in this process: ports chosen by the kernel, a fresh database, the scripted vendor. The SIP engine is
 * ours, or the drachtio-server that CALLYARD_SIP_ENGINE names.
 */
import { mkdtempSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createLog, type Log } from '#lib/log.ts';
import { startApp, type App, type AppTiming } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createTestDatabase } from './_database.ts';
import { atEnd } from './_store.ts';

export const ADMIN_KEY = `cy_testkey1_${'A'.repeat(43)}`;

export const SCRIPT = {
  greeting:
    'Welcome to the test line. Please tell me what you want and I will write it down for you.',
  utterances: { '1': 'I want to cancel my order.', '2': 'Stop please.' },
  replies: [
    { match: 'I want to cancel my order.', reply: 'Your order is cancelled.' },
    { match: 'Stop please.', reply: 'I have stopped.' },
  ],
  defaultReply: 'Say that again.',
};

export type TestApp = {
  readonly app: App;
  readonly sip: { readonly address: string; readonly port: number };
  readonly target: string;
  readonly dataDir: string;
  readonly databaseUrl: string;
  get<T>(path: string): Promise<{ status: number; data: T }>;
  post<T>(path: string, body: object): Promise<{ status: number; data: T }>;
};

export function makeDataDir(t: TestContext): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'callyard-app-'));
  chmodSync(dataDir, 0o755);
  atEnd(t, () => rmSync(dataDir, { recursive: true, force: true }));
  return dataDir;
}

export async function startTestApp(
  t: TestContext,
  env: Readonly<Record<string, string>> = {},
  given: {
    dataDir?: string;
    databaseUrl?: string;
    script?: object;
    log?: Log;
    timing?: AppTiming;
  } = {},
): Promise<TestApp> {
  const dataDir = given.dataDir ?? makeDataDir(t);
  const databaseUrl = given.databaseUrl ?? (await freshDatabase(t));
  const script = join(dataDir, 'sim.json');
  writeFileSync(script, JSON.stringify(given.script ?? SCRIPT));
  const engine = process.env['CALLYARD_SIP_ENGINE'];
  const config = loadConfig({
    CALLYARD_HTTP_PORT: '0',
    CALLYARD_SIP_HOST: '127.0.0.1',
    CALLYARD_SIP_PORT: '0',
    CALLYARD_DATA_DIR: dataDir,
    CALLYARD_ADMIN_KEY: ADMIN_KEY,
    CALLYARD_LANGUAGE: 'en',
    CALLYARD_STT_VENDOR: 'sim',
    CALLYARD_LLM_VENDOR: 'sim',
    CALLYARD_TTS_VENDOR: 'sim',
    CALLYARD_SIM_SCRIPT: script,
    DATABASE_URL: databaseUrl,
    ...(engine === undefined ? {} : { CALLYARD_SIP_ENGINE: engine }),
    ...env,
  });
  const app = await startApp(config, given.log ?? createLog('error'), given.timing);
  atEnd(t, () => app.stop(0));
  const port = Number(/:(\d+)$/.exec(app.sipAddresses[0] ?? '')?.[1]);
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const read = async <T>(response: Response): Promise<{ status: number; data: T }> => {
    const body = (await response.json()) as { data?: T };
    return { status: response.status, data: (body.data ?? body) as T };
  };
  return {
    app,
    sip: { address: '127.0.0.1', port },
    target: `sip:8001@127.0.0.1:${port}`,
    dataDir,
    databaseUrl,
    get: async <T>(path: string) => read<T>(await fetch(app.httpUrl + path, { headers })),
    post: async <T>(path: string, body: object) =>
      read<T>(
        await fetch(app.httpUrl + path, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      ),
  };
}

export async function freshDatabase(t: TestContext): Promise<string> {
  const database = await createTestDatabase();
  atEnd(t, () => database.drop());
  return database.url;
}

/** Asks again until `ready`, for what happens a little after; the last answer is returned when it never is. */
export async function eventually<T>(
  ask: () => Promise<T>,
  ready: (value: T) => boolean,
): Promise<T> {
  for (let i = 0; ; i++) {
    const value = await ask();
    if (ready(value) || i >= 100) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
