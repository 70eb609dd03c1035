/** What is heard while the agent speaks: written from how people talk, not from the engine's lists. */
import type { Language } from './_turn-text.ts';

/** The agent is in the middle of one of these. */
export const AGENT_TALK: Readonly<Record<Language, readonly string[]>> = {
  zh: [
    '您的包裹今天早上已经到达营业点，快递员会在下午两点到六点之间给您送过去，请保持电话畅通。',
    '这款产品的保修期是一年，人为损坏不在保修范围内，如果需要上门检测，会收取五十元的上门费。',
    '根据您的描述，建议您先挂消化内科，周三和周五上午有专家号，普通号每天都可以挂。',
    '您这张卡目前的状态是临时冻结，需要本人带身份证到任意一家网点办理解冻手续。',
    '退款会在三个工作日之内原路退回到您的支付账户，如果超过时间没有收到，可以再联系我们。',
    '入住时间是下午两点以后，退房时间是中午十二点之前，早餐在一楼餐厅，从六点半开始。',
    '您本次的检查一共有四项，前一天晚上十点以后不要吃东西，早上可以喝少量的水。',
    '改签需要补差价三百二十元，另外还有五十元的手续费，费用会从您原来的支付方式扣除。',
  ],
  en: [
    'Your package arrived at the local office this morning, and the driver will bring it between two and six this afternoon.',
    'The warranty on this unit is one year, and it does not cover accidental damage, so there would be a fifty dollar visit fee.',
    'Based on what you told me I would suggest seeing a specialist, and there are openings on Wednesday and Friday mornings.',
    'Your card is temporarily on hold right now, and you will need to visit a branch with a photo ID to unlock it.',
    'The refund goes back to your original payment method within three business days, and you will get an email when it does.',
    'Check in starts at three in the afternoon, check out is at eleven, and breakfast is served on the ground floor.',
    'There are four tests in this visit, so please do not eat anything after ten the night before, though water is fine.',
    'Changing the flight costs a fare difference of three hundred and twenty dollars, plus a fee that is charged to your card.',
  ],
};

/** One listens, and says so. */
export const LISTENING: Readonly<Record<Language, readonly string[]>> = {
  zh: [
    ...[
      '嗯',
      '嗯嗯',
      '嗯',
      '哦',
      '哦哦',
      '好',
      '好的',
      '好的好的',
      '对',
      '对对对',
      '是',
      '是的',
      '行',
      '噢这样',
      '啊',
    ],
    ...[
      '嗯好',
      '哦好的',
      '嗯/对',
      '知道',
      '明白明白',
      '可以',
      '嗯行',
      '哦是这样啊',
      '好嘞',
      '诶好',
      '嗯哼',
      '那挺好',
      '了解',
      '有道理',
      '可不是嘛',
    ],
  ],
  en: [
    ...[
      'mhm',
      'uh huh',
      'yeah',
      'yeah',
      'okay',
      'ok',
      'right',
      'right right',
      'sure',
      'yep',
      'I see',
      'got it',
      'oh okay',
    ],
    ...[
      'mm',
      'okay / yeah',
      'oh',
      'alright',
      'gotcha',
      'yes',
      'hm',
      'oh I see',
      'sounds good',
      'oh wow',
      'fair enough',
      'cool',
      'you bet',
      'no kidding',
    ],
  ],
};

/** One wants the floor. */
export const INTERRUPTING: Readonly<Record<Language, readonly string[]>> = {
  zh: [
    ...[
      '等一下',
      '等等等等',
      '停一下',
      '不是不是',
      '你先听我说',
      '我不是这个意思',
      '诶不对吧',
      '打断一下啊',
      '喂/你听得见吗',
    ],
    ...[
      '那要多少钱',
      '能不能改到明天',
      '我现在就要人工',
      '不用了/我不要了',
      '我下午不在家',
      '这个我知道/我想问的是另外一个',
    ],
    ...[
      '好了好了/我就问一句',
      '周五不行',
      '你说慢点',
      '刚才那个电话再说一遍',
      '我没有身份证怎么办',
      '可是我已经付过钱了',
    ],
    ...[
      '{phone}',
      '嗯/那个/我想问一下',
      '对/但是我的地址变了',
      '行了别说了',
      '太贵了吧',
      '啊/什么时候',
      '几点',
    ],
  ],
  en: [
    ...[
      'wait',
      'wait wait wait',
      'hold on a second',
      'no no',
      'stop',
      "that's not what I asked",
      'sorry / can I just say',
      'hello / can you hear me',
    ],
    ...[
      'how much is that',
      'could we make it tomorrow',
      'I want to talk to a person',
      "never mind / I don't need it",
      "I'm not home in the afternoon",
    ],
    ...[
      'I know all that // my question is something else',
      "friday doesn't work",
      'slow down',
      'what was that number again',
      "I don't have an ID",
    ],
    ...[
      'but I already paid',
      '{phone}',
      'um / I have a question',
      'yeah but my address changed',
      'which office',
      'too expensive',
      'when',
      'actually / no',
    ],
  ],
};

/** The agent's question was just heard: this is its answer, and no backchannel. */
export const ANSWERED: Readonly<Record<Language, readonly (readonly [string, string])[]>> = {
  zh: [
    ['请问是明天上午送，对吗？', '对'],
    ['我帮您登记一下，可以吗？', '好的'],
    ['您是本人吗？', '是'],
    ['您还在听吗？', '嗯'],
  ],
  en: [
    ['So that is tomorrow morning, is that right?', 'yeah'],
    ['Shall I put you down for that?', 'okay'],
    ['Am I speaking to the card holder?', 'yes'],
    ['Are you still there?', 'mhm'],
  ],
};
