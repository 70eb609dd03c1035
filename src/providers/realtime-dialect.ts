/**
 * The two dialects of OpenAI's realtime events: GA, and the beta whose names many other vendors still use
 * (providers.md 8.1, "Beta -> GA renames"). What comes is brought to GA names; what goes out is written as the vendor
 * wants it.
 */
import { g711Coding, pcmCoding, type Coding } from './realtime-audio.ts';

export type DialectName = 'ga' | 'beta';

const FROM_BETA: Readonly<Record<string, string>> = {
  'response.audio.delta': 'response.output_audio.delta',
  'response.audio.done': 'response.output_audio.done',
  'response.audio_transcript.delta': 'response.output_audio_transcript.delta',
  'response.audio_transcript.done': 'response.output_audio_transcript.done',
  'response.text.delta': 'response.output_text.delta',
  'response.text.done': 'response.output_text.done',
  'conversation.item.created': 'conversation.item.added',
};

/** The GA name of an event, whichever dialect it came in. */
export function gaName(type: string): string {
  return FROM_BETA[type] ?? type;
}

/** The kind of content that holds an assistant's written words. */
export const ASSISTANT_TEXT: Readonly<Record<DialectName, string>> = {
  ga: 'output_text',
  beta: 'text',
};

export type WireFormat = {
  readonly coding: Coding;
  /** As session.update names it, by dialect. */
  readonly ga: { readonly type: string; readonly rate?: number };
  readonly beta: string;
};

/** The line's own code where the vendor takes it: then no sample is computed anew. */
export function wireFormat(codec: 'PCMA' | 'PCMU' | 'L16'): WireFormat {
  if (codec === 'PCMA') {
    return { coding: g711Coding('PCMA'), ga: { type: 'audio/pcma' }, beta: 'g711_alaw' };
  }
  if (codec === 'PCMU') {
    return { coding: g711Coding('PCMU'), ga: { type: 'audio/pcmu' }, beta: 'g711_ulaw' };
  }
  return { coding: pcmCoding(24_000), ga: { type: 'audio/pcm', rate: 24_000 }, beta: 'pcm16' };
}
