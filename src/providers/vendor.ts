/** What a vendor's folder gives to the registry, and what it is given: settings to read, tools to work with. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { StreamResampling } from '#lib/stream-resampler.ts';
import type { LlmProvider, RealtimeProvider, SttProvider, TtsProvider } from './contract.ts';

/** An access token that is renewed elsewhere (Aliyun NLS); the account's app key and region come with it. */
export type VendorToken = {
  readonly token: string;
  readonly appKey: string;
  readonly region: string;
};

/** What an account, and the agent that uses it, say. */
export type VendorSettings = {
  /** Whom to name when something in here is wrong. */
  readonly setting: string;
  readonly credentials: Readonly<Record<string, string>>;
  /** Those of the account, overlaid by those of the agent. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly model: string | null;
  /** 0-2. */
  readonly temperature: number | null;
  readonly maxTokens: number | null;
  readonly voice: string | null;
  /** 0.5-2 and 0-2; 1 is the voice's own. */
  readonly speed: number | null;
  readonly volume: number | null;
  /**
   * Null: the vendor needs none. `refused`: the vendor did not take this one; it is renewed, unless it is quite new.
   * Errors: E_PROVIDER_*, E_CONFIG.
   */
  readonly token: ((refused?: string) => Promise<VendorToken>) | null;
};

export type VendorTools = {
  readonly log: Log;
  readonly clock: Clock;
  /** Loads once. Errors: E_MEDIA. */
  readonly resampling: () => Promise<StreamResampling>;
};

/** Each `make` throws E_CONFIG, naming the setting to mend; nothing is connected before the first use. */
export type VendorModule = {
  /** As agents and accounts name it. */
  readonly vendor: string;
  readonly stt?: (settings: VendorSettings, tools: VendorTools) => SttProvider;
  readonly llm?: (settings: VendorSettings, tools: VendorTools) => LlmProvider;
  readonly tts?: (settings: VendorSettings, tools: VendorTools) => TtsProvider;
  readonly realtime?: (settings: VendorSettings, tools: VendorTools) => RealtimeProvider;
};

/** A text that must be there. Errors: E_CONFIG. */
export function credential({ setting, credentials }: VendorSettings, name: string): string {
  const value = credentials[name];
  if (value !== undefined && value !== '') return value;
  throw new AppError('E_CONFIG', `${setting}: credentials.${name} is missing`);
}

/** A text option. Errors: E_CONFIG for anything but a text. */
export function textOption(settings: VendorSettings, name: string, standard: string): string {
  const value = settings.options[name];
  if (value === undefined || value === null || value === '') return standard;
  if (typeof value === 'string') return value;
  throw new AppError('E_CONFIG', `${settings.setting}: options.${name} must be a text`);
}

/** Errors: E_CONFIG for anything but a number in the range. */
export function numberOption(
  settings: VendorSettings,
  name: string,
  standard: number,
  [min, max]: readonly [number, number],
): number {
  const value = settings.options[name];
  if (value === undefined || value === null) return standard;
  if (typeof value === 'number' && value >= min && value <= max) return value;
  const what = `options.${name} must be a number from ${min} to ${max}`;
  throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
}

/** Errors: E_CONFIG for anything but true or false. */
export function flagOption(settings: VendorSettings, name: string, standard: boolean): boolean {
  const value = settings.options[name];
  if (value === undefined || value === null) return standard;
  if (typeof value === 'boolean') return value;
  throw new AppError('E_CONFIG', `${settings.setting}: options.${name} must be true or false`);
}

/** One of `allowed`, the first being the standard. Errors: E_CONFIG. */
export function choiceOption<T extends string>(
  settings: VendorSettings,
  name: string,
  allowed: readonly [T, ...T[]],
): T {
  const value = textOption(settings, name, allowed[0]);
  const found = allowed.find((each) => each === value);
  if (found !== undefined) return found;
  const what = `options.${name} must be one of ${allowed.join(', ')}`;
  throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
}

/** An address of the given schemes, without a trailing slash. Errors: E_CONFIG. */
export function urlOption(
  settings: VendorSettings,
  name: string,
  standard: string,
  schemes: readonly ('ws' | 'wss' | 'http' | 'https')[] = ['ws', 'wss'],
): string {
  const value = textOption(settings, name, standard);
  const scheme = URL.parse(value)?.protocol.slice(0, -1);
  if (schemes.some((each) => each === scheme)) return value.replace(/\/+$/, '');
  const what = `options.${name} must be an address that begins with ${schemes.join(':// or ')}://`;
  throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
}
