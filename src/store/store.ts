/**
 * The store as one part: database (embedded or DATABASE_URL), journal, projection and repositories. On its first start
 * it needs the database; later it starts and goes on without it, and catches up when it is back.
 */
import path from 'node:path';
import { backoffMs } from '#lib/backoff.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { createAccounts, type AccountDefaults, type Accounts } from './accounts.ts';
import { checkAdminKey, ensureAdminKey, type AdminKey } from './admin-key.ts';
import { createAgents, type Agents } from './agents.ts';
import { createAnswerRules, type AnswerRules } from './answer-rules.ts';
import { createApiKeys, type ApiKeys } from './api-keys.ts';
import { createCallRecords, type CallRecords } from './call-records.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts';
import { openFirstContact, type FirstContact } from './first-contact.ts';
import { createIdentity, LOCAL_AUTH, type AuthOptions, type Identity } from './identity.ts';
import { Journal } from './journal.ts';
import { migrate, unreachable } from './migrate.ts';
import { openPool, type Database } from './pool.ts';
import { Projection } from './projection.ts';
import { recoverCalls, type Recovered, type RepairRecording } from './recover.ts';
import { createSealer, type Sealer } from './sealed.ts';
import { loadMasterKeys } from './master-keys.ts';
import { readSecret } from './secret-files.ts';
import { isServerAway } from './sql-errors.ts';
import { createStatistics, type Statistics } from './statistics.ts';
import { StatisticsRollup } from './statistics-rollup.ts';
import { createContactPolicy, type ContactPolicies } from './contact-policy.ts';
import { createTrunks, type Trunks } from './trunks.ts';
import { ensurePassword } from './users-login.ts';

export type StoreOptions = {
  /** Exists and is this process's alone. */
  readonly dataDir: string;
  /** Undefined: the embedded database. */
  readonly databaseUrl: string | undefined;
  readonly node: string;
  readonly adminEmail: string;
  readonly adminKey: string | undefined;
  readonly masterKey: string | undefined;
  /** CALLYARD_MASTER_KEY_OLD */
  readonly oldMasterKeys?: string | undefined;
  /** Default: local, without a password. */
  readonly auth?: AuthOptions;
  readonly defaults: AccountDefaults;
  /** SIP_LOCAL_HOST and SIP_DISPLAY_NAME. */
  readonly trunkDefaults: {
    readonly localHost: string | null;
    readonly displayName: string | null;
  };
  readonly log: Log;
  readonly clock?: Clock;
  /** Connections of the pool at most. */
  readonly poolSize?: number;
};

export type Store = {
  readonly database: Database;
  readonly journal: Journal;
  readonly projection: Projection;
  readonly accounts: Accounts;
  readonly agents: Agents;
  readonly apiKeys: ApiKeys;
  readonly identity: Identity;
  readonly rules: AnswerRules;
  readonly records: CallRecords;
  readonly statistics: Statistics;
  readonly rollup: StatisticsRollup;
  readonly trunks: Trunks;
  readonly contactPolicy: ContactPolicies;
  readonly sealer: Sealer;
  /** `down` while the database is away: calls go on, their records follow. */
  state(): 'up' | 'down';
  /** From memory once known. Errors: E_DATABASE_UNREACHABLE only before the very first contact. */
  defaultAccount(): Promise<Id>;
  /** Null only when the node started without its database and no key was ever made here. */
  adminKey(): AdminKey | null;
  /** Closes the calls that a crash left open. Once, before the first call. */
  recover(repair: RepairRecording): Promise<Recovered>;
  /** Writes out what it can within `drainMs`, then closes everything, an embedded database last. Idempotent. */
  close(drainMs?: number): Promise<void>;
};

const PING_EVERY_MS = 5_000;
const PREPARE_RETRY = { firstMs: 500, maxMs: 5_000 };
const DRAIN_MS = 5_000;
const POOL_CLOSE_MS = 5_000;

/** Errors: E_CONFIG, E_DATA_DIR_LOCKED, E_JOURNAL, E_DATABASE, E_DATABASE_UNREACHABLE; each one clear line. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { dataDir, log } = options;
  if (options.adminKey !== undefined) checkAdminKey(options.adminKey);
  if (options.databaseUrl !== undefined) checkUrl(options.databaseUrl);
  const sealer = createSealer(await loadMasterKeys(options));
  const journal = await Journal.open({
    ...clockOf(options),
    directory: path.join(dataDir, 'journal'),
    log,
  });
  let embedded: EmbeddedPostgres | null = null;
  let store: RunningStore | undefined;
  try {
    if (options.databaseUrl === undefined)
      embedded = await startEmbeddedPostgres({ ...clockOf(options), dataDir, log });
    store = new RunningStore(options, journal, await journal.cursor('postgres'), embedded, sealer);
    await store.start();
    return store;
  } catch (error) {
    try {
      await (store?.close(0) ?? journal.close());
    } catch (failed) {
      log.error('store.closeFailed', { error: failed });
    }
    await embedded?.stop();
    throw error;
  }
}

function checkUrl(url: string): void {
  if (/^postgres(?:ql)?:$/.test(URL.parse(url)?.protocol ?? '')) return;
  throw new AppError(
    'E_CONFIG',
    'DATABASE_URL must look like postgresql://user:password@host:5432/database',
  );
}

function clockOf(options: StoreOptions): { clock?: Clock } {
  return options.clock === undefined ? {} : { clock: options.clock };
}

class RunningStore implements Store {
  readonly database: Database;
  readonly journal: Journal;
  readonly projection: Projection;
  readonly accounts: Accounts;
  readonly agents: Agents;
  readonly apiKeys: ApiKeys;
  readonly identity: Identity;
  readonly rules: AnswerRules;
  readonly records: CallRecords;
  readonly statistics: Statistics;
  readonly rollup: StatisticsRollup;
  readonly trunks: Trunks;
  readonly contactPolicy: ContactPolicies;
  readonly sealer: Sealer;
  readonly #options: StoreOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #embedded: EmbeddedPostgres | null;
  readonly #adminUrl: string;
  readonly #contact: FirstContact;
  #accountId: Id | undefined;
  #adminKey: AdminKey | null = null;
  #isPrepared = false;
  #isReachable = false;
  #failures = 0;
  #timer: TimerHandle | undefined;
  #checking: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    options: StoreOptions,
    journal: Journal,
    cursor: Awaited<ReturnType<Journal['cursor']>>,
    embedded: EmbeddedPostgres | null,
    sealer: Sealer,
  ) {
    const { dataDir, defaults, log, trunkDefaults } = options;
    const url = embedded?.url ?? options.databaseUrl ?? '';
    const clock = clockOf(options);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = log;
    this.#embedded = embedded;
    this.#adminUrl = embedded?.adminUrl ?? url;
    // The embedded server's port changes from start to start; its place does not.
    this.#contact = openFirstContact(
      dataDir,
      embedded === null ? url : 'postgresql://embedded/callyard',
      log,
    );
    this.journal = journal;
    this.sealer = sealer;
    const database = openPool({
      url,
      log,
      ...(options.poolSize === undefined ? {} : { size: options.poolSize }),
    });
    this.database = database;
    this.projection = new Projection({
      ...clock,
      ...{ source: cursor, database, log },
      deadLetterFile: path.join(dataDir, 'journal', 'dead-letter.jsonl'),
      onUpChange: (isUp) => this.#noteReachable(isUp),
    });
    this.accounts = createAccounts({
      ...clock,
      database,
      adminEmail: options.adminEmail,
      defaults,
      log,
    });
    this.agents = createAgents({
      ...clock,
      ...{ database, dataDir, log, countryCode: defaults.countryCode },
      defaultAccount: () => this.defaultAccount(),
    });
    this.apiKeys = createApiKeys(database, log, this.#clock);
    this.identity = createIdentity({
      ...{ ...clock, database, sealer, defaults, log, auth: options.auth ?? LOCAL_AUTH },
      ...{ apiKeys: this.apiKeys, accounts: this.accounts },
    });
    this.records = createCallRecords(
      database,
      async (accountId) => (await this.accounts.settings(accountId)) ?? defaults,
    );
    this.rollup = new StatisticsRollup({ ...clock, database, log });
    this.statistics = createStatistics({
      database,
      timeZone: (accountId) => this.records.timeZone(accountId),
      onUnrolled: (accountId) => this.rollup.wake(accountId),
    });
    this.rules = createAnswerRules({ ...clock, database, defaults, log });
    this.contactPolicy = createContactPolicy({
      ...{ ...clock, database, log },
      countryCode: async (accountId) =>
        ((await this.accounts.settings(accountId)) ?? defaults).countryCode,
    });
    this.trunks = createTrunks({ ...clock, ...trunkDefaults, database, sealer, log });
  }

  async start(): Promise<void> {
    const seen = await this.#contact.accountId();
    try {
      await this.#prepare();
    } catch (error) {
      const isAway = error instanceof AppError && error.code === 'E_DATABASE_UNREACHABLE';
      if (!isAway || seen === null) throw isAway ? unreachable(error, this.#adminUrl) : error;
      this.#accountId = seen;
      this.#adminKey = await this.#knownAdminKey();
      this.#log.warn('database.absent', {
        error,
        note: 'calls go on; records follow when it is back',
      });
    }
    this.journal.onAppend(() => {
      if (this.#isPrepared) this.projection.wake();
    });
    this.#scheduleCheck();
  }

  state(): 'up' | 'down' {
    return this.#isPrepared && this.#isReachable ? 'up' : 'down';
  }

  async defaultAccount(): Promise<Id> {
    this.#accountId ??= await this.accounts.ensureDefault();
    return this.#accountId;
  }

  adminKey(): AdminKey | null {
    return this.#adminKey;
  }

  recover(repair: RepairRecording): Promise<Recovered> {
    const { node } = this.#options;
    return recoverCalls({
      journal: this.journal,
      node,
      repair,
      log: this.#log,
      clock: this.#clock,
    });
  }

  close(drainMs = DRAIN_MS): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    this.#clock.clearTimer(this.#timer);
    try {
      await this.#finishWriting(drainMs);
    } finally {
      await this.#closeDatabase();
    }
  }

  async #finishWriting(drainMs: number): Promise<void> {
    try {
      await this.#checking;
      await this.rollup.stop();
      await this.#drain(drainMs);
      await this.projection.stop();
    } finally {
      await this.journal.close();
    }
  }

  async #drain(drainMs: number): Promise<void> {
    // While the database is away there is no use in waiting: the journal keeps what is left.
    const drained =
      this.#isPrepared && this.projection.isUp && (await this.projection.drain(drainMs));
    if (!drained && this.projection.lagEvents > 0) {
      this.#log.warn('projection.leftOver', { lagEvents: this.projection.lagEvents });
    }
  }

  /** Also when the disk refused before: no connection and no server of ours stays behind. */
  async #closeDatabase(): Promise<void> {
    try {
      await withDeadline(
        this.database.close(),
        POOL_CLOSE_MS,
        'closing the database pool',
        this.#clock,
      );
    } catch (error) {
      this.#log.warn('database.poolNotClosed', { error });
    }
    await this.#embedded?.stop();
  }

  /** Everything that needs the database before it can be used. Safe to repeat. */
  async #prepare(): Promise<void> {
    const { adminKey: setting, dataDir } = this.#options;
    const login = this.#embedded === null ? null : 'callyard';
    await migrate({ url: this.#adminUrl, login, log: this.#log });
    const accountId = await this.accounts.ensureDefault();
    this.#accountId = accountId;
    await this.agents.defaultFor(accountId);
    this.#adminKey = await ensureAdminKey({ database: this.database, accountId, setting, dataDir });
    const adminPassword = this.#options.auth?.adminPassword ?? null;
    if (adminPassword !== null) {
      await ensurePassword(this.database, accountId, adminPassword, this.#log);
    }
    await this.#contact.remember(accountId);
    this.#isPrepared = true;
    this.rollup.start();
    this.#failures = 0;
    this.#noteReachable(true);
  }

  async #knownAdminKey(): Promise<AdminKey | null> {
    const { adminKey, dataDir } = this.#options;
    if (adminKey !== undefined) return { key: adminKey, source: 'setting' };
    const kept = await readSecret(path.join(dataDir, 'admin.key'));
    return kept === null ? null : { key: kept, source: 'file' };
  }

  #noteReachable(isReachable: boolean): void {
    if (isReachable) this.projection.wake();
    if (this.#isReachable === isReachable) return;
    this.#isReachable = isReachable;
    this.#log[isReachable ? 'info' : 'warn'](isReachable ? 'database.up' : 'database.down');
  }

  #scheduleCheck(): void {
    if (this.#closing !== undefined) return;
    const delayMs = this.#isPrepared ? PING_EVERY_MS : backoffMs(++this.#failures, PREPARE_RETRY);
    this.#timer = this.#clock.setTimer(() => {
      this.#checking = this.#check().finally(() => this.#scheduleCheck());
    }, delayMs);
  }

  async #check(): Promise<void> {
    try {
      if (!this.#isPrepared) await this.#prepare();
      else await this.database.ping();
      this.#noteReachable(true);
    } catch (error) {
      const isAway = isServerAway(error);
      this.#log[isAway ? 'debug' : 'error']('database.checkFailed', { error });
      this.#noteReachable(false);
    }
  }
}
