/** What Callyard itself says, in both languages: prompts of every call and the words of the built-in agent. */
import type { Language, PromptName } from './contract.ts';

/** Further fixed words, used by the built-in agent only. */
export type AgentPromptName =
  | 'about'
  | 'menu'
  | 'you_said'
  | 'go_on'
  | 'go_on_menu'
  | 'too_short'
  | 'language_set'
  | 'unknown_key'
  | 'goodbye'
  | 'no_words';

type Bilingual = { readonly [L in Language]: string };

const PROMPTS: { readonly [Name in PromptName | AgentPromptName]: Bilingual } = {
  greeting: {
    zh: '您好，这里是 Callyard。请说话，或按 4 听菜单。Hello, press 2 for English.',
    en: 'Hello, this is Callyard. Say something, or press 4 for the menu. 您好，说中文请按 1。',
  },
  still_there: {
    zh: '您还在吗？请说话，或按 4 听菜单。',
    en: 'Are you still there? Say something, or press 4 for the menu.',
  },
  goodbye_silence: {
    zh: '没有听到您的声音，我先挂断了。再见。',
    en: 'I cannot hear you, so I will hang up now. Goodbye.',
  },
  limit_warning: {
    zh: '提醒您，通话还剩大约二十秒。',
    en: 'This call will end in about twenty seconds.',
  },
  goodbye_limit: {
    zh: '本次通话的时间到了，感谢来电。再见。',
    en: 'This call has reached its time limit. Thank you for calling. Goodbye.',
  },
  apology: {
    zh: '抱歉，我这边出了点问题，请您再说一遍。',
    en: 'Sorry, something went wrong on my side. Please say that again.',
  },
  withheld: {
    zh: '抱歉，这个问题我没法回答。您可以换个问题问我。',
    en: 'Sorry, I cannot help with that. You can ask me something else.',
  },
  about: {
    zh: 'Callyard 是您自己的电话服务器。它接听和拨打电话，让智能体和来电者对话，并保存完整记录。我是内置助手，接上您的模型，我就能回答问题。',
    en: 'Callyard is a telephony server of your own. It answers and places calls, lets voice agents talk with callers, and keeps a full record. I am the built-in agent. Connect a language model, and I can answer questions.',
  },
  menu: {
    zh: '说中文，请按 1。For English, press 2. 了解 Callyard，请按 3。再听一遍菜单，请按 4。结束通话，请按 0。',
    en: 'For English, press 2. 说中文，请按 1。To hear what Callyard is, press 3. To hear this menu again, press 4. To end the call, press 0.',
  },
  you_said: { zh: '您刚才说：', en: 'You said:' },
  go_on: { zh: '请继续说。', en: 'Please go on.' },
  go_on_menu: {
    zh: '请再说一句，或按 4 听菜单。',
    en: 'Say something else, or press 4 for the menu.',
  },
  too_short: {
    zh: '我没有听清，请再说一遍。',
    en: 'I did not catch that. Please say it again.',
  },
  language_set: {
    zh: '好的，我们说中文。请说话，或按 4 听菜单。',
    en: 'All right, we speak English now. Say something, or press 4 for the menu.',
  },
  unknown_key: {
    zh: '这个键没有用到。按 4 听菜单。',
    en: 'That key has no meaning here. Press 4 for the menu.',
  },
  goodbye: { zh: '感谢来电，再见。', en: 'Thank you for calling. Goodbye.' },
  no_words: { zh: '抱歉，这句话我说不出来。', en: 'Sorry, I have no voice for these words.' },
};

/** The fixed words `name` in `language`. */
export function promptText(name: PromptName | AgentPromptName, language: Language): string {
  return PROMPTS[name][language];
}

/** What is said while somebody has to wait: a moment for thinking, a tool at work, and one that takes long. */
export type FillerKind = 'thinking' | 'tool' | 'long';

const FILLERS: { readonly [K in FillerKind]: { readonly [L in Language]: readonly string[] } } = {
  thinking: {
    zh: ['嗯，我看一下。', '好的，请稍等。'],
    en: ['Let me see.', 'One second, please.'],
  },
  tool: {
    zh: ['稍等，我查一下。', '请稍候，正在为您查询。'],
    en: ['One moment, let me check.', 'Just a second, I am looking that up.'],
  },
  long: {
    zh: ['还在查询，请您再等一下。', '让您久等了，马上就好。'],
    en: [
      'I am still checking, thank you for waiting.',
      'Thank you for your patience, nearly there.',
    ],
  },
};

/** What may be said, at least two. */
export function fillerTexts(kind: FillerKind, language: Language): readonly string[] {
  return FILLERS[kind][language];
}

const ALL_FILLERS = Object.entries(FILLERS).flatMap(([kind, texts]) =>
  Object.entries(texts).flatMap(([language, each]) =>
    each.map((text, i) => ({
      ...{ name: `filler_${kind}_${i + 1}`, language: language as Language, text },
    })),
  ),
);

/** Every fixed text with the language it is spoken in, in a stable order. */
export function allPrompts(): { readonly name: string; language: Language; text: string }[] {
  const languages: readonly Language[] = ['zh', 'en'];
  const prompts = Object.entries(PROMPTS).flatMap(([name, texts]) =>
    languages.map((language) => ({ name, language, text: texts[language] })),
  );
  return [...prompts, ...ALL_FILLERS];
}

/** A caller's utterance that was heard and not read, as the transcript shows it. */
export const UNREAD_SPEECH: Bilingual = { zh: '(您的原声)', en: '(your own voice)' };
