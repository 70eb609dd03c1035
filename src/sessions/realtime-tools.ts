/**
 * What a realtime model wants done: carried out once, by the tools of the call, and answered to the model that asked. A
 * caller who cuts in does not stop what was begun: the model hears of it, and can say so.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Language, ToolCall } from '#providers/contract.ts';
import { promptText } from '#providers/prompts.ts';
import type { RealtimeLink } from './realtime-link.ts';
import type { RealtimeWords } from './realtime-words.ts';
import type { Work } from './realtime-work.ts';
import type { Voice } from './speaker.ts';
import type { ToolAnswer, ToolBox } from './tool-box.ts';

export type RealtimeToolsOptions = {
  readonly tools: ToolBox;
  readonly link: Pick<RealtimeLink, 'toolResult'>;
  readonly words: RealtimeWords;
  readonly clock: Clock;
  readonly log: Log;
  readonly agent: () => AgentConfig;
  readonly language: () => Language;
  readonly floor: () => {
    sayWithin(work: Work, text: string): Promise<void>;
    goOn(work: Work): void;
    settle(work: Work): void;
  };
  /** Another agent goes on, and takes the floor for `work`. */
  readonly handOver: (work: Work, voice: Voice, summary: string) => Promise<void>;
  readonly tellFault: (error: unknown) => void;
};

/** The caller's words that led to it stand before it in the transcript, if they are written down in time. */
const SETTLE_MS = 500;

export class RealtimeTools {
  readonly #options: RealtimeToolsOptions;
  /** The call is over: nobody waits for an answer. */
  readonly #end = new AbortController();

  constructor(options: RealtimeToolsOptions) {
    this.#options = options;
  }

  /** Takes the calls off `work`, which goes on when they are done. */
  use(work: Work): void {
    void this.#use(work, work.calls.splice(0));
  }

  close(): void {
    this.#end.abort();
  }

  /** Never rejects. */
  async #use(work: Work, calls: readonly ToolCall[]): Promise<void> {
    const { floor, log, tellFault } = this.#options;
    try {
      await this.#carryOut(work, calls);
    } catch (thrown) {
      if (this.#end.signal.aborted) return;
      const error = toAppError(thrown);
      log.warn('realtime.toolsFailed', { error });
      tellFault(error);
      work.error = error;
    }
    floor().settle(work);
  }

  async #carryOut(work: Work, calls: readonly ToolCall[]): Promise<void> {
    const { tools, words, agent, floor } = this.#options;
    await words.settled(SETTLE_MS);
    const manners = calls.map((call) => tools.manner(call, agent()));
    for (const { say } of manners) {
      if (say !== null && !work.isOver) await floor().sayWithin(work, say);
    }
    const answers = await Promise.all(
      calls.map((call, i) => this.#ask(call, manners[i]?.isQuiet === true ? work : null)),
    );
    await this.#takeEffects(work, calls, answers);
  }

  /** `waits`: it waits for the caller, and not beyond this work. */
  async #ask(call: ToolCall, waits: Work | null): Promise<ToolAnswer> {
    const { tools, agent } = this.#options;
    const end = this.#end.signal;
    const signal = waits === null ? end : AbortSignal.any([end, waits.abort.signal]);
    try {
      return await tools.ask(call, agent(), signal);
    } catch (error) {
      if (end.aborted || !signal.aborted) throw error;
      return { content: JSON.stringify({ error: 'the caller went on' }), effect: null };
    }
  }

  async #takeEffects(
    work: Work,
    calls: readonly ToolCall[],
    answers: readonly ToolAnswer[],
  ): Promise<void> {
    const { link, floor, handOver } = this.#options;
    let next: { readonly voice: Voice; readonly summary: string } | null = null;
    let isAnswered = false;
    for (const [i, { content, effect }] of answers.entries()) {
      if (effect?.kind === 'hand_off') next = effect;
      if (effect?.kind === 'play') work.reply.sound(effect.pcm, effect.title);
      // A caller who cut in goes on, and so does the call.
      if (effect?.kind === 'end_call' && !work.isOver) {
        work.endCall = true;
        continue;
      }
      if (effect?.kind === 'hand_off') continue;
      link.toolResult(calls[i]?.id ?? '', content);
      isAnswered = true;
    }
    if (next !== null) return handOver(work, next.voice, next.summary);
    if (work.endCall) return this.#sayGoodbye(work);
    if (isAnswered) floor().goOn(work);
  }

  /** Nobody hangs up without a word. */
  async #sayGoodbye(work: Work): Promise<void> {
    const { floor, language } = this.#options;
    if (!work.reply.hasWords) await floor().sayWithin(work, promptText('goodbye', language()));
  }
}
