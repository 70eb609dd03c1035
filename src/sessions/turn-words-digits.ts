/** Numbers as they are dictated: how many figures were said, written as figures or as words, in Chinese and English. */

export type DigitRun = {
  /** The figures and single letters at the very end of the text, in order. */
  readonly tail: string;
  /** All of them in the text: more than the tail when words stand between ("no, sorry"). */
  readonly total: number;
};

const ZH: Readonly<Record<string, string>> = {
  零: '0',
  〇: '0',
  洞: '0',
  幺: '1',
  一: '1',
  二: '2',
  两: '2',
  三: '3',
  四: '4',
  五: '5',
  六: '6',
  七: '7',
  拐: '7',
  八: '8',
  九: '9',
  叉: 'x',
};

const EN: Readonly<Record<string, string>> = {
  ...{ zero: '0', oh: '0', nought: '0', one: '1', two: '2', three: '3', four: '4', five: '5' },
  ...{ six: '6', seven: '7', eight: '8', nine: '9', ten: '10', eleven: '11', twelve: '12' },
  ...{ thirteen: '13', fourteen: '14', fifteen: '15', sixteen: '16', seventeen: '17' },
  ...{ eighteen: '18', nineteen: '19', hundred: '00', thousand: '000' },
};
const TENS: Readonly<Record<string, string>> = {
  ...{ twenty: '2', thirty: '3', forty: '4', fifty: '5', sixty: '6', seventy: '7', eighty: '8' },
  ninety: '9',
};
const REPEATS: Readonly<Record<string, number>> = { double: 2, triple: 3 };

const PIECE = /[0-9]+|[a-z]+(?:'[a-z]+)?|\p{L}/gu;

/** Of text in lower case. Ten and hundred in Chinese end a run: they make amounts and dates, not numbers read out. */
export function digitsOf(text: string): DigitRun {
  let tail = '';
  let total = 0;
  let repeat = 1;
  let tens = '';
  for (const [piece] of text.matchAll(PIECE)) {
    const times = REPEATS[piece];
    if (times !== undefined) {
      repeat = times;
      continue;
    }
    const ten = TENS[piece];
    const value: string | null =
      ten === undefined ? (valueOf(piece) ?? spelledOf(piece, tail)) : `${ten}0`;
    if (value === null) {
      tail = '';
      repeat = 1;
      tens = '';
      continue;
    }
    // "forty two" is 42, not 402.
    const isUnit = tens !== '' && value.length === 1 && value !== '0';
    if (isUnit) {
      tail = tail.slice(0, -1);
      total--;
    }
    tail += value.repeat(repeat);
    if (/[0-9x]/.test(value)) total += value.length * repeat;
    repeat = 1;
    tens = ten ?? '';
  }
  return { tail, total };
}

/** "A" and "I" are words, unless they are spelled among other letters. */
function spelledOf(piece: string, tail: string): string | null {
  return (piece === 'a' || piece === 'i') && /[a-z]$/.test(tail) ? piece : null;
}

/** Null: no part of a number. A single letter may be: codes have letters, and some identity numbers end in X. */
function valueOf(piece: string): string | null {
  if (/^[0-9]/.test(piece)) return piece;
  const known = ZH[piece] ?? EN[piece];
  if (known !== undefined) return known;
  return /^[b-hj-z]$/.test(piece) ? piece : null;
}
