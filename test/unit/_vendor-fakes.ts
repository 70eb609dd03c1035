/** The accounts at vendors in memory, for tests of the facade alone. */
import type { AliyunSpeech } from '#api/aliyun-speech-port.ts';
import type { VendorPorts } from '#api/vendor-part.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import type { VendorToken } from '#sessions/vendor-tokens.ts';
import type { ProviderConfig, ProviderConfigFields } from '#store/provider-configs.ts';
import {
  shownKeyId,
  type AliyunConfig,
  type FirstToken,
  type VolcengineConfig,
} from '#store/speech-configs.ts';

export type VendorFakes = {
  readonly ports: VendorPorts;
  aliyun: AliyunConfig | null;
  /** The token that was saved with it. */
  firstToken: FirstToken | null;
  volcengine: VolcengineConfig | null;
  readonly providers: Map<string, ProviderConfig>;
  token: VendorToken | null;
  /** What asking the vendor comes to. */
  vendorError: Error | null;
  probeError: AppError | null;
  /** Without an account, unless a test puts its own there. */
  aliyunSpeech: AliyunSpeech;
};

const NO_ACCOUNT = new AppError('E_CONFIG', 'no Aliyun account is set up');
const noSpeech: AliyunSpeech = {
  hasAccount: async () => false,
  joined: (sentences) => sentences.join(' '),
  async listen() {
    throw NO_ACCOUNT;
  },
  // oxlint-disable-next-line require-yield -- it fails before its first sound
  async *speak() {
    throw NO_ACCOUNT;
  },
};

const TIMES = { createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' };

export function makeVendors(): VendorFakes {
  const fakes: VendorFakes = {
    ports: {} as VendorPorts,
    ...{ aliyun: null, firstToken: null, volcengine: null, providers: new Map() },
    ...{ token: null, vendorError: null, probeError: null, aliyunSpeech: noSpeech },
  };
  return Object.assign(fakes, { ports: portsOf(fakes) });
}

function portsOf(fakes: VendorFakes): VendorPorts {
  const ask = <T>(answer: T): T => {
    if (fakes.vendorError !== null) throw fakes.vendorError;
    return answer;
  };
  return {
    speech: {
      aliyun: async () => fakes.aliyun,
      async saveAliyun(_actor, { accessKeyId, appKey, region, instanceId }, token) {
        const shown = { accessKeyId: shownKeyId(accessKeyId), appKey, region, instanceId };
        fakes.firstToken = token;
        return (fakes.aliyun = { id: newId(), ...shown, ...TIMES });
      },
      async endAliyun() {
        const wasActive = fakes.aliyun !== null;
        fakes.aliyun = null;
        return wasActive;
      },
      volcengine: async () => fakes.volcengine,
      async saveVolcengine(_actor, { appId, secretKey, resourceId, options }) {
        const more = { resourceId: resourceId ?? 'volc.speech.dialog', options };
        const hasSecretKey = secretKey !== null;
        return (fakes.volcengine = { id: newId(), appId, hasSecretKey, ...more, ...TIMES });
      },
      async endVolcengine() {
        const wasActive = fakes.volcengine !== null;
        fakes.volcengine = null;
        return wasActive;
      },
    },
    providers: providersOf(fakes.providers),
    tokens: {
      forAccount: async () => ask(fakes.token),
      verify: async () => ask({ token: 'verified', expiresAtMs: Date.UTC(2026, 0, 2) }),
      close: () => undefined,
    },
    aliyunSpeech: {
      hasAccount: (accountId) => fakes.aliyunSpeech.hasAccount(accountId),
      joined: (sentences) => fakes.aliyunSpeech.joined(sentences),
      listen: (...asked) => fakes.aliyunSpeech.listen(...asked),
      speak: (...asked) => fakes.aliyunSpeech.speak(...asked),
    },
    probe: async (_accountId, id) =>
      fakes.providers.has(id) ? { latencyMs: 12.3, error: fakes.probeError } : null,
  };
}

function providersOf(rows: Map<string, ProviderConfig>): VendorPorts['providers'] {
  const keep = (id: string, fields: ProviderConfigFields): ProviderConfig => {
    const { credentials, ...rest } = fields;
    const hasCredentials = Object.keys(credentials).length > 0;
    const row: ProviderConfig = { id, ...rest, hasCredentials, ...TIMES };
    for (const other of rows.values()) {
      const isSame = other.kind === row.kind && other.name === row.name;
      if (isSame && other.id !== id) throw new AppError('E_CONFLICT', 'taken');
    }
    rows.set(id, row);
    return row;
  };
  return {
    create: async (_actor, wanted) => keep(newId(), wanted),
    list: async () => ({
      ...{ rows: [...rows.values()], total: rows.size, totalExact: true, next: null },
    }),
    get: async (_actor, id) => rows.get(id) ?? null,
    async update(_actor, id, changes) {
      const known = rows.get(id);
      if (known === undefined) return null;
      const credentials: Record<string, string> = known.hasCredentials ? { kept: 'yes' } : {};
      return keep(id, { ...known, credentials, ...changes });
    },
    currency: async () => 'CNY',
    remove: async (_actor, id) => (rows.delete(id) ? 'deleted' : 'missing'),
  };
}
