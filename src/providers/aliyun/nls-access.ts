/** How to get at the gateway: address, token and project of an account; a token that is refused is renewed once. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { VendorToken } from '../vendor.ts';
import { isTokenRefused } from './nls-errors.ts';
import type { NlsGate } from './nls-socket.ts';

export type NlsAccess = {
  readonly clock: Clock;
  /** Whom to name when something is wrong with the account. */
  readonly setting: string;
  /** `refused`: the gateway did not take this one; another is fetched, unless it was renewed just now. */
  token(refused?: string): Promise<VendorToken>;
  /** Null: that of the account's region. */
  readonly gatewayUrl: string | null;
  /** Null: the account's own project. */
  readonly appKey: string | null;
};

export function gatewayOf(region: string): string {
  return `wss://nls-gateway-${region}.aliyuncs.com/ws/v1`;
}

/** Errors: those of the token service; E_PROVIDER_AUTH names the setting. */
export async function gateOf(access: NlsAccess, refused?: string): Promise<NlsGate> {
  const { clock, setting, appKey } = access;
  const given = await access.token(refused).catch((error: unknown) => {
    throw naming(error, setting);
  });
  const token = { ...given, appKey: appKey ?? given.appKey };
  return {
    ...{ clock, token, url: access.gatewayUrl ?? gatewayOf(token.region) },
    owner: { setting, secrets: [token.token, token.appKey] },
  };
}

/** `work`, and once more with another token when the first was refused. */
export async function withToken<T>(
  access: NlsAccess,
  work: (gate: NlsGate) => Promise<T>,
): Promise<T> {
  const gate = await gateOf(access);
  try {
    return await work(gate);
  } catch (error) {
    if (!isTokenRefused(error)) throw error;
    const next = await gateOf(access, gate.token.token);
    if (next.token.token === gate.token.token) throw error;
    return work(next);
  }
}

function naming(error: unknown, setting: string): unknown {
  if (!(error instanceof AppError) || error.code !== 'E_PROVIDER_AUTH') return error;
  const text = `access_key_id or access_key_secret of ${setting}: ${error.message}`;
  return new AppError(error.code, text, { cause: error, details: error.details });
}
