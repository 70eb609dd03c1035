/**
 * Fills a database with call records as one busy account has them: `node bench/seed-records.ts --records 1000000` with
 * DATABASE_URL_BENCH naming an empty PostgreSQL 15 or newer database. Six messages each, over this year until now.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { generateKey, hashOf, prefixOf } from '#store/api-keys-new.ts';
import { migrate } from '#store/migrate.ts';

export type Seeded = {
  readonly accountId: Id;
  readonly agentIds: readonly Id[];
  readonly records: number;
};

export const TIME_ZONE = 'Asia/Shanghai';
/** Numbers that nobody can dial: too long for their country. */
export const PHONE_PREFIX = '+1555010';
const EMAIL = 'bench@example.test';
const AGENTS = 20;
const CHUNK = 50_000;
const MIN_SPAN_DAYS = 90;

/** `url`: of the schema's owner. The account of an earlier run is used again when it has as many records. */
export async function seedRecords(
  url: string,
  records: number,
  say: (line: string) => void = () => undefined,
): Promise<Seeded> {
  await migrate({ url, login: null, log: silentLog });
  const client = new pg.Client(url);
  await client.connect();
  try {
    const accountId = await findAccount(client);
    const agentIds = await findAgents(client, accountId);
    const known = await client.query(
      'SELECT count(*)::int AS n FROM call_records WHERE user_id = $1',
      [accountId],
    );
    const present = (known.rows[0] as { n: number }).n;
    if (present < records) await fill(client, accountId, records, say);
    return { accountId, agentIds, records: Math.max(present, records) };
  } finally {
    await client.end();
  }
}

/** A fresh key of this account; the others stay. */
export async function addKey(url: string, accountId: Id): Promise<string> {
  const key = generateKey();
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query('BEGIN; SET LOCAL ROLE callyard_system');
    await client.query(
      "INSERT INTO api_keys (user_id, name, prefix, key_hash, role) VALUES ($1, 'bench', $2, $3, 'admin')",
      [accountId, prefixOf(key), hashOf(key)],
    );
    await client.query('COMMIT');
    return key;
  } finally {
    await client.end();
  }
}

async function findAccount(client: pg.Client): Promise<Id> {
  await client.query('SET ROLE callyard_system');
  const found = await client.query('SELECT id FROM auth.users WHERE email = $1', [EMAIL]);
  const known = (found.rows[0] as { id: Id } | undefined)?.id;
  if (known !== undefined) return known;
  const id = newId();
  await client.query('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [id, EMAIL]);
  await client.query('INSERT INTO account_settings (user_id, timezone) VALUES ($1, $2)', [
    id,
    TIME_ZONE,
  ]);
  await client.query(
    "INSERT INTO agents (user_id, name) SELECT $1, 'Agent ' || n FROM generate_series(1, $2::int) n",
    [id, AGENTS],
  );
  return id;
}

async function findAgents(client: pg.Client, accountId: Id): Promise<Id[]> {
  const found = await client.query('SELECT id FROM agents WHERE user_id = $1 ORDER BY id', [
    accountId,
  ]);
  return (found.rows as { id: Id }[]).map(({ id }) => id);
}

async function fill(
  client: pg.Client,
  accountId: Id,
  records: number,
  say: (line: string) => void,
): Promise<void> {
  await client.query('RESET ROLE');
  // The trigger only forgets days that are rolled up, and none of this account's is.
  await client.query('ALTER TABLE call_records DISABLE TRIGGER call_stats_forget');
  await client.query('SET ROLE callyard_system');
  await client.query('DELETE FROM call_records WHERE user_id = $1', [accountId]);
  await client.query('DELETE FROM call_stats_days WHERE user_id = $1', [accountId]);
  for (let from = 0; from < records; from += CHUNK) {
    await client.query(INSERT, [
      ...[accountId, from, Math.min(from + CHUNK, records) - 1, records],
      ...[TIME_ZONE, MIN_SPAN_DAYS, PHONE_PREFIX],
    ]);
    say(`${Math.min(from + CHUNK, records)} of ${records} records`);
  }
  await client.query('RESET ROLE');
  await client.query('ALTER TABLE call_records ENABLE TRIGGER call_stats_forget');
  await client.query('VACUUM (ANALYZE) call_records');
  await client.query('VACUUM (ANALYZE) agents');
}

/** In the order of time, as calls come in; most of them by day, agents of different zeal, a few apps. */
const INSERT = `
WITH span AS (
  SELECT least(date_trunc('year', now() AT TIME ZONE $5) AT TIME ZONE $5, now() - $6 * interval '1 day') AS first_at
), agent AS (
  SELECT array_agg(id ORDER BY id) AS ids FROM agents WHERE user_id = $1
), made AS (
  SELECT n, first_at + (n + random()) / $4::float8 * (now() - first_at) AS at, ids,
         random() AS r_app, random() AS r_end, random() AS r_agent, 5 + floor(random() * random() * 600)::int AS seconds
    FROM generate_series($2::int, $3::int) n, span, agent
)
INSERT INTO call_records (user_id, agent_id, caller_name, caller_phone, caller_app, start_time, answer_time, end_time,
  duration_seconds, hangup_reason, status, outcome, ended_by, channel, direction, source, messages, summary, metadata,
  from_number, to_number, node, sip_call_id, sip_status)
SELECT $1, ids[1 + floor(r_agent * r_agent * array_length(ids, 1))::int], 'Caller ' || n,
  $7 || lpad(((n * 7919::bigint) % 1000000)::text, 6, '0'),
  CASE WHEN r_app < .4 THEN NULL WHEN r_app < .65 THEN '微信' WHEN r_app < .85 THEN '企业微信' WHEN r_app < .95 THEN '钉钉' ELSE 'other' END,
  at, at + interval '1 second', at + seconds * interval '1 second',
  CASE WHEN r_end < .93 THEN seconds WHEN r_end < .98 THEN 0 END,
  (CASE WHEN r_end < .55 THEN 'user' WHEN r_end < .8 THEN 'ai' WHEN r_end < .85 THEN 'silence'
        WHEN r_end < .93 THEN 'timeout' WHEN r_end < .98 THEN 'error' END)::call_hangup_reason,
  (CASE WHEN r_end < .93 THEN 'ended' ELSE 'failed' END)::call_status,
  CASE WHEN r_end < .8 THEN 'completed' WHEN r_end < .85 THEN 'silence' WHEN r_end < .93 THEN 'max_duration'
       WHEN r_end < .98 THEN 'carrier_error' ELSE 'cancelled' END,
  CASE WHEN r_end < .55 THEN 'caller' ELSE 'agent' END, 'phone', CASE WHEN n % 4 = 0 THEN 'outbound' ELSE 'inbound' END, 'core',
  jsonb_build_array(
    jsonb_build_object('role', 'assistant', 'content', 'Good day, how can I help you?', 'timestamp', round(extract(epoch FROM at)::numeric, 3)),
    jsonb_build_object('role', 'user', 'content', 'I have a question about order number ' || n || ', it has not arrived yet.', 'timestamp', round(extract(epoch FROM at)::numeric + 3, 3), 'start_ms', 2400, 'end_ms', 6100, 'confidence', .93),
    jsonb_build_object('role', 'assistant', 'content', 'I am sorry to hear that. Let me look it up for you, one moment please.', 'timestamp', round(extract(epoch FROM at)::numeric + 8, 3), 'latency_ms', 640),
    jsonb_build_object('role', 'assistant', 'content', '您的订单已于昨日发出，预计两天内送达。', 'timestamp', round(extract(epoch FROM at)::numeric + 12, 3)),
    jsonb_build_object('role', 'user', 'content', 'Fine, then I will wait. Thank you very much.', 'timestamp', round(extract(epoch FROM at)::numeric + 17, 3), 'start_ms', 16400, 'end_ms', 19000, 'confidence', .97),
    jsonb_build_object('role', 'assistant', 'content', 'Thank you for your call, good bye.', 'timestamp', round(extract(epoch FROM at)::numeric + 20, 3))),
  'Caller asked for order ' || n || '; it was sent yesterday and arrives within two days.',
  jsonb_build_object('total_tokens', 300 + n % 500, 'avg_confidence', .95),
  $7 || '000000', '1000', 'node-1', 'call-' || n || '@192.0.2.1', 200
FROM made`;

if (import.meta.main) {
  const { values } = parseArgs({ options: { records: { type: 'string', default: '1000000' } } });
  const url = process.env['DATABASE_URL_BENCH'];
  if (url === undefined) {
    process.stderr.write('set DATABASE_URL_BENCH to an empty PostgreSQL database\n');
    process.exit(1);
  }
  const seeded = await seedRecords(url, Number(values.records), (line) =>
    process.stdout.write(`${line}\n`),
  );
  const key = await addKey(url, seeded.accountId);
  process.stdout.write(`account ${seeded.accountId}, API key ${key}\n`);
}
