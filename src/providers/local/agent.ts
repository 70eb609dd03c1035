/** The built-in agent: needs no model, speaks both languages, repeats what it hears, and has a menu on the keys. */
import { AppError } from '#lib/errors.ts';
import type {
  Language,
  LlmProvider,
  ReplyPart,
  ReplyRequest,
  TurnInput,
  UtteranceAudio,
} from '../contract.ts';
import { promptText, UNREAD_SPEECH } from '../prompts.ts';

/** Keys of the per-call memory. */
const LANGUAGE = 'local.language';
const ECHOES = 'local.echoes';

const SAMPLES_PER_MS = 8;
/** Shorter sounds are taken for a click or a cough. */
const MIN_SPEECH_MS = 200;
const MAX_ECHO_MS = 15_000;
/** How often the echo reminds of the menu: the first time and then every third. */
const HINT_EVERY = 3;

type Command = 'chinese' | 'english' | 'about' | 'menu' | 'goodbye';

const KEYS: { readonly [digit: string]: Command } = {
  ...{ '1': 'chinese', '2': 'english', '3': 'about', '4': 'menu', '*': 'menu' },
  ...{ '0': 'goodbye', '9': 'goodbye', '#': 'goodbye' },
};

/** What a caller may say instead of pressing, when a recogniser reads it. First match wins. */
const SPOKEN: readonly (readonly [RegExp, Command])[] = [
  [/再见|拜拜|挂断|挂了吧|\b(?:good\s?bye|bye|hang up)\b/i, 'goodbye'],
  [/英[文语]|\bin english\b|\bspeak english\b|^\s*english\W*$/i, 'english'],
  [/中文|汉语|普通话|\bchinese\b|\bmandarin\b/i, 'chinese'],
  [/菜单|选项|\bmenu\b|\boptions\b/i, 'menu'],
  [/你是谁|你是什么|介绍一下|\bwhat is callyard\b|\bwho are you\b|\bwhat are you\b/i, 'about'],
];

export function createLocalAgent(): LlmProvider {
  return {
    vendor: 'local',
    async *reply(request, signal) {
      for (const part of partsOf(request)) {
        if (signal.aborted) throw new AppError('E_ABORTED', 'the reply was given up');
        yield part;
      }
      return undefined;
    },
  };
}

function partsOf(request: ReplyRequest): ReplyPart[] {
  const { input, state } = request;
  const language = languageOf(request);
  if (input.kind === 'dtmf') return keyParts(input.digits, language, state);
  // There is no model here that could act on a note.
  if (input.kind === 'note') return [];
  const command = SPOKEN.find(([pattern]) => pattern.test(input.text))?.[1];
  return command === undefined
    ? echoParts(input, language, state)
    : commandParts(command, language, state);
}

function languageOf(request: ReplyRequest): Language {
  const kept = request.state.get(LANGUAGE);
  return kept === 'zh' || kept === 'en' ? kept : request.language;
}

/** Of several keys the last decides, but a language chosen on the way stays. */
function keyParts(digits: string, language: Language, state: Map<string, unknown>): ReplyPart[] {
  const commands = digits.split('').map((digit) => KEYS[digit]);
  const last = commands.pop();
  const chosen = commands.findLast((command) => command === 'chinese' || command === 'english');
  const parts: ReplyPart[] = [];
  let now = language;
  if (chosen !== undefined) {
    now = chosen === 'chinese' ? 'zh' : 'en';
    state.set(LANGUAGE, now);
    parts.push({ type: 'language', language: now });
  }
  if (last === undefined) return [...parts, say('unknown_key', now)];
  return [...parts, ...commandParts(last, now, state)];
}

function commandParts(
  command: Command,
  language: Language,
  state: Map<string, unknown>,
): ReplyPart[] {
  switch (command) {
    case 'chinese':
    case 'english': {
      const chosen = command === 'chinese' ? 'zh' : 'en';
      state.set(LANGUAGE, chosen);
      return [{ type: 'language', language: chosen }, say('language_set', chosen)];
    }
    case 'about':
      return [say('about', language), say('go_on_menu', language)];
    case 'menu':
      return [say('menu', language)];
    case 'goodbye':
      return [say('goodbye', language), { type: 'end_call' }];
  }
}

function echoParts(
  input: Extract<TurnInput, { kind: 'speech' }>,
  language: Language,
  state: Map<string, unknown>,
): ReplyPart[] {
  const text = input.text.trim();
  const audio = input.audio;
  if (text === '' && (audio === null || audio.endMs - audio.startMs < MIN_SPEECH_MS)) {
    return [say('too_short', language)];
  }
  const count = Number(state.get(ECHOES) ?? 0);
  state.set(ECHOES, count + 1);
  const hint = say(count % HINT_EVERY === 0 ? 'go_on_menu' : 'go_on', language);
  const echo: ReplyPart =
    text !== '' || audio === null
      ? { type: 'text', text: `${text}\n`, language: /\p{Script=Han}/u.test(text) ? 'zh' : 'en' }
      : { type: 'audio', pcm: echoOf(audio), text: UNREAD_SPEECH[language] };
  return [say('you_said', language), echo, hint];
}

/** The caller's words, at most 15 s of them. A copy: the utterance may be reused by its owner. */
function echoOf(audio: UtteranceAudio): Int16Array {
  return audio.pcm.slice(0, MAX_ECHO_MS * SAMPLES_PER_MS);
}

/** Each prompt ends its line, so that it is never spoken as one sentence with what follows. */
function say(name: Parameters<typeof promptText>[0], language: Language): ReplyPart {
  return { type: 'text', text: `${promptText(name, language)}\n`, language };
}
