/** Whose a dialled number is, each account's numbers read with its own country code (contract 1.1, 2.4). */
import type { Id } from '#lib/ids.ts';
import { comparablePhone, normalizePhone } from '#lib/phone.ts';
import { candidateNumbers } from './agent-choice.ts';
import type { Sql } from './pool.ts';

type OwnedRow = {
  readonly user_id: Id;
  readonly number: string;
  /** Null also for an account without settings, which `has_settings` tells apart. */
  readonly country_code: string | null;
  readonly has_settings: boolean;
};

/** Country codes that accounts have: few, and asked for rarely. */
export async function accountCountryCodes(sql: Sql): Promise<readonly string[]> {
  const rows = await sql.rows<{ country_code: string }>(
    'SELECT DISTINCT country_code FROM account_settings WHERE country_code IS NOT NULL LIMIT 1000',
  );
  return rows.map((row) => row.country_code);
}

/**
 * The account that has the number, in whichever spelling; null when nobody does. A number written nationally may be two
 * accounts': the one that has it as dialled, else the one that had it first. `standard`: the installation's code.
 */
export async function ownerOf(
  sql: Sql,
  called: string,
  codes: readonly string[],
  standard: string | null,
): Promise<Id | null> {
  const dialled = normalizePhone(called);
  if (dialled === null) return null;
  const forms = new Set([standard, ...codes].flatMap((code) => candidateNumbers(dialled, code)));
  const rows = await sql.rows<OwnedRow>(
    `SELECT p.user_id, p.number, t.country_code, t.user_id IS NOT NULL AS has_settings
       FROM phone_numbers p LEFT JOIN account_settings t ON t.user_id = p.user_id
      WHERE p.number = ANY ($1) AND p.status <> 'released' ORDER BY p.created_at, p.id LIMIT 1000`,
    [[...forms]],
  );
  const codeOf = (row: OwnedRow): string | null => (row.has_settings ? row.country_code : standard);
  const isSame = (row: OwnedRow): boolean =>
    comparablePhone(row.number, codeOf(row)) === comparablePhone(dialled, codeOf(row));
  const owner =
    rows.find((row) => row.number === dialled) ??
    rows.find(isSame) ??
    // Carriers leave the `+` of an international number out.
    rows.find((row) => row.number === `+${dialled}`);
  return owner?.user_id ?? null;
}
