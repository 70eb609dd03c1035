/** Tools of conversations as one part of the process: who carries them out, and what a model is told of its caller. */
import { systemClock } from '#lib/clock.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { guardedFetch, type Reach } from '#lib/safe-fetch.ts';
import type { AudioFiles } from '#media/mix/audio-file.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { CallTalk } from '#sessions/call-talk.ts';
import { createHttpTools } from '#sessions/tools/http-tools.ts';
import { createMcpTools } from '#sessions/tools/mcp-tools.ts';
import type { LoadSound } from '#sessions/tools/types.ts';
import { agentIdByName } from '#store/agent-names.ts';
import { createCallerMemory } from '#store/caller-memory.ts';
import type { Store } from '#store/store.ts';
import { createToolSecrets, type ToolSecrets } from '#store/tool-secrets.ts';

export type ToolParts = {
  readonly toolSecrets: ToolSecrets;
  /** What live calls take of it. */
  readonly talk: CallTalk;
  close(): void;
};

export type ToolPartsOptions = {
  readonly store: Pick<Store, 'database' | 'sealer' | 'agents' | 'accounts'>;
  readonly audioFiles: AudioFiles;
  readonly reach: Reach;
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
  readonly userAgent: string;
  readonly log: Log;
};

const MAX_SOUND_BYTES = 25 * 1024 * 1024;
const SOUND_MS = 10_000;

export function openTools(options: ToolPartsOptions): ToolParts {
  const { store, reach, userAgent, log } = options;
  const clock = systemClock;
  const { database, sealer, agents, accounts } = store;
  const { allowPrivate } = reach;
  const toolSecrets = createToolSecrets({ database, sealer, clock, log });
  const sending = { secrets: toolSecrets, allowPrivate, userAgent, clock, log };
  const http = createHttpTools(sending);
  const mcp = createMcpTools(sending);
  const countryCode = async (accountId: string): Promise<string | null> =>
    (await accounts.settings(accountId))?.countryCode ?? null;
  return {
    toolSecrets,
    talk: {
      tools: {
        http,
        mcp: () => mcp.forCall(),
        loadSound: soundLoader(options.audioFiles, reach),
        agents: {
          byId: (accountId, id) => agents.byId(accountId, id),
          async byName(accountId, name) {
            const id = await agentIdByName(database, accountId, name);
            return id === null ? null : agents.byId(accountId, id);
          },
        },
        providersFor: (agent) => options.providersFor(agent),
      },
      memory: createCallerMemory({ database, countryCode }),
      timeZone: async (accountId) => (await accounts.settings(accountId))?.timezone ?? null,
    },
    close: () => http.close(),
  };
}

/** With the guards of live control (`play` of contract 2.7). */
function soundLoader(files: AudioFiles, reach: Reach): LoadSound {
  return async (accountId, url) => {
    const loaded = await files.load(accountId, async () => {
      const wanted = { ...reach, timeoutMs: SOUND_MS, maxBytes: MAX_SOUND_BYTES };
      const { status, body } = await guardedFetch(url, wanted);
      if (status !== 200) throw new AppError('E_UNREACHABLE', `the server answered ${status}`);
      return new Uint8Array(body);
    });
    if (!loaded.ok) throw new AppError('E_MEDIA', `the file cannot be played: ${loaded.fault}`);
    return { pcm: loaded.pcm, title: titleOf(url), release: loaded.release };
  };
}

/** The file's name, without what a query may hide. */
function titleOf(url: string): string {
  const { pathname, hostname } = new URL(url);
  const name = pathname.split('/').findLast((part) => part !== '') ?? hostname;
  return name.replaceAll(/[\p{Cc}[\]]/gu, '').slice(0, 80);
}
