/** Our server as the suite starts it: own data directory and addresses, scripted providers, killed hard if need be. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isCallEntry, type CallEvent, type JournalEntry, type Message } from '#lib/call-events.ts';
import { atExit, startPeer, until, type Peer } from './process.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

export type ServerOptions = {
  readonly folder: string;
  readonly name?: string;
  /** SIP, RTP and HTTP address. */
  readonly address: string;
  readonly sipHost?: string;
  readonly sipPort?: number;
  /** Scripted providers; null leaves the built-in agent. */
  readonly script: object | null;
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArgs?: readonly string[];
};

export type CallRecord = {
  readonly id: string;
  readonly status: string;
  readonly direction: string;
  readonly duration_seconds: number | null;
  readonly hangup_reason: string | null;
  readonly outcome: string | null;
  readonly ended_by: string | null;
  readonly sip_call_id: string | null;
  readonly sip_status: number | null;
  readonly recording_status: string;
  readonly recording: { readonly id: string; readonly duration_ms: number | null } | null;
  readonly messages: readonly Message[];
};

export type Callyard = {
  readonly peer: Peer;
  readonly pid: number;
  readonly address: string;
  readonly apiUrl: string;
  readonly apiKey: string;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  /** Ids of all records, newest first. */
  recordIds(): Promise<string[]>;
  record(id: string): Promise<CallRecord>;
  /** The next record not in `known` that is over, with its recording finished. */
  finishedRecord(known: readonly string[], timeoutMs?: number): Promise<CallRecord>;
  /** Events of a call as the node's journal has them, in order. */
  journaled(callId: string): CallEvent[];
  /** Saves the recording of a call as a WAV file and gives its path. */
  saveRecording(id: string): Promise<string>;
  /** SIGKILL: nothing is given back; the next start has to cope. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A key in the published format: cy_ + 8 of [a-z0-9] + _ + 43 base64url. */
function newApiKey(): string {
  const prefix = randomBytes(8).toString('hex').slice(0, 8);
  return `cy_${prefix}_${randomBytes(32).toString('base64url')}`;
}

/** Starts a server and resolves once it is ready to take calls. A second start in the same folder reuses its data. */
export async function startServer(options: ServerOptions): Promise<Callyard> {
  const folder = join(options.folder, options.name ?? 'server');
  mkdirSync(folder, { recursive: true });
  const keyPath = join(folder, 'suite.key');
  if (!existsSync(keyPath)) writeFileSync(keyPath, newApiKey());
  const apiKey = readFileSync(keyPath, 'utf8');
  const dataDir = join(folder, 'data');
  const peer = startPeer({
    name: 'callyard',
    command: process.execPath,
    args: [...(options.nodeArgs ?? []), 'src/main.ts'],
    cwd: ROOT,
    logPath: join(folder, 'log'),
    env: environment(options, folder, dataDir, apiKey),
  });
  const apiUrl = `http://${options.address}:8080`;
  const server = handle({ peer, apiUrl, apiKey, address: options.address, folder, dataDir });
  try {
    await until('the server to be ready', START_TIMEOUT_MS, async () => {
      if (!peer.isRunning) throw new Error('the server exited');
      return (
        (await statusOf(`${apiUrl}/health`)) === 200 && (await statusOf(`${apiUrl}/ready`)) === 200
      );
    });
    return server;
  } catch (error) {
    await server.stop();
    throw new Error(`${String(error)}\n${peer.log().slice(-3000)}`, { cause: error });
  }
}

function environment(
  options: ServerOptions,
  folder: string,
  dataDir: string,
  apiKey: string,
): Record<string, string | undefined> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(CALLYARD_|DATABASE_URL$|NATS_URL$|NODE_)/.test(name),
  );
  const sim: Record<string, string> = {};
  if (options.script !== null) {
    const path = join(folder, 'sim.json');
    writeFileSync(path, JSON.stringify(options.script));
    sim['CALLYARD_SIM_SCRIPT'] = path;
    for (const kind of ['STT', 'LLM', 'TTS']) sim[`CALLYARD_${kind}_VENDOR`] = 'sim';
  }
  return {
    ...Object.fromEntries(inherited),
    CALLYARD_SIP_HOST: options.sipHost ?? options.address,
    CALLYARD_SIP_PORT: String(options.sipPort ?? 5060),
    CALLYARD_HTTP_HOST: options.address,
    CALLYARD_HTTP_PORT: '8080',
    CALLYARD_DATA_DIR: dataDir,
    CALLYARD_ADMIN_KEY: apiKey,
    CALLYARD_LANGUAGE: 'en-US',
    ...sim,
    ...options.env,
  };
}

async function statusOf(url: string): Promise<number> {
  try {
    const headers = { connection: 'close' };
    return (await fetch(url, { headers, signal: AbortSignal.timeout(2000) })).status;
  } catch {
    // Not up yet: the caller asks again until its own deadline.
    return 0;
  }
}

function handle(parts: {
  peer: Peer;
  apiUrl: string;
  apiKey: string;
  address: string;
  folder: string;
  dataDir: string;
}): Callyard {
  const { peer, apiUrl, apiKey } = parts;
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = {
      authorization: `Bearer ${apiKey}`,
      // Reading a capture blocks this process for seconds: a kept connection may be gone by then, unseen.
      connection: 'close',
      'content-type': 'application/json',
    };
    const response = await fetch(`${apiUrl}${path}`, {
      ...init,
      headers,
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const dataOf = async <T>(response: Response): Promise<T> =>
    ((await response.json()) as { data: T }).data;
  const get = async <T>(path: string): Promise<T> => dataOf<T>(await ask(path));
  const record = (id: string): Promise<CallRecord> => get<CallRecord>(`/api/v1/call-records/${id}`);
  const recordIds = (): Promise<string[]> => allIds(get);
  const forget = atExit(() => signalDatabase(parts.dataDir));
  const stop = async (): Promise<void> => {
    await peer.stop('SIGTERM', STOP_TIMEOUT_MS);
    await endDatabase(parts.dataDir);
    forget();
  };
  return {
    peer,
    pid: peer.pid,
    address: parts.address,
    apiUrl,
    apiKey,
    get,
    post: async (path, body) =>
      dataOf(await ask(path, { method: 'POST', body: JSON.stringify(body) })),
    recordIds,
    record,
    finishedRecord: (known, timeoutMs = 10_000) =>
      until('the finished record of the call', timeoutMs, async () => {
        const fresh = (await recordIds()).find((id) => !known.includes(id));
        if (fresh === undefined) return undefined;
        const found = await record(fresh);
        const isOver = found.status === 'ended' || found.status === 'failed';
        return isOver && found.recording_status !== 'active' ? found : undefined;
      }),
    journaled: (callId) => readJournal(parts.dataDir).filter((event) => event.call_id === callId),
    saveRecording: async (id) => {
      const path = join(parts.folder, `${id}.wav`);
      const response = await ask(`/api/v1/call-records/${id}/recording`);
      writeFileSync(path, Buffer.from(await response.arrayBuffer()));
      return path;
    },
    kill: () => peer.stop('SIGKILL'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function readJournal(dataDir: string): CallEvent[] {
  const folder = join(dataDir, 'journal');
  const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  const lines = files
    .sort()
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'));
  // Each line is a checksum and an entry; one torn by a kill has no end and is none.
  const entries = lines.flatMap((line) => /^[0-9a-f]+ (\{.*\})$/.exec(line)?.[1] ?? []);
  return entries
    .map((entry) => JSON.parse(entry) as JournalEntry)
    .filter(isCallEntry)
    .map(({ event }) => event);
}

async function allIds(get: <T>(path: string) => Promise<T>): Promise<string[]> {
  const ids: string[] = [];
  for (let page = 1; ; page++) {
    const path = `/api/v1/call-records?page_size=100&page=${page}`;
    const list = await get<{ records: { id: string }[]; pagination: { has_next: boolean } }>(path);
    ids.push(...list.records.map((row) => row.id));
    if (!list.pagination.has_next) return ids;
  }
}

/** After a kill -9 the embedded database may be left over: it is our server's child, so it is ours to end. */
async function endDatabase(dataDir: string): Promise<void> {
  const pids = signalDatabase(dataDir);
  await until('the left-over database to end', 10_000, () => !pids.some(isPostgres));
}

function signalDatabase(dataDir: string): number[] {
  if (!existsSync(dataDir)) return [];
  const files = readdirSync(dataDir, { recursive: true, encoding: 'utf8' });
  const pids = files
    .filter((name) => name.endsWith('postmaster.pid'))
    .map((name) => Number(readFileSync(join(dataDir, name), 'utf8').split('\n')[0]))
    .filter(isPostgres);
  for (const pid of pids) process.kill(pid, 'SIGINT');
  return pids;
}

function isPostgres(pid: number): boolean {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) && readFileSync(path, 'utf8').includes('postgres');
}
