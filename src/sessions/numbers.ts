/** Numbers that a machine never dials: a false emergency call ties up help that someone else needs. */

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

/** `number` in normal form (contract 1.1). */
export function isEmergencyNumber(number: string): boolean {
  return EMERGENCY.has(number);
}
