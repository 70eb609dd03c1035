/** Calls of kinds that nothing was tuned on: written last, played once, left as they were. */
import type { Domain, Language } from './_turn-text.ts';

export const FRESH_TALK: Readonly<Record<Language, readonly Domain[]>> = {
  zh: [
    // Movers
    [
      [
        '蚂蚁搬家，请问是哪天搬？',
        [
          '这{weekday}',
          '还没定//就想先问问价',
          '二十六号吧/上午',
          '我们公司要搬//大概三十个工位/还有两台大复印机//你们得先来看一下吧',
        ],
      ],
      [
        '从哪儿搬到哪儿？',
        [
          '从{district}到{district}',
          '{estate}搬到{estate}',
          '就一个小区里头/三栋搬到九栋',
          '从{address}/搬到{city}去',
        ],
      ],
      [
        '几楼，有电梯吗？',
        ['五楼/没电梯', '有电梯', '旧的那边三楼走楼梯//新的有电梯', '十二楼//电梯要预约'],
      ],
      [
        '有钢琴之类的大件吗？',
        ['没有', '有个跑步机', '有/一架立式的', '没有大件/就是书多', '冰箱算不算'],
      ],
      [
        '四点二米的货车八百五，您看成吗？',
        ['成', '能少点不', '八百五包不包拆装', '行/就这么定', '我再比较比较吧'],
      ],
    ],
    // Gym
    [
      [
        '您好，乐动健身。',
        [
          '你们家年卡现在什么价',
          '我办过卡的/想停两个月',
          '我上周三在更衣室丢了块手表//前台说帮我查监控/到今天也没个信儿',
          '游泳池开了没',
        ],
      ],
      [
        '请问您会员手机号？',
        ['{phone}', '手机号{phone}', '忘了留的哪个//你查查我名字', '{phone}/尾号{last4}那个不用了'],
      ],
      [
        '停卡是因为受伤还是出差？',
        ['出差', '脚崴了', '都不是//怀孕了', '要去外地带孩子/估计得到年底'],
      ],
      [
        '私教课您一般什么时间方便？',
        [
          '晚上',
          '下班以后/七八点钟',
          '周末全天都行',
          '早上六点半有人吗',
          '这个…说不好//我提前一天约成不成',
        ],
      ],
    ],
    // Pharmacy
    [
      [
        '百草大药房，您需要什么药？',
        [
          '布洛芬有吗',
          '我爸的降压药吃完了/就那个/氨氯地平',
          '拉肚子吃什么',
          '小孩咳嗽有痰//晚上睡不踏实//前两天吃的头孢/不太管用',
          '膏药',
        ],
      ],
      [
        '对什么药过敏吗？',
        ['青霉素', '没有', '不过敏', '好像磺胺类的吧/记不太清了', '我不过敏/我老伴儿有'],
      ],
      ['要几盒？', ['两盒', '先来一盒试试', '三盒吧/便宜的那种', '一盒多少片啊']],
      [
        '给您送过去还是自己来拿？',
        ['送一下', '我自己去', '送吧//{address}', '你们几点关门//我下了班去'],
      ],
    ],
  ],
  en: [
    // Movers
    [
      [
        'Anthill Movers, when is the big day?',
        [
          'this {weekday}',
          "haven't decided // I'm just after a price",
          'the twenty sixth / in the morning',
          "it's an office actually // about thirty desks and two big copiers // you'd have to come look at it first",
        ],
      ],
      [
        'Where from, and where to?',
        [
          '{city} to {city}',
          '{address} / over to {road}',
          'same building // third floor to the ninth',
          'from {address} / all the way to {city}',
        ],
      ],
      [
        'Which floor, and is there an elevator?',
        [
          'fifth / no elevator',
          "there's one",
          'third floor walkup now // the new one has an elevator',
          'twelfth // you have to book it',
        ],
      ],
      [
        'Any heavy pieces like a piano?',
        [
          'none',
          'a treadmill',
          'yes / an upright',
          'nothing heavy / just a ton of books',
          'does a fridge count',
        ],
      ],
      [
        'That would be eight fifty with the small truck. Does that work?',
        [
          'deal',
          'can you come down a little',
          'does eight fifty cover taking the beds apart',
          'works for me / book it',
          "I'll shop around some more",
        ],
      ],
    ],
    // Gym
    [
      [
        'Pulse Fitness, good morning.',
        [
          "what's a year cost these days",
          "I'm a member / I want to freeze it for two months",
          "I lost a watch in the locker room last week // they said they'd check the camera / and nobody ever called",
          'is the pool open yet',
        ],
      ],
      [
        'What phone number is on the membership?',
        [
          '{phone}',
          'try {phone}',
          'not sure which one I gave // can you search my name',
          '{phone} / the old one is gone',
        ],
      ],
      [
        'Are you freezing because of an injury or travel?',
        [
          'travel',
          'twisted my ankle',
          "neither // I'm pregnant",
          'taking care of my grandkids out of state / probably until christmas',
        ],
      ],
      [
        'When do you usually like to train?',
        [
          'evenings',
          'after work / seven or eight',
          'any time on weekends',
          'is anybody there at six thirty',
          'that… depends // could I book the day before',
        ],
      ],
    ],
    // Pharmacy
    [
      [
        'Greenleaf Pharmacy, what do you need today?',
        [
          'ibuprofen',
          "my dad's out of his blood pressure pills / the / amlodipine",
          'something for a stomach bug',
          "my kid has a chesty cough // can't sleep // the stuff from last week / isn't doing much",
          'a refill',
        ],
      ],
      [
        'Any drug allergies?',
        [
          'penicillin',
          'none',
          'not that I know of',
          "sulfa I think / can't swear to it",
          'not me / my wife does',
        ],
      ],
      [
        'How many boxes?',
        ['two', 'just one to start', 'three / the cheap kind', 'how many are in a box'],
      ],
      [
        'Should we deliver, or will you pick it up?',
        [
          'deliver',
          "I'll come by",
          'deliver please // {address}',
          "what time do you close // I'd come after work",
        ],
      ],
    ],
  ],
};
