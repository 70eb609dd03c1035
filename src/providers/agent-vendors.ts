/** What an agent and its account say of vendors, as the settings that a client is made of. */
import { AppError } from '#lib/errors.ts';
import { accountsFor, describeAccount, type VendorAccount, type Wish } from './accounts.ts';
import type { ProviderKind } from './contract.ts';
import type { VendorSettings } from './vendor.ts';

type PerKind<T> = { readonly stt: T; readonly llm: T; readonly tts: T; readonly realtime?: T };

/** What an agent asks for; null means the account's own vendors, else the installation's default. */
export type AgentProviders = {
  /** Default `cascade`. */
  readonly mode?: 'cascade' | 'realtime';
  readonly vendors: PerKind<string | null>;
  /** The account at the vendor that the agent insists on, by id. */
  readonly vendorConfigs?: PerKind<string | null>;
  readonly vendorOptions?: PerKind<Readonly<Record<string, unknown>>>;
  /** To be gone to, in this order, when the first does not work. */
  readonly fallbacks?: PerKind<
    readonly (Wish & { readonly options: Readonly<Record<string, unknown>> })[]
  >;
  readonly llm?: {
    readonly model: string | null;
    readonly temperature: number | null;
    readonly maxTokens: number | null;
  };
  readonly voice?: string | null;
  readonly speech?: {
    readonly speed: number | null;
    readonly volume: number | null;
    readonly realtimeVoice: string | null;
  };
};

/** Who decided on a vendor, to be named when it does not work. */
export type Source = {
  readonly kind: ProviderKind;
  readonly vendor: string;
  /** Null: the agent's word alone, or the environment's. */
  readonly account: VendorAccount | null;
  readonly setting: string;
  /** Of the agent, or of one of its fallbacks. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The agent's model and voice are this vendor's. */
  readonly isFirstChoice: boolean;
  /** The agent insists on it: its faults are told, and no other is taken instead. */
  readonly isInsisted: boolean;
};

/** Fallbacks of an agent that are looked at. */
const MAX_FALLBACKS = 3;

/**
 * In the order in which they are to be asked: what the agent wishes for, or the account has, or `standard`. `standard`
 * null: there is no default for this kind. Errors: E_CONFIG.
 */
export function firstChoices(
  kind: ProviderKind,
  agent: AgentProviders,
  accounts: readonly VendorAccount[],
  standard: string | null,
): readonly Source[] {
  const vendor = agent.vendors[kind] ?? null;
  const configId = agent.vendorConfigs?.[kind] ?? null;
  const options = agent.vendorOptions?.[kind] ?? {};
  const own = { options, isFirstChoice: true, isInsisted: configId !== null };
  const found = accountsFor(kind, { vendor, configId }, accounts);
  if (found.length > 0) return found.map((account) => ({ ...own, ...sourceOf(kind, account) }));
  if (vendor === null && standard === null) {
    const what = `the agent's mode is ${kind}, but neither its vendors.${kind} nor an account of that kind says with whom`;
    throw new AppError('E_CONFIG', what);
  }
  const setting =
    vendor === null ? `CALLYARD_${kind.toUpperCase()}_VENDOR` : `the agent's vendors.${kind}`;
  return [{ ...own, kind, account: null, vendor: vendor ?? standard ?? '', setting }];
}

/** What the agent falls back to. `onWrong` is told of what cannot be meant. */
export function fallbacksOf(
  kind: ProviderKind,
  agent: AgentProviders,
  accounts: readonly VendorAccount[],
  onWrong: (error: unknown) => void,
): readonly Source[] {
  const wishes = agent.fallbacks?.[kind] ?? [];
  return wishes.slice(0, MAX_FALLBACKS).flatMap((wish, at): Source[] => {
    const own = { options: wish.options, isFirstChoice: false, isInsisted: false };
    try {
      const found = accountsFor(kind, wish, accounts);
      if (found.length > 0) return found.map((account) => ({ ...own, ...sourceOf(kind, account) }));
      const { vendor } = wish;
      if (vendor === null) return [];
      const setting = `the agent's ${kind}.fallback[${at}]`;
      return [{ ...own, kind, account: null, vendor, setting }];
    } catch (error) {
      onWrong(error);
      return [];
    }
  });
}

function sourceOf(
  kind: ProviderKind,
  account: VendorAccount,
): Pick<Source, 'kind' | 'vendor' | 'account' | 'setting'> {
  return { kind, vendor: account.vendor, account, setting: describeAccount(account) };
}

/** Errors: E_CONFIG for an option of the agent that would send the account's secrets elsewhere. */
export function settingsFor(source: Source, agent: AgentProviders): VendorSettings {
  const { kind, account, setting, isFirstChoice } = source;
  if (account !== null) refuseAddresses(source);
  const options = { ...account?.options, ...source.options };
  const { model = null, temperature = null, maxTokens = null } = agent.llm ?? {};
  const agentsVoice = kind === 'realtime' ? agent.speech?.realtimeVoice : agent.voice;
  const token = account?.token;
  return {
    setting,
    credentials: account?.credentials ?? {},
    options,
    model: isFirstChoice && kind === 'llm' && model !== null ? model : textOf(options['model']),
    temperature,
    maxTokens,
    voice: isFirstChoice && agentsVoice ? agentsVoice : textOf(options['voice']),
    speed: agent.speech?.speed ?? null,
    volume: agent.speech?.volume ?? null,
    token:
      token === undefined
        ? null
        : async (refused) => {
            const known = await token(refused);
            if (known !== null) return known;
            throw new AppError('E_CONFIG', `${setting}: there is no account to get a token with`);
          },
  };
}

/** Whoever may write an agent must not learn what is sealed in an account: where it is sent to is the account's to say. */
function refuseAddresses({ kind, options, account, setting }: Source): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === account?.options[name] || !leadsElsewhere(name, value)) continue;
    throw new AppError(
      'E_CONFIG',
      `the agent's ${kind}.options.${name}: an address may be set in ${setting} alone`,
    );
  }
}

/** Some vendors' regions are part of a host name; whom to trust (`ca`) decides on who may listen. */
function leadsElsewhere(name: string, value: unknown): boolean {
  if (/(?:url|uri|host|hostname|endpoint|address|gateway|proxy)$|^(?:ca|tls)$/i.test(name))
    return true;
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).some(([key, each]) => leadsElsewhere(key, each));
  }
  if (typeof value !== 'string') return false;
  if (/region|workspace/i.test(name)) return !/^[\w-]*$/.test(value);
  return /^\s*[a-z][a-z0-9+.-]*:\/\//i.test(value);
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
