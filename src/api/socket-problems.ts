/** What sockets say of faults: the codes of the HTTP interface and a few of their own (contract 1.5), and close codes. */
import type { Language } from './language.ts';
import { Problem, PROBLEMS, ruleText, type ProblemCode } from './problem.ts';

/** Codes that only sockets use; texts are for people and may change. */
const SOCKET_PROBLEMS = {
  BAD_FRAME: { en: 'This frame has the wrong form and was dropped', zh: '帧格式不正确，已丢弃' },
  WEBRTC_DISABLED: {
    en: 'There is no WebRTC in this version; audio stays on the socket',
    zh: '当前版本不支持 WebRTC，音频仍通过此连接传输',
  },
  INPUT_OVERRUN: {
    en: 'Audio came faster than it is heard; the oldest was dropped',
    zh: '音频输入过快，最早的部分已丢弃',
  },
} as const;

export type SocketErrorCode = ProblemCode | keyof typeof SOCKET_PROBLEMS;

/** The text of a code, or of a Problem with the place of its first fault. */
export function socketText(what: SocketErrorCode | Problem, language: Language): string {
  const code = what instanceof Problem ? what.problem : what;
  const texts = code in PROBLEMS ? PROBLEMS[code as ProblemCode] : SOCKET_PROBLEMS[code as never];
  const text = (texts as Readonly<Record<Language, string>>)[language];
  const [fault] = what instanceof Problem ? what.faults : [];
  return fault === undefined ? text : `${text}: ${fault.path} ${ruleText(fault, language)}`;
}

/** The close code of a refusal that ends a socket. */
export function closeCodeOf({ problem, status }: Problem): number {
  if (status === 404) return 4404;
  if (status === 409 || status === 403) return 4409;
  if (status === 429) return 4429;
  if (problem === 'DRAINING') return 1001;
  return status >= 500 ? 1011 : 1008;
}
