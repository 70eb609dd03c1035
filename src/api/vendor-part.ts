/** What the routes of vendor accounts need, and how a failure at a vendor is told to the client. */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { VendorTokens } from '#sessions/vendor-tokens.ts';
import type { ProviderConfigs } from '#store/provider-configs.ts';
import type { SpeechConfigs } from '#store/speech-configs.ts';
import type { AliyunSpeech } from './aliyun-speech-port.ts';
import type { Language } from './language.ts';
import { Problem } from './problem.ts';

/** How a vendor answered when it was tried out; `error` is null when it works. */
export type ProbeResult = { readonly latencyMs: number; readonly error: AppError | null };

export type VendorPorts = {
  readonly speech: SpeechConfigs;
  readonly providers: ProviderConfigs;
  readonly tokens: VendorTokens;
  readonly aliyunSpeech: AliyunSpeech;
  /** Null when the account has no such provider-config. Errors: E_DATABASE*. */
  probe(accountId: Id, configId: Id): Promise<ProbeResult | null>;
};

export type VendorsPart = VendorPorts & { readonly clock: Clock; readonly log: Log };

/** Two tries of 3 s, and what it takes to find that another node is at it. */
const VENDOR_TIMEOUT_MS = 15_000;

/** `work` at a vendor with its deadline. Errors: PROVIDER_REJECTED, PROVIDER_TIMEOUT, and those of the store. */
export async function fromVendor<T>(part: { readonly clock: Clock }, work: Promise<T>): Promise<T> {
  try {
    return await withDeadline(work, VENDOR_TIMEOUT_MS, 'the vendor', part.clock);
  } catch (error) {
    throw vendorProblem(error) ?? error;
  }
}

/** What a failure at a vendor is for the client; null when it was not the vendor's. */
export function vendorProblem(error: unknown): Problem | null {
  if (!(error instanceof AppError)) return null;
  const { code, details } = error;
  if (/^E_PROVIDER_(?:AUTH|PARAM|QUOTA|CONTENT)$/.test(code)) {
    const { vendorCode, status } = details;
    const byStatus = typeof status === 'number' ? `HTTP_${status}` : null;
    const told = typeof vendorCode === 'string' ? vendorCode : byStatus;
    return new Problem('PROVIDER_REJECTED', {
      ...(told === null ? {} : { vendorCode: told }),
      cause: error,
    });
  }
  // The database's own deadlines are shorter and name no vendor.
  const isLate =
    code === 'E_TIMEOUT' && ('vendor' in details || error.message.startsWith('the vendor '));
  const isDown = code === 'E_PROVIDER_SERVER' || code === 'E_PROVIDER_IDLE';
  return isLate || isDown ? new Problem('PROVIDER_TIMEOUT', { cause: error }) : null;
}

const TEXTS = {
  saved: { en: 'The account is saved', zh: '配置已保存' },
  deleted: { en: 'The account is deleted', zh: '配置已删除' },
} as const satisfies Record<string, Record<Language, string>>;

export function savedText(what: keyof typeof TEXTS, language: Language): string {
  return TEXTS[what][language];
}
