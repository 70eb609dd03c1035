/** Remembers in the data directory that this node has seen its database, and what it needs to run without it. */
import { createHash } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { readIfThere } from './postmaster.ts';
import { redactUrl } from './sql-errors.ts';

/** `<data>/database.seen`. */
type Seen = { readonly database: string; readonly accountId: Id };

export type FirstContact = {
  /** The default account as last seen in this very database; null before the first contact. */
  accountId(): Promise<Id | null>;
  remember(accountId: Id): Promise<void>;
};

export function openFirstContact(dataDir: string, url: string, log: Log): FirstContact {
  const file = path.join(dataDir, 'database.seen');
  // Another address is another database: a mistyped DATABASE_URL must not pass for an outage.
  const database = createHash('sha256').update(redactUrl(url)).digest('hex').slice(0, 32);
  return {
    async accountId() {
      const text = await readIfThere(file);
      if (text === null) return null;
      try {
        const seen = JSON.parse(text) as Partial<Seen>;
        return seen.database === database ? (seen.accountId ?? null) : null;
      } catch (error) {
        log.warn('database.seenDamaged', { message: messageOf(error) });
        return null;
      }
    },
    async remember(accountId) {
      await writeFile(`${file}.partial`, JSON.stringify({ database, accountId } satisfies Seen), {
        mode: 0o600,
      });
      await rename(`${file}.partial`, file);
    },
  };
}
