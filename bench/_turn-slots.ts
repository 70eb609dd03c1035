/** Names, numbers and addresses that callers give. All made up. `^`: where one who dictates may pause. */
import type { Random } from './_turn-random.ts';
import type { Language } from './_turn-text.ts';

type Filler = (random: Random) => string;

const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => String(random.whole(0, 9))).join('');

/** `sizes` of the groups, as they are read out. One in fifteen misspeaks and says a group again. */
function groups(random: Random, number: string, sizes: readonly number[], mend: string): string {
  const parts: string[] = [];
  let at = 0;
  for (const size of sizes) {
    const group = number.slice(at, at + size);
    if (random.chance(0.065) && group.length > 2)
      parts.push(`<~${digits(random, group.length)}>//${mend}//<~${group}>`);
    else parts.push(`<~${group}>`);
    at += size;
  }
  return parts.join('^');
}

const WORDS_ZH = {
  surname: Array.from('王李张刘陈杨黄周吴徐孙马朱胡郭何林高罗郑'),
  given: [
    '伟',
    '秀英',
    '敏',
    '建国',
    '丽华',
    '子涵',
    '志强',
    '雨桐',
    '浩然',
    '桂兰',
    '欣怡',
    '俊杰',
  ],
  city: ['成都', '杭州', '武汉', '西安', '青岛', '长沙', '哈尔滨', '昆明', '苏州', '广州'],
  district: ['高新区', '江汉区', '雁塔区', '市南区', '岳麓区', '道里区', '五华区', '姑苏区'],
  road: ['人民路', '解放大道', '科技二路', '香港中路', '芙蓉北路', '中山大街', '滨江路', '学府路'],
  estate: ['阳光花园', '翠湖小区', '金地名苑', '铁路家属院', '丽景公寓', '万和城', '桃源里'],
  spelling: ['弓长张', '木子李', '双木林', '耳东陈', '口天吴', '立早章'],
  weekday: ['周一', '周三', '周五', '礼拜六', '星期天', '下周二', '后天'],
  amount: ['三百', '五千', '一万二', '两千五', '八百', '一千', '六万', '十五万', '四百五十'],
  month: ['一', '二', '三', '四', '五', '六', '七', '八', '九', '十', '十一', '十二'],
};

const numberZh = (value: number): string => {
  const ones = value % 10 === 0 ? '' : (WORDS_ZH.month[(value % 10) - 1] ?? '');
  if (value < 10) return ones;
  return `${value < 20 ? '' : (WORDS_ZH.month[Math.floor(value / 10) - 1] ?? '')}十${ones}`;
};
const figureZh = (value: number): string => `<${numberZh(value)}=${value}>`;
const dateZh = (random: Random): string =>
  `${figureZh(random.whole(1, 12))}月${random.chance(0.4) ? '^' : ''}${figureZh(random.whole(1, 28))}${random.pick(['号', '日', ''])}`;

const SLOTS_ZH: Readonly<Record<string, Filler>> = {
  surname: (random) => random.pick(WORDS_ZH.surname),
  name: (random) => random.pick(WORDS_ZH.surname) + random.pick(WORDS_ZH.given),
  spelling: (random) => random.pick(WORDS_ZH.spelling),
  city: (random) => random.pick(WORDS_ZH.city),
  district: (random) => random.pick(WORDS_ZH.district),
  weekday: (random) => random.pick(WORDS_ZH.weekday),
  road: (random) => random.pick(WORDS_ZH.road),
  estate: (random) => random.pick(WORDS_ZH.estate),
  amount: (random) => random.pick(WORDS_ZH.amount),
  address: (random) =>
    random.pick([
      () =>
        `${random.pick(WORDS_ZH.road)}^<~${random.whole(10, 399)}>号^${random.pick(WORDS_ZH.estate)}^${figureZh(random.whole(1, 19))}栋^<~${random.whole(101, 2404)}>[室]`,
      () =>
        `${random.pick(WORDS_ZH.estate)}/${figureZh(random.whole(1, 9))}号楼^${figureZh(random.whole(1, 4))}单元^<~${random.whole(101, 1802)}>`,
      () => `${random.pick(WORDS_ZH.road)}^${random.pick(WORDS_ZH.estate)}[对面]`,
    ])(),
  phone: (random) => {
    if (random.chance(0.1))
      return `<~0${random.whole(10, 29)}>^${groups(random, digits(random, 8), [4, 4], '不对')}`;
    const number = `1${random.whole(3, 9)}${digits(random, 9)}`;
    return groups(random, number, random.pick([[3, 4, 4], [3, 4, 4], [3, 3, 5], [11]]), '不对不对');
  },
  idcard: (random) => {
    const body = digits(random, 6) + random.whole(1950, 2009) + digits(random, 7);
    const sizes = random.pick([
      [6, 4, 4, 3],
      [3, 3, 4, 4, 3],
      [6, 8, 3],
      [6, 4, 2, 2, 3],
    ]);
    const tail = random.chance(0.12) ? '<叉=X>' : `<~${random.whole(0, 9)}>`;
    return groups(random, body, sizes, '哎说错了') + tail;
  },
  card: (random) =>
    random.chance(0.5)
      ? groups(random, `62${digits(random, 14)}`, [4, 4, 4, 4], '不是')
      : groups(
          random,
          `62${digits(random, 17)}`,
          random.pick([
            [4, 4, 4, 4, 3],
            [6, 4, 4, 5],
          ]),
          '不是',
        ),
  code: (random) =>
    random.chance(0.6)
      ? groups(random, digits(random, 6), random.pick([[6], [3, 3], [2, 2, 2]]), '不对')
      : groups(random, digits(random, 4), [4], '不对'),
  last4: (random) => `<~${digits(random, 4)}>`,
  order: (random) => {
    const count = random.whole(3, 4);
    const prefix = random.chance(0.4) ? `${random.pick(['SF', 'YT', 'JD'])}^` : '';
    return (
      prefix + groups(random, digits(random, count * 4 - 1), [4, 4, 4, 3].slice(-count), '不对')
    );
  },
  birth: (random) => `<~19${random.whole(50, 99)}>年^${dateZh(random)}`,
  birthShort: (random) => `<~${random.whole(60, 99)}>年${dateZh(random)}`,
  model: (random) => `${random.pick(['KFR', 'XQG', 'BCD', 'V'])}^<~${random.whole(26, 580)}>[G]`,
};

const WORDS_EN = {
  surname: [
    'Okafor',
    'Smith',
    'Nguyen',
    'Ramirez',
    'Kowalski',
    'Brown',
    'Patel',
    'Lindqvist',
    'Cole',
  ],
  given: ['Maria', 'James', 'Aisha', 'Tom', 'Priya', 'Elena', 'Marcus', 'Wendy', 'Hugo'],
  city: ['Denver', 'Portland', 'Tucson', 'Boston', 'Omaha', 'Savannah', 'Spokane'],
  road: [
    'oak street',
    'north main',
    'riverside drive',
    'elm avenue',
    'county road nine',
    'hill court',
  ],
  weekday: ['monday', 'friday', 'saturday', 'next tuesday', 'the twelfth'],
  amount: ['three hundred', 'fifty', 'twelve hundred', 'two thousand five hundred', 'eighty'],
  month: ['january', 'march', 'april', 'june', 'july', 'september', 'october', 'december'],
  day: ['first=1st', 'second=2nd', 'fifth=5th', 'twelfth=12th', 'twentieth=20th', 'thirtieth=30th'],
  decade: ['sixty', 'seventy', 'eighty', 'ninety'],
};
const UNITS_EN = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];

function yearEn(random: Random): string {
  const decade = random.whole(0, 3);
  const unit = random.whole(1, 9);
  return `<nineteen ${WORDS_EN.decade[decade]} ${UNITS_EN[unit - 1]}=19${decade + 6}${unit}>`;
}

const SLOTS_EN: Readonly<Record<string, Filler>> = {
  surname: (random) => random.pick(WORDS_EN.surname),
  name: (random) => `${random.pick(WORDS_EN.given)} ${random.pick(WORDS_EN.surname)}`,
  spelling: (random) =>
    Array.from(random.pick(WORDS_EN.surname).toUpperCase())
      .map((letter, at) =>
        at > 0 && at % 3 === 0 ? `^<${letter}=${letter}>` : `<${letter}=${letter}>`,
      )
      .join(' '),
  city: (random) => random.pick(WORDS_EN.city),
  weekday: (random) => random.pick(WORDS_EN.weekday),
  road: (random) => random.pick(WORDS_EN.road),
  amount: (random) => random.pick(WORDS_EN.amount),
  address: (random) =>
    `<~${random.whole(11, 4999)}> ${random.pick(WORDS_EN.road)}${random.pick(['', ` ^ apartment <~${random.whole(1, 40)}>`, ' ^ unit b'])}`,
  phone: (random) => {
    const number = `${random.whole(2, 9)}${digits(random, 2)}55501${digits(random, 2)}`;
    const sizes = random.pick([[3, 3, 4], [3, 3, 4], [3, 3, 2, 2], [10]]);
    return (random.chance(0.1) ? '<~1>' : '') + groups(random, number, sizes, 'no sorry');
  },
  ssn: (random) => groups(random, digits(random, 9), [3, 2, 4], 'no wait'),
  card: (random) => groups(random, `4${digits(random, 15)}`, [4, 4, 4, 4], 'I mean'),
  code: (random) =>
    random.chance(0.6)
      ? groups(random, digits(random, 6), random.pick([[6], [3, 3], [2, 2, 2]]), 'sorry')
      : groups(random, digits(random, 4), [4], 'sorry'),
  last4: (random) => `<~${digits(random, 4)}>`,
  order: (random) => {
    const count = random.whole(3, 4);
    const prefix = random.chance(0.4) ? '<Z=Z> <K=K> ^ ' : '';
    return prefix + groups(random, digits(random, count * 4 - 1), [4, 4, 4, 3].slice(-count), 'no');
  },
  birth: (random) =>
    `${random.pick(WORDS_EN.month)} <${random.pick(WORDS_EN.day)}> ^ ${yearEn(random)}`,
  birthShort: (random) =>
    `<~${random.whole(1, 9)}> ^ <~${random.whole(10, 28)}> ^ <~${random.whole(60, 99)}>`,
  model: (random) => `<W=W> <X=X> ^ <~${random.whole(45, 990)}>`,
};

export function fillSlot(slot: string, language: Language, random: Random): string {
  const filler = (language === 'zh' ? SLOTS_ZH : SLOTS_EN)[slot];
  if (filler === undefined) throw new Error(`no slot {${slot}} in ${language}`);
  return filler(random);
}
