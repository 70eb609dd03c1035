/** Words around a number by which English tells what it is, and how units and signs are said. */

/** Before a number or code that is read digit by digit, however short. */
const STRONG =
  '(?:phone|telephone|mobile|cell|fax|hotline)(?: number| no\\.?)?|dial|(?:verification|security|pass|access|activation|confirmation|promo|zip|postal|area|country|tracking|booking|reservation|one-time|discount|gate|door|entry|pickup|redemption)[ -]?code|' +
  'code|passcode|password|pin|(?:order|tracking|confirmation|reference|account|card|ticket|case|invoice|serial|flight|booking|reservation|policy|member(?:ship)?|employee|routing|room|extension|customer|model|part|id|identification|contact|license|passport|claim) (?:number|no\\.?|id|#)|' +
  'ending (?:in|with)|(?:account|card|number) ending|ends (?:in|with)|last (?:three|four|five|six|3|4|5|6) digits|extension|ext\\.?|zip|postcode|id|sku|imei|iban';
/** Before one of four digits or more, or one with letters, unless it counts something. */
const WEAK =
  'order|ticket|case|invoice|account|card|flight|booking|reservation|reference|policy|serial|room|suite|gate|number|call|text|reach us (?:at|on)|model|bus|claim';
const CUE = (words: string): RegExp =>
  new RegExp(
    `(?<![A-Za-z])(?:${words})(?:[ \\t]*(?:[:#,*-]|is|was|at|on|us at|me at|them at|of|to|as|being|now|number|your|the|please|again|“|"|'))*[ \\t]*$`,
    'iu',
  );
const STRONG_CUE = CUE(STRONG);
const WEAK_CUE = CUE(WEAK);
/** Words after a number that it does not count. */
const FOLLOWS =
  /^(?:[\p{P}\s]*$|\s*[.,;:!?)”"]|\s+(?:and|or|is|was|has|will|to|for|on|at|in|from|with|now|please|again|if|when|then|before|after|that|which|as|by|but|so|can|would|should|arrives|departs|leaves|shipped|of yours)\b)/iu;

export function isEnglishCode(written: string, before: string, after: string): boolean {
  if (STRONG_CUE.test(before)) return FOLLOWS.test(after) || /^\d{4,}$|[A-Za-z]/.test(written);
  const isLong = /[A-Za-z]/.test(written) || written.replace(/\D/g, '').length >= 4;
  const isRoom =
    /(?:room|suite|flight|gate|bus)\s*$/i.test(before) && /^\d(?!00)\d\d$/.test(written);
  return (isLong || isRoom) && WEAK_CUE.test(before) && FOLLOWS.test(after);
}

export function isYearCue(before: string, after: string): boolean {
  return (
    /(?:^|[^A-Za-z])(?:in|since|by|from|until|till|year|during|before|after|of|spring|summer|fall|autumn|winter|early|late|mid|Q[1-4]|FY|class of|©|January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[\s.,-]*$/iu.test(
      before,
    ) && !/^\s+(?:[a-z]+s\b|percent|people|dollars|yuan|of\b|more\b|or more)/u.test(after)
  );
}

export function isEnglishDateCue(before: string, after: string): boolean {
  return (
    /(?:on|by|until|before|after|from|since|date|dated|due|is|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Mon|Tue|Wed|Thu|Fri|Sat|Sun|for|to|through)[\s,.:(]*$/iu.test(
      before,
    ) && !/^\s*(?:of|cup|inch|teaspoon|tablespoon|mile|hour|full|share|price|off)/iu.test(after)
  );
}

export const EN_MONTHS: readonly string[] = [
  'jan',
  'feb',
  'mar',
  'apr',
  'may',
  'jun',
  'jul',
  'aug',
  'sep',
  'oct',
  'nov',
  'dec',
];
/** With a capital: "may 5" may be anything. */
export const MONTH =
  '(?:Jan(?:uary|\\.)?|Feb(?:ruary|\\.)?|Mar(?:ch|\\.)?|Apr(?:il|\\.)?|May|June?\\.?|July?\\.?|Aug(?:ust|\\.)?|Sept?(?:ember|\\.)?|Oct(?:ober|\\.)?|Nov(?:ember|\\.)?|Dec(?:ember|\\.)?)(?![A-Za-z])';

/** Written, one, many. */
export const EN_UNITS: readonly (readonly [string, string, string])[] = [
  ['km/h', 'kilometer per hour', 'kilometers per hour'],
  ['m/s', 'meter per second', 'meters per second'],
  ['mph', 'mile per hour', 'miles per hour'],
  ['kWh', 'kilowatt hour', 'kilowatt hours'],
  ['mAh', 'milliamp hour', 'milliamp hours'],
  ['Mbps', 'megabit per second', 'megabits per second'],
  ['Gbps', 'gigabit per second', 'gigabits per second'],
  ['km²', 'square kilometer', 'square kilometers'],
  ['km2', 'square kilometer', 'square kilometers'],
  ['m²', 'square meter', 'square meters'],
  ['m2', 'square meter', 'square meters'],
  ['㎡', 'square meter', 'square meters'],
  ['m³', 'cubic meter', 'cubic meters'],
  ['m3', 'cubic meter', 'cubic meters'],
  ['sq ft', 'square foot', 'square feet'],
  ['℃', 'degree Celsius', 'degrees Celsius'],
  ['°C', 'degree Celsius', 'degrees Celsius'],
  ['℉', 'degree Fahrenheit', 'degrees Fahrenheit'],
  ['°F', 'degree Fahrenheit', 'degrees Fahrenheit'],
  ['°', 'degree', 'degrees'],
  ['kHz', 'kilohertz', 'kilohertz'],
  ['MHz', 'megahertz', 'megahertz'],
  ['GHz', 'gigahertz', 'gigahertz'],
  ['Hz', 'hertz', 'hertz'],
  ['kW', 'kilowatt', 'kilowatts'],
  ['kg', 'kilogram', 'kilograms'],
  ['mg', 'milligram', 'milligrams'],
  ['km', 'kilometer', 'kilometers'],
  ['cm', 'centimeter', 'centimeters'],
  ['mm', 'millimeter', 'millimeters'],
  ['ml', 'milliliter', 'milliliters'],
  ['mL', 'milliliter', 'milliliters'],
  ['ms', 'millisecond', 'milliseconds'],
  ['mins', 'minute', 'minutes'],
  ['min', 'minute', 'minutes'],
  ['hrs', 'hour', 'hours'],
  ['hr', 'hour', 'hours'],
  ['secs', 'second', 'seconds'],
  ['sec', 'second', 'seconds'],
  ['GB', 'gigabyte', 'gigabytes'],
  ['MB', 'megabyte', 'megabytes'],
  ['KB', 'kilobyte', 'kilobytes'],
  ['TB', 'terabyte', 'terabytes'],
  ['dB', 'decibel', 'decibels'],
  ['lbs', 'pound', 'pounds'],
  ['lb', 'pound', 'pounds'],
  ['oz', 'ounce', 'ounces'],
  ['ft', 'foot', 'feet'],
  ['mi', 'mile', 'miles'],
  ['g', 'gram', 'grams'],
  ['m', 'meter', 'meters'],
  ['L', 'liter', 'liters'],
  ['h', 'hour', 'hours'],
  ['s', 'second', 'seconds'],
  ['W', 'watt', 'watts'],
  ['V', 'volt', 'volts'],
];

export const EN_SIGNS: Readonly<Record<string, string>> = {
  '+': 'plus',
  '×': 'times',
  '*': 'times',
  x: 'by',
  '÷': 'divided by',
  '=': 'equals',
  '≥': 'at least',
  '≤': 'at most',
  '>=': 'at least',
  '<=': 'at most',
  '>': 'greater than',
  '<': 'less than',
  '≈': 'about',
  '≠': 'is not',
  '±': 'plus or minus',
};

/** One, many, and the hundredth. */
export const EN_MONEY: Readonly<Record<string, readonly string[]>> = {
  $: ['dollar', 'dollars', 'cent', 'cents'],
  US$: ['dollar', 'dollars', 'cent', 'cents'],
  USD: ['dollar', 'dollars', 'cent', 'cents'],
  HK$: ['Hong Kong dollar', 'Hong Kong dollars', 'cent', 'cents'],
  HKD: ['Hong Kong dollar', 'Hong Kong dollars', 'cent', 'cents'],
  '€': ['euro', 'euros', 'cent', 'cents'],
  EUR: ['euro', 'euros', 'cent', 'cents'],
  '£': ['pound', 'pounds', 'penny', 'pence'],
  GBP: ['pound', 'pounds', 'penny', 'pence'],
  '￥': ['yuan', 'yuan'],
  '¥': ['yuan', 'yuan'],
  CNY: ['yuan', 'yuan'],
  RMB: ['yuan', 'yuan'],
  元: ['yuan', 'yuan'],
  JPY: ['yen', 'yen'],
};

export const EN_VULGAR: Readonly<Record<string, string>> = {
  '½': 'one half',
  '⅓': 'one third',
  '⅔': 'two thirds',
  '¼': 'one quarter',
  '¾': 'three quarters',
  '⅛': 'one eighth',
};
