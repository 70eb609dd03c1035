/** Builds what has to do with accounts at vendors: their repositories, tokens, trials, and the rewrapping of secrets. */
import type { VendorPorts } from '#api/vendor-part.ts';
import { systemClock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { createTokenSource } from '#providers/aliyun/token.ts';
import type { Providers } from '#providers/registry.ts';
import { createVendorTokens } from '#sessions/vendor-tokens.ts';
import type { Database } from '#store/pool.ts';
import { createProviderConfigs } from '#store/provider-configs.ts';
import { startRewrapping } from '#store/rewrap.ts';
import type { Sealer } from '#store/sealed.ts';
import { createSpeechConfigs } from '#store/speech-configs.ts';
import {
  createVendorAccounts,
  type VendorAccount,
  type VendorAccounts,
} from '#store/vendor-accounts.ts';
import { createTokenRows } from '#store/vendor-tokens.ts';

export type VendorsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly providers: Pick<Providers, 'probe'>;
  /** CALLYARD_ALIYUN_META_URL */
  readonly aliyunMetaUrl: string | null;
  readonly log: Log;
};

export type Vendors = {
  readonly ports: VendorPorts;
  /** The account's own vendors by priority, for a call that begins. Never rejects: without the database it is what is known. */
  forCalls(accountId: Id): Promise<readonly VendorAccount[]>;
  close(): Promise<void>;
};

const PROBE_TIMEOUT_MS = 10_000;
/** A caller is waiting. */
const CALL_TIMEOUT_MS = 1_000;

/** Errors: E_CONFIG. */
export function startVendors(options: VendorsOptions): Vendors {
  const { database, sealer, providers, aliyunMetaUrl, log } = options;
  checkAddress(aliyunMetaUrl);
  const accounts = createVendorAccounts({ database, sealer, log });
  const onChange = (accountId: Id): void => accounts.forget(accountId);
  const tokens = createVendorTokens({
    ...{ accounts, log },
    vault: createTokenRows({ database, sealer, log }),
    fetchToken: createTokenSource({ metaUrl: aliyunMetaUrl }),
  });
  const stopRewrapping = startRewrapping({ database, sealer, log });
  return {
    ports: {
      speech: createSpeechConfigs({ database, sealer, onChange }),
      providers: createProviderConfigs({ database, sealer, onChange }),
      tokens,
      probe: (accountId, id) => probe(accounts, providers, accountId, id),
    },
    async forCalls(accountId) {
      try {
        const known = accounts.forCalls(accountId);
        return await withDeadline(known, CALL_TIMEOUT_MS, 'the accounts at vendors');
      } catch (error) {
        log.warn('vendorAccounts.unread', { accountId, error });
        return [];
      }
    },
    close() {
      tokens.close();
      return stopRewrapping();
    },
  };
}

function checkAddress(aliyunMetaUrl: string | null): void {
  if (aliyunMetaUrl === null) return;
  const { protocol, username, password } = URL.parse(aliyunMetaUrl) ?? {};
  if (/^https?:$/.test(protocol ?? '') && username === '' && password === '') return;
  throw new AppError('E_CONFIG', 'CALLYARD_ALIYUN_META_URL must be an http or https address');
}

async function probe(
  accounts: VendorAccounts,
  providers: Pick<Providers, 'probe'>,
  accountId: Id,
  id: Id,
): ReturnType<VendorPorts['probe']> {
  const account = await accounts.byId(accountId, id);
  // The accounts for everything have routes of their own.
  if (account === null || account.kind === 'speech') return null;
  const startMs = systemClock.now();
  const giveUp = new AbortController();
  const timer = systemClock.setTimer(() => giveUp.abort(), PROBE_TIMEOUT_MS);
  try {
    await providers.probe(account, giveUp.signal);
    return { latencyMs: systemClock.now() - startMs, error: null };
  } catch (error) {
    return { latencyMs: systemClock.now() - startMs, error: toAppError(error) };
  } finally {
    systemClock.clearTimer(timer);
  }
}
