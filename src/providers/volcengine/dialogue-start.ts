/** What a session of the dialogue is started with (providers.md 7.3). */
import { AppError } from '#lib/errors.ts';
import type { ChatMessage, Language } from '../contract.ts';
import type { LineCall } from '../realtime-line.ts';
import {
  choiceOption,
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
} from '../vendor.ts';
import { rateOf } from './tts.ts';
import { hotWordsOf } from './words.ts';

export const UP_RATE_HZ = 16000;
export const DOWN_RATE_HZ = 24000;

const MODEL = '1.2.1.1';
/** This one takes its prompt as a character; the others as a role and a style. */
const CHARACTER_MODEL = '2.2.0.0';
const VOICE = 'zh_female_vv_jupiter_bigtts';
const MAX_NAME_CHARS = 20;
/** The vendor resumes the last 20 rounds. */
const MAX_ROUNDS = 20;

export type DialogueOptions = {
  /** The reply is cut at the vendor to what was heard. */
  readonly canTruncate: boolean;
  /** Silence that ends a turn at the vendor. */
  readonly endWindowMs: number;
  /** How a connection takes over from another: by the vendor's memory, or by ours. */
  readonly resume: 'dialog_id' | 'context';
  /** `dialogId`: of the session before, or ''. */
  payloadOf(call: LineCall, dialogId: string): Record<string, unknown>;
};

/**
 * Options: `realtime_model` (the agent's model wins), `realtime_voice` (the agent's voice wins), `realtime_bot_name` (at
 * most 20 characters), `realtime_speaking_style`, `realtime_city`, `realtime_end_window_ms` (500-50000, default 800),
 * `realtime_truncate`, `realtime_strict_audit`, `realtime_audit_response`, `realtime_resume`, `hot_words`.
 * Errors: E_CONFIG.
 */
export function dialogueOptions(settings: VendorSettings): DialogueOptions {
  const canTruncate = flagOption(settings, 'realtime_truncate', true);
  const model = settings.model ?? textOption(settings, 'realtime_model', MODEL);
  const speaker = settings.voice ?? textOption(settings, 'realtime_voice', VOICE);
  const botName = textOption(settings, 'realtime_bot_name', '');
  if (botName.length > MAX_NAME_CHARS) {
    const what = `options.realtime_bot_name has more than ${MAX_NAME_CHARS} characters`;
    throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
  }
  const style = textOption(settings, 'realtime_speaking_style', '');
  const city = textOption(settings, 'realtime_city', '');
  const auditResponse = textOption(settings, 'realtime_audit_response', '');
  const extra = {
    ...{ model, input_mod: 'keep_alive', enable_conversation_truncate: canTruncate },
    strict_audit: flagOption(settings, 'realtime_strict_audit', false),
    ...(auditResponse === '' ? {} : { audit_response: auditResponse }),
  };
  const endWindowMs = numberOption(settings, 'realtime_end_window_ms', 800, [500, 50_000]);
  const asr = asrOf(settings, endWindowMs);
  const tts = ttsOf(settings, speaker);
  return {
    ...{ canTruncate, endWindowMs },
    resume: choiceOption(settings, 'realtime_resume', ['dialog_id', 'context']),
    payloadOf: (call, dialogId) => ({
      ...{ asr, tts },
      dialog: {
        ...(botName === '' ? {} : { bot_name: botName }),
        ...promptOf(model, call, style),
        ...(city === '' ? {} : { location: { city } }),
        dialog_id: dialogId,
        ...contextOf(call.history, call.language, dialogId),
        extra,
      },
    }),
  };
}

function asrOf(settings: VendorSettings, endWindowMs: number): Record<string, unknown> {
  const words = hotWordsOf(settings);
  return {
    audio_info: { format: 'pcm', sample_rate: UP_RATE_HZ, channel: 1 },
    extra: {
      end_smooth_window_ms: endWindowMs,
      enable_custom_vad: true,
      enable_asr_twopass: false,
      ...(words.length === 0 ? {} : { context: { hotwords: words.map((word) => ({ word })) } }),
    },
  };
}

function ttsOf(settings: VendorSettings, speaker: string): Record<string, unknown> {
  return {
    speaker,
    audio_config: {
      ...{ channel: 1, format: 'pcm_s16le', sample_rate: DOWN_RATE_HZ },
      ...{ speech_rate: rateOf(settings.speed), loudness_rate: rateOf(settings.volume) },
    },
    // Null instead of an object is refused.
    extra: {},
  };
}

function promptOf(model: string, call: LineCall, style: string): Record<string, string> {
  const earlier = call.history.filter(({ role }) => role === 'system').map((each) => each.content);
  const role = plain([call.instructions, ...earlier].filter(Boolean).join('\n\n'));
  if (model === CHARACTER_MODEL) {
    return { character_manifest: [role, plain(style)].filter(Boolean).join('\n') };
  }
  return { system_role: role, ...(style === '' ? {} : { speaking_style: plain(style) }) };
}

/** The vendor puts prompts into YAML: a backslash or a control character there fails the whole session. */
function plain(text: string): string {
  return text.replaceAll('\\', '/').replace(/[^\P{Cc}\n]/gu, ' ');
}

function contextOf(
  history: readonly ChatMessage[],
  language: Language,
  dialogId: string,
): { dialog_context?: readonly Turn[] } {
  if (dialogId !== '') return {};
  const turns = turnsOf(history, language);
  return turns.length === 0 ? {} : { dialog_context: turns };
}

type Turn = { readonly role: 'user' | 'assistant'; readonly text: string };

/**
 * What was said as question and answer in turn, the last 20 rounds. Words that have no counterpart get a mark for one:
 * the vendor takes pairs only, and an agent that has asked for something must know what the answer belongs to.
 */
export function turnsOf(history: readonly ChatMessage[], language: Language): readonly Turn[] {
  const isZh = language === 'zh';
  const counterpart = {
    user: isZh ? '（电话接通）' : '(the caller is on the line)',
    assistant: isZh ? '（没有回答）' : '(no answer was given)',
  };
  const turns: { role: 'user' | 'assistant'; text: string }[] = [];
  for (const { role, content } of history) {
    if ((role !== 'user' && role !== 'assistant') || content.trim() === '') continue;
    const last = turns.at(-1);
    if (last?.role === role) last.text += `\n${content}`;
    else {
      if (last === undefined && role === 'assistant') {
        turns.push({ role: 'user', text: counterpart.user });
      }
      turns.push({ role, text: content });
    }
  }
  if (turns.at(-1)?.role === 'user') turns.push({ role: 'assistant', text: counterpart.assistant });
  return turns.slice(-2 * MAX_ROUNDS);
}

/** What the model is asked when it is to speak without anything new: the last words of the caller, or to go on. */
export function promptAgain(call: LineCall, goesOn: boolean): string {
  const last = call.history.findLast(({ role }) => role === 'user' || role === 'assistant');
  if (!goesOn && last?.role === 'user') return last.content;
  return call.language === 'zh'
    ? '刚才线路断了一下，请从断开的地方接着说。'
    : 'The line dropped for a moment. Please go on from where you were cut off.';
}
