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
  seal(text: string, place: SealPlace): string;
  /** Errors: E_CONFIG when the master key is another one, E_DATABASE when the value is damaged or was moved. */
  open(sealed: string, place: SealPlace): string;
};

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';

/** `masterKeys`: the first seals; all of them open, so that a key can be changed while old values remain. */
export function createSealer(masterKeys: readonly [Buffer, ...Buffer[]]): Sealer {
  const byId = new Map(masterKeys.map((key) => [keyIdOf(key), key]));
  const current = masterKeys[0];
  return {
    seal(text, place) {
      const bound = boundTo(place);
      const dataKey = randomBytes(KEY_BYTES);
      const wrapNonce = randomBytes(NONCE_BYTES);
      const wrapped = Buffer.concat([wrapNonce, encrypt(current, wrapNonce, dataKey, bound)]);
      const nonce = randomBytes(NONCE_BYTES);
      const parts = [wrapped, nonce, encrypt(dataKey, nonce, Buffer.from(text, 'utf8'), bound)];
      return ['cy1', keyIdOf(current), ...parts.map((part) => part.toString('base64url'))].join(
        '.',
      );
    },
    open(sealed, place) {
      const [version, keyId = '', wrapped, nonce, body, ...rest] = sealed.split('.');
      if (
        version !== 'cy1' ||
        wrapped === undefined ||
        nonce === undefined ||
        body === undefined ||
        rest.length > 0
      ) {
        throw damaged(place);
      }
      const master = byId.get(keyId);
      if (master === undefined) {
        throw new AppError(
          'E_CONFIG',
          `${place.table}.${place.column} is sealed with another master key (${keyId}); set CALLYARD_MASTER_KEY to the one it was written with`,
        );
      }
      const bound = boundTo(place);
      const wrap = Buffer.from(wrapped, 'base64url');
      try {
        const dataKey = decrypt(
          master,
          wrap.subarray(0, NONCE_BYTES),
          wrap.subarray(NONCE_BYTES),
          bound,
        );
        const bytes = decrypt(
          dataKey,
          Buffer.from(nonce, 'base64url'),
          Buffer.from(body, 'base64url'),
          bound,
        );
        return bytes.toString('utf8');
      } catch (error) {
        throw damaged(place, error);
      }
    },
  };
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
