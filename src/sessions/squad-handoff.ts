/** What goes with a conversation from one agent of a squad to the next: a summary, a notice, a private note. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary, Message } from '#lib/call-events.ts';
import { maskText } from '#lib/mask.ts';
import type { Language } from '#providers/contract.ts';
import { bestFacts, cutAtSentence, factsIn } from './extractive.ts';
import { oneLine, speechesOf } from './transcript.ts';

const NOTICE: { readonly [L in Language]: string } = {
  zh: '正在为您转接…',
  en: 'Transferring you now…',
};
const NONE: { readonly [L in Language]: string } = { zh: '未提及', en: 'not stated' };
const POINT_CHARS = 200;
const KEY_FACTS = 3;

/** Words of somebody, or null when there is no telling. */
export function languageOfText(text: string): Language | null {
  if (/\p{Script=Han}/u.test(text)) return 'zh';
  return /\p{Script=Latin}{2}/u.test(text) ? 'en' : null;
}

export function defaultNotice(language: Language): string {
  return NOTICE[language];
}

/** Masked (contract 7.3); what a model gave goes before what the conversation itself shows. */
export function handoffSummary(from: {
  readonly intent: string;
  /** The last one of the other side is what is still open. */
  readonly messages: readonly Message[];
  readonly language: Language;
  readonly keyInfo?: string | null;
  readonly pending?: string | null;
}): HandoffSummary {
  const { intent, messages, language } = from;
  const said = speechesOf(messages).filter(({ side }) => side === 'caller');
  const facts = bestFacts(factsIn(said), KEY_FACTS).map(({ text }) => text);
  const last = said.at(-1)?.text ?? '';
  const keyInfo = from.keyInfo ?? facts.join(language === 'zh' ? '；' : '; ');
  const pending = from.pending ?? last;
  return {
    intent: point(intent, language),
    key_info: point(keyInfo, language),
    pending: point(pending, language),
  };
}

function point(text: string, language: Language): string {
  const line = maskText(oneLine(text));
  return line === '' ? NONE[language] : cutAtSentence(line, POINT_CHARS);
}

/** What the next agent alone is told before its first answer. */
export function handoffNote(summary: HandoffSummary, fromName: string, language: Language): string {
  const { intent, key_info: key, pending } = summary;
  return language === 'zh'
    ? `对话刚由同事“${fromName}”转接给你，对方已被告知，不要重复转接提示，也不要让对方重述。意图：${intent}。关键信息：${key}。待处理：${pending}。请直接继续。`
    : `Your colleague "${fromName}" has just handed this conversation to you, and the other side was told. Do not announce it again and do not ask them to repeat themselves. Intent: ${intent}. Key information: ${key}. Still open: ${pending}. Go on from here.`;
}

/**
 * An agent as it takes part in this conversation: its own words, and the variables of all. What the caller of the API
 * gave wins over what the agent has by itself, and that over what former agents had.
 */
export function inConversation(
  agent: AgentConfig,
  variables: {
    readonly inherited: Readonly<Record<string, string>>;
    readonly given: Readonly<Record<string, string>>;
  },
): AgentConfig {
  const { inherited, given } = variables;
  return { ...agent, variables: { ...inherited, ...agent.variables, ...given } };
}

/** What an agent answers in writing where no language model is set up. */
export function wordsWithoutModel(
  agent: AgentConfig,
  language: Language,
  greeting: string | null,
): string {
  const words =
    language === 'zh'
      ? `我是${agent.name}，您的话已记下。请问还有什么需要补充的吗？`
      : `This is ${agent.name}. I have noted what you wrote. Is there anything you would like to add?`;
  return greeting === null ? words : `${greeting}${language === 'zh' ? '' : ' '}${words}`;
}
