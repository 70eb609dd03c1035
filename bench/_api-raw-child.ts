/**
 * What the driver alone can do: the transaction of `GET /api/v1/call-records/{id}` in a closed loop on a bare `pg` pool.
 * Arguments: database, account, pool size. Told `{ids, forMs}` it answers with transactions per second.
 */
import pg from 'pg';
import { RECORD_BY_ID } from '#store/call-records.ts';

const [url = '', accountId = '', size = '10'] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url, max: Number(size) });
const claims = pg.escapeLiteral(JSON.stringify({ sub: accountId, actor: 'bench' }));

async function readOne(id: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query(
      `BEGIN; SET LOCAL ROLE callyard_app; SELECT set_config('request.jwt.claims', ${claims}, true)`,
    );
    const { rows } = await client.query(RECORD_BY_ID, [id, accountId]);
    await client.query('COMMIT');
    if (rows.length !== 1) throw new Error('a record is missing');
  } finally {
    client.release();
  }
}

async function run(ids: readonly string[], forMs: number): Promise<number> {
  const startMs = performance.now();
  let done = 0;
  const worker = async (first: number): Promise<void> => {
    for (let at = first; performance.now() - startMs < forMs; at += 7919) {
      await readOne(ids[at % ids.length] ?? '');
      done++;
    }
  };
  await Promise.all(Array.from({ length: Number(size) }, (_, at) => worker(at * 104_729)));
  return (done * 1000) / (performance.now() - startMs);
}

process.on('message', (order: { readonly ids: readonly string[]; readonly forMs: number }) => {
  void run(order.ids, order.forMs).then((perS) => process.send?.({ perS }));
});
process.once('disconnect', () => void pool.end());
process.send?.({ ready: true });
