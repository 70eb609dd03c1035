/** What the console API tells people beside its data (contract 1.5: every answer of `/api/call-center` has a message). */
import type { FastifyRequest } from 'fastify';
import { languageOf, type Language } from './language.ts';

const MESSAGES = {
  callStarted: { en: 'call started', zh: '呼叫已发起' },
  callEnded: { en: 'call ended', zh: '通话已结束' },
  callRead: { en: 'call status', zh: '通话状态' },
  activeCalls: { en: 'active calls', zh: '进行中的通话' },
  overview: { en: 'overview', zh: '概览' },
  contacts: { en: 'contacts', zh: '联系人列表' },
  extensions: { en: 'extensions', zh: '分机列表' },
  status: { en: 'realtime status', zh: '实时状态' },
  recordings: { en: 'recordings', zh: '录音列表' },
  transcript: { en: 'transcript', zh: '通话文字记录' },
} as const satisfies Record<string, Readonly<Record<Language, string>>>;

export type ConsoleMessage = keyof typeof MESSAGES;

/** The message in the client's language. */
export function consoleMessage(
  request: Pick<FastifyRequest, 'headers'>,
  name: ConsoleMessage,
): string {
  return MESSAGES[name][languageOf(request.headers['accept-language'])];
}
