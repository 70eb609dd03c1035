/**
 * Turns a text, possibly of both languages, into pieces that one voice each can say, with a map back to the text, and
 * turns the engine's word events of a piece into word marks of the text.
 */
import type { Language, WordMark } from '../contract.ts';
import { isHan } from '../speakable.ts';

/** A word began, or the voice paused, `ms` into the piece. `position`: 1-based character of the piece, as eSpeak counts. */
export type VoiceEvent = {
  readonly kind: 'word' | 'pause';
  readonly position: number;
  readonly ms: number;
};

export type SpeechPiece = {
  readonly voice: string;
  /** What the engine is given; every character is one UTF-16 unit. */
  readonly text: string;
  /** For each character of `text` (and one past its end) the index in the source text. */
  readonly source: readonly number[];
  /** Silence after it, where two voices or two sentences meet, and after a sentence. */
  readonly pauseMs: number;
};

const VOICES: { readonly [L in Language]: string } = { zh: 'cmn', en: 'en-us' };
/** Base voices in the engine's data, each with an optional variant such as `+f3`. */
const KNOWN_VOICE = /^(cmn|en-us)(\+[fm][1-8])?$/;
/** Latin words between Chinese ones stay with the Chinese voice up to this many. */
const GUEST_WORDS = 1;
const MAX_PIECE_CHARS = 160;

/** Whether `voice` can be asked for. */
export function isKnownVoice(voice: string): boolean {
  return KNOWN_VOICE.test(voice);
}

export function planSpeech(text: string, language: Language, voice?: string): SpeechPiece[] {
  const pieces: SpeechPiece[] = [];
  for (const run of runsOf(text, language)) {
    const own = voice !== undefined && isKnownVoice(voice) ? voice : undefined;
    const isOwn = own !== undefined && own.startsWith(VOICES[run.language]);
    for (const [from, to] of shortened(text, run.from, run.to)) {
      const piece = pieceOf(text, from, to, isOwn ? own : VOICES[run.language], run.language);
      if (/[\p{L}\p{N}]/u.test(piece.text)) pieces.push(piece);
    }
  }
  return pieces;
}

type Run = { readonly language: Language; readonly from: number; readonly to: number };

/** Stretches of one script. Digits and punctuation go with what stands before them. */
function runsOf(text: string, language: Language): Run[] {
  const runs: { language: Language; from: number; to: number }[] = [];
  for (const match of text.matchAll(/\p{Script=Han}+|(?:(?!\p{Script=Han})\p{L}|['’])+/gu)) {
    const script: Language = isHan(match[0].charAt(0)) ? 'zh' : 'en';
    const last = runs.at(-1);
    if (last?.language === script) continue;
    const from = last === undefined ? 0 : match.index;
    if (last !== undefined) last.to = from;
    runs.push({ language: script, from, to: text.length });
  }
  if (runs.length === 0) return [{ language, from: 0, to: text.length }];
  return mergeGuests(text, runs);
}

/** A single foreign word in a Chinese sentence sounds better in the voice around it. */
function mergeGuests(text: string, runs: readonly Run[]): Run[] {
  const merged: { language: Language; from: number; to: number }[] = [];
  for (const [index, run] of runs.entries()) {
    const last = merged.at(-1);
    const words = text.slice(run.from, run.to).match(/[\p{L}'’]+/gu)?.length ?? 0;
    const isGuest = run.language === 'en' && words <= GUEST_WORDS && runs.length > 1 && index > 0;
    if (last?.language === 'zh' && (run.language === 'zh' || isGuest)) last.to = run.to;
    else merged.push({ ...run });
  }
  return merged;
}

/** Cuts a long run after punctuation, so that one request never holds the engine for long. */
function shortened(text: string, from: number, to: number): [number, number][] {
  const parts: [number, number][] = [];
  let start = from;
  while (to - start > MAX_PIECE_CHARS) {
    const window = text.slice(start, start + MAX_PIECE_CHARS);
    const stop = Math.max(
      ...['\u3002', '\uff01', '\uff1f', '. ', '! ', '? '].map((end) => window.lastIndexOf(end)),
    );
    const comma = Math.max(
      ...['\uff0c', '\uff1b', ', ', '; ', ' '].map((end) => window.lastIndexOf(end)),
    );
    const at = stop > 20 ? stop + 1 : comma > 20 ? comma + 1 : MAX_PIECE_CHARS;
    parts.push([start, start + at]);
    start += at;
  }
  if (start < to) parts.push([start, to]);
  return parts;
}

/** Signs the engine would take for markup or read badly, and what it is given instead. */
function spoken(char: string, language: Language): string {
  if (char === '&') return language === 'zh' ? '\u548c' : ' and ';
  if (/[<>[\]{}\\|_*#~^"\p{C}]/u.test(char)) return ' ';
  // eSpeak does not pause at full-width closing quotes and names rare signs: letters, digits and marks are enough.
  if (/[\p{L}\p{M}\p{N}\p{Z}\p{P}\p{Sc}+=%°]/u.test(char)) return char;
  return ' ';
}

function pieceOf(
  text: string,
  from: number,
  to: number,
  voice: string,
  language: Language,
): SpeechPiece {
  let said = '';
  const source: number[] = [];
  for (let at = from; at < to;) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0x20);
    const instead = char.length > 1 ? ' ' : spoken(char, language);
    for (let i = 0; i < instead.length; i++) source.push(at);
    said += instead;
    at += char.length;
  }
  source.push(to);
  return {
    voice,
    text: said,
    source,
    pauseMs: pauseAfter(text.slice(from, to), to >= text.length),
  };
}

/** At the end of the text a shorter pause does: what comes next, if anything, takes its time too. */
function pauseAfter(text: string, isLast: boolean): number {
  const last = text.trimEnd().at(-1) ?? '';
  if (last === '') return 0;
  if ('\u3002\uff01\uff1f.!?'.includes(last)) return isLast ? 150 : 250;
  if (isLast) return 0;
  return '\uff0c\uff1b\uff1a\u3001,;:'.includes(last) ? 150 : 0;
}

export type MarkMaker = {
  /** Marks that became certain with these events; times from the utterance's start. */
  onEvents(events: readonly VoiceEvent[]): WordMark[];
  /** The piece is over after `totalMs` of audio. */
  onEnd(totalMs: number): WordMark[];
};

/**
 * A word is over when the next begins or the voice pauses, whichever is first; what it was is known when the next
 * begins. Chinese words get a mark per character, spread evenly over the word.
 */
export function markMaker(source: string, piece: SpeechPiece, offsetMs: number): MarkMaker {
  let start: { position: number; ms: number } | null = null;
  let pausedMs: number | null = null;

  const close = (position: number, ms: number): WordMark[] => {
    if (start === null) return [];
    const from = piece.source[start.position - 1] ?? 0;
    const to = piece.source[position - 1] ?? piece.source.at(-1) ?? 0;
    const endMs = offsetMs + Math.min(ms, pausedMs ?? ms);
    return wordMarks(source, { from, to, startMs: offsetMs + start.ms, endMs });
  };
  return {
    onEvents(events) {
      const marks: WordMark[] = [];
      for (const event of events) {
        if (event.kind === 'pause') {
          pausedMs ??= event.ms;
        } else if (start === null) {
          start = { position: event.position, ms: event.ms };
          pausedMs = null;
        } else if (event.position > start.position) {
          marks.push(...close(event.position, event.ms));
          start = { position: event.position, ms: event.ms };
          pausedMs = null;
        } else {
          // Further words of the same number: "3.5" is three of them at one position.
          pausedMs = null;
        }
      }
      return marks;
    },
    onEnd(totalMs) {
      const marks = close(piece.text.length + 1, totalMs);
      start = null;
      return marks;
    },
  };
}

type Word = { from: number; to: number; startMs: number; endMs: number };

function wordMarks(source: string, word: Word): WordMark[] {
  const text = source.slice(word.from, word.to).trimEnd();
  const end = word.from + text.length;
  const han = [...text.matchAll(/\p{Script=Han}/gu)].map((match) => word.from + match.index + 1);
  const isChinese = han.length > 1;
  const endMs = Math.round(word.endMs);
  // eSpeak tells "42" as two words: the first is no word of the text.
  if (/[\p{L}\p{N}][\p{L}\p{N}]/u.test(source.slice(end - 1, end + 1)) && han.length === 0)
    return [];
  if (!isChinese) return text === '' ? [] : [{ chars: end, ms: endMs }];
  const stepMs = (word.endMs - word.startMs) / han.length;
  return han.map((chars, i) => ({
    chars: i === han.length - 1 ? end : chars,
    ms: i === han.length - 1 ? endMs : Math.round(word.startMs + stepMs * (i + 1)),
  }));
}
