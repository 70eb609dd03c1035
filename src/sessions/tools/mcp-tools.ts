/** Tools of an agent's servers (docs/tools.md, MCP): listed once for all calls, carried out in a session per call. */
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import type { AgentConfig, McpServer } from '#lib/agent-config.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { answerOf, answerOfBody, fault } from './answers.ts';
import {
  loadMcpSdk,
  openMcpSession,
  type McpOptions,
  type McpSdk,
  type McpSession,
  type McpTool,
} from './mcp-client.ts';
import type { Tool, ToolSource, ToolTask } from './types.ts';

/** A reply waits no longer to learn what it may use. */
const LIST_MS = 2_000;
/** In the background a slow server gets longer, and is there for the next reply. */
const LIST_AT_MOST_MS = 10_000;
const FRESH_MS = 300_000;
/** A server that could not be asked is left alone for so long. */
const REST_MS = 15_000;
const MAX_KEPT = 500;
const CALL_MS = 15_000;
/** Models take no longer names. */
const MAX_NAME_CHARS = 64;

export type McpTools = {
  forCall(): ToolSource;
};

export type McpToolsOptions = McpOptions & {
  readonly log: Log;
  readonly load?: () => Promise<McpSdk | null>;
};

type Kept = { readonly tools: readonly McpTool[]; readonly untilMs: number };

export function createMcpTools(options: McpToolsOptions): McpTools {
  const { load = loadMcpSdk } = options;
  let sdk: Promise<McpSdk | null> | undefined;
  const loaded = (): Promise<McpSdk | null> => {
    sdk ??= load().then((found) => {
      if (found === null)
        options.log.error('mcp.notInstalled', {
          note: 'agents with MCP servers go without their tools: npm install @modelcontextprotocol/sdk',
        });
      return found;
    });
    return sdk;
  };
  const catalogue = new Catalogue(options, loaded);
  return { forCall: () => new CallServers(options, loaded, catalogue) };
}

/** What each server of each account offers. */
class Catalogue {
  readonly #options: McpToolsOptions;
  readonly #loaded: () => Promise<McpSdk | null>;
  /** Insertion order is the order of age. */
  readonly #kept = new Map<string, Kept>();
  readonly #asking = new Map<string, Promise<readonly McpTool[]>>();

  constructor(options: McpToolsOptions, loaded: () => Promise<McpSdk | null>) {
    this.#options = options;
    this.#loaded = loaded;
  }

  /** Never rejects: what is not known in time is left out. */
  async list(accountId: Id, { name, url }: McpServer): Promise<readonly McpTool[]> {
    const { clock, log } = this.#options;
    const key = `${accountId} ${url}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && clock.now() < kept.untilMs) return kept.tools;
    const asking = this.#ask(key, accountId, url);
    if (kept !== undefined && kept.tools.length > 0) return kept.tools; // the newer list is for the next reply
    try {
      return await withDeadline(asking, LIST_MS, 'the list of tools', clock);
    } catch (error) {
      log.warn('mcp.late', { server: name, error: toAppError(error) });
      return [];
    }
  }

  #ask(key: string, accountId: Id, url: string): Promise<readonly McpTool[]> {
    const known = this.#asking.get(key);
    if (known !== undefined) return known;
    const asking = this.#load(accountId, url)
      .then((tools) => this.#keep(key, tools, FRESH_MS))
      .catch((error: unknown) => {
        this.#options.log.warn('mcp.failed', { accountId, error: toAppError(error) });
        return this.#keep(key, this.#kept.get(key)?.tools ?? [], REST_MS);
      })
      .finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  async #load(accountId: Id, url: string): Promise<readonly McpTool[]> {
    const sdk = await this.#loaded();
    if (sdk === null) return [];
    const { clock } = this.#options;
    const untilMs = clock.now() + LIST_AT_MOST_MS;
    const where = { accountId, url, timeoutMs: LIST_AT_MOST_MS };
    const session = await openMcpSession(sdk, this.#options, where);
    try {
      return await session.list(Math.max(1, Math.round(untilMs - clock.now())));
    } finally {
      session.close();
    }
  }

  #keep(key: string, tools: readonly McpTool[], forMs: number): readonly McpTool[] {
    this.#kept.delete(key);
    this.#kept.set(key, { tools, untilMs: this.#options.clock.now() + forMs });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return tools;
  }
}

/** The servers that one call uses, each through a session of its own that is opened when first needed. */
class CallServers implements ToolSource {
  readonly #options: McpToolsOptions;
  readonly #loaded: () => Promise<McpSdk | null>;
  readonly #catalogue: Catalogue;
  readonly #sessions = new Map<string, Promise<McpSession>>();
  #isClosed = false;

  constructor(
    options: McpToolsOptions,
    loaded: () => Promise<McpSdk | null>,
    catalogue: Catalogue,
  ) {
    this.#options = options;
    this.#loaded = loaded;
    this.#catalogue = catalogue;
  }

  async offered(agent: AgentConfig): Promise<Tool[]> {
    const servers = agent.tools?.mcpServers ?? [];
    const lists = await Promise.all(
      servers.map(async (server) => {
        const tools = await this.#catalogue.list(agent.accountId, server);
        return tools.map((tool) => this.#toolOf(server, tool));
      }),
    );
    return lists.flat();
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#sessions.values()) {
      session.then(
        (open) => open.close(),
        () => undefined, // it was never open
      );
    }
    this.#sessions.clear();
  }

  #toolOf(server: McpServer, { name, description, parameters }: McpTool): Tool {
    return {
      ...{ name: toolName(server.name, name), description, parameters },
      run: async (task) => contentOf(await this.#call(server, name, task)),
    };
  }

  /** A session that the server has forgotten took nothing on: another one is opened, once. */
  async #call(server: McpServer, name: string, task: ToolTask): Promise<CallToolResult> {
    const { clock } = this.#options;
    const untilMs = clock.now() + CALL_MS;
    for (let attempt = 1; ; attempt++) {
      const leftMs = Math.max(1, Math.round(untilMs - clock.now()));
      const session = await this.#session(task.agent.accountId, server.url, leftMs);
      try {
        const wanted = { id: task.id, name, arguments: task.arguments };
        const work = session.call(wanted, Math.max(1, Math.round(untilMs - clock.now())));
        return await withDeadline(work, leftMs, 'the server of the tool', clock);
      } catch (thrown) {
        const isForgotten = toAppError(thrown).details['code'] === 404;
        if (!isForgotten || attempt > 1) throw thrown;
        this.#sessions.delete(server.url);
        session.close();
      }
    }
  }

  async #session(accountId: Id, url: string, timeoutMs: number): Promise<McpSession> {
    const known = this.#sessions.get(url);
    if (known !== undefined) return known;
    if (this.#isClosed) throw new AppError('E_ABORTED', 'the call is over');
    const opening = this.#open(accountId, url, timeoutMs);
    this.#sessions.set(url, opening);
    opening.catch(() => this.#sessions.delete(url)); // whoever waits for it gets the error
    return opening;
  }

  async #open(accountId: Id, url: string, timeoutMs: number): Promise<McpSession> {
    const sdk = await this.#loaded();
    if (sdk === null) throw new AppError('E_CONFIG', 'tools of servers are not installed here');
    return openMcpSession(sdk, this.#options, { accountId, url, timeoutMs });
  }
}

/** `<server>__<tool>` as models take names: at most 64 of `A-Za-z0-9_-`. */
export function toolName(server: string, tool: string): string {
  return `${server}__${tool.replaceAll('.', '_')}`.slice(0, MAX_NAME_CHARS);
}

function contentOf({ content, structuredContent, isError }: CallToolResult): string {
  const text = (content ?? [])
    .map((part) => (part.type === 'text' ? part.text : `[${part.type} left out]`))
    .join('\n');
  if (isError === true) return fault(text === '' ? 'the tool failed' : text.slice(0, 2_000));
  if (structuredContent !== undefined) return answerOf(structuredContent);
  return answerOfBody(Buffer.from(text));
}
