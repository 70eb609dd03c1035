/** The facade over a real store on the database of the first argument, in a process of its own. Calls are fakes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordKeeping } from '#api/record-keeping.ts';
import { createApi, listenApi } from '#api/server.ts';
import { createLog } from '#lib/log.ts';
import { openStore } from '#store/store.ts';
import { makeFakes } from '../test/unit/_api-fakes.ts';
import { TIME_ZONE } from './seed-records.ts';

const [url = '', poolSize = '10'] = process.argv.slice(2);
const dataDir = mkdtempSync(join(tmpdir(), 'callyard-bench-api-'));
const log = createLog('error');
const store = await openStore({
  ...{ dataDir, databaseUrl: url, node: 'bench', adminEmail: 'admin@localhost', log },
  ...{ adminKey: undefined, masterKey: undefined, poolSize: Number(poolSize) },
  defaults: { timezone: TIME_ZONE, language: 'en', countryCode: null, currency: 'CNY' },
  trunkDefaults: { localHost: null, displayName: null },
});
const fakes = makeFakes();
const api = await createApi({
  ports: {
    ...fakes.ports,
    identity: store.identity,
    records: store.records,
    recordKeeping: recordKeeping(store),
  },
  log,
  version: '0.0.0-bench',
  limits: { requestRate: { ratePerS: 100_000, burst: 100_000 } },
});
const address = new URL(await listenApi(api, '127.0.0.1', 0));
process.send?.({ port: Number(address.port) });
process.once('disconnect', () => void stop());

async function stop(): Promise<void> {
  await api.close();
  await store.close(0);
  rmSync(dataDir, { recursive: true, force: true });
  process.exit(0);
}
