/** What an account at Volcengine is asked for: keys as headers, one resource id for each service, addresses. */
import { randomUUID } from 'node:crypto';
import { AppError } from '#lib/errors.ts';
import { credential, numberOption, textOption, urlOption, type VendorSettings } from '../vendor.ts';

export type ServiceName = 'stt' | 'tts' | 'realtime';

/** One of the three services, as its client and its errors need it. */
export type Service = {
  readonly name: ServiceName;
  /** In messages: `Volcengine voice`. */
  readonly what: string;
  readonly url: string;
  /** What to mend when the vendor refuses it. */
  readonly keys: string;
  readonly resource: string;
  /** Never shown, also not when the vendor repeats them. */
  readonly secrets: readonly string[];
  /** For the handshake; for the vendor to say that it has started. */
  readonly connectMs: number;
  readonly startMs: number;
  /** New for each connection: they hold its id. */
  headers(): Record<string, string>;
};

type Known = {
  readonly what: string;
  readonly url: string;
  readonly resourceId: string;
  /** What resource ids of this service look like. */
  readonly resource: RegExp;
};

/** providers.md 12.4 */
const DEADLINE_MS = 3_000;
const HOST = 'wss://openspeech.bytedance.com';

const KNOWN: { readonly [K in ServiceName]: Known } = {
  stt: {
    what: 'Volcengine recogniser',
    url: `${HOST}/api/v3/sauc/bigmodel_async`,
    resourceId: 'volc.bigasr.sauc.duration',
    resource: /^volc\.(?:big|seed)asr\./,
  },
  tts: {
    what: 'Volcengine voice',
    url: `${HOST}/api/v3/tts/bidirection`,
    resourceId: 'seed-tts-1.0',
    resource: /^(?:seed-(?:tts|icl)-|volc\.(?:service_type|megatts)\.)/,
  },
  realtime: {
    what: 'Doubao dialogue',
    url: `${HOST}/api/v3/realtime/dialogue`,
    resourceId: 'volc.speech.dialog',
    resource: /^volc\.speech\./,
  },
};

/** The same for every account: the vendor documents it as a fixed value, not as a secret. */
const DIALOGUE_APP_KEY = 'PlgvMymc7f3tQnJ6';

/**
 * Keys: `credentials.api_key`, or `app_id` with `access_token`. Options: `NAME_url`, `NAME_resource_id` for NAME stt, tts
 * and realtime; `resource_id`, which an account has once, counts for the service whose ids look like it; `connect_ms`
 * and `start_ms` (default 3000).
 * Errors: E_CONFIG.
 */
export function serviceOf(settings: VendorSettings, name: ServiceName): Service {
  const known = KNOWN[name];
  const { setting, credentials } = settings;
  const apiKey = credentials['api_key'] ?? '';
  const keys: Record<string, string> = {};
  const secrets: string[] = [];
  if (apiKey === '') {
    const appId = headerText(setting, 'app_id', credential(settings, 'app_id'));
    const token = headerText(setting, 'access_token', credential(settings, 'access_token'));
    keys[name === 'realtime' ? 'X-Api-App-ID' : 'X-Api-App-Key'] = appId;
    keys['X-Api-Access-Key'] = token;
    secrets.push(token);
  } else {
    keys['X-Api-Key'] = headerText(setting, 'api_key', apiKey);
    secrets.push(apiKey);
  }
  if (name === 'realtime') {
    keys['X-Api-App-Key'] = textOption(settings, 'realtime_app_key', DIALOGUE_APP_KEY);
  }
  const shared = textOption(settings, 'resource_id', '');
  const fallback = known.resource.test(shared) ? shared : known.resourceId;
  const resource = textOption(settings, `${name}_resource_id`, fallback);
  return {
    ...{ name, what: known.what, resource, secrets },
    url: urlOption(settings, `${name}_url`, known.url),
    connectMs: numberOption(settings, 'connect_ms', DEADLINE_MS, [50, 30_000]),
    startMs: numberOption(settings, 'start_ms', DEADLINE_MS, [50, 30_000]),
    keys: `${setting}: ${apiKey === '' ? 'credentials.app_id or credentials.access_token' : 'credentials.api_key'}`,
    headers: () => ({
      ...keys,
      'X-Api-Resource-Id': resource,
      'X-Api-Connect-Id': randomUUID(),
    }),
  };
}

/** A line break pasted along with a key would break the request, with a message that tells nobody why. */
function headerText(setting: string, name: string, value: string): string {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new AppError(
    'E_CONFIG',
    `${setting}: credentials.${name} holds characters that no key has`,
  );
}
