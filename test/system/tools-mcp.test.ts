/** Tools of a server (Model Context Protocol): the SDK's own server at the other end, with and without sessions. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  ListToolsRequestSchema,
  McpError,
} from '@modelcontextprotocol/sdk/types.js';
import { Webhook } from 'standardwebhooks';
import type { AgentConfig } from '#lib/agent-config.ts';
import { systemClock } from '#lib/clock.ts';
import type { Log, LogFields } from '#lib/log.ts';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import { createMcpTools, toolName } from '#sessions/tools/mcp-tools.ts';
import { AGENT } from '../unit/_fakes.ts';
import { atEnd } from './_store.ts';

const SECRET = newWebhookSecret();

type Posted = { readonly text: string; readonly headers: IncomingHttpHeaders };

/** Counts what it is asked; `forget` ends all sessions. */
async function startMcp(t: TestContext, options: { isJson?: boolean; delayMs?: number } = {}) {
  const posted: Posted[] = [];
  const calls: unknown[] = [];
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const makeServer = (): Server => {
    const server = new Server({ name: 'shop', version: '1' }, { capabilities: { tools: {} } });
    server.setRequestHandler(ListToolsRequestSchema, async () => {
      await sleep(options.delayMs ?? 0);
      const inputSchema = {
        type: 'object' as const,
        properties: { id: { type: 'integer' } },
        required: ['id'],
      };
      return { tools: [{ name: 'find.order', description: 'Finds an order', inputSchema }] };
    });
    server.setRequestHandler(CallToolRequestSchema, async ({ params }) => {
      calls.push(params);
      const { id } = params.arguments as { id: number };
      if (id === 404) throw new McpError(404, 'no such shelf');
      if (id === 13) return { content: [{ type: 'text', text: 'no such order' }], isError: true };
      return { content: [{ type: 'text', text: JSON.stringify({ place: `shelf ${id}` }) }] };
    });
    return server;
  };
  const http = createServer((request, response) => {
    void (async () => {
      const text = Buffer.concat(await request.toArray()).toString();
      const { headers, method } = request;
      if (method === 'POST') posted.push({ text, headers });
      const known = headers['mcp-session-id'];
      let transport = sessions.get(String(known));
      if (known !== undefined && transport === undefined) return response.writeHead(404).end();
      if (transport === undefined) {
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => randomUUID(),
          enableJsonResponse: options.isJson ?? false,
          onsessioninitialized: (id) => void sessions.set(id, transport as never),
        });
        await makeServer().connect(transport);
      }
      return transport.handleRequest(request, response, text === '' ? undefined : JSON.parse(text));
    })();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    http.closeAllConnections();
    http.close();
  });
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  return { url, posted, calls, forget: () => sessions.clear() };
}

function agentWith(url: string): AgentConfig {
  return { ...AGENT, tools: { builtins: [], mcpServers: [{ name: 'shop', url }] } };
}

function mcp(more: Partial<Parameters<typeof createMcpTools>[0]> = {}) {
  const logged: string[] = [];
  const note = (event: string, _fields?: LogFields): void => void logged.push(event);
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const tools = createMcpTools({
    ...{ secrets: { of: async () => [SECRET] }, allowPrivate: ['127.0.0.0/8'], log },
    ...{ userAgent: 'callyard/0', clock: systemClock },
    ...more,
  });
  return { tools, logged };
}

for (const isJson of [false, true]) {
  test(`tools are listed and carried out, answers ${isJson ? 'as JSON' : 'as a stream'}`, async (t) => {
    const server = await startMcp(t, { isJson });
    const { tools } = mcp();
    const source = tools.forCall();
    t.after(() => source.close?.());
    const agent = agentWith(server.url);
    const [tool] = await source.offered(agent);
    assert.ok(tool !== undefined);
    assert.deepEqual([tool.name, tool.description], ['shop__find_order', 'Finds an order']);
    assert.deepEqual(tool.parameters['required'], ['id']);
    const run = (id: number) =>
      tool.run({
        ...{ id: `e-${id}`, name: tool.name, arguments: { id }, agent },
        wait: new AbortController().signal,
      });
    assert.equal(await run(3), '{"place":"shelf 3"}');
    assert.deepEqual(server.calls, [
      { name: 'find.order', arguments: { id: 3 }, _meta: { 'callyard/id': 'e-3' } },
    ]);
    assert.equal(await run(13), '{"error":"no such order"}');
    const before404 = server.calls.length;
    await assert.rejects(run(404), /no such shelf/);
    assert.equal(server.calls.length - before404, 1, 'an error of the tool is no lost session');
    server.forget();
    assert.equal(await run(4), '{"place":"shelf 4"}', 'a forgotten session is opened anew');
    for (const { text, headers } of server.posted)
      new Webhook(SECRET).verify(text, headers as Record<string, string>);
    const before = server.posted.length;
    await tools.forCall().offered(agent);
    assert.equal(server.posted.length, before, 'listed once for all calls');
  });
}

test('a server that is slow, away or forbidden costs no reply its time', async (t) => {
  const slow = await startMcp(t, { delayMs: 2_400 });
  const { tools, logged } = mcp();
  const startMs = performance.now();
  assert.deepEqual(await tools.forCall().offered(agentWith(slow.url)), []);
  assert.ok(performance.now() - startMs < 2_300);
  assert.ok(logged.includes('mcp.late'));
  await sleep(700);
  const later = await tools.forCall().offered(agentWith(slow.url));
  assert.equal(later.length, 1, 'the list has come meanwhile');
  for (const url of ['http://127.0.0.1:1/mcp', 'http://10.0.0.1/mcp']) {
    assert.deepEqual(await tools.forCall().offered(agentWith(url)), []);
  }
  assert.equal(logged.filter((event) => event === 'mcp.failed').length, 2);
});

test('without the package the tools are left out, and the log says why', async () => {
  const { tools, logged } = mcp({ load: async () => null });
  assert.deepEqual(await tools.forCall().offered(agentWith('http://127.0.0.1:1/mcp')), []);
  assert.deepEqual(logged, ['mcp.notInstalled']);
});

test('names are those that models take', () => {
  assert.equal(toolName('shop', 'find.order'), 'shop__find_order');
  assert.equal(toolName('shop', 'x'.repeat(100)).length, 64);
});
