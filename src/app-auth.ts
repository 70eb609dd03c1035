/** The settings about tokens as the parts need them. */
import { readFileSync } from 'node:fs';
import { publicKeyOf, type JwtSettings } from '#api/auth-jwt.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { AuthOptions } from '#store/identity.ts';
import { loadJwtSecret } from '#store/secret-files.ts';
import type { Config } from './config.ts';

/** Without an outside issuer Callyard holds the passwords and signs with a secret of its own. */
function isLocal(config: Config): boolean {
  return config.jwtJwksUrl === null && config.jwtPublicKey === null;
}

export function authOptions(config: Config): AuthOptions {
  const adminPassword = isLocal(config) ? config.adminPassword : null;
  return { isLocal: isLocal(config), isProvisioning: config.authProvision, adminPassword };
}

/** How the facade lets clients in. Errors: E_CONFIG. */
export async function authSettings(config: Config, dataDir: string, log: Log) {
  const { trustedProxies, corsOrigins, rateLimit, rateBurst } = config;
  return {
    jwt: await jwtSettings(config, dataDir, log),
    ...{ trustedProxies, corsOrigins },
    limits: { requestRate: { ratePerS: rateLimit, burst: rateBurst } },
  };
}

async function jwtSettings(config: Config, dataDir: string, log: Log): Promise<JwtSettings> {
  const checked = { issuer: config.jwtIssuer, audience: config.jwtAudience };
  if (!isLocal(config) && config.adminPassword !== null) {
    log.warn('setting.idle', { name: 'CALLYARD_ADMIN_PASSWORD', note: 'the issuer has passwords' });
  }
  if (config.jwtJwksUrl !== null) {
    return { ...checked, key: { kind: 'jwks', url: config.jwtJwksUrl } };
  }
  if (config.jwtPublicKey !== null) {
    const key = publicKeyOf(readPem(config.jwtPublicKey));
    return { ...checked, key: { kind: 'public', key } };
  }
  const secret = await loadJwtSecret(config.jwtSecret, dataDir);
  return { ...checked, key: { kind: 'secret', secret } };
}

function readPem(setting: string): string {
  if (!setting.startsWith('file:')) return setting;
  try {
    return readFileSync(setting.slice('file:'.length), 'utf8');
  } catch (error) {
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_JWT_PUBLIC_KEY names a file that cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
