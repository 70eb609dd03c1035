/** Which of an account's own vendor accounts a call uses (contract 2.3), and what is in one. */
import { AppError } from '#lib/errors.ts';

/** An active account at a vendor, secrets opened; store/vendor-accounts.ts has the same shape and more. */
export type VendorAccount = {
  readonly id: string;
  /** `speech`: one account for everything the vendor offers. */
  readonly kind: 'stt' | 'llm' | 'tts' | 'realtime' | 'speech';
  readonly vendor: string;
  readonly name: string;
  /** Null: they could not be opened. */
  readonly credentials: Readonly<Record<string, string>> | null;
  readonly options: Readonly<Record<string, unknown>>;
};

export type Kind = 'stt' | 'llm' | 'tts';

/** What an agent says of one kind; null where it says nothing. */
export type Wish = { readonly vendor: string | null; readonly configId: string | null };

export type LlmSettings = {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
};

const OPENAI_URL = 'https://api.openai.com/v1';

/**
 * The vendor account for one kind, or null when the installation's settings decide. `accounts` are in order of priority;
 * `isComplete` tells which of them there is a client for, with all that it needs: others are passed over unless the agent
 * insists. Errors: E_CONFIG when it insists on an account that does not fit.
 */
export function chooseAccount(
  kind: Kind,
  wish: Wish,
  accounts: readonly VendorAccount[],
  isComplete: (account: VendorAccount) => boolean,
): VendorAccount | null {
  const fitting = accounts.filter((account) => isFor(account, kind));
  if (wish.configId !== null) return insisted(kind, wish, fitting);
  const vendor = wish.vendor;
  const usable = fitting.filter(({ credentials }) => credentials !== null);
  if (vendor !== null) return usable.find((account) => account.vendor === vendor) ?? null;
  // An account for everything is used by agents that name its vendor.
  return usable.find((account) => account.kind === kind && isComplete(account)) ?? null;
}

function isFor(account: VendorAccount, kind: Kind): boolean {
  return account.kind === kind || (account.kind === 'speech' && kind !== 'llm');
}

function insisted(kind: Kind, wish: Wish, fitting: readonly VendorAccount[]): VendorAccount {
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
export function llmSettingsOf({ credentials, options }: VendorAccount): LlmSettings {
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
