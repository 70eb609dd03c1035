/** What a conversation's model may ask for, whoever answers: over HTTP, the client on the call, MCP, or the call itself. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { ToolCall, ToolSpec } from '#providers/contract.ts';
import type { Voice } from './speaker.ts';

/** What comes of a tool besides its answer. */
export type ToolEffect =
  /** The call ends once everything said before has been heard. */
  | { readonly kind: 'end_call' }
  /** Sound to be played now, before the model goes on. */
  | { readonly kind: 'play'; readonly pcm: Int16Array; readonly title: string }
  /** Another agent goes on, with this voice; its system prompt holds `summary` already. The record knows of it. */
  | {
      readonly kind: 'hand_off';
      readonly agentId: string;
      readonly summary: string;
      readonly voice: Voice;
    };

export type ToolAnswer = {
  /** For the model, as JSON. A tool that failed says so here: the model can tell the caller. */
  readonly content: string;
  readonly effect: ToolEffect | null;
};

/** How a tool is to be asked for. */
export type ToolManner = {
  /** Words to be said before it is carried out; null: none. */
  readonly say: string | null;
  /** It waits for the caller: no filler is said meanwhile. */
  readonly isQuiet: boolean;
};

export type ToolBox = {
  /** What the model is offered; cached by whoever has to ask for it. Never rejects: what cannot be had is left out. */
  offered(agent: AgentConfig): Promise<readonly ToolSpec[]>;
  /** Asked before `ask`. Never throws. */
  manner(call: ToolCall, agent: AgentConfig): ToolManner;
  /**
   * Carries it out, once, however often it is asked for with the same call id: its intent is journalled before anything
   * happens, its result after (design.md 4.8). Errors: E_ABORTED as soon as `signal` aborts (the caller went on); what
   * was begun goes on to its end, and its result is in the history of the next reply.
   */
  ask(call: ToolCall, agent: AgentConfig, signal: AbortSignal): Promise<ToolAnswer>;
};
