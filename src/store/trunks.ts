/** The account's SIP trunks (`sip_configs`), passwords opened. The environment's trunk is app.ts's business. */
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { StaleCache } from './stale-cache.ts';

/** The same shape as sip/types.ts states. */
export type StoredTrunk = {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  readonly username: string | null;
  readonly password: string | null;
  readonly realm: string | null;
  readonly domain: string | null;
  readonly outboundProxy: string | null;
  readonly fromNumber: string | null;
  readonly displayName: string | null;
  readonly localHost: string | null;
  readonly codecs: readonly ('PCMA' | 'PCMU')[];
};

/** Where calls of a trunk may come from. */
export type TrunkSource = {
  readonly accountId: Id;
  readonly trunkId: Id;
  readonly host: string;
  readonly cidrs: readonly string[];
};

export type Trunks = {
  /** The first usable active row by priority, or null. From a cache while the database is away. */
  trunkFor(accountId: Id): Promise<StoredTrunk | null>;
  /** Every active trunk of every account; an empty list means that none is set up. */
  sources(): Promise<readonly TrunkSource[]>;
};

export type TrunksOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  /** SIP_LOCAL_HOST and SIP_DISPLAY_NAME, for rows that leave these null. */
  readonly localHost: string | null;
  readonly displayName: string | null;
  readonly log: Log;
  readonly clock?: Clock;
};

type TrunkRow = Omit<
  StoredTrunk,
  'transport' | 'codecs' | 'outboundProxy' | 'fromNumber' | 'displayName' | 'localHost'
> & {
  user_id: Id;
  transport: string;
  codecs: string[];
  outbound_proxy: string | null;
  from_number: string | null;
  display_name: string | null;
  local_host: string | null;
};

const ALL = 'all';

export function createTrunks(options: TrunksOptions): Trunks {
  const { database, log, clock } = options;
  const caching = { log, freshMs: 1_000, ...(clock === undefined ? {} : { clock }) };
  const byAccount = new StaleCache<StoredTrunk | null>({ name: 'trunks', ...caching });
  const all = new StaleCache<readonly TrunkSource[]>({ name: 'trunk sources', ...caching });
  return {
    trunkFor: (accountId) => byAccount.get(accountId, () => loadTrunk(accountId, options)),
    sources: () =>
      all.get(ALL, () =>
        database.withSystem((sql) =>
          sql.rows<TrunkSource>(
            `SELECT user_id AS "accountId", id AS "trunkId", host, source_ips::text[] AS cidrs
               FROM sip_configs WHERE is_active ORDER BY priority, created_at, id LIMIT 10000`,
          ),
        ),
      ),
  };
}

/** Errors: E_CONFIG when the password was sealed with another master key. */
async function loadTrunk(accountId: Id, options: TrunksOptions): Promise<StoredTrunk | null> {
  const rows = await options.database.withSystem((sql) =>
    sql.rows<TrunkRow>(
      `SELECT id, user_id, name, host, port, transport, username, password, realm, domain, outbound_proxy, from_number,
              display_name, local_host, codecs
         FROM sip_configs WHERE user_id = $1 AND is_active ORDER BY priority, created_at, id`,
      [accountId],
    ),
  );
  for (const row of rows) {
    const trunk = trunkOf(row, options);
    if (trunk !== null) return trunk;
    options.log.warn('trunk.unusable', {
      trunkId: row.id,
      transport: row.transport,
      codecs: row.codecs,
    });
  }
  return null;
}

/** Null for what this version cannot speak: TLS, or none of its codecs. */
function trunkOf(
  row: TrunkRow,
  { sealer, localHost, displayName }: TrunksOptions,
): StoredTrunk | null {
  const codecs = row.codecs.filter((codec) => codec === 'PCMA' || codec === 'PCMU');
  const { transport } = row;
  if ((transport !== 'udp' && transport !== 'tcp') || codecs.length === 0) return null;
  const place = { table: 'sip_configs', column: 'password', accountId: row.user_id, rowId: row.id };
  return {
    id: row.id,
    name: row.name,
    host: row.host,
    port: row.port,
    transport,
    username: row.username,
    password: row.password === null ? null : sealer.open(row.password, place),
    realm: row.realm,
    domain: row.domain,
    outboundProxy: row.outbound_proxy,
    fromNumber: row.from_number,
    displayName: row.display_name ?? displayName,
    localHost: row.local_host ?? localHost,
    codecs,
  };
}
