/** Numbers that a machine never dials, and what a trunk allows. */
import { normalizePhone, phoneForms, phonePrefixForms } from '#lib/phone.ts';
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

/** More of them by country code: elsewhere these are extensions or short codes of another kind. */
const EMERGENCY_OF: Readonly<Record<string, readonly string[]>> = {
  '1': ['9911'],
  '7': ['101', '102', '103', '104'],
  '27': ['10111', '10177'],
  '33': ['15', '17', '18', '114', '115', '191', '196', '197'],
  '34': ['061', '062', '091'],
  '39': ['113', '115', '1530'],
  '41': ['143', '144', '1414'],
  '43': ['122', '133', '144'],
  '55': ['190', '191', '192', '193'],
  '60': ['994', '991'],
  '65': ['995', '993', '1777'],
  '66': ['191', '199', '1669'],
  '82': ['113', '182'],
  '84': ['113', '114', '115'],
  '86': ['12395'],
  '91': ['100', '101', '102', '108'],
  '886': ['165'],
  '966': ['997', '998', '911'],
};

/** No number of a subscriber is as short as a country code and these: whoever dials it means the emergency number. */
const MAX_EMERGENCY_DIGITS = 5;
const MAX_COUNTRY_DIGITS = 3;

/**
 * `number` in normal form (contract 1.1): also with a `+`, with any country code, with the 0 of an outside line, or
 * behind a service code (`*31#112`, `*67911`). A false emergency call ties up help that someone else needs.
 */
export function isEmergencyNumber(number: string, countryCode: string | null = null): boolean {
  const code = countryCode?.replace(/^\+/, '') ?? '';
  const spellings = [
    number,
    ...number.split(/[*#]+/).filter((part) => part !== ''),
    number.replace(/^[*#][0-9]{2}/, ''),
  ];
  return spellings.some((spelling) => isEmergency(spelling, code));
}

function isEmergency(number: string, code: string): boolean {
  const bare = number.replace(/^\+/, '');
  const isOne = (text: string, country: string): boolean =>
    EMERGENCY.has(text) ||
    EMERGENCY.has(text.replace(/^0/, '')) ||
    EMERGENCY_OF[country]?.includes(text) === true;
  if (isOne(bare, code)) return true;
  if (!number.startsWith('+') || bare.length > MAX_COUNTRY_DIGITS + MAX_EMERGENCY_DIGITS + 1)
    return false;
  return [1, 2, 3].some((digits) => isOne(bare.slice(digits), bare.slice(0, digits)));
}

/** Where calls pay the callee: premium services by country, and the international premium rate service. */
const PREMIUM: readonly string[] = [
  ...['+979', '+1900', '+1976', '+7803', '+7809', '+31900', '+31906', '+31909'],
  ...['+3289', '+3389', '+34803', '+34806', '+34807', '+34905', '+36906', '+36909', '+39144'],
  ...['+39166', '+39892', '+39899', '+41900', '+41901', '+41906', '+43900', '+43901', '+43930'],
  ...['+43931', '+449', '+45900', '+46900', '+46939', '+46944', '+47820', '+47829', '+4870'],
  ...['+49137', '+49900', '+55900', '+601900', '+61190', '+64900', '+65190', '+351601', '+351607'],
  ...['+353151', '+353152', '+353153', '+353154', '+353155', '+353156', '+353157', '+353158'],
  ...['+353159', '+358600', '+358700', '+420900', '+420906', '+420909', '+852900', '+86168'],
];

/**
 * Premium numbers are called only over a trunk that names them among its allowed prefixes: a wider one, or none at
 * all, does not mean them.
 */
export function isPremiumFor(
  { allowPrefixes }: Pick<TrunkPolicy, 'allowPrefixes'>,
  number: string,
  countryCode: string | null,
): boolean {
  const forms = phoneForms(number, countryCode);
  const premium = PREMIUM.find((prefix) => forms.some((form) => form.startsWith(prefix)));
  if (premium === undefined) return false;
  const named = allowPrefixes.filter((prefix) => forms.some((form) => form.startsWith(prefix)));
  return !named.some((prefix) =>
    phonePrefixForms(prefix, countryCode).some((form) => form.startsWith(premium)),
  );
}

export function isSipUri(to: string): boolean {
  return /^sips?:/i.test(to);
}

/** The number inside `sip:+15550100@host`, or in the host's place, which is dialled there all the same; else null. */
export function numberOf(to: string): string | null {
  if (!isSipUri(to)) return to;
  const user = /^sips?:(?:([^@;:]+)(?:[;:][^@]*)?@|(\+?[0-9*#-]+)(?:[;:?]|$))/i
    .exec(to)
    ?.slice(1)
    .find((part) => part !== undefined);
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
