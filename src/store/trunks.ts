/** The account's SIP trunks (`sip_configs`), passwords opened. The environment's trunk is app.ts's business. */
import { CODEC_NAMES, type CodecName } from '#lib/audio-codec.ts';
import type { Clock } from '#lib/clock.ts';
import { toAppError, type AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { mediaSourceOf } from '#lib/media-source.ts';
import { normalizePhonePrefix } from '#lib/phone.ts';
import { srtpModeOf } from '#lib/srtp-params.ts';
import type {
  AccountTrunk,
  AccountTrunks,
  DtmfMode,
  FoundLine,
  TrunkFlaw,
  TrunkSource,
} from '#lib/trunk.ts';
import type { Database } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { StaleCache } from './stale-cache.ts';

export type Trunks = {
  /** At most 1 s old; older while the database is away. */
  of(accountId: Id): Promise<AccountTrunks>;
  /**
   * Every active trunk of every account, the account that was there first before the others: a priority counts within
   * its account alone, or a newcomer could take another one's calls. An empty list means that none is set up.
   */
  sources(): Promise<readonly TrunkSource[]>;
  /** Every active row of every account that is to be registered, as it is now. Errors: E_DATABASE*. */
  lines(): Promise<readonly FoundLine[]>;
  /** A row to be tried out, active or not; null when the account has no such row. Errors: E_DATABASE*. */
  line(accountId: Id, id: Id): Promise<FoundLine | null>;
  /** The account's rows have changed: they are read anew at the next question. */
  forget(accountId: Id): void;
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

type TrunkRow = {
  id: Id;
  user_id: Id;
  name: string;
  is_active: boolean;
  host: string;
  port: number;
  transport: string;
  username: string | null;
  password: string | null;
  realm: string | null;
  domain: string | null;
  outbound_proxy: string | null;
  from_number: string | null;
  display_name: string | null;
  local_host: string | null;
  codecs: string[];
  dtmf_mode: DtmfMode;
  register: boolean;
  register_interval_s: number;
  local_port: number | null;
  max_calls: number;
  max_cps: number;
  allow_prefixes: string[];
  deny_prefixes: string[];
  allow_uri: boolean;
  srtp: unknown;
  rtcp_mux: boolean;
  media_source: unknown;
};

/** A source as the database has it. */
type SourceRow = Omit<TrunkSource, 'codecs' | 'srtp' | 'mediaSource'> & {
  readonly codecs: readonly string[];
  readonly srtp: unknown;
  readonly mediaSource: unknown;
};

const ALL = 'all';
const COLUMNS = `id, user_id, name, is_active, host, port, transport, username, password, realm, domain, outbound_proxy,
  from_number, display_name, local_host, local_port, codecs, dtmf_mode, register, register_interval_s, max_calls, max_cps,
  allow_prefixes, deny_prefixes, coalesce(options -> 'allow_uri' = 'true'::jsonb, false) AS allow_uri,
  options -> 'srtp' AS srtp, coalesce(options -> 'rtcp_mux' = 'true'::jsonb, false) AS rtcp_mux,
  options -> 'media_source' AS media_source`;

export function createTrunks(options: TrunksOptions): Trunks {
  const { database, log, clock } = options;
  const caching = { log, freshMs: 1_000, ...(clock === undefined ? {} : { clock }) };
  const byAccount = new StaleCache<AccountTrunks>({ name: 'trunks', ...caching });
  const all = new StaleCache<readonly TrunkSource[]>({ name: 'trunk sources', ...caching });
  return {
    of: (accountId) => byAccount.get(accountId, () => loadTrunks(accountId, options)),
    sources: () =>
      all.get(ALL, async () => {
        const rows = await database.withSystem((sql) =>
          sql.rows<SourceRow>(
            `SELECT user_id AS "accountId", id AS "trunkId", host, outbound_proxy AS "outboundProxy", transport,
                    source_ips::text[] AS cidrs, max_calls AS "maxCalls", max_cps AS "maxCps", codecs,
                    options -> 'srtp' AS srtp, coalesce(options -> 'rtcp_mux' = 'true'::jsonb, false) AS "rtcpMux",
                    options -> 'media_source' AS "mediaSource"
               FROM sip_configs WHERE is_active
              ORDER BY min(created_at) OVER (PARTITION BY user_id), user_id, priority, created_at, id LIMIT 10000`,
          ),
        );
        return rows.map((row) => ({
          ...row,
          codecs: spokenOf(row.codecs),
          srtp: srtpModeOf(row.srtp),
          mediaSource: mediaSourceOf(row.mediaSource),
        }));
      }),
    lines: async () => {
      const rows = await database.withSystem((sql) =>
        sql.rows<TrunkRow>(
          `SELECT ${COLUMNS} FROM sip_configs WHERE is_active AND register ORDER BY priority, created_at, id LIMIT 10000`,
        ),
      );
      return rows.map((row) => lineOf(row, options));
    },
    line: async (accountId, id) => {
      const [row] = await database.withSystem((sql) =>
        sql.rows<TrunkRow>(`SELECT ${COLUMNS} FROM sip_configs WHERE user_id = $1 AND id = $2`, [
          accountId,
          id,
        ]),
      );
      return row === undefined ? null : lineOf(row, options);
    },
    forget: (accountId) => {
      byAccount.delete(accountId);
      all.delete(ALL);
    },
  };
}

async function loadTrunks(accountId: Id, options: TrunksOptions): Promise<AccountTrunks> {
  const rows = await options.database.withSystem((sql) =>
    sql.rows<TrunkRow>(
      `SELECT ${COLUMNS}
         FROM sip_configs WHERE user_id = $1 ORDER BY priority, created_at, id LIMIT 1000`,
      [accountId],
    ),
  );
  const active = rows.filter((row) => row.is_active);
  const usable = active.map((row) => usableTrunk(row, options)).filter((trunk) => trunk !== null);
  return { usable, ids: rows.map((row) => row.id), hasActive: active.length > 0 };
}

/** Null for what this version cannot speak: TLS, none of its codecs, a password sealed with another master key. */
function usableTrunk(row: TrunkRow, options: TrunksOptions): AccountTrunk | null {
  const opened = openRow(row, options);
  if ('trunk' in opened) return opened.trunk;
  const { flaw, error } = opened;
  const about = { trunkId: row.id, flaw, ...(error === undefined ? {} : { error }) };
  // One row that cannot be opened must not keep the next one from carrying the call.
  options.log[error === undefined ? 'warn' : 'error']('trunk.unusable', about);
  return null;
}

type OpenedRow =
  | { readonly trunk: AccountTrunk }
  | { readonly flaw: TrunkFlaw; readonly error?: AppError };

function openRow(row: TrunkRow, options: TrunksOptions): OpenedRow {
  const codecs = spokenOf(row.codecs);
  const { transport } = row;
  if (transport !== 'udp' && transport !== 'tcp') return { flaw: 'tls_unsupported' };
  if (codecs.length === 0) return { flaw: 'codecs_unsupported' };
  try {
    return { trunk: { ...trunkOf(row, options), transport, codecs } };
  } catch (error) {
    return { flaw: 'password_unreadable', error: toAppError(error) };
  }
}

/** In the row's order; what this version does not speak is left out. */
function spokenOf(names: readonly string[]): CodecName[] {
  const codecs = names.flatMap((name) => CODEC_NAMES.filter((codec) => codec === name));
  return [...new Set(codecs)];
}

function lineOf(row: TrunkRow, options: TrunksOptions): FoundLine {
  const { user_id: accountId, id: trunkId } = row;
  const opened = openRow(row, options);
  if (!('trunk' in opened)) return { ok: false, accountId, trunkId, flaw: opened.flaw };
  const { trunk } = opened;
  const { register, register_interval_s: intervalS, local_port: localPort } = row;
  return { ok: true, line: { accountId, trunkId, trunk, register, intervalS, localPort } };
}

/** Errors: E_CONFIG when the password was sealed with another master key. */
function trunkOf(
  row: TrunkRow,
  { sealer, localHost, displayName }: TrunksOptions,
): Omit<AccountTrunk, 'transport' | 'codecs'> {
  const place = { table: 'sip_configs', column: 'password', accountId: row.user_id, rowId: row.id };
  return {
    id: row.id,
    name: row.name,
    host: row.host,
    port: row.port,
    username: row.username,
    password: row.password === null ? null : sealer.open(row.password, place),
    realm: row.realm,
    domain: row.domain,
    outboundProxy: row.outbound_proxy,
    fromNumber: row.from_number,
    displayName: row.display_name ?? displayName,
    localHost: row.local_host ?? localHost,
    maxCalls: row.max_calls,
    maxCps: row.max_cps,
    allowPrefixes: row.allow_prefixes.map(prefixOf),
    denyPrefixes: row.deny_prefixes.map(prefixOf),
    allowUri: row.allow_uri,
    dtmfMode: row.dtmf_mode,
    srtp: srtpModeOf(row.srtp),
    rtcpMux: row.rtcp_mux,
    mediaSource: mediaSourceOf(row.media_source),
  };
}

/** What is no prefix of any number stays as it is: it then allows nothing, or denies nothing. */
function prefixOf(text: string): string {
  return normalizePhonePrefix(text) ?? text;
}
