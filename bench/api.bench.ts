/**
 * The HTTP facade on a million records (contract 8): p99 of each class at 50 mixed requests/s for a minute, and the
 * throughput of single records against a bare `pg` loop with the same transaction. On PostgreSQL of DATABASE_URL_BENCH or
 * of Debian's packages, and on the embedded one. BENCH_RECORDS, BENCH_SECONDS and BENCH_DATABASE (real, embedded)
 * make it shorter; seeding takes a minute.
 */
import { fork, type ChildProcess } from 'node:child_process';
import pg from 'pg';
import { embeddedDatabase, realDatabase, type BenchDatabase } from './_api-database.ts';
import { HttpPool, requestBytes } from './_http-client.ts';
import { makeMix, type Kind } from './_api-mix.ts';
import { median, printResults, rounded, type BenchResult } from './_result.ts';
import { addKey, seedRecords } from './seed-records.ts';

const RECORDS = Number(process.env['BENCH_RECORDS'] ?? 1_000_000);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const RATE_PER_S = 50;
const POOL_SIZE = 10;
const CONNECTIONS = 16;
const ROUNDS = 5;
const ROUND_MS = 4_000;
const WARM_UP_S = 5;
const MIN_RATIO = 0.5;

/** Floor and stretch in ms. */
const CLASSES: Readonly<Record<Kind, readonly [number, number]>> = {
  get: [20, 5],
  list: [40, 10],
  insert: [20, 8],
  patch: [20, 8],
  statistics: [100, 30],
};

export async function run(): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  const only = process.env['BENCH_DATABASE'];
  for (const [name, open] of [
    ['real', realDatabase],
    ['embedded', embeddedDatabase],
  ] as const) {
    if (only !== undefined && only !== name) continue;
    const database = await open();
    if (database === null) {
      process.stderr.write('no PostgreSQL server: set DATABASE_URL_BENCH\n');
      continue;
    }
    try {
      results.push(...(await measure(database, name === 'real')));
    } finally {
      await database.stop();
    }
  }
  return results;
}

async function measure(database: BenchDatabase, isHeld: boolean): Promise<BenchResult[]> {
  const { url } = database;
  const seeded = await seedRecords(url, RECORDS);
  const key = await addKey(url, seeded.accountId);
  const server = await startChild('_api-server-child.ts', [url, String(POOL_SIZE)]);
  const raw = await startChild('_api-raw-child.ts', [url, seeded.accountId, String(POOL_SIZE)]);
  const http = new HttpPool(server.first['port'] as number);
  try {
    await rolledUp(url);
    const ids = await someIds(url, seeded.accountId);
    const mix = makeMix({ key, ids, agentIds: seeded.agentIds });
    const send = (request: Buffer) => http.send(request);
    await mixed(mix, send, WARM_UP_S);
    const times = await mixed(mix, send, SECONDS);
    const ratios = await throughput({ http, raw: raw.child, ids, key });
    return resultsOf(database.name, times, ratios, isHeld);
  } finally {
    http.close();
    await Promise.all([stopChild(server.child), stopChild(raw.child)]);
  }
}

type Times = Readonly<Record<Kind, number[]>>;

/** At a steady rate whatever the answers do; the time counts from the moment a request was due. */
async function mixed(
  mix: ReturnType<typeof makeMix>,
  send: HttpPool['send'],
  seconds: number,
): Promise<Times> {
  const times: Record<Kind, number[]> = {
    get: [],
    list: [],
    insert: [],
    patch: [],
    statistics: [],
  };
  const running: Promise<void>[] = [];
  const startMs = performance.now();
  for (let n = 0; n < seconds * RATE_PER_S; n++) {
    const dueMs = startMs + (n * 1000) / RATE_PER_S;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    // A timer may be late; that is this client's doing and not the server's.
    const sentMs = Math.max(dueMs, performance.now());
    const { kind, request, expect, note } = mix.next();
    const work = send(request).then((reply) => {
      times[kind].push(performance.now() - sentMs);
      if (reply.status !== expect) throw new Error(`${kind}: ${reply.status} ${reply.body}`);
      note?.(reply.body);
    });
    running.push(work);
  }
  await Promise.all(running);
  return times;
}

type Rates = { readonly http: number; readonly raw: number };

async function throughput(parts: {
  readonly http: HttpPool;
  readonly raw: ChildProcess;
  readonly ids: readonly string[];
  readonly key: string;
}): Promise<Rates[]> {
  const { http, raw, ids, key } = parts;
  const requests = ids.map((id) => requestBytes('GET', `/api/v1/call-records/${id}`, key));
  const rates: Rates[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const httpRate = await closedLoop(http, requests);
    const answer = new Promise<{ perS: number }>((resolve) =>
      raw.once('message', resolve as never),
    );
    raw.send({ ids, forMs: ROUND_MS });
    rates.push({ http: httpRate, raw: (await answer).perS });
  }
  return rates;
}

async function closedLoop(http: HttpPool, requests: readonly Buffer[]): Promise<number> {
  const startMs = performance.now();
  let done = 0;
  const worker = async (first: number): Promise<void> => {
    for (let at = first; performance.now() - startMs < ROUND_MS; at += 7919) {
      const reply = await http.send(requests[at % requests.length] as Buffer);
      if (reply.status !== 200) throw new Error(`get: ${reply.status}`);
      done++;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, at) => worker(at * 104_729)));
  return (done * 1000) / (performance.now() - startMs);
}

function resultsOf(
  name: string,
  times: Times,
  rates: readonly Rates[],
  isHeld: boolean,
): BenchResult[] {
  const results = (Object.keys(times) as Kind[]).map((kind): BenchResult => {
    const [floorMs, stretchMs] = CLASSES[kind];
    const p99 = percentile(times[kind], 0.99);
    return {
      bench: 'api',
      metric: `${kind}_p99_ms`,
      value: rounded(p99, 1),
      unit: 'ms',
      against: `${name}: ${RECORDS} records, ${times[kind].length} of ${RATE_PER_S} mixed requests/s, p50 ${rounded(percentile(times[kind], 0.5), 1)} ms, max ${rounded(Math.max(...times[kind]), 1)} ms`,
      ratio: null,
      floor: `value <= ${floorMs} (stretch ${stretchMs})${isHeld ? '' : ', published only'}`,
      ok: !isHeld || p99 <= floorMs,
    };
  });
  const ratio = median(rates.map((each) => each.http / each.raw));
  results.push({
    bench: 'api',
    metric: 'throughput_vs_raw_pg',
    value: rounded(ratio),
    unit: 'ratio',
    against: `${name}: ${rounded(median(rates.map((each) => each.http)), 0)} requests/s, bare pg loop ${rounded(median(rates.map((each) => each.raw)), 0)} transactions/s, medians of ${ROUNDS} rounds in turn`,
    ratio: rounded(ratio),
    floor: `ratio >= ${MIN_RATIO} (stretch 0.7)${isHeld ? '' : ', published only'}`,
    ok: !isHeld || ratio >= MIN_RATIO,
  });
  return results;
}

function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Waits until the roll-up, which begins by itself after the start, has nothing left to do. */
async function rolledUp(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    for (let before = -1; ;) {
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      await client.query('BEGIN; SET LOCAL ROLE callyard_system');
      const found = await client.query('SELECT count(*)::int AS n FROM call_stats_days');
      await client.query('COMMIT');
      const { n } = found.rows[0] as { n: number };
      if (n === before && n > 0) return;
      before = n;
    }
  } finally {
    await client.end();
  }
}

async function someIds(url: string, accountId: string): Promise<string[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query('BEGIN; SET LOCAL ROLE callyard_system');
    const found = await client.query(
      'SELECT id FROM call_records TABLESAMPLE BERNOULLI (5) WHERE user_id = $1 LIMIT 20000',
      [accountId],
    );
    return (found.rows as { id: string }[]).map(({ id }) => id);
  } finally {
    await client.end();
  }
}

type Child = { readonly child: ChildProcess; readonly first: Readonly<Record<string, unknown>> };

async function startChild(file: string, args: readonly string[]): Promise<Child> {
  const child = fork(new URL(file, import.meta.url), [...args], { stdio: 'inherit' });
  const first = await new Promise<Record<string, unknown>>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Record<string, unknown>));
    child.once('exit', (code) => reject(new Error(`${file} ended with ${String(code)}`)));
  });
  return { child, first };
}

async function stopChild(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.disconnect();
  await gone;
}

if (import.meta.main) printResults(await run());
