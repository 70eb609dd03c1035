/** Which of an account's own vendor accounts a call may use (contract 2.3), and what is in one. */
import { AppError } from '#lib/errors.ts';
import type { ProviderKind } from './contract.ts';
import type { VendorToken } from './vendor.ts';

/** An active account at a vendor, secrets opened; store/vendor-accounts.ts has the same shape and more. */
export type VendorAccount = {
  readonly id: string;
  /** `speech`: one account for everything the vendor offers. */
  readonly kind: ProviderKind | 'speech';
  readonly vendor: string;
  readonly name: string;
  /** Null: they could not be opened. */
  readonly credentials: Readonly<Record<string, string>> | null;
  readonly options: Readonly<Record<string, unknown>>;
  /** As stored (lib/prices.ts), in the account's currency where they name none. */
  readonly prices?: Readonly<Record<string, unknown>>;
  readonly currency?: string;
  /** The lowest is used first; among equals of one vendor their `balance` decides. */
  readonly priority?: number;
  /** Of vendors whose access tokens are renewed elsewhere; null: there is no account to get one with. */
  readonly token?: (refused?: string) => Promise<VendorToken | null>;
};

/** What an agent says of one kind; null where it says nothing. */
export type Wish = { readonly vendor: string | null; readonly configId: string | null };

export type LlmSettings = {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
};

const OPENAI_URL = 'https://api.openai.com/v1';

/**
 * The vendor accounts for one kind, in the order of `accounts` (by priority); empty when the installation's settings
 * decide. Errors: E_CONFIG when the agent insists on one that does not fit.
 */
export function accountsFor(
  kind: ProviderKind,
  wish: Wish,
  accounts: readonly VendorAccount[],
): readonly VendorAccount[] {
  const fitting = accounts.filter((account) => isFor(account, kind));
  if (wish.configId !== null) return [insisted(kind, wish, fitting)];
  const usable = fitting.filter(({ credentials }) => credentials !== null);
  const { vendor } = wish;
  if (vendor !== null) return usable.filter((account) => account.vendor === vendor);
  // An account for everything is used by agents that name its vendor.
  return usable.filter((account) => account.kind === kind);
}

function isFor(account: VendorAccount, kind: ProviderKind): boolean {
  return account.kind === kind || (account.kind === 'speech' && kind !== 'llm');
}

function insisted(
  kind: ProviderKind,
  wish: Wish,
  fitting: readonly VendorAccount[],
): VendorAccount {
  const setting = `the agent's ${kind}.config_id`;
  const account = fitting.find(({ id }) => id === wish.configId);
  if (account === undefined) {
    throw new AppError('E_CONFIG', `${setting} names no active ${kind} account at a vendor`);
  }
  if (wish.vendor !== null && wish.vendor !== account.vendor) {
    throw new AppError(
      'E_CONFIG',
      `${setting} names an account at ${account.vendor}, but its vendor is ${wish.vendor}`,
    );
  }
  if (account.credentials === null) {
    throw new AppError(
      'E_CONFIG',
      `${setting}: the secrets of ${describeAccount(account)} cannot be opened`,
    );
  }
  return account;
}

export function describeAccount({ kind, vendor, name }: VendorAccount): string {
  return `the ${kind} account "${name}" (${vendor})`;
}

/** Address, key and model of an OpenAI-compatible account, from its options or its credentials; empty when not there. */
export function llmSettingsOf({
  credentials,
  options,
}: Pick<VendorAccount, 'credentials' | 'options'>): LlmSettings {
  const textOf = (name: string): string => {
    const value = options[name] ?? credentials?.[name];
    return typeof value === 'string' ? value : '';
  };
  return {
    baseUrl: textOf('base_url') || OPENAI_URL,
    apiKey: credentials?.['api_key'] ?? '',
    model: textOf('model'),
  };
}
