/** A call as one text: what was said, one message per line, and which stretches of it our side said. */
import type { Message } from '#lib/call-events.ts';
import type { CheckedPart } from './compliance.ts';
import { isSpoken, sideOf } from './transcript.ts';

export function spokenText(messages: readonly Message[]): {
  readonly text: string;
  readonly parts: readonly CheckedPart[];
} {
  const parts: CheckedPart[] = [];
  const lines: string[] = [];
  let start = 0;
  for (const message of messages.filter(isSpoken)) {
    const end = start + message.content.length;
    if (sideOf(message) !== 'caller') parts.push({ start, end });
    lines.push(message.content);
    start = end + 1;
  }
  return { text: lines.join('\n'), parts };
}
