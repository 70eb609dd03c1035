/** Numbers that a machine never dials, and what a trunk allows. */
import { normalizePhone, phoneForms } from '#lib/phone.ts';
import type { TrunkPolicy } from '#lib/trunk.ts';

/** Emergency numbers of China, the EU, North America, the UK, Japan and others. */
const EMERGENCY = new Set([
  '110',
  '119',
  '120',
  '122',
  '112',
  '911',
  '999',
  '000',
  '111',
  '117',
  '118',
  '933',
  '12110',
  '12119',
  '12120',
]);

/**
 * `number` in normal form (contract 1.1); also with a `+` or the account's country code before it. A false emergency
 * call ties up help that someone else needs.
 */
export function isEmergencyNumber(number: string, countryCode: string | null = null): boolean {
  const bare = number.replace(/^\+/, '');
  if (EMERGENCY.has(bare)) return true;
  const code = countryCode?.replace(/^\+/, '') ?? '';
  if (code === '' || !number.startsWith(`+${code}`)) return false;
  const national = bare.slice(code.length);
  return EMERGENCY.has(national) || EMERGENCY.has(national.replace(/^0/, ''));
}

export function isSipUri(to: string): boolean {
  return /^sips?:/i.test(to);
}

/** The number inside `sip:+15550100@host`, which is dialled there all the same; null when the user part is none. */
export function numberOf(to: string): string | null {
  if (!isSipUri(to)) return to;
  const user = /^sips?:([^@;:]+)(?:[;:][^@]*)?@/i.exec(to)?.[1];
  if (user === undefined) return null;
  try {
    return normalizePhone(decodeURIComponent(user));
  } catch {
    return null; // an escape that stands for nothing: a name, not a number
  }
}

/** Whether the trunk's prefixes let this number through, however it is written. A denial wins. */
export function isAllowedBy(
  policy: Pick<TrunkPolicy, 'allowPrefixes' | 'denyPrefixes'>,
  number: string,
  countryCode: string | null,
): boolean {
  const forms = phoneForms(number, countryCode);
  const begins = (prefix: string): boolean => forms.some((form) => form.startsWith(prefix));
  if (policy.denyPrefixes.some(begins)) return false;
  return policy.allowPrefixes.length === 0 || policy.allowPrefixes.some(begins);
}
