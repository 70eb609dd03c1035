/** The word list of the compliance check (contract 2.6 row 12): what must not be said on the telephone, zh and en. */

export type Severity = 'low' | 'medium' | 'high';

/** What takes the sting out of a match: a denial before it (`claim`), a warning before it (`demand`), or nothing. */
export type Guard = 'claim' | 'demand' | 'none';

export type ComplianceRule = {
  readonly rule: string;
  readonly severity: Severity;
  readonly guard: Guard;
  readonly zh: string;
  readonly en: string;
  readonly patterns: readonly RegExp[];
};

/** Gaps in patterns are short and end with the clause: none may run through a whole call. */
const RULES_ABSOLUTE: ComplianceRule = {
  rule: 'absolute_promise',
  severity: 'medium',
  guard: 'claim',
  zh: '避免绝对化承诺，改为说明条件和可能的例外。',
  en: 'Avoid absolute promises; state the conditions and possible exceptions.',
  patterns: [
    /(?:百分之百|百分百|100\s?[%％])(?:地)?(?:保证|有效|成功|通过|安全|没问题|满意|能|可以|会|不会|到账|下款)/gu,
    /绝对(?:能|会|不会|可以|没问题|没有问题|安全|有效|保证|成功|满意)/gu,
    /(?:保证|承诺|包)(?:您|你|让您|让你)?(?:一定)?(?:满意|成功|通过|有效|没问题|办成|下款|放款|录取|学会|过审)|包过(?!敏|期|程|于)/gu,
    /万无一失|一定(?:能|会)(?:通过|成功|批下来|下款|中签|录取)|永(?:不|远不会?)(?:反弹|亏损|涨价|失效)/gu,
    /\b(?:100\s?%|one hundred percent|absolutely)\s+(?:guaranteed?|certain|safe|effective|successful|sure to)\b/giu,
    /\b(?:i|we)\s+(?:can\s+)?(?:guarantee|promise)\s+(?:you\s+)?(?:(?:that\s+)?(?:you|it)(?:['’]ll| will)\s+(?:be approved|succeed|pass|work|never fail)|approval|success|a hundred percent)/giu,
    /\b(?:will|can) never (?:fail|go wrong)\b|\bguaranteed (?:approval|success|to (?:work|succeed|pass))\b/giu,
  ],
};

const RULES_RETURN: ComplianceRule = {
  rule: 'guaranteed_return',
  severity: 'high',
  guard: 'claim',
  zh: '不得承诺收益或保本，应提示投资有风险。',
  en: 'Never promise returns or protection of capital; point out that investments carry risk.',
  patterns: [
    /(?:保证|承诺|确保|稳定|固定|包)(?:您|你)?[^，。！？,.!?\n]{0,6}(?:收益|回报|盈利|赚钱|不亏|回本|翻倍|翻番)/gu,
    /保本(?:保息|保收益|理财|收益)?|稳赚(?:不赔)?|稳赢|只赚不赔|包赚|必赚|必涨|躺赚|(?:零|无|没有|毫无)(?:任何|一点|一丝)?风险/gu,
    /(?:日|月)(?:赚|入)(?:过)?[0-9０-９一二两三四五六七八九十百千万]{1,8}(?:元|块)?/gu,
    /\bguarantee(?:d|s|ing)?\s+(?:(?:a|an|you|your)\s+)?(?:[\w%.]+\s+){0,3}(?:returns?|profits?|gains?|yields?|income|earnings)\b/giu,
    /\brisk[- ]free\s+(?:investment|returns?|profits?|money)\b|\b(?:there is|it has|with|at)\s+(?:absolutely\s+)?(?:no|zero) risk\b/giu,
    /\b(?:you\s+)?(?:can(?:no|['’]?)t|cannot|will never|won['’]t) lose (?:any |your )?money\b|\b(?:double|triple) your money\b/giu,
  ],
};

const RULES_THREAT: ComplianceRule = {
  rule: 'threat',
  severity: 'high',
  guard: 'none',
  zh: '不得威胁或恐吓客户及其亲友，应依法、平和地说明后果。',
  en: 'Never threaten the customer or people close to them; explain consequences calmly and lawfully.',
  patterns: [
    /(?:不然|否则|再不|如果不|要是不|敢不)[^。！？!?\n]{0,20}(?:抓(?:你|您|人)|坐牢|让(?:你|您)(?:好看|后悔)|曝光(?:你|您)|通讯录|(?:告诉|通知|找)(?:你|您)的?(?:家人|父母|单位|同事|亲友|领导|孩子)|打断|后果自负|叫人上门|派人上门)/gu,
    /(?:弄死|打死|杀了|砍死|整死|弄残)(?:你|您|你全家)|(?:你|您)(?:给我)?等着(?:瞧|看)|吃不了兜着走|让(?:你|您)(?:好看|身败名裂)/gu,
    /(?:爆|轰炸|打爆)(?:你|您)?的?(?:通讯录|电话本)|(?:小心|当心)(?:你|您)的?(?:家人|孩子|老婆|狗命)|(?:知道|查到)(?:你|您)(?:家)?住(?:在)?哪/gu,
    /\b(?:or else|otherwise|if you (?:don['’]t|do not|refuse))\b[^.!?\n]{0,60}\b(?:arrest(?:ed)?|jail|prison|hurt|regret it|your (?:family|children|kids|boss|employer|neighbou?rs)|expose you|come to your (?:house|home))\b/giu,
    /\b(?:i|we)(?:['’]ll| will| am going to| are going to)\s+(?:kill|hurt|beat|ruin|destroy|find)\s+you\b|\byou(?:['’]ll| will) (?:regret this|be sorry|pay for this)\b/giu,
    /\b(?:i|we) know where you(?:r family)? lives?\b|\bhave you arrested\b/giu,
  ],
};

const RULES_INSULT: ComplianceRule = {
  rule: 'insult',
  severity: 'high',
  guard: 'none',
  zh: '不得辱骂客户，请使用礼貌用语。',
  en: 'Never insult the customer; stay polite.',
  patterns: [
    /傻[逼比BbＢ]|(?:你|您)(?:这个|真是|就是|是)?个?(?:傻子|白痴|笨蛋|垃圾|骗子)|白痴|蠢(?:货|猪|蛋)|废物(?!利用|处理|回收|再)|混蛋|王八蛋|滚(?:蛋|开|远点|一边去)/gu,
    /神经病(?!学|变|理|科|性)|脑子(?:有病|进水|坏了)|(?:他|你)妈的|操你|狗东西|贱(?:人|货)|不要脸|智障(?!人士|儿童|者|群体)|老不死|穷鬼|去死(?!角|亡|神)/gu,
    /\byou(?:['’]re| are)\s+(?:so |really |just |such |a |an |complete |total ){0,3}(?:stupid|dumb|idiot|moron|worthless|pathetic|liar|loser|fool)\b/giu,
    /\b(?:idiot|moron|dumbass|asshole|bastard|bitch|shut up|fuck\w*|piece of (?:shit|garbage)|scumbag)\b/giu,
  ],
};

const RULES_PRIVACY: ComplianceRule = {
  rule: 'privacy_demand',
  severity: 'high',
  guard: 'demand',
  zh: '不得索要密码、验证码或完整卡号，请改用安全的核验方式。',
  en: 'Never ask for passwords, verification codes or full card numbers; verify in a safe way.',
  patterns: [
    /(?:告诉|告知|提供|发给|发到|报(?:一下|给|出)?|说(?:一下|出)?|念(?:一下|出)?|给(?:我|我们)|核对)[^。！？!?\n]{0,12}(?:密码|验证码|校验码|动态码|安全码|CVV2?|完整卡号|银行卡(?:的)?(?:完整)?(?:卡)?(?:号码|号)(?!码|的?最?后|末|尾))/giu,
    /(?:密码|验证码|校验码|动态码|安全码|CVV2?|完整卡号|银行卡号)(?:是(?:多少|什么|几)|发(?:给我|过来|一下)|告诉(?:我|一下)|报(?:一下|给我)|念(?:一下|给我)|给我)/giu,
    /\b(?:tell|give|send|read|provide|share|confirm|text|what(?:['’]s| is))\s+(?:me |us |out )?(?:[\w'’-]+\s+){0,4}?(?:password|passcode|pin(?: number| code)?|verification code|one[- ]time (?:code|password)|otp|cvv|cvc|security code|(?:full|complete|whole|entire) (?:card|account) number|social security number)\b/giu,
  ],
};

const RULES_IDENTITY: ComplianceRule = {
  rule: 'identity_number_demand',
  severity: 'medium',
  guard: 'demand',
  zh: '确有必要时只核对证件号后四位，并说明用途。',
  en: 'Where it is needed, check the last four digits of the identity number only, and say what for.',
  patterns: [
    /(?:告诉|告知|提供|报(?:一下|给|出)?|说(?:一下|出)?|念(?:一下|出)?|给(?:我|我们)|发给|把)[^。！？!?\n]{0,8}身份证(?:的)?(?:完整)?(?:号码|号|照片|正反面)(?!码|的?最?后|末|尾)/gu,
    /身份证(?:号码?)?(?:是多少|报一下|发(?:给我|过来|一下))/gu,
    /\b(?:tell|give|send|read|provide|share)\s+(?:me |us )?(?:[\w'’-]+\s+){0,3}?(?:passport number|identity (?:card )?number|id (?:card )?number)\b/giu,
  ],
};

const RULES_DISCRIMINATION: ComplianceRule = {
  rule: 'discrimination',
  severity: 'high',
  guard: 'none',
  zh: '不得因性别、地域、民族、年龄、残障等区别对待或贬低他人。',
  en: 'Never treat or describe people worse for sex, origin, ethnicity, age, disability or faith.',
  patterns: [
    /(?:只|不)(?:招收?|接待|卖给|租给|雇用?|录用|服务)[^。，！？,\n]{0,4}(?:男(?:的|性|生)|女(?:的|性|生)|外地人|本地人|外国人|少数民族|残疾人|农村人|乡下人|老年人|老人|黑人|河南人|东北人)/gu,
    /(?:外地人|乡下人|农村人|河南人|东北人|黑人|女人|女司机|残疾人|老年人|同性恋|少数民族)(?:们)?(?:都|就是|全)[^。，！？,\n]{0,3}(?:素质低|素质差|不配|没文化|骗子|小偷|懒|笨|低人一等|脏)/gu,
    /乡巴佬|黑鬼|娘炮|死(?:残废|瘸子|基佬)/gu,
    /\b(?:we|i)\s+(?:don['’]t|do not|never|won['’]t|will not)\s+(?:hire|serve|rent to|sell to|accept|deal with)\s+(?:\w+\s+)?(?:women|men|blacks?|black people|foreigners|immigrants|muslims|jews|christians|gays?|gay people|disabled people|old people|the elderly)\b/giu,
    /\b(?:women|men|blacks|black people|foreigners|immigrants|muslims|jews|gays|old people|disabled people)\s+are\s+(?:all\s+)?(?:lazy|stupid|inferior|criminals|dirty|dishonest|liars|thieves)\b/giu,
  ],
};

const RULES_SUPERLATIVE: ComplianceRule = {
  rule: 'superlative',
  severity: 'medium',
  guard: 'claim',
  zh: '广告法禁止使用“最”“第一”“国家级”等用语，请改为可证实的描述。',
  en: 'Advertising law forbids superlatives that cannot be proved; describe what can be shown.',
  patterns: [
    /(?:全国|全球|世界|全网|全市|全省|行业|业内|国内|亚洲|中国|市场上?)(?:内|上|里)?(?:排名)?(?:第一|最(?:好|大|强|低|高|优|佳|先进|便宜|专业|权威|安全)|唯一|首选|独一无二)/gu,
    /最(?:好|优秀|先进|便宜|高级|专业|权威|安全|划算|有效|优质|顶级)的(?:产品|服务|价格|品质|质量|方案|公司|平台|技术|团队|品牌|机构|课程|保险|贷款|理财)|最低价|最高级|最(?:佳|优)(?:品质|质量|产品|服务|方案|选择)/gu,
    /国家级(?!贫困|非遗|非物质|自然|开发区|新区|重点)|世界级|顶级|极品|第一品牌|绝无仅有|史无前例|销量(?:第一|冠军)|史上最|全网独家/gu,
    /\b(?:the\s+)?(?:(?:very )?best|cheapest|lowest[- ]priced?|safest|most (?:advanced|effective|reliable)|number one|no\.\s?1|only)\s+(?:[\w-]+\s+){0,3}(?:in the (?:world|country|market|industry|business)|on the market|on earth|of its kind)\b/giu,
    /#1 (?:in|brand|choice|rated)\b|\bworld['’]?s (?:best|leading|number one)\b/giu,
  ],
};

const RULES_MEDICAL: ComplianceRule = {
  rule: 'medical_claim',
  severity: 'high',
  guard: 'claim',
  zh: '不得宣传疗效或治愈保证，应建议客户咨询医生。',
  en: 'Never claim cures or treatment effects; refer the customer to a doctor.',
  patterns: [
    /根治|包治(?:百病)?|药到病除|(?:彻底|完全|一次|永久)(?:治好|治愈)|(?:保证|包|一定能|肯定能)(?:您|你)?(?:治好|治愈|康复)|治愈率(?:高达|达到?|为|是)?\s?[0-9０-９百]/gu,
    /(?:保健品|食品|茶|酒|胶囊|口服液|产品|仪器)[^。！？!?，,\n]{0,8}(?:治疗|治好|治愈|抗癌|防癌|降血压|降血糖|降三高|代替药物|替代药物)/gu,
    /(?:无|没有|零)(?:任何)?(?:毒)?副作用|(?:代替|替代|不用)(?:吃药|药物治疗|打针吃药)/gu,
    /\b(?:cures?|heals?|reverses?|treats?)\s+(?:[\w-]+\s+){0,2}?(?:cancer|diabetes|covid|arthritis|hypertension|depression|alzheimer['’]?s|(?:all|any|every) (?:disease|illness)e?s?)\b/giu,
    /\b(?:no|zero|without any|free of) side[- ]effects?\b|\bmiracle (?:cure|drug|pill)\b|\binstead of (?:your |taking )?(?:medication|medicine)\b/giu,
  ],
};

const RULES_PAYMENT: ComplianceRule = {
  rule: 'private_payment',
  severity: 'high',
  guard: 'demand',
  zh: '不得要求客户向个人或“安全账户”付款，请使用公司的正式收款渠道。',
  en: 'Never ask for payment to a private or "safe" account; use the official channel.',
  patterns: [
    /(?:转|打|汇|付)(?:账|款|钱)?[^。！？!?，,\n]{0,8}(?:到|给|至)[^。！？!?，,\n]{0,4}(?:私人|个人|我的|我个人的|安全)(?:的)?(?:账户|账号|银行卡|卡|微信|支付宝)/gu,
    /\b(?:transfer|send|wire|pay)\s+(?:[\w-]+\s+){0,5}?(?:to|into)\s+(?:my|a|his|her|the)\s+(?:personal|private|own|safe)\s+(?:bank\s+)?(?:account|card|wallet)\b|\bpay\s+(?:[\w-]+\s+){0,3}?(?:with|in|by)\s+gift cards?\b/giu,
  ],
};

const RULES_PRESSURE: ComplianceRule = {
  rule: 'pressure',
  severity: 'low',
  guard: 'claim',
  zh: '避免催促和制造紧迫感，给客户考虑的时间。',
  en: 'Avoid pressure and false urgency; give the customer time to think.',
  patterns: [
    /最后(?:一次)?(?:的)?机会|错过(?:就|再)?(?:没有|不再有|没)了?|(?:仅|只)(?:剩|限)今天|过(?:期|时)不候|(?:今天|现在|马上)(?:必须|一定要)(?:决定|付款|签|办)/gu,
    /\b(?:last|final) chance\b|\b(?:offer|price) (?:is )?(?:only )?(?:ends|expires|valid) (?:only )?(?:today|now|tonight)\b|\byou (?:must|have to) (?:decide|pay|sign) (?:now|today|right now)\b/giu,
  ],
};

export const COMPLIANCE_RULES: readonly ComplianceRule[] = [
  RULES_ABSOLUTE,
  RULES_RETURN,
  RULES_THREAT,
  RULES_INSULT,
  RULES_PRIVACY,
  RULES_IDENTITY,
  RULES_DISCRIMINATION,
  RULES_SUPERLATIVE,
  RULES_MEDICAL,
  RULES_PAYMENT,
  RULES_PRESSURE,
];

/** Of a call or a script as a whole, not of one phrase in it. */
export const MISSING_IDENTIFICATION = {
  rule: 'missing_identification',
  severity: 'low',
  zh: '开场时请说明公司名称和来电身份。',
  en: 'Say at the start who is calling and for which company.',
} as const;

/** What denies or doubts the words behind it in the same clause. */
export const GUARDS: Readonly<Record<Guard, RegExp | null>> = {
  claim:
    /(?:(?:不|没|未|无法|非|难以|勿|拒绝|禁止|严禁|不敢|并非|不得|谁也)[^，。！？；,.!?;\n]{0,6}|(?:能不能|是否|是不是|会不会|有没有|可不可以)[^，。！？；,.!?;\n]{0,4}|\b(?:not|never|no|cannot|can['’]t|don['’]t|doesn['’]t|didn['’]t|won['’]t|wouldn['’]t|isn['’]t|aren['’]t|nobody|no one|neither|nor|unable to|without|whether|illegal to)\b[^,.!?;\n]{0,24})$/iu,
  demand:
    /(?:(?:不|没|未|别|勿|无需|无须|严禁|禁止|谨防|拒绝|任何人)[^，。！？；,.!?;\n]{0,12}|\b(?:not|never|no|nobody|no one|cannot|can['’]t|don['’]t|doesn['’]t|won['’]t|without|anyone who)\b[^,.!?;\n]{0,40})$/iu,
  none: null,
};

/** Words behind a match that make it a warning: "whoever promises returns is a fraud". */
export const WARNING_AFTER =
  /^[^。！？!?\n]{0,10}(?:的)?(?:都|均)?(?:是|属于)(?:诈骗|骗局|骗人|骗子|违规|违法|虚假|不合规|假)|^[^.!?\n]{0,30}\b(?:is|are) (?:a )?(?:fraud|scam|lie|illegal|false)s?\b/iu;
