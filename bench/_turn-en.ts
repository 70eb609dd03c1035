/** What callers say, English. The marks are those of _turn-zh.ts. */
import type { Domain } from './_turn-text.ts';

export const TALK_EN: readonly Domain[] = [
  // Parcels
  [
    [
      'Hello, this is Swift Parcel. How can I help you today?',
      [
        "[hi ]I'm (trying to find out|just calling to see) where my package is",
        "yeah hi / so I was supposed to get a delivery yesterday // I stayed home all day / and nobody came // can you tell me what's going on",
        'I want to send a box to {city} / how much would that be',
        'hi there / …um I put the wrong address on my order / can I still change it',
        "I'd like to make a complaint",
        'my neighbor got my parcel by mistake // she says she left it on the porch / but it was gone when I got there',
        'where is my order',
      ],
    ],
    [
      'Can I have your tracking number, please?',
      [
        '{order}',
        "(sure|yeah|okay) // it's {order}",
        'let me grab the slip… // {order}',
        "I don't have it on me // could you look it up by phone number",
        'tracking number is / {order}',
      ],
    ],
    [
      "What's the delivery address?",
      [
        '{address}',
        "it's {address}",
        '{address} / {city}',
        "uh… {address} // there's a gate / the code is {last4}",
        'same as before',
      ],
    ],
    [
      'Is it okay if we leave it with the front desk?',
      [
        'yes',
        "yeah that's fine",
        'sure',
        'no // (somebody stole one last time|they lose everything) // just bring it up to my door',
        'um… I guess so',
        'could you try my neighbor instead',
        'that works / thank you',
      ],
    ],
    [
      "We'll bring it tomorrow morning between eight and noon. Does that suit you?",
      [
        "I'm at work in the morning // afternoon would be better",
        'yep',
        'yes / thanks',
        'can you make it thursday / I have a dentist appointment',
        "sure // just have the guy call me when he's close",
        'whenever',
      ],
    ],
  ],
  // Clinic
  [
    [
      'Maple Street Clinic, are you calling to book an appointment?',
      [
        'yes I am',
        'yeah I need to see someone about my (knee|back|ear)',
        'no I just wanted to ask / do you guys do flu shots',
        "it's for my mother // she's been coughing for about a week now // and last night she had a fever / so we're kind of worried",
        'how much is a checkup without insurance',
        'I have one on {weekday} / but I need to move it',
      ],
    ],
    [
      'What seems to be the problem?',
      [
        "it's my stomach",
        'my knee hurts / when I… go up the stairs',
        "I've had this rash on my arm since sunday // it itches like crazy",
        'um… how do I put this / I feel sort of dizzy // not all the time / mostly when I stand up',
        "my son's been throwing up all night // he can't keep anything down // he's four",
        'toothache',
      ],
    ],
    [
      "What's the patient's name?",
      [
        '{name}',
        "it's {name}",
        '{name} / {spelling}',
        "it's for my daughter // her name is {name}",
      ],
    ],
    ['And the date of birth?', ['{birth}', "it's {birth}", '{birthShort}', 'uh {birth}']],
    [
      'I have Wednesday at ten or Friday at three. Which works for you?',
      [
        'friday',
        'wednesday at ten',
        'wednesday… / let me check // no make it friday',
        'anything on the weekend',
        'friday / would that be with the same doctor',
        'the second one / if possible',
      ],
    ],
    [
      'Have you been here before?',
      [
        'yes',
        'no / first time',
        "no I haven't",
        'once / I think it was / last summer',
        "I… don't think so",
        'my husband has',
      ],
    ],
  ],
  // Bank
  [
    [
      'Thanks for calling First Harbor Bank. In a few words, what are you calling about?',
      [
        'my balance',
        'I lost my card',
        "the machine just ate my card // I'm standing right in front of it // what do I do",
        'I wanted to know if / paying off my mortgage early / comes with a penalty',
        "there's a charge on my statement / I never made",
        'I got a text saying my account is locked // is that actually from you',
        'representative',
      ],
    ],
    [
      'Please tell me your social security number.',
      ['{ssn}', 'okay / {ssn}', "it's {ssn}", 'the whole thing… // {ssn}'],
    ],
    [
      "What's the card number?",
      [
        '{card}',
        'the number is {card}',
        'um… {card}',
        "I don't have the card with me // is there another way",
      ],
    ],
    [
      'I just sent you a security code. Could you read it to me?',
      [
        '{code}',
        "it's {code}",
        "hang on it hasn't come yet… // okay here it is / {code}",
        "I didn't get anything",
        '{code}',
      ],
    ],
    [
      'How much would you like to transfer?',
      [
        '{amount}',
        '{amount} dollars',
        "let's do {amount}",
        "uh… let's say {amount}",
        'well // how much can I send',
      ],
    ],
    [
      'So that is the card ending in 3308, correct?',
      [
        'correct',
        'yes',
        "yes that's the one",
        'no // the other one // ending in {last4}',
        'mhm',
        'let me look… // yeah',
      ],
    ],
  ],
  // Hotel
  [
    [
      'Cloudside Hotel, what can I do for you?',
      [
        "I'd like a room for {weekday} night / two nights actually",
        'do you have any king rooms left',
        "I have a reservation but my flight's delayed // I probably won't get there until like two in the morning // will you hold the room",
        'how do I get there from the airport',
        "I'm in three oh six / and the AC isn't working",
        'I checked out yesterday / and I think I left my charger by the bed',
        'do you take dogs',
      ],
    ],
    [
      'How many guests, and what kind of room?',
      [
        'two adults and a kid / two beds please',
        'just me',
        'two / a king',
        "there's… six of us // so three rooms / next to each other if you can",
        'my wife and me',
      ],
    ],
    [
      'May I have your last name?',
      ['{surname}', "it's {surname}", '{surname} / {spelling}', 'sure / {surname}'],
    ],
    [
      'What is the best number to reach you?',
      [
        '{phone}',
        '{phone}',
        'my number is {phone}',
        'uh {phone}',
        "the one I'm calling from",
        "it's {phone} // you can text me there too",
        "use my wife's // {phone}",
      ],
    ],
    [
      'Would you like breakfast with that?',
      [
        'yes please',
        'no thanks',
        'how much is it',
        'for two / please',
        "um… no I don't think so // we're leaving early",
        'is it included',
      ],
    ],
  ],
  // Repairs
  [
    [
      'Home Repair Line. Please describe what is wrong.',
      [
        "the washer won't spin",
        "my water heater / it won't light // the water's ice cold // I already changed the batteries / and that didn't help",
        "the TV… turns on / but there's no picture / only sound",
        "the fridge keeps leaking // at first I thought it was the door // but it's not // it looks like it's coming from a hose in the back",
        'so the fan over the stove / makes this really loud humming noise',
        'it just shows an error / E nine / and then nothing happens',
        "vacuum doesn't charge",
      ],
    ],
    [
      'Which model is it, and when did you buy it?',
      [
        'no idea about the model // I bought it last thanksgiving',
        'about three years ago',
        'the model is… / let me see // {model}',
        '{model} / I got it in march',
        'just last month',
      ],
    ],
    [
      'A technician can be there at three this afternoon. Will someone be home?',
      [
        'yes',
        "yeah I'll be here",
        "three won't work // I don't get home until five",
        'my mom will',
        "let me think… // yes that's okay / but call first",
        'no / can we do tomorrow',
      ],
    ],
    [
      'The visit costs fifty dollars. Is that all right?',
      [
        "that's fine",
        "why do I have to pay // isn't it under warranty",
        'I guess',
        'can you do any better',
        'fifty… / and does that come off the repair',
        'okay',
      ],
    ],
  ],
  // Orders
  [
    [
      'Hi, are you placing an order or checking on one?',
      [
        'placing an order',
        'checking on one',
        "my food's not here yet / it's been like an hour",
        'can I get the chicken pad thai / and a side of rice // and then also… / the tom yum soup / medium spicy',
        'large pepperoni // no olives // and / uh / a bottle of coke',
        'I need to cancel the one I just made',
      ],
    ],
    [
      'Anything else?',
      [
        'no',
        "no that's it",
        'a coke please',
        'umm… maybe the / cucumber salad',
        "that's everything / thanks",
        "what's good there",
        "I'm good",
      ],
    ],
    [
      'I see you asked for a return. What was the reason?',
      [
        'the color looked nothing like the picture',
        "wrong size // they're huge",
        'I just… / changed my mind',
        'it came broken // I took pictures and everything // I emailed you guys twice / nobody answered',
        'because it took three weeks // I already bought one somewhere else',
        'cheap quality / it ripped the first time I wore it',
      ],
    ],
    [
      'Would you rather have a refund or a replacement?',
      [
        'refund',
        'a replacement',
        'just give me my money back',
        'replacement // in black / if you have it',
        'hm… / how long would a replacement take',
      ],
    ],
    [
      "All done. You'll see the money within three business days.",
      [
        'okay',
        'okay thank you',
        'great / thanks a lot',
        "and what if it doesn't show up",
        "three days // alright I'll call back if it's not there",
        'okay // oh wait one more thing… / who pays for shipping',
      ],
    ],
    [
      'Is there anything else I can do for you?',
      [
        'no thank you',
        "nope / that's all // bye",
        "no you've been great",
        'yeah actually // I need a receipt',
        'not right now',
        'oh / are you open on sunday',
      ],
    ],
  ],
];
