/** Operation (contract 2.9): is the process alive, does it take calls, what can its API do. Not enveloped, no token. */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { docsPage, DOCS_PAGE_POLICY, DOCS_SEARCH_MAX_CHARS } from './docs-page.ts';
import type { Readiness } from './ports.ts';
import type { ApiServer } from './routing.ts';
import { failures } from './schemas.ts';

const PartStateSchema = Type.Enum(['up', 'down', 'off']);

const HealthSchema = Type.Object(
  {
    status: Type.Literal('ok'),
    version: Type.String(),
    uptime_s: Type.Integer(),
  },
  {
    description: 'The process works',
    examples: [{ status: 'ok', version: '0.1.0', uptime_s: 42 }],
  },
);

const ReadySchema = Type.Object(
  {
    status: Type.Enum(['ready', 'degraded', 'draining', 'overloaded', 'not_ready']),
    checks: Type.Object({
      sip: PartStateSchema,
      media: PartStateSchema,
      database: PartStateSchema,
      bus: PartStateSchema,
    }),
  },
  { description: 'What works', $id: 'Readiness' },
);

/** A part that the OpenAPI specification defines, not this document. */
const specified = (description: string) => Type.Unsafe<object>({ description });

const OpenApiSchema = Type.Object(
  {
    openapi: Type.String(),
    info: Type.Object({
      title: Type.String(),
      version: Type.String(),
      description: Type.String(),
    }),
    servers: specified('Server Objects'),
    tags: specified('Tag Objects'),
    paths: specified('Paths Object: operations by path and method'),
    components: specified('Components Object: shared schemas, and how to authenticate'),
  },
  { description: 'OpenAPI 3.1' },
);

const DocsQuery = Type.Object({
  q: Type.Optional(
    Type.String({
      maxLength: DOCS_SEARCH_MAX_CHARS,
      description: 'Shows the operations that hold all of these words',
    }),
  ),
});

export type OpsPart = {
  readonly readiness: Readiness;
  readonly version: string;
  readonly clock: Clock;
  readonly hasDocs: boolean;
};

type Check = ReturnType<Readiness['check']>;
type ReadyStatus = 'ready' | 'degraded' | 'draining' | 'overloaded' | 'not_ready';

/** A lost database or bus is `degraded`: calls go on without them. */
export function readyStatusOf({ state, checks }: Check): ReadyStatus {
  if (state === 'draining' || state === 'overloaded') return state;
  if (state === 'starting' || checks.sip !== 'up' || checks.media !== 'up') return 'not_ready';
  return checks.database === 'down' || checks.bus === 'down' ? 'degraded' : 'ready';
}

export function addOpsRoutes(app: ApiServer, part: OpsPart): void {
  const startedMs = part.clock.now();
  app.route({
    method: 'GET',
    url: '/health',
    config: { capability: 'pub' },
    schema: {
      operationId: 'getHealth',
      tags: ['Operation'],
      summary: 'Is the process alive',
      response: { 200: HealthSchema },
    },
    handler: async () => ({
      status: 'ok' as const,
      version: part.version,
      uptime_s: Math.floor((part.clock.now() - startedMs) / 1000),
    }),
  });
  app.route({
    method: 'GET',
    url: '/ready',
    config: { capability: 'pub' },
    schema: {
      operationId: 'getReadiness',
      tags: ['Operation'],
      summary: 'Does the node take calls',
      description: '200 when `ready` or `degraded`, 503 otherwise.',
      response: {
        200: ReadySchema,
        503: Type.Object(ReadySchema.properties, { description: 'New calls are refused' }),
      },
    },
    handler: async (_request, reply) => {
      const check = part.readiness.check();
      const status = readyStatusOf(check);
      reply.code(status === 'ready' || status === 'degraded' ? 200 : 503);
      return { status, checks: check.checks };
    },
  });
  if (part.hasDocs) addDocs(app);
}

function addDocs(app: ApiServer): void {
  app.route({
    method: 'GET',
    url: '/openapi.json',
    config: { capability: 'pub' },
    schema: {
      operationId: 'getOpenApi',
      tags: ['Operation'],
      summary: 'This document',
      response: {
        200: Type.Unsafe<object>(OpenApiSchema),
      },
    },
    handler: async () => app.swagger(),
  });
  let page: ((search: string) => string) | null = null;
  app.route({
    method: 'GET',
    url: '/docs',
    config: { capability: 'pub' },
    schema: {
      operationId: 'getDocs',
      tags: ['Operation'],
      summary: 'This document as a page',
      querystring: DocsQuery,
      response: {
        200: {
          description: 'A page without outside resources',
          content: { 'text/html': { schema: Type.String() } },
        },
        400: failures({ problems: [] })[400],
      },
    },
    handler: async (request, reply) => {
      page ??= docsPage(app.swagger());
      return reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', DOCS_PAGE_POLICY)
        .send(page(request.query.q ?? ''));
    },
  });
}
