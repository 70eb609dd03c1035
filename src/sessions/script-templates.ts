/** Call scripts without a model: an opening, what it is about, answers to doubts and an end, by scenario and tone. */
import type { Language } from '#providers/contract.ts';

export type ScriptSection = { readonly title: string; readonly content: string };
export type ScriptTemplate = {
  readonly sections: readonly ScriptSection[];
  readonly tips: readonly string[];
};

export type TemplateInput = {
  readonly scenario: string;
  readonly goal: string | null;
  readonly customerProfile: string | null;
  readonly tone: string | null;
  readonly currentScript: string | null;
  readonly language: Language;
};

type Kind =
  | 'reminder'
  | 'collection'
  | 'survey'
  | 'complaint'
  | 'appointment'
  | 'retention'
  | 'support'
  | 'sales'
  | 'general';
type Tone = 'formal' | 'friendly' | 'brief';

/** The first that fits; what is said of money due comes before what is sold. */
const KINDS: readonly (readonly [Kind, RegExp])[] = [
  [
    'collection',
    /催收|催款|还款|欠款|欠费|逾期|\b(?:overdue|collection|debt|repay(?:ment)?|arrears)\b/iu,
  ],
  ['complaint', /投诉|道歉|致歉|不满|\b(?:complaint|apolog(?:y|ise|ize)|dissatisf\w+)\b/iu],
  [
    'survey',
    /调研|调查|问卷|满意度|回访|\b(?:survey|questionnaire|feedback|satisfaction|follow[- ]?up)\b/iu,
  ],
  [
    'appointment',
    /预约|预订|改期|面试|体检|\b(?:appointment|booking|reschedul\w+|interview|reservation)\b/iu,
  ],
  ['retention', /挽留|流失|续费|续约|召回|\b(?:retention|renew(?:al)?|churn|win[- ]?back)\b/iu],
  ['reminder', /提醒|通知|告知|到期|\b(?:remind(?:er)?|notif(?:y|ication)|expir\w+)\b/iu],
  [
    'support',
    /售后|支持|故障|维修|帮助|\b(?:support|after[- ]sales|repair|troubleshoot\w*|help ?desk)\b/iu,
  ],
  [
    'sales',
    /销售|推广|营销|促销|推荐|介绍|开户|邀约|\b(?:sales?|sell|promot\w+|marketing|offer|lead|introduc\w+)\b/iu,
  ],
];
const TONES: readonly (readonly [Tone, RegExp])[] = [
  ['formal', /正式|专业|严肃|商务|\b(?:formal|professional|serious|business)\b/iu],
  ['brief', /简洁|简短|干练|直接|\b(?:brief|short|concise|direct)\b/iu],
];

export function kindOf(scenario: string): Kind {
  return KINDS.find(([, pattern]) => pattern.test(scenario))?.[0] ?? 'general';
}

export function toneOf(tone: string | null): Tone {
  return TONES.find(([, pattern]) => pattern.test(tone ?? ''))?.[0] ?? 'friendly';
}

type Words = {
  readonly titles: readonly [string, string, string, string, string];
  readonly opening: Readonly<Record<Tone, string>>;
  readonly body: Readonly<Record<Kind, string>>;
  readonly doubts: Readonly<Record<Kind, string>>;
  readonly closing: Readonly<Record<Tone, string>>;
  readonly goal: (goal: string) => string;
  readonly given: string;
  readonly tips: readonly string[];
  readonly tipFor: (profile: string) => string;
};

const ZH: Words = {
  titles: ['开场白', '说明来意', '沟通要点', '疑问处理', '结束语'],
  opening: {
    formal:
      '您好，这里是【公司名称】，我是【姓名】。请问是【客户姓名】先生或女士吗？现在方便通话吗？',
    friendly: '您好，我是【公司名称】的【姓名】，想占用您一两分钟，您现在方便说话吗？',
    brief: '您好，【公司名称】【姓名】。方便说两句吗？',
  },
  body: {
    sales:
      '请问您目前在这方面是怎么安排的？根据您的情况，我可以介绍一下方案的内容、费用和适用条件，您看哪一部分更想了解？',
    collection:
      '系统显示您有一笔款项已过约定日期，想跟您核对金额和日期。请问是遇到了什么困难吗？我们可以一起看看可行的还款安排。',
    survey:
      '我们想了解您最近一次使用服务的感受。请问总体上您给几分，一到十分？哪一点最需要我们改进？',
    reminder:
      '提醒您【事项】的时间是【日期】，地点或办理方式是【说明】。请问您需要我再重复一遍，或者发一条短信给您吗？',
    complaint:
      '关于您反映的问题，非常抱歉给您带来不便。我先完整地听您说一遍，再跟您确认处理办法和时间。',
    appointment:
      '想跟您确认【日期】【时间】的预约。如果这个时间不方便，请告诉我您合适的时间，我来为您调整。',
    retention:
      '看到您的服务将在【日期】到期，想听听您的使用感受。是哪些地方没有达到您的期望？我看看能怎样改进。',
    support:
      '请您描述一下遇到的情况：从什么时候开始，出现了什么提示？我会一步一步陪您排查，解决不了就登记给工程师。',
    general: '想跟您沟通一件事：【事项】。我先简单说明，有不清楚的地方请随时打断我。',
  },
  doubts: {
    sales:
      '客户说不需要：“理解，不打扰您。如果以后有需要，可以随时联系我们。”客户问效果：如实说明条件和可能的差异，不作保证。',
    collection:
      '客户表示困难：先表示理解，再询问可承受的时间和金额，并记录约定。不威胁，不联系无关的人。',
    survey: '客户没有时间：“好的，那我只问一个问题。”客户不愿回答：感谢并结束。',
    reminder: '客户不清楚事项：重复日期、地点和所需材料。客户要更改：记录新的时间并说明下一步。',
    complaint: '客户情绪激动：不打断、不辩解，复述要点并给出明确的回复时间。',
    appointment: '客户要取消：确认取消并询问是否需要另约时间。客户忘记内容：简要说明所需准备。',
    retention: '客户坚持取消：尊重决定，说明办理步骤，感谢一直以来的支持。',
    support: '客户着急：说明当前进度和预计时间。需要核验身份时只核对必要信息，不索要密码或验证码。',
    general: '客户有疑问：先确认问题再回答；不清楚的不猜测，记录后回复。',
  },
  closing: {
    formal: '感谢您的时间。以上内容我再跟您确认一遍：【要点】。祝您工作顺利，再见。',
    friendly: '好的，我都记下了，【下一步】。谢谢您，祝您生活愉快，再见！',
    brief: '已确认【下一步】。谢谢，再见。',
  },
  goal: (goal) => `本次通话的目标：${goal}。围绕这一目标提问和确认，达成后及时复述结果。`,
  given: '现有话术（可在此基础上调整）：',
  tips: [
    '先说明身份和来意，再进入正题。',
    '每次只问一个问题，给客户说话的时间。',
    '不作绝对承诺，不索要密码、验证码或完整卡号。',
    '结束前复述约定的事项和时间。',
  ],
  tipFor: (profile) => `针对客户特点调整用词和节奏：${profile}`,
};

const EN: Words = {
  titles: ['Opening', 'Reason for the call', 'Main points', 'Questions and objections', 'Closing'],
  opening: {
    formal:
      'Good day, this is [your name] calling from [company]. Am I speaking with [customer name]? Is this a convenient time?',
    friendly: 'Hello, this is [your name] from [company]. Do you have a minute or two right now?',
    brief: 'Hello, [your name] from [company]. Is now a good time?',
  },
  body: {
    sales:
      'May I ask how you handle this at the moment? From what you tell me I can explain what the offer includes, what it costs and when it fits. Which part would you like to hear about first?',
    collection:
      'Our records show a payment that is past its agreed date, and I would like to check the amount and the date with you. Is there a difficulty? We can look for an arrangement that works for you.',
    survey:
      'We would like to hear about your last experience with us. Overall, how would you rate it from one to ten? What should we improve first?',
    reminder:
      'This is a reminder of [matter] on [date]. The place, or the way to do it, is [details]. Shall I repeat it or send you a message?',
    complaint:
      'I am sorry about the trouble you have had. Please tell me the whole story first; then I will confirm what we will do and by when.',
    appointment:
      'I would like to confirm your appointment on [date] at [time]. If that does not suit you, tell me when it would, and I will change it.',
    retention:
      'Your service ends on [date], and I would like to hear how it has been for you. What did not meet your expectations? Let me see what we can do about it.',
    support:
      'Please describe what happens: since when, and what message do you see? I will go through it with you step by step, and pass it to an engineer if we cannot solve it.',
    general:
      'I am calling about [matter]. Let me explain it briefly; please interrupt me whenever something is unclear.',
  },
  doubts: {
    sales:
      'Not interested: "I understand, and I will not keep you. You can reach us at any time." Asked for results: name the conditions and possible differences; promise nothing.',
    collection:
      'In difficulty: show understanding, ask which date and amount are possible, and note the agreement. No threats, and no calls to other people.',
    survey: 'No time: "Then just one question." Does not want to answer: say thank you and close.',
    reminder:
      'Unclear: repeat date, place and what to bring. Wants to change it: note the new time and name the next step.',
    complaint:
      'Upset: do not interrupt or argue; repeat the main points and name a definite time for the answer.',
    appointment:
      'Wants to cancel: confirm it and ask whether another time would suit. Has forgotten what it is about: explain briefly what to prepare.',
    retention:
      'Still wants to leave: respect it, explain the steps, and thank them for the time with you.',
    support:
      'In a hurry: say where things stand and how long it will take. Check only what is needed; never ask for a password or a code.',
    general:
      'Has a question: make sure you understood it before you answer. Do not guess; note it and call back.',
  },
  closing: {
    formal:
      'Thank you for your time. Let me repeat what we agreed: [points]. I wish you a good day. Goodbye.',
    friendly:
      'Great, I have noted everything, and [next step]. Thank you and have a lovely day. Goodbye!',
    brief: 'Confirmed: [next step]. Thank you, goodbye.',
  },
  goal: (goal) =>
    `Aim of this call: ${goal}. Ask and confirm with this in mind, and repeat the result once you have it.`,
  given: 'Present script, to build on:',
  tips: [
    'Say who you are and why you call before anything else.',
    'Ask one question at a time and leave room for the answer.',
    'Make no absolute promises, and never ask for passwords, codes or full card numbers.',
    'Repeat what was agreed, and by when, before you close.',
  ],
  tipFor: (profile) => `Fit words and pace to this customer: ${profile}`,
};

const WORDS: { readonly [L in Language]: Words } = { zh: ZH, en: EN };

/** The same script for the same request always. */
export function scriptTemplate(input: TemplateInput): ScriptTemplate {
  const words = WORDS[input.language];
  const kind = kindOf(`${input.scenario} ${input.goal ?? ''}`);
  const tone = toneOf(input.tone);
  const [opening, reason, main, doubts, closing] = words.titles;
  const points = [
    ...(input.goal === null ? [] : [words.goal(input.goal)]),
    ...(input.currentScript === null ? [] : [`${words.given}\n${input.currentScript}`]),
  ];
  return {
    sections: [
      { title: opening, content: words.opening[tone] },
      {
        title: reason,
        content: `${input.scenario}${input.language === 'zh' ? '。' : '. '}${words.body[kind]}`,
      },
      ...(points.length === 0 ? [] : [{ title: main, content: points.join('\n') }]),
      { title: doubts, content: words.doubts[kind] },
      { title: closing, content: words.closing[tone] },
    ],
    tips: [
      ...words.tips,
      ...(input.customerProfile === null ? [] : [words.tipFor(input.customerProfile)]),
    ],
  };
}
