/** How a piece of text is said: in which language, by which voice, and in what words. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Language, TtsProvider, TtsRequest } from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import { speakWritten } from '#providers/spoken-voice.ts';
import type { Piece } from './speaker-line.ts';
import type { Voice } from './speaker-types.ts';

export type Words = {
  readonly text: string;
  /** Known to be in this language; null: the script tells. */
  readonly language: Language | null;
  readonly keep?: TtsRequest['keep'];
};

/** What tells what a number at the beginning of a piece is. */
const BEFORE_CHARS = 40;

/** The pieces of one utterance, in order. */
export class PieceVoice {
  /** Of the piece before: a few words of another script change nothing. */
  #language: Language;
  /** Of the conversation. */
  #spoken: Language;
  #before = '';

  constructor(language: Language) {
    this.#language = language;
    this.#spoken = language;
  }

  /** The conversation goes on in this language. */
  turnTo(language: Language): void {
    if (language === this.#spoken) return;
    this.#spoken = language;
    this.#language = language;
  }

  piece({ text, language, keep }: Words, agent: AgentConfig, tts: TtsProvider): Piece {
    this.#language = language ?? languageOfPiece(text, this.#language);
    const request = requestOf(text, this.#language, agent, keep);
    const before = this.#before;
    this.#before = `${before}${text} `.slice(-BEFORE_CHARS);
    return {
      ...{ text, vendor: tts.vendor },
      speak: (signal) =>
        isSaidAsWritten(tts.vendor, agent)
          ? tts.speak(request, signal)
          : speakWritten(tts, request, signal, before),
    };
  }
}

/** The voices of one call, with the sound that is kept of each. */
export function keptVoices(phrases: PhraseStore | null): (voice: Voice) => TtsProvider {
  const kept = new WeakMap<TtsProvider, TtsProvider>();
  return ({ agent, providers: { tts } }) => {
    if (phrases === null) return tts;
    const known = kept.get(tts) ?? phrases.of(tts, nameOfVoice(agent));
    kept.set(tts, known);
    return known;
  };
}

/** Whatever decides about its sound, besides what is in the request. Accounts share nothing. */
function nameOfVoice({
  accountId,
  vendors,
  vendorConfigs,
  vendorOptions,
  speech,
}: AgentConfig): string {
  const { speed = null, volume = null } = speech ?? {};
  const own = [vendors.tts, vendorConfigs?.tts ?? null, vendorOptions?.tts ?? null];
  return JSON.stringify([accountId, ...own, speed, volume]);
}

function requestOf(
  text: string,
  language: Language,
  agent: AgentConfig,
  keep: TtsRequest['keep'],
): TtsRequest {
  const voice = voiceOf(agent, language);
  return {
    ...{ text, language },
    ...(voice === null ? {} : { voice }),
    ...(keep === undefined ? {} : { keep }),
  };
}

/** `voices` of the agent's own options, by language; else its voice. */
export function voiceOf({ voice, vendorOptions }: AgentConfig, language: Language): string | null {
  const voices = vendorOptions?.tts['voices'];
  if (typeof voices !== 'object' || voices === null) return voice;
  const own: unknown = (voices as Readonly<Record<string, unknown>>)[language];
  return typeof own === 'string' && own !== '' ? own : voice;
}

/** The local voice sees to it itself: its recordings are found by the written words. */
function isSaidAsWritten(vendor: string, { vendorOptions }: AgentConfig): boolean {
  return vendor === 'local' || vendorOptions?.tts['spoken_form'] === false;
}

/** A few words in the other script do not change the language. */
const FOREIGN_WORDS = 3;

/** The language to say `text` in, after something in `present`. */
export function languageOfPiece(text: string, present: Language): Language {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  const latin = text.match(/[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ'’]*/gu)?.length ?? 0;
  if (present === 'zh') return latin >= Math.max(FOREIGN_WORDS, han * 2) ? 'en' : 'zh';
  return han > latin * 1.5 ? 'zh' : 'en';
}
