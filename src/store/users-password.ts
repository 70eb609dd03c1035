/**
 * Passwords as scrypt strings, `$scrypt$ln=15,r=8,p=3$salt$hash` (PHC form, parts in base64). Hashing runs in the
 * thread pool, two at a time, so that neither calls nor files wait behind logins.
 */
import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';
import { AppError } from '#lib/errors.ts';

/** About 150 ms and 32 MiB on a common core (OWASP's table of equal work). */
const COST = { ln: 15, r: 8, p: 3 };
const HASH_BYTES = 32;
const SALT_BYTES = 16;
const AT_ONCE = 2;
const MAX_WAITING = 32;
const FORMAT =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{8,})\$([A-Za-z0-9+/]{20,})$/;
/** What a damaged or planted string may cost at most. */
const MAX_LN = 18;
const MAX_R = 16;
const MAX_P = 8;

type Hash = {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
};

/** Compared with when there is nothing to compare with, so that this takes as long. */
const NOBODY: Hash = { ...COST, salt: randomBytes(SALT_BYTES), hash: randomBytes(HASH_BYTES) };

let running = 0;
const waiting: (() => void)[] = [];

/** Errors: E_QUEUE_FULL when too many are waiting. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, { ...COST, salt, hash: Buffer.alloc(HASH_BYTES) });
  const { ln, r, p } = COST;
  return `$scrypt$ln=${ln},r=${r},p=${p}$${textOf(salt)}$${textOf(hash)}`;
}

/**
 * False for null (nobody, or nobody with a password) and for strings of another kind, after the same work.
 * Errors: E_QUEUE_FULL when too many are waiting.
 */
export async function isPassword(password: string, stored: string | null): Promise<boolean> {
  const known = stored === null ? null : parse(stored);
  const wanted = known ?? NOBODY;
  const found = await derive(password, wanted);
  return timingSafeEqual(found, wanted.hash) && known !== null;
}

/** True for a string that this module has made: others belong to another system. */
export function isOurHash(stored: string): boolean {
  return parse(stored) !== null;
}

function parse(stored: string): Hash | null {
  const [, ln = '', r = '', p = '', salt = '', hash = ''] = FORMAT.exec(stored) ?? [];
  if (hash === '') return null;
  const parsed = {
    ...{ ln: Number(ln), r: Number(r), p: Number(p) },
    ...{ salt: Buffer.from(salt, 'base64'), hash: Buffer.from(hash, 'base64') },
  };
  const isSane = parsed.ln <= MAX_LN && parsed.r <= MAX_R && parsed.p <= MAX_P;
  return isSane && parsed.ln > 0 && parsed.r > 0 && parsed.p > 0 ? parsed : null;
}

async function derive(password: string, { ln, r, p, salt, hash }: Hash): Promise<Buffer> {
  await enter();
  const cost: ScryptOptions = { N: 2 ** ln, r, p, maxmem: 128 * 2 ** ln * r * 2 };
  try {
    // NFC: the same password typed on another keyboard may arrive in other code points.
    return await new Promise<Buffer>((resolve, reject) => {
      scrypt(password.normalize('NFC'), salt, hash.length, cost, (error, key) =>
        error === null ? resolve(key) : reject(error),
      );
    });
  } finally {
    leave();
  }
}

async function enter(): Promise<void> {
  if (running < AT_ONCE) {
    running++;
    return;
  }
  if (waiting.length >= MAX_WAITING) {
    throw new AppError('E_QUEUE_FULL', 'too many passwords are being checked');
  }
  // The place is handed over by `leave`, so `running` stays as it is.
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
  });
}

function leave(): void {
  const next = waiting.shift();
  if (next === undefined) running--;
  else next();
}

function textOf(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
