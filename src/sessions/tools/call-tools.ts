/**
 * The tools of one call. Each is carried out once (design.md 4.8): its intent is journalled before anything happens and
 * its answer after; whoever asks the same again meanwhile gets the same answer; nobody waits longer than he likes.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { ToolCall, ToolSpec } from '#providers/contract.ts';
import { ClientFunctions } from '../client-functions.ts';
import type { ToolAnswer, ToolBox, ToolManner } from '../tool-box.ts';
import { fault } from './answers.ts';
import { argumentFault } from './argument-check.ts';
import { builtinSource } from './builtins.ts';
import { functionSource } from './functions.ts';
import { KeyCollector } from './key-collector.ts';
import type { SendKeys, Tool, ToolPorts, ToolResult, ToolSource, ToolStory } from './types.ts';

export type CallToolsOptions = {
  readonly story: ToolStory;
  readonly clock: Clock;
  readonly log: Log;
  /** Null: there are but the client's functions and what the call does by itself. */
  readonly ports: ToolPorts | null;
  /** Null where the call has no telephone. */
  readonly sendKeys: SendKeys | null;
};

/** Models take no more. */
const MAX_OFFERED = 128;
const MAX_AT_ONCE = 16;
const MAX_EFFECTS = 500;
/** An answer that nobody got, because the caller cut in, still answers the same question for so long. */
const FRESH_MS = 30_000;
/** At the end of a call: how long what is under way may still answer, for the record. */
const LAST_ANSWERS_MS = 1_000;
const NO_MANNER: ToolManner = { say: null, isQuiet: false };

type Effect = {
  readonly id: Id;
  /** Who asked for what. */
  readonly question: string;
  readonly name: string;
  readonly answer: Promise<ToolAnswer & { readonly onTaken?: () => void }>;
  /** Of the reply that asked first. */
  readonly wait: AbortSignal;
  /** The caller waits for it, and not it for the caller. */
  readonly isHeard: boolean;
  doneAtMs: number | null;
  /** Somebody has got the answer, and acts on what comes of it. */
  isTaken: boolean;
};

export class CallTools implements ToolBox {
  readonly #options: CallToolsOptions;
  readonly #client: ClientFunctions;
  readonly #keys: KeyCollector;
  readonly #sources: readonly ToolSource[];
  /** By the model's own id of the call. */
  readonly #asked = new Map<string, Effect>();
  readonly #effects: Effect[] = [];
  /** What each agent was offered last. */
  readonly #offered = new Map<Id, readonly Tool[]>();
  readonly #releases: (() => void)[] = [];
  /** How long what the agent has said goes on to sound, in ms; set by whoever knows. */
  soundLeftMs: () => number = () => 0;
  /** Told when the first of the tools that are heard of is at work, and when the last one is done. */
  onBusy: (on: boolean) => void = () => undefined;
  #isClosed = false;
  /** What the call held has been given back. */
  #isOver = false;

  constructor(options: CallToolsOptions) {
    this.#options = options;
    const { story, clock, log, ports, sendKeys } = options;
    this.#client = new ClientFunctions({ feed: story.feed, clock });
    this.#keys = new KeyCollector(clock, () => this.soundLeftMs());
    const atEnd = (release: () => void): void => {
      // Sound that has come when all is over is nobody's.
      if (this.#isOver) release();
      else this.#releases.push(release);
    };
    this.#sources = [
      functionSource({ story, client: this.#client, http: ports?.http ?? null }),
      builtinSource({ story, clock, log, ports, sendKeys, keys: this.#keys, atEnd }),
      ...(ports === null ? [] : [ports.mcp({ story, clock, log })]),
    ];
  }

  /** Of a call that nobody has plugged anything into. */
  static ofCallAlone({
    story,
    clock,
    log,
  }: Pick<CallToolsOptions, 'story' | 'clock' | 'log'>): CallTools {
    return new CallTools({ story, clock, log, ports: null, sendKeys: null });
  }

  /** Asks ahead for whatever the first reply would have to wait for. Returns at once. */
  warmUp(agent: AgentConfig): void {
    const { ports, story } = this.#options;
    if (agent.functions.some(({ url }) => url != null)) ports?.http.warmUp(story.accountId);
    if ((agent.tools?.mcpServers.length ?? 0) > 0) void this.offered(agent);
  }

  async offered(agent: AgentConfig): Promise<readonly ToolSpec[]> {
    const tools = await this.#toolsOf(agent);
    return tools.map(({ name, description, parameters }) => ({ name, description, parameters }));
  }

  manner({ name, arguments: given }: ToolCall, agent: AgentConfig): ToolManner {
    const tool = this.#offered.get(agent.id)?.find((each) => each.name === name);
    return tool?.manner?.(given) ?? NO_MANNER;
  }

  ask(call: ToolCall, agent: AgentConfig, signal: AbortSignal): Promise<ToolAnswer> {
    if (signal.aborted || this.#isClosed) return Promise.reject(givenUp());
    const effect = this.#known(call, agent) ?? this.#begin(call, agent, signal);
    return this.#await(effect, signal);
  }

  /** The client's answer; false when nobody waits for it (any more). */
  answer(id: string, result: unknown): boolean {
    return this.#client.answer(id, result);
  }

  /** True when a tool waits for the key: then it is no turn of its own. */
  takeKey(key: string): boolean {
    return this.#keys.take(key);
  }

  /** Ids of what was begun and has no answer yet. */
  get pendingIds(): ReadonlySet<Id> {
    return new Set(this.#effects.flatMap(({ id, doneAtMs }) => (doneAtMs === null ? id : [])));
  }

  /**
   * Nobody is asked any more; what is under way has a moment to answer, and its outcome is unknown after that. What was
   * sent to a server is not called back. Idempotent; resolves when no message of a tool follows.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#client.close();
    this.#keys.close();
    const open = this.#effects.filter(({ doneAtMs }) => doneAtMs === null);
    if (open.length > 0) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = this.#options.clock.setTimer(resolve, LAST_ANSWERS_MS);
      await Promise.race([Promise.all(open.map(({ answer }) => answer)), late]);
      this.#options.clock.clearTimer(timer);
      for (const effect of open) this.#settle(effect, fault(UNKNOWN_OUTCOME));
    }
    for (const source of this.#sources) source.close?.();
    this.#isOver = true;
    for (const release of this.#releases.splice(0)) release();
  }

  // ---- One effect ----

  /**
   * What was begun already for this very call, or for the same question of a reply that was given up. Some models give
   * the same ids in every reply: what was told long ago is asked anew.
   */
  #known({ id, name, arguments: given }: ToolCall, agent: AgentConfig): Effect | null {
    const question = questionOf(agent, name, given);
    const first = this.#asked.get(id);
    const nowMs = this.#options.clock.now();
    const isFresh = ({ isTaken, doneAtMs }: Effect): boolean =>
      !isTaken || doneAtMs === null || nowMs - doneAtMs < FRESH_MS;
    if (first?.question === question && isFresh(first)) return first;
    const isSame = (each: Effect): boolean =>
      each.question === question &&
      // Two alike in one reply are two.
      each.wait.aborted &&
      !each.isTaken &&
      (each.doneAtMs === null || nowMs - each.doneAtMs < FRESH_MS);
    return this.#effects.find(isSame) ?? null;
  }

  #begin(call: ToolCall, agent: AgentConfig, signal: AbortSignal): Effect {
    const { story } = this.#options;
    const { name, arguments: given } = call;
    const id = newId();
    const tool_calls = [{ id, name, arguments: given }];
    story.message({ role: 'assistant', content: '', tool_calls }, story.callTimeMs());
    const { promise: answer, resolve } = Promise.withResolvers<Awaited<Effect['answer']>>();
    const question = questionOf(agent, name, given);
    const effect: Effect = {
      ...{ id, question, name, answer, wait: signal },
      ...{ doneAtMs: null, isTaken: false, isHeard: !this.manner(call, agent).isQuiet },
    };
    this.#effects.push(effect);
    this.#asked.set(call.id, effect);
    if (effect.isHeard && this.#heard === 1) this.onBusy(true);
    void this.#carryOut(effect, call, agent, signal).then((result) => {
      const whole = typeof result === 'string' ? { content: result, effect: null } : result;
      this.#settle(effect, whole.content);
      resolve(whole);
    });
    return effect;
  }

  /** Of those at work. */
  get #heard(): number {
    return this.#effects.filter(({ isHeard, doneAtMs }) => isHeard && doneAtMs === null).length;
  }

  /** Journals the answer, once. */
  #settle(effect: Effect, content: string): void {
    const { story, clock } = this.#options;
    if (effect.doneAtMs !== null) return;
    effect.doneAtMs = clock.now();
    if (effect.isHeard && this.#heard === 0) this.onBusy(false);
    story.message({ role: 'function', name: effect.name, content }, story.callTimeMs());
  }

  /** Never rejects. */
  async #carryOut(
    effect: Effect,
    { name, arguments: given }: ToolCall,
    agent: AgentConfig,
    wait: AbortSignal,
  ): Promise<ToolResult> {
    const { log } = this.#options;
    try {
      const known = this.#offered.get(agent.id) ?? (await this.#toolsOf(agent));
      const tool = known.find((each) => each.name === name);
      if (tool === undefined) return fault('there is no such function');
      const wrong = argumentFault(tool.parameters, given, (reason) =>
        log.warn('tool.schemaUnread', { tool: name, agentId: agent.id, reason }),
      );
      if (wrong !== null) return fault(wrong);
      const refusal = this.#tooMany();
      if (refusal !== null) return fault(refusal);
      return await tool.run({ id: effect.id, name, arguments: given, agent, wait });
    } catch (thrown) {
      const error = toAppError(thrown);
      log.warn('tool.failed', { tool: name, toolCallId: effect.id, error });
      return fault(error.code === 'E_INTERNAL' ? 'the tool failed' : error.message);
    }
  }

  #tooMany(): string | null {
    if (this.#effects.length > MAX_EFFECTS) return 'this call has used too many tools';
    const open = this.#effects.filter(({ doneAtMs }) => doneAtMs === null).length;
    return open > MAX_AT_ONCE ? 'too many tools are at work' : null;
  }

  /** The wait ends with the signal, the effect does not. What comes of it is given to the first who gets it. */
  async #await(effect: Effect, signal: AbortSignal): Promise<ToolAnswer> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(givenUp());
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const { content, effect: what, onTaken } = await Promise.race([effect.answer, aborted]);
      if (effect.isTaken) return { content, effect: null };
      effect.isTaken = true;
      onTaken?.();
      return { content, effect: what };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  // ---- What is offered ----

  /** By name: a function of the agent goes before a built-in tool, and that before a server's. */
  async #toolsOf(agent: AgentConfig): Promise<readonly Tool[]> {
    const byName = new Map<string, Tool>();
    const lists = await Promise.all(this.#sources.map(async (source) => source.offered(agent)));
    for (const tool of lists.flat()) {
      if (byName.size < MAX_OFFERED && !byName.has(tool.name)) byName.set(tool.name, tool);
    }
    const tools = [...byName.values()];
    this.#offered.set(agent.id, tools);
    return tools;
  }
}

/** Of what was begun when the call ended, or the process died. */
export const UNKNOWN_OUTCOME = 'unknown outcome: the call was over before the answer';

function questionOf(agent: AgentConfig, name: string, given: ToolCall['arguments']): string {
  return JSON.stringify([agent.id, name, given]);
}

function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the reply was given up');
}
