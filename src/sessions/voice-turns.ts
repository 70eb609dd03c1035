/** Turns over HTTP with one agent (contract 2.4): everything that can be refused is, before the first event. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import { pendingCalls } from './pending-calls.ts';
import { agentFor } from './placing.ts';
import type { AgentDirectory } from './ports.ts';
import { SpokenTurn, type Said, type VoiceEvent } from './spoken-turn.ts';
import type { ExecuteRefusal, SquadDesk, TakenTurn } from './squad-desk.ts';
import { inConversation } from './squad-handoff.ts';

export type VoiceTurnRequest = {
  readonly accountId: Id;
  /** Agents that the client may use; null: all. */
  readonly agentIds: readonly Id[] | null;
  /** Absent: that of the conversation, else the account's default. */
  readonly agentId?: Id;
  /** Absent: a new conversation. */
  readonly conversationId?: Id;
  readonly said: Said;
  readonly requestId: string;
  /** Aborted when nobody listens any more: what was said until then is kept. */
  readonly signal: AbortSignal;
};

/** `recogniser`: the agent's does not read speech. A number: no such function call waits, by its place in `results`. */
export type VoiceRefusal = Exclude<ExecuteRefusal, 'squad' | 'variables'> | 'recogniser' | number;

export type VoiceTurns = {
  /** Errors: E_CONFIG for a vendor nobody set up; E_DATABASE*, E_TIMEOUT, E_QUEUE_FULL. */
  begin(request: VoiceTurnRequest): Promise<
    | {
        readonly ok: true;
        readonly conversationId: Id;
        /** Ends with one `done` or `error`; with neither once `signal` has aborted. */
        readonly events: AsyncIterable<VoiceEvent>;
      }
    | { readonly ok: false; readonly refusal: VoiceRefusal }
  >;
};

export type RunningVoiceTurns = VoiceTurns & {
  /** Resolves once the turns whose clients have left are over, or do not end. No new ones may begin. */
  close(): Promise<void>;
};

export type VoiceTurnsOptions = {
  readonly desk: Pick<SquadDesk, 'take'>;
  readonly agents: AgentDirectory;
  readonly clock: Clock;
  readonly log: Log;
  /** Errors: E_CONFIG. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
  /** Keeps the sound of what is said in many turns; absent: nothing is kept. */
  readonly phrases?: PhraseStore;
};

/** Another turn of the conversation: as a rule one whose client has just left, to say something else. */
const WAIT_MS = 2_000;
const AGENT_MS = 4_000;
const CLOSE_MS = 2_000;
/** Functions and their results, what is said, and the answer with what it asks for. */
const TURN_MESSAGES = 40;

export function createVoiceTurns(options: VoiceTurnsOptions): RunningVoiceTurns {
  const running = new Set<Promise<void>>();
  const run = (turn: SpokenTurn): void => {
    const over = turn.run().finally(() => running.delete(over));
    running.add(over);
  };
  return {
    begin: (request) => begin(options, request, run),
    async close() {
      const over = Promise.all(running).then(() => undefined);
      try {
        await withDeadline(over, CLOSE_MS, 'the last turns', options.clock);
      } catch (error) {
        options.log.warn('voice.turnsLeft', { count: running.size, error: toAppError(error) });
      }
    },
  };
}

async function begin(
  options: VoiceTurnsOptions,
  request: VoiceTurnRequest,
  run: (turn: SpokenTurn) => void,
): ReturnType<VoiceTurns['begin']> {
  const { accountId, agentIds, conversationId, requestId, said } = request;
  const { clock, desk, log } = options;
  let agentId = request.agentId ?? null;
  if (conversationId === undefined) {
    if (said.results.length > 0) return refuse(0);
    const known = agentOf(options, request);
    const agent = await withDeadline(known, AGENT_MS, 'the database', clock);
    if (agent === null) return refuse('agent');
    // No conversation is begun with an agent that cannot hold it.
    const providers = await options.providersFor(agent);
    if (isDeaf(providers, said)) return refuse('recogniser');
    agentId = agent.id;
  }
  const turn = await desk.take({
    ...{ accountId, agentIds, requestId, party: { agentId }, variables: {} },
    ...{ waitMs: WAIT_MS, messages: TURN_MESSAGES },
    ...(conversationId === undefined ? {} : { conversationId }),
  });
  if (turn === 'squad' || turn === 'variables') throw new TypeError('neither was asked for');
  if (typeof turn === 'string') return refuse(turn);
  // Nobody has learnt the id of a conversation that is refused its first turn.
  const giveBack = () => turn.close(turn.isNew ? 'provider_error' : null);
  try {
    const agent = agentIn(turn);
    const own = await options.providersFor(agent);
    const refusal = isDeaf(own, said) ? 'recogniser' : unknownCall(turn, said);
    if (refusal !== null) {
      giveBack();
      return refuse(refusal);
    }
    const providers = turn.held.story.usage.watch(own, agent.id);
    const resampling = await loadStreamResampling();
    const { signal } = request;
    const spoken = new SpokenTurn({
      ...{ clock, log, resampling, turn, agent, providers, said, signal },
      ...(options.phrases === undefined ? {} : { phrases: options.phrases }),
    });
    run(spoken);
    return { ok: true, conversationId: turn.conversationId, events: spoken.events };
  } catch (error) {
    giveBack();
    throw error;
  }
}

function refuse(refusal: VoiceRefusal): { readonly ok: false; readonly refusal: VoiceRefusal } {
  return { ok: false, refusal };
}

/** A key that is bound to agents uses these alone, so its first one stands in for the account's default. */
async function agentOf(
  { agents }: VoiceTurnsOptions,
  { accountId, agentIds, agentId = agentIds?.[0] }: VoiceTurnRequest,
): Promise<AgentConfig | null> {
  if (agentIds?.length === 0) return null;
  const wish = { accountId, allowedAgentIds: agentIds };
  const chosen = await agentFor(agentId === undefined ? wish : { ...wish, agentId }, agents);
  return chosen.ok ? chosen.agent : null;
}

function agentIn({ held }: TakenTurn): AgentConfig {
  const { plan, story } = held;
  const [member] = plan.members;
  if (member === undefined) throw new TypeError('a conversation is with somebody');
  return inConversation(member.agent, { inherited: {}, given: story.variables });
}

/** The built-in agent answers to the sound; any other needs the words. */
function isDeaf({ stt, llm }: ProviderSet, { audio }: Said): boolean {
  return audio !== null && !stt.reads && llm.vendor !== 'local';
}

function unknownCall({ held }: TakenTurn, { results }: Said): number | null {
  const waiting = pendingCalls(held.story.messages).map(({ id }) => id);
  const at = results.findIndex(({ callId }) => !waiting.includes(callId));
  return at === -1 ? null : at;
}
