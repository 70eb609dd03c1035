/** Words around a number by which Chinese tells what it is, and how units and signs are said. */

/** Before a number that is read digit by digit. 电话费 and the like are none. */
const CODE_WORDS =
  '电话(?!费)|手机(?!费)|号码|热线|客服|拨打|拨|致电|来电|座机|传真|分机|' +
  '(?:订单|单|房|运单|快递单|工单|流水|批|序列|合同|案件|预约|预订|凭证|受理|会员|学|工|账|帐|卡|车牌|航班|房间|邮政|保单|税|户)号|编号|编码|' +
  '卡号|尾号|后四位|后六位|末四位|前四位|验证码|校验码|激活码|动态码|取件码|提取码|兑换码|邀请码|口令|密码|邮编|身份证|' +
  '银行卡|代码|型号|航班|车次|房间|微信|QQ|Q Q|(?<![A-Za-z])(?:ID|id|PIN|pin|code|Code|CODE|SN|No|NO)(?![A-Za-z])';
/** Between such a word and the number: a few words, no clause and no other number. */
const CODE_CUE = new RegExp(`(?:${CODE_WORDS})[^\\d，。！？；,!?;]{0,8}$`, 'u');
/** An amount, whatever stands before it. */
const COUNTED =
  /^\s*(?:个|元|块|角|分|毛|天|日|号|年|月|周|小时|分钟|秒|次|条|位(?!数)|名|人|件|台|张|本|只|间|岁|倍|万|亿|千|百|多|余|%|％|‰|左右|以上|以下|以内|公里|公斤|米|度|℃)/u;

/** One more behind a code: 10086或10010. */
const CODE_TOO = new RegExp(
  `(?:${CODE_WORDS})[^\\d，。！？；,!?;]{0,8}[\\dA-Za-z-]{2,20}[或和及与、]$`,
  'u',
);
/** What it is is said behind it: 12306客服, 8012分机. */
const CODE_BEHIND = /^\s?(?:热线|客服|分机|专线|短号|服务台)/u;

export function isCode(before: string, after: string): boolean {
  if (CODE_BEHIND.test(after)) return true;
  return (CODE_CUE.test(before) || CODE_TOO.test(before)) && !COUNTED.test(after);
}

/** 打110, 中国移动10086: numbers everybody knows, unless they count something. */
export function isShortNumber(number: string, before: string, after: string): boolean {
  if (COUNTED.test(after) || /[\d.,$￥¥]$/u.test(before)) return false;
  return /^(?:100(?:86|10|99)|12306)$/.test(number) || /打$/u.test(before);
}

/** The number of a flat: 2单元501, A座1502. */
export function isFlat(before: string, after: string): boolean {
  return /(?:单元|[栋幢座])\s?$/u.test(before) && !COUNTED.test(after);
}

/** A day rather than a fraction. */
export function isDateCue(before: string, after: string): boolean {
  return (
    /(?:日期|时间|今天|明天|后天|昨天|截至|截止|改到|改期|定于|定在|预约|生日|星期.|周[一二三四五六日天]|到期|在|于|从|自|至)[^\d，。]{0,4}$/u.test(
      before,
    ) || /^\s*(?:[（(]?(?:周|星期)|之前|以前|前|起|当天|上午|下午|晚上|到期|截止)/u.test(after)
  );
}

export function isScoreCue(before: string): boolean {
  return /(?:比分|比例|比值|以|战成|赔率|配比|宽高比)[^\d，。]{0,3}$/u.test(before);
}

/** After a year that counts years. */
export const YEARS_COUNTED = /^\s*(?:前|历史|后|以上|以前|以来|之后|来|间|内|左右|期|级|多|了|的)/u;

/** Counted with 两, not 二. */
export const COUNTS =
  /^\s*(?:个|位|天|年(?!级)|周|星期|小时|分钟|秒|次|件|台|张|本|块|条|只|间|人|名|岁|倍|份|杯|瓶|盒|袋|箱|包|双|套|辆|架|座|栋|家|种|样|项|页|段|句|组|排|把|根|颗|晚|元|公里|公斤|千克|斤|吨|米|升|克|厘米|毫米|平方|立方|成|口|封|笔|趟|遍|场|部|篇|款|门|季|刻|节|万|千|亿|美元|欧元|英镑|港元|港币|桌|毫升)/u;

/** Written by letters or signs, longest first. */
export const ZH_UNITS: readonly (readonly [string, string])[] = [
  ['km/h', '公里每小时'],
  ['m/s', '米每秒'],
  ['kWh', '千瓦时'],
  ['mAh', '毫安时'],
  ['Mbps', '兆比特每秒'],
  ['Kbps', '千比特每秒'],
  ['Gbps', 'G 比特每秒'],
  ['km²', '平方公里'],
  ['km2', '平方公里'],
  ['cm²', '平方厘米'],
  ['cm2', '平方厘米'],
  ['m²', '平方米'],
  ['m2', '平方米'],
  ['㎡', '平方米'],
  ['m³', '立方米'],
  ['m3', '立方米'],
  ['cm³', '立方厘米'],
  ['℃', '摄氏度'],
  ['°C', '摄氏度'],
  ['℉', '华氏度'],
  ['°F', '华氏度'],
  ['°', '度'],
  ['kHz', '千赫'],
  ['MHz', '兆赫'],
  ['GHz', '吉赫'],
  ['Hz', '赫兹'],
  ['kPa', '千帕'],
  ['kcal', '千卡'],
  ['cal', '卡'],
  ['mmHg', '毫米汞柱'],
  ['kW', '千瓦'],
  ['KW', '千瓦'],
  ['kg', '公斤'],
  ['KG', '公斤'],
  ['Kg', '公斤'],
  ['㎏', '公斤'],
  ['mg', '毫克'],
  ['km', '公里'],
  ['KM', '公里'],
  ['㎞', '公里'],
  ['cm', '厘米'],
  ['㎝', '厘米'],
  ['mm', '毫米'],
  ['㎜', '毫米'],
  ['ml', '毫升'],
  ['mL', '毫升'],
  ['ML', '毫升'],
  ['ms', '毫秒'],
  ['min', '分钟'],
  ['GB', ' G B'],
  ['MB', ' M B'],
  ['KB', ' K B'],
  ['TB', ' T B'],
  ['dB', '分贝'],
  ['lb', '磅'],
  ['oz', '盎司'],
  ['ft', '英尺'],
  ['g', '克'],
  ['m', '米'],
  ['L', '升'],
  ['l', '升'],
  ['h', '小时'],
  ['s', '秒'],
  ['W', '瓦'],
  ['V', '伏'],
  ['A', '安'],
  ['t', '吨'],
];

export const ZH_SIGNS: Readonly<Record<string, string>> = {
  '+': '加',
  '×': '乘',
  '*': '乘',
  '÷': '除以',
  '=': '等于',
  '≥': '大于等于',
  '≤': '小于等于',
  '>=': '大于等于',
  '<=': '小于等于',
  '>': '大于',
  '<': '小于',
  '≈': '约等于',
  '≠': '不等于',
  '±': '正负',
};

export const ZH_MONEY: Readonly<Record<string, string>> = {
  '￥': '元',
  '¥': '元',
  $: '美元',
  US$: '美元',
  HK$: '港元',
  '€': '欧元',
  '£': '英镑',
  CNY: '元',
  RMB: '元',
  USD: '美元',
  EUR: '欧元',
  GBP: '英镑',
  HKD: '港元',
  JPY: '日元',
  TWD: '新台币',
};

/** 1/2 in one character. */
export const ZH_VULGAR: Readonly<Record<string, string>> = {
  '½': '二分之一',
  '⅓': '三分之一',
  '⅔': '三分之二',
  '¼': '四分之一',
  '¾': '四分之三',
  '⅛': '八分之一',
};
