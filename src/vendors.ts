/** Builds what has to do with accounts at vendors: their repositories, tokens, trials, and the rewrapping of secrets. */
import type { VendorPorts } from '#api/vendor-part.ts';
import { systemClock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { createTokenSource } from '#providers/aliyun/token.ts';
import type { VendorAccount as UsedAccount } from '#providers/accounts.ts';
import type { Providers } from '#providers/registry.ts';
import { createVendorTokens, type VendorTokens } from '#sessions/vendor-tokens.ts';
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
import { createSpeechProxies } from './speech-proxies.ts';

export type VendorsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly providers: Pick<Providers, 'probe'>;
  /** CALLYARD_ALIYUN_META_URL */
  readonly aliyunMetaUrl: string | null;
  /** CALLYARD_ALIYUN_NLS_URL */
  readonly aliyunNlsUrl: string | null;
  readonly log: Log;
};

export type Vendors = {
  readonly ports: VendorPorts;
  /** The account's own vendors by priority, for a call that begins. Never rejects: without the database it is what is known. */
  forCalls(accountId: Id): Promise<readonly (VendorAccount & Pick<UsedAccount, 'token'>)[]>;
  close(): Promise<void>;
};

const PROBE_TIMEOUT_MS = 10_000;
/** A caller is waiting. */
const CALL_TIMEOUT_MS = 1_000;

/** Errors: E_CONFIG. */
export function startVendors(options: VendorsOptions): Vendors {
  const { database, sealer, providers, aliyunMetaUrl, aliyunNlsUrl: gatewayUrl, log } = options;
  checkAddress('CALLYARD_ALIYUN_META_URL', aliyunMetaUrl, 'http');
  checkAddress('CALLYARD_ALIYUN_NLS_URL', gatewayUrl, 'ws');
  const accounts = createVendorAccounts({ database, sealer, log });
  const onChange = (accountId: Id): void => accounts.forget(accountId);
  const tokens = createVendorTokens({
    ...{ accounts, log },
    vault: createTokenRows({ database, sealer, log }),
    fetchToken: createTokenSource({ metaUrl: aliyunMetaUrl }),
  });
  const stopRewrapping = startRewrapping({ database, sealer, log });
  const asked = {
    byId: async (accountId: Id, id: Id) => {
      const found = await accounts.byId(accountId, id);
      return found === null ? null : withTokens(found, tokens, gatewayUrl);
    },
    providers,
  };
  return {
    ports: {
      speech: createSpeechConfigs({ database, sealer, onChange }),
      providers: createProviderConfigs({ database, sealer, onChange }),
      tokens,
      aliyunSpeech: createSpeechProxies({ tokens, accounts, gatewayUrl }),
      probe: (accountId, id) => probe(asked, accountId, id),
    },
    async forCalls(accountId) {
      try {
        const asked = accounts.forCalls(accountId);
        const known = await withDeadline(asked, CALL_TIMEOUT_MS, 'the accounts at vendors');
        return known.map((account) => withTokens(account, tokens, gatewayUrl));
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

/** A call's vendors take their tokens where everybody does, and reach the gateway that the installation names. */
function withTokens(
  account: VendorAccount,
  tokens: VendorTokens,
  gatewayUrl: string | null,
): VendorAccount & Pick<UsedAccount, 'token'> {
  if (account.vendor !== 'aliyun') return account;
  const gateway = gatewayUrl === null ? {} : { gateway_url: gatewayUrl };
  return {
    ...account,
    options: { ...gateway, ...account.options },
    token: (refused) => tokens.forAccount(account.accountId, refused),
  };
}

/** Errors: E_CONFIG naming the setting. */
function checkAddress(setting: string, address: string | null, scheme: 'http' | 'ws'): void {
  if (address === null) return;
  const { protocol, username, password } = URL.parse(address) ?? {};
  const isFit = protocol === `${scheme}:` || protocol === `${scheme}s:`;
  if (isFit && username === '' && password === '') return;
  throw new AppError(
    'E_CONFIG',
    `${setting} must be ${scheme === 'ws' ? 'a' : 'an'} ${scheme} or ${scheme}s address`,
  );
}

async function probe(
  { byId, providers }: Pick<VendorAccounts, 'byId'> & { providers: Pick<Providers, 'probe'> },
  accountId: Id,
  id: Id,
): ReturnType<VendorPorts['probe']> {
  const account = await byId(accountId, id);
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
