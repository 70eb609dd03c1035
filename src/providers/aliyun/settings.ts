/** What the settings of an account or an agent say about the gateway, for recogniser and voice alike. */
import { AppError } from '#lib/errors.ts';
import { textOption, urlOption, type VendorSettings, type VendorTools } from '../vendor.ts';
import type { NlsAccess } from './nls-access.ts';

/** Errors: E_CONFIG, also when there is no account to make a token from. */
export function accessOf(
  settings: VendorSettings,
  { clock }: Pick<VendorTools, 'clock'>,
): NlsAccess {
  const { setting, token } = settings;
  if (token === null) {
    const what = 'is aliyun, which needs the account that is saved by POST /api/v1/aliyun/config';
    throw new AppError('E_CONFIG', `${setting} ${what}`);
  }
  const hasUrl = textOption(settings, 'gateway_url', '') !== '';
  return {
    ...{ clock, setting, token },
    gatewayUrl: hasUrl ? urlOption(settings, 'gateway_url', '') : null,
    appKey: textOption(settings, 'app_key', '') || null,
  };
}
