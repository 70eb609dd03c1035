/** The server that talking is measured on, with its scripted vendors, and the numbers every part of it shares. */
import { startServer, type Callyard } from '../test/interop/tools/server.ts';

export const NODE = '127.0.0.27';
/** What the scripted vendors take, and the silence that ends a turn: targets.md P5. */
export const SCRIPTED = { endpointMs: 200, sttMs: 150, llmMs: 200, ttsMs: 80 } as const;
export const IDEAL_MS = SCRIPTED.endpointMs + SCRIPTED.sttMs + SCRIPTED.llmMs + SCRIPTED.ttsMs;
export const CONFIRM_MS = 100;

export type TalkServer = Callyard & { readonly folder: string };

/** Starts it with `script` and sets the dials of the agent that answers. */
export async function startTalkServer(
  folder: string,
  name: string,
  script: object,
  agent: object,
): Promise<Callyard> {
  const delays = { sttMs: SCRIPTED.sttMs, llmMs: SCRIPTED.llmMs, ttsMs: SCRIPTED.ttsMs };
  const env = { CALLYARD_LOG_LEVEL: 'warn', CALLYARD_RECORDING: 'off', CALLYARD_DRAIN_S: '2' };
  const server = await startServer({
    folder,
    name,
    address: NODE,
    script: { ...script, delays },
    env,
  });
  try {
    const { agents } = await server.get<{ agents: { id: string }[] }>('/api/v1/agents');
    for (const { id } of agents) {
      const response = await fetch(`${server.apiUrl}/api/v1/agents/${id}`, {
        method: 'PATCH',
        headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify(agent),
      });
      if (!response.ok) throw new Error(`the agent: ${response.status} ${await response.text()}`);
    }
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Deterministic randomness (mulberry32): 0..1. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
