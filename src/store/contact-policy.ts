/** Who may be called and recorded (contract 2.4, 4.6), and which numbers an account may show as its own. */
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { phoneForms } from '#lib/phone.ts';
import type { Database, Sql } from './pool.ts';
import { StaleCache } from './stale-cache.ts';

/** Errors of all: E_DATABASE_UNREACHABLE while the database is away. Nobody is called or recorded by guess. */
export type ContactPolicies = {
  mayCall(accountId: Id, number: string): Promise<boolean>;
  mayRecord(accountId: Id, number: string): Promise<boolean>;
  ownNumber(accountId: Id, number: string): Promise<OwnNumber | null>;
};

export type ContactPolicyOptions = {
  readonly database: Database;
  /** Digits, for numbers written without one. */
  countryCode(accountId: Id): Promise<string | null>;
  readonly log: Log;
  readonly clock?: Clock;
};

type OwnNumber = { readonly trunkId: Id | null };
type Wishes = { readonly mayCall: boolean; readonly mayRecord: boolean };

const FRESH_MS = 1_000;

export function createContactPolicy(options: ContactPolicyOptions): ContactPolicies {
  const { database, log, clock } = options;
  // Not served once stale: an old "yes" is no consent.
  const caching = { log, freshMs: FRESH_MS, staleMs: FRESH_MS, ...(clock ? { clock } : {}) };
  const wishes = new StaleCache<Wishes>({ name: 'contact wishes', ...caching });
  const owned = new StaleCache<OwnNumber | null>({ name: 'own numbers', ...caching });
  const ask = <T>(
    cache: StaleCache<T>,
    accountId: Id,
    number: string,
    load: (sql: Sql, accountId: Id, forms: readonly string[]) => Promise<T>,
  ): Promise<T> =>
    cache.get(`${accountId} ${number}`, async () => {
      const forms = phoneForms(number, await options.countryCode(accountId));
      return database.withSystem((sql) => load(sql, accountId, forms));
    });
  return {
    mayCall: async (account, number) => (await ask(wishes, account, number, loadWishes)).mayCall,
    mayRecord: async (account, number) =>
      (await ask(wishes, account, number, loadWishes)).mayRecord,
    ownNumber: (account, number) => ask(owned, account, number, loadOwned),
  };
}

/** The newest consent of each kind wins. One number may be written in several ways: any `do_not_call` counts. */
async function loadWishes(sql: Sql, accountId: Id, forms: readonly string[]): Promise<Wishes> {
  const [row] = await sql.rows<{ barred: boolean; outbound: boolean | null; recording: boolean }>(
    `SELECT EXISTS (SELECT FROM contacts WHERE user_id = $1 AND phone = ANY ($2) AND do_not_call) AS barred,
            ${newest('outbound')} AS outbound, coalesce(${newest('recording')}, false) AS recording`,
    [accountId, forms],
  );
  return {
    mayCall: row !== undefined && !row.barred && row.outbound !== false,
    mayRecord: row?.recording === true,
  };
}

function newest(kind: 'outbound' | 'recording'): string {
  return `(SELECT granted FROM consents WHERE user_id = $1 AND phone = ANY ($2) AND kind = '${kind}'
            ORDER BY created_at DESC, id DESC LIMIT 1)`;
}

async function loadOwned(
  sql: Sql,
  accountId: Id,
  forms: readonly string[],
): Promise<OwnNumber | null> {
  const [row] = await sql.rows<OwnNumber>(
    `SELECT trunk_id AS "trunkId" FROM phone_numbers WHERE user_id = $1 AND number = ANY ($2) AND status = 'active'
      ORDER BY created_at, id LIMIT 1`,
    [accountId, forms],
  );
  return row ?? null;
}
