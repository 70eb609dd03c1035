/** A process that runs an embedded database until it is killed. */
import { silentLog } from '#lib/log.ts';
import { startEmbeddedPostgres } from '#store/embedded-postgres.ts';

const server = await startEmbeddedPostgres({
  dataDir: process.argv[2] ?? '',
  log: silentLog,
  settings: ['fsync=off'],
});
process.send?.(server.pid);
