/**
 * Sealed text (contract 4.6): `cy1.<key id>.<wrapped key>.<nonce>.<ciphertext and tag>`, parts in base64url. AES-256-GCM
 * with a fresh data key, wrapped by the master key; bound to table, column, account and row.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';

/** Where the value lives. A value moved elsewhere does not open. */
export type SealPlace = {
  readonly table: string;
  readonly column: string;
  readonly accountId: Id;
  readonly rowId: Id;
};

export type Sealer = {
  /** Names the master key that seals now. */
  readonly keyId: string;
  /** Those that only open. */
  readonly oldKeyIds: readonly string[];
  seal(text: string, place: SealPlace): string;
  /**
   * The same value under the present master key: only its data key is wrapped anew. Null when it is so already.
   * Errors: those of `open`; damage of the text itself is not seen.
   */
  rewrap(sealed: string, place: SealPlace): string | null;
  /** Errors: E_CONFIG when the master key is another one, E_DATABASE when the value is damaged or was moved. */
  open(sealed: string, place: SealPlace): string;
};

const VERSION = 'cy1';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';

/** `masterKeys`: the first seals; all of them open, so that a key can be changed while old values remain. */
export function createSealer(masterKeys: readonly [Buffer, ...Buffer[]]): Sealer {
  const byId = new Map(masterKeys.map((key) => [keyIdOf(key), key]));
  const current = masterKeys[0];
  const keyId = keyIdOf(current);
  const dataKeyOf = (value: SealedParts, place: SealPlace): Buffer => {
    const master = byId.get(value.keyId);
    if (master === undefined) {
      throw new AppError(
        'E_CONFIG',
        `${place.table}.${place.column} is sealed with another master key (${value.keyId}); set CALLYARD_MASTER_KEY to the one it was written with`,
      );
    }
    const { wrapped } = value;
    const nonce = wrapped.subarray(0, NONCE_BYTES);
    return decrypt(master, nonce, wrapped.subarray(NONCE_BYTES), boundTo(place));
  };
  const wrap = (dataKey: Buffer, place: SealPlace): Buffer => {
    const nonce = randomBytes(NONCE_BYTES);
    return Buffer.concat([nonce, encrypt(current, nonce, dataKey, boundTo(place))]);
  };
  return {
    keyId,
    oldKeyIds: [...byId.keys()].filter((id) => id !== keyId),
    seal(text, place) {
      const dataKey = randomBytes(KEY_BYTES);
      const nonce = randomBytes(NONCE_BYTES);
      const body = encrypt(dataKey, nonce, Buffer.from(text, 'utf8'), boundTo(place));
      return joined({ keyId, wrapped: wrap(dataKey, place), nonce, body });
    },
    open(sealed, place) {
      const value = partsOf(sealed, place);
      return damagedUnless(place, () => {
        const plain = decrypt(dataKeyOf(value, place), value.nonce, value.body, boundTo(place));
        return plain.toString('utf8');
      });
    },
    rewrap(sealed, place) {
      const value = partsOf(sealed, place);
      if (value.keyId === keyId) return null;
      const dataKey = damagedUnless(place, () => dataKeyOf(value, place));
      return joined({ ...value, keyId, wrapped: wrap(dataKey, place) });
    },
  };
}

type SealedParts = {
  readonly keyId: string;
  /** Nonce and data key under the master key. */
  readonly wrapped: Buffer;
  readonly nonce: Buffer;
  readonly body: Buffer;
};

function joined({ keyId, wrapped, nonce, body }: SealedParts): string {
  const parts = [wrapped, nonce, body].map((part) => part.toString('base64url'));
  return [VERSION, keyId, ...parts].join('.');
}

function partsOf(sealed: string, place: SealPlace): SealedParts {
  const parts = sealed.split('.');
  const [version, keyId = '', ...rest] = parts;
  if (version !== VERSION || parts.length !== 5) throw damaged(place);
  const [wrapped, nonce, body] = rest.map((part) => Buffer.from(part, 'base64url'));
  if (wrapped === undefined || nonce === undefined || body === undefined) throw damaged(place);
  return { keyId, wrapped, nonce, body };
}

function damagedUnless<T>(place: SealPlace, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof AppError ? error : damaged(place, error);
  }
}

/** Names a key without telling anything of it. */
export function keyIdOf(key: Buffer): string {
  return createHash('sha256')
    .update('callyard master key id')
    .update(key)
    .digest('hex')
    .slice(0, 16);
}

function boundTo({ table, column, accountId, rowId }: SealPlace): Buffer {
  return Buffer.from([table, column, accountId, rowId].join('|'), 'utf8');
}

function encrypt(key: Buffer, nonce: Buffer, plain: Buffer, bound: Buffer): Buffer {
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(bound);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, nonce: Buffer, sealed: Buffer, bound: Buffer): Buffer {
  const tag = sealed.subarray(sealed.length - TAG_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(bound).setAuthTag(tag);
  return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
}

function damaged({ table, column }: SealPlace, cause?: unknown): AppError {
  return new AppError(
    'E_DATABASE',
    `a sealed value in ${table}.${column} is damaged or was moved`,
    {
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
