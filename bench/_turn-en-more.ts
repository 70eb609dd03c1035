/** More calls in English: written when the pause model stood, then used to mend it. */
import type { Domain } from './_turn-text.ts';

export const MORE_TALK_EN: readonly Domain[] = [
  // Insurance
  [
    [
      'Granite Mutual, how may I direct your call?',
      [
        'claims',
        "somebody just rear ended me // nobody's hurt but my bumper came off // he wants to leave / what should I do",
        "I'd like a quote for renters insurance",
        'I want to cancel my policy',
        "I mailed in my surgery bills… / almost a month ago / and I still haven't heard anything",
        'my card got declined / for the renewal',
      ],
    ],
    [
      'Could you give me the policy number?',
      [
        '{order}',
        "give me a sec it's in my glovebox… // {order}",
        "my husband has the papers // I don't",
        '{order} // can you see it',
      ],
    ],
    [
      'When did the accident happen?',
      [
        'just now',
        'this morning around eight',
        'about… / eleven last night I think',
        'last {weekday}',
        "ten minutes ago // I'm still on the shoulder",
      ],
    ],
    [
      'Was anyone injured?',
      [
        'no',
        'no nobody',
        "I'm fine / the other guy says his neck hurts",
        'yes / the ambulance is here already',
        "um… I don't believe so",
      ],
    ],
    [
      "What's the license plate?",
      [
        '<K=K> <R=R> <W=W> ^ <~482>',
        'seven / <B=B> <X=X> <D=D> / {last4}',
        "I'd have to go look… // it's <T=T> <L=L> ^ {last4}",
      ],
    ],
    [
      'Should we pay that to the account ending in 6617?',
      [
        'yes',
        'no I closed that one // use a different one',
        'sure',
        "that's… my wife's I think",
        'that works',
      ],
    ],
  ],
  // School
  [
    [
      'Lincoln Elementary, front office.',
      [
        "can I enroll if we don't live in the district",
        "my daughter has a fever / she's staying home today",
        "hi we're moving in august // my son will be in third grade // what do I need to bring",
        'what time does the bus come',
        "hi this is Noah's mom from room twelve // he left his inhaler at home / could someone meet me out front",
      ],
    ],
    [
      "What grade is your child in, and what's the name?",
      [
        'third / {name}',
        '{name} // first grade',
        "she'll be in sixth // {name}",
        "mrs Alvarez's class / {name}",
      ],
    ],
    [
      'How many days will she be out?',
      [
        'one',
        "let's say two",
        'not sure // maybe two or three',
        'just this afternoon',
        'through {weekday}',
      ],
    ],
    [
      'Do you have proof of address and immunization records?',
      [
        'both',
        "I've got the shots / but the lease is in my mom's name",
        'yes',
        "we're still closing on the house // would the contract be enough",
        'we rent',
      ],
    ],
    [
      'Could you come in on Saturday morning?',
      [
        'yes',
        'I work saturdays // could his dad bring him',
        'sure / what time',
        'what about sunday',
        'yeah / which building',
      ],
    ],
  ],
  // Utilities
  [
    [
      'City Power, what would you like to report?',
      [
        'an outage',
        "our whole building is dark // nobody picks up at the management office // there's an old man here on oxygen / so please hurry",
        'why is my bill twice what it was last month',
        'I need to put the account in my name',
        "the transformer out front is buzzing / and there's sparks",
        "I paid / and it's not showing up",
      ],
    ],
    [
      'May I have your account number?',
      [
        '{order}',
        'account number… // {order}',
        'no clue // could I give you the address',
        '{card}',
      ],
    ],
    [
      'Where is the outage?',
      ['{address}', 'the whole block around {address}', "it's {address}", 'downtown / {address}'],
    ],
    [
      'Did the breaker trip?',
      [
        'no',
        'let me go look… // nope',
        "yes / and it won't reset",
        'where would that be',
        "what's a breaker",
        'I flip it and it goes right back',
      ],
    ],
    [
      'A crew will be there within forty minutes. Anything else?',
      [
        'no',
        'can they come any sooner',
        'what about all the food in my fridge',
        'okay / have them call me first',
        "no that's it / thank you",
      ],
    ],
  ],
  // Airline
  [
    [
      'Blue Ridge Air, how can I help?',
      [
        'change a flight',
        "I'm flying to {city} the day after tomorrow / and I want to leave a day later",
        "I need a refund // my mom's in the hospital / is there any way to get all of it back",
        'my bag never showed up',
        "I'm at the counter / and they say I'm not in the system // but I paid / I have the email right here",
        'do kids fly free',
      ],
    ],
    [
      'Can I get your confirmation or ticket number?',
      [
        '{order}',
        'ticket number is {order}',
        '<Q=Q> <T=T> ^ <H=H> <~59> <R=R>',
        'I booked it with points',
      ],
    ],
    [
      'What day would you like instead?',
      [
        'saturday',
        'the eighteenth',
        'um… the twentieth // in the evening',
        'the earliest you have',
        "the sixteenth or the seventeenth / whichever's cheaper",
      ],
    ],
    [
      'There is a fare difference of three hundred and twenty dollars. Shall I go ahead?',
      [
        'go ahead',
        "that's too much / forget it",
        'three twenty… // is there anything cheaper',
        'alright / do it',
        'how do I pay',
      ],
    ],
    [
      'Window or aisle?',
      [
        'window',
        'aisle',
        "doesn't matter",
        'anything near the front',
        'window / next to my friend',
      ],
    ],
  ],
  // Restaurant
  [
    [
      'Old Stove Grill, are you calling for a reservation?',
      [
        'yeah tonight six thirty / for four',
        'do you still have the back room',
        'I ate there last night / and I left my jacket on the chair',
        "a big table for tomorrow lunch // twelve people // two of them are little / so high chairs // and my grandfather's in a wheelchair",
        'how late are you open',
      ],
    ],
    [
      'How many people, and what time?',
      [
        'four / six thirty',
        'two // around seven',
        'eight or nine… / sevenish',
        'six',
        "we'll be there at five thirty / three adults",
      ],
    ],
    [
      'Can I get a name and a phone number?',
      ['{surname} / {phone}', "it's {surname} // {phone}", '{phone}'],
    ],
    [
      'The back room has a minimum of three hundred. Is that okay?',
      [
        'yeah',
        "we'll sit in the main room then",
        'three hundred… / do drinks count',
        'fine',
        'wow',
      ],
    ],
    [
      'Any allergies we should know about?',
      [
        'no',
        'shellfish',
        'one of us is allergic to peanuts // like really allergic',
        'none',
        "no / but my wife's vegetarian",
      ],
    ],
  ],
  // City hall
  [
    [
      'City services, what are you calling about?',
      [
        'a permit',
        'I missed two months of payments / can I still catch up',
        "I want to report something // there's a bar downstairs / and they play music till three in the morning // the police came once / and the next day it started again",
        'how do I get a parking sticker',
        'my property tax… what would I qualify for',
      ],
    ],
    [
      'Are you a resident of the city?',
      ['yes', 'no', "no / I'm out of state", 'I just moved here', "I am / my husband isn't"],
    ],
    [
      'Which neighborhood do you live in?',
      ['eastside', 'over by the stadium / near {road}', 'I live in old town'],
    ],
    [
      'You can do that online. Shall I text you the link?',
      [
        'okay',
        'please do',
        "I'm no good with that stuff // I'd rather come in",
        'sure / this number is fine',
        'I tried that / it keeps giving me an error',
      ],
    ],
    [
      'Were you happy with our service today?',
      ['yes', 'I guess', 'very', "not really / you didn't fix anything", 'yeah thanks so much'],
    ],
  ],
];
