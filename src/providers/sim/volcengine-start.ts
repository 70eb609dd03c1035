/** What the dialogue accepts in StartSession (providers.md 7.3). */

export type DialogueStart = {
  readonly dialogId: string;
  readonly silenceMs: number;
  readonly isKeptAlive: boolean;
  readonly canTruncate: boolean;
  readonly context: readonly { readonly role: 'user' | 'assistant'; readonly text: string }[];
};

type Json = Readonly<Record<string, unknown>>;

const MODELS: readonly unknown[] = ['1.2.1.1', '2.2.0.0'];
const INPUTS: readonly unknown[] = ['', 'keep_alive', 'push_to_talk', 'text', 'audio_file'];

export function checkStart(json: Json): DialogueStart | { readonly error: string } {
  try {
    return read(json);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

function read({ asr, tts, dialog }: Json): DialogueStart {
  const [hear, speak, talk] = [object(asr, 'asr'), object(tts, 'tts'), object(dialog, 'dialog')];
  const hearExtra = object(hear['extra'] ?? {}, 'asr extra');
  if ('extra' in hear && hear['extra'] === null) throw new Error('asr extra is null');
  if ('extra' in speak) object(speak['extra'], 'tts extra');
  const extra = object(talk['extra'], 'dialog extra');
  if (!MODELS.includes(extra['model'])) throw new Error('dialog.extra.model is required');
  if (!INPUTS.includes(extra['input_mod'] ?? '')) throw new Error('input_mod');
  const audio = object(hear['audio_info'] ?? {}, 'audio_info');
  if (audio['format'] !== 'pcm' || audio['sample_rate'] !== 16000 || audio['channel'] !== 1) {
    throw new Error('audio_info');
  }
  const out = object(speak['audio_config'] ?? {}, 'audio_config');
  if (out['format'] !== 'pcm_s16le' || out['sample_rate'] !== 24000 || out['channel'] !== 1) {
    throw new Error('audio_config: the simulator speaks pcm_s16le at 24000 only');
  }
  if (!/_jupiter_bigtts$|^S_|^saturn_/.test(String(speak['speaker'])))
    throw new Error('InvalidSpeaker');
  checkWords(talk, extra['model']);
  const isCustom = hearExtra['enable_custom_vad'] === true;
  const silenceMs = isCustom ? Number(hearExtra['end_smooth_window_ms'] ?? 1500) : 1500;
  if (!(silenceMs >= 500 && silenceMs <= 50_000)) throw new Error('end_smooth_window_ms');
  return {
    dialogId: typeof talk['dialog_id'] === 'string' ? talk['dialog_id'] : '',
    silenceMs,
    isKeptAlive: extra['input_mod'] === 'keep_alive',
    canTruncate: extra['enable_conversation_truncate'] === true,
    context: contextOf(talk['dialog_context'] ?? []),
  };
}

function checkWords(dialog: Json, model: unknown): void {
  const name = dialog['bot_name'];
  if (typeof name === 'string' && name.length > 20) throw new Error('bot_name is too long');
  const prompt = model === '2.2.0.0' ? ['character_manifest'] : ['system_role', 'speaking_style'];
  for (const name of ['character_manifest', 'system_role', 'speaking_style']) {
    const text = dialog[name];
    if (typeof text !== 'string') continue;
    if (!prompt.includes(name)) throw new Error(`${name} is not for model ${String(model)}`);
    // oxlint-disable-next-line no-control-regex -- they are what breaks the vendor's YAML
    if (/[\\\u0000-\u0009\u000b-\u001f]/.test(text))
      throw new Error('Yaml: found unknown escape character');
  }
}

function contextOf(value: unknown): DialogueStart['context'] {
  if (!Array.isArray(value) || value.length % 2 === 1)
    throw new Error('dialog_context is a list of pairs');
  return value.map((each: unknown, index) => {
    const { role, text } = object(each, 'dialog_context');
    const wanted = index % 2 === 0 ? 'user' : 'assistant';
    if (role !== wanted || typeof text !== 'string' || text === '')
      throw new Error('dialog_context');
    return { role: wanted, text };
  });
}

function object(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what} is null`);
  return value as Json;
}
