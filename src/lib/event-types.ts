/** Every event type of contract 3, and the patterns by which clients choose among them. */
import { aliasOf } from './public-event.ts';

export const EVENT_TYPES = [
  ...['call.initiated', 'call.trying', 'call.ringing', 'call.answered', 'call.failed'],
  ...['call.timeout', 'call.ended', 'user-speech', 'ai-response', 'user-interrupted'],
  ...['call-error', 'conversation.message', 'dtmf.received', 'call.transferred', 'call.handoff'],
  ...['supervisor.changed', 'amd.result', 'recording.ready', 'summary.ready', 'campaign.started'],
  ...['campaign.paused', 'campaign.completed', 'trunk.changed', 'webhook.test'],
] as const;

const PATTERNS: ReadonlySet<string> = new Set([
  '*',
  ...EVENT_TYPES.flatMap((type) => {
    const [noun, ...rest] = type.split('.');
    return [type, aliasOf(type) ?? type, ...(rest.length > 0 ? [`${noun}.*`] : [])];
  }),
]);

/** True for `*`, a type or its alias, and `x.*` where there are types that begin with `x.`. */
export function isEventPattern(text: string): boolean {
  return PATTERNS.has(text);
}
