/** The HTTP facade: one Fastify with the contract's limits, and the routes of every family. */
import { fastify, type FastifyReply, type FastifyRequest } from 'fastify';
import swagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { systemClock, type Clock } from '#lib/clock.ts';
import { AppError, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { addIntelligenceRoutes } from './ai.ts';
import { createTokens, type JwtSettings, type Tokens } from './auth-jwt.ts';
import { KeyAuthenticator } from './auth-keys.ts';
import { Authenticator } from './auth.ts';
import { addAnsweringRoutes, ANSWERING_SCHEMAS } from './answering.ts';
import { addCallControlRoutes } from './call-control.ts';
import { addCallRoutes } from './call.ts';
import { CAMPAIGN_SCHEMAS } from './campaign-schemas.ts';
import { addCampaignRoutes } from './campaigns.ts';
import { addCallSockets } from './call-sockets.ts';
import { addFamilyRoutes, FAMILY_SCHEMAS } from './families.ts';
import { answerClientError } from './client-errors.ts';
import { addConsoleRecordingRoutes } from './console-recordings.ts';
import { CONSOLE_SCHEMAS } from './console-schemas.ts';
import { addCors } from './cors.ts';
import {
  addFirstHook,
  addHooks,
  createLimiters,
  markReply,
  MAX_HEADER_BYTES,
  MAX_URL_BYTES,
  pathOf,
  requestIdOf,
  sendProblem,
  spendCall,
  type Limiters,
} from './hooks.ts';
import { IdempotencyClaims } from './idempotency-claims.ts';
import { addIdempotencyHooks } from './idempotency-hooks.ts';
import { addIdentityRoutes } from './identity-routes.ts';
import { addMetricsHooks } from './metrics.ts';
import { openApiOptions } from './openapi.ts';
import { addOpsRoutes } from './ops.ts';
import { PendingAnswers } from './pending-answers.ts';
import type { ApiPorts } from './ports.ts';
import { RECORD_SCHEMAS } from './record-schemas.ts';
import { addRecordRoutes } from './records.ts';
import type { RateLimit } from './rate-limit.ts';
import { checkRoute, RouteTable, type ApiServer } from './routing.ts';
import { SHARED_SCHEMAS } from './schemas.ts';
import { addSockets, type SocketLimits } from './sockets.ts';
import { parseJsonObject } from './strict-json.ts';
import { validatorCompiler } from './validation.ts';
import { addVoiceStreamRoute } from './voice-stream.ts';
import { addTrunkRoutes } from './trunks.ts';
import { addVendorRoutes } from './vendors.ts';
import { WEBHOOK_SCHEMAS } from './webhook-schemas.ts';
import { addWebhookRoutes } from './webhooks.ts';

/** Times and sizes that bound what one client can hold. */
export type ApiLimits = SocketLimits & {
  /** The whole request, headers and body (contract 1.5: 30 s). */
  readonly requestTimeoutMs: number;
  /** The headers alone: a client that drips them is gone sooner. */
  readonly headersTimeoutMs: number;
  /** How often late requests are looked for. */
  readonly checkIntervalMs: number;
  /** A connection on which nothing moves. */
  readonly connectionTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly bodyBytes: number;
  readonly maxConnections: number;
  readonly maxInFlight: number;
  readonly requestRate: RateLimit;
  readonly callRate: RateLimit;
};

export const DEFAULT_LIMITS: ApiLimits = {
  requestTimeoutMs: 30_000,
  headersTimeoutMs: 8_000,
  checkIntervalMs: 1_000,
  connectionTimeoutMs: 60_000,
  keepAliveTimeoutMs: 65_000,
  bodyBytes: 1024 * 1024,
  maxConnections: 4_096,
  maxInFlight: 512,
  maxSockets: 2_000,
  maxAccountSockets: 1_500,
  requestRate: { ratePerS: 50, burst: 100 },
  callRate: { ratePerS: 10, burst: 20 },
};

export type ApiOptions = {
  readonly ports: ApiPorts;
  readonly log: Log;
  readonly version: string;
  readonly clock?: Clock;
  /** `/docs` and `/openapi.json`; on unless switched off. */
  readonly hasDocs?: boolean;
  readonly limits?: Partial<ApiLimits>;
  /** How tokens of people are verified; without it API keys alone are taken. */
  readonly jwt?: JwtSettings;
  /** Networks (CIDR) whose X-Forwarded-For names the client. */
  readonly trustedProxies?: readonly string[];
  /** Origins of web pages that may call the API. */
  readonly corsOrigins?: readonly string[];
};

/** A facade that is ready to listen. `close()` ends it: no new request, those in work are finished. */
export async function createApi(options: ApiOptions): Promise<ApiServer> {
  const { ports, log, version } = options;
  const clock = options.clock ?? systemClock;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const routes = new RouteTable();
  const limiters = createLimiters(limits.requestRate, limits.callRate, clock);
  const app = createFastify(options, limits, limiters, routes);
  app.server.maxConnections = limits.maxConnections;
  // Node's own answer is a bare 417; RFC 9110 10.1.1 lets an unknown expectation be passed over.
  app.server.on('checkExpectation', (...both) => app.server.emit('request', ...both));
  app.setValidatorCompiler(validatorCompiler);
  // Answers are written as the handlers made them; the tests hold each against its declared schema.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, log));
  readJsonAlone(app);
  addFirstHook(app, limiters);
  await addCors(app, options.corsOrigins ?? []);
  app.addHook('onRoute', (route) => {
    checkRoute(route);
    routes.add(route);
  });
  const { identity } = ports;
  const tokens = options.jwt === undefined ? null : createTokens(options.jwt, clock, log);
  const keys = new KeyAuthenticator(identity.keys, clock);
  const sockets = await addSockets(app, { ...limits, clock, log });
  addHooks(app, {
    tickets: sockets.tickets,
    corsOrigins: options.corsOrigins ?? [],
    auth: new Authenticator({ keys, tokens, users: identity.users, clock }),
    routes,
    clock,
    log,
    limiters,
    maxInFlight: limits.maxInFlight,
  });
  const claims = new IdempotencyClaims({ table: identity.idempotency, clock, log });
  addIdempotencyHooks(app, claims, log);
  addMetricsHooks(app, ports.families.metrics);
  const schemas = [
    SHARED_SCHEMAS,
    RECORD_SCHEMAS,
    CONSOLE_SCHEMAS,
    FAMILY_SCHEMAS,
    ANSWERING_SCHEMAS,
    WEBHOOK_SCHEMAS,
    CAMPAIGN_SCHEMAS,
  ];
  for (const schema of schemas.flat()) app.addSchema(schema);
  await app.register(swagger, openApiOptions(version));
  addRoutes(app, options, { clock, tokens, limiters });
  await app.ready();
  return app;
}

type RouteParts = {
  readonly clock: Clock;
  readonly tokens: Tokens | null;
  readonly limiters: Limiters;
};

function addRoutes(app: ApiServer, options: ApiOptions, parts: RouteParts): void {
  const { ports, log, version } = options;
  const { clock, tokens, limiters } = parts;
  const { identity } = ports;
  const source = { records: ports.records, calls: ports.calls, clock };
  addOpsRoutes(app, {
    readiness: ports.readiness,
    version,
    clock,
    hasDocs: options.hasDocs ?? true,
  });
  addRecordRoutes(app, { ...source, recordings: ports.recordings, keeping: ports.recordKeeping });
  addConsoleRecordingRoutes(app, {
    ...source,
    recordings: ports.recordings,
    recordingList: ports.recordingList,
  });
  const web = { ...source, ...ports.sockets };
  addCallRoutes(app, web);
  const { recordings, reach, callControl } = ports;
  addCallControlRoutes(app, { ...source, ...callControl, recordings, reach });
  addCallSockets(app, { ...web, log, spendCall: (caller) => spendCall(limiters, caller) });
  addVoiceStreamRoute(app, { voiceTurns: ports.voiceTurns, clock, log });
  addFamilyRoutes(app, { ...web, ...ports.families, readiness: ports.readiness, version });
  addVendorRoutes(app, { ...ports.vendors, clock, log });
  addTrunkRoutes(app, { ...ports.trunks, calls: ports.calls, clock });
  addIntelligenceRoutes(app, { ...source, intelligence: ports.intelligence });
  addAnsweringRoutes(app, { ...ports.answering, reach: ports.reach, clock });
  addWebhookRoutes(app, { ...ports.webhooks, reach: ports.reach, clock });
  addCampaignRoutes(app, { ...ports.campaigns, clock });
  addIdentityRoutes(app, { ...identity, tokens, clock });
}

/** The URL that is served. Errors: E_PORT_IN_USE, E_CONFIG, each naming address and port. */
export async function listenApi(app: ApiServer, host: string, port: number): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const where = `${host}:${port} for HTTP`;
    const hint = 'set CALLYARD_HTTP_HOST and CALLYARD_HTTP_PORT';
    if (systemCodeOf(error) === 'EADDRINUSE') {
      throw new AppError('E_PORT_IN_USE', `${where} is in use; ${hint}`, { cause: error });
    }
    throw new AppError('E_CONFIG', `cannot listen on ${where}; ${hint}`, { cause: error });
  }
}

function createFastify(
  options: ApiOptions,
  limits: ApiLimits,
  limiters: Limiters,
  routes: RouteTable,
): ApiServer {
  const { log, trustedProxies = [] } = options;
  const pending = new PendingAnswers();
  const app: ApiServer = fastify({
    ...(trustedProxies.length === 0 ? {} : { trustProxy: [...trustedProxies] }),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.connectionTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    http: {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      // Node's own answer to a missing Host is bare; the hooks give one in the envelope.
      requireHostHeader: false,
      // Any other route answers as ever: `Upgrade` is an offer that need not be taken (RFC 9110 7.8).
      shouldUpgradeCallback: ({ method, url = '', headers, socket }) =>
        method === 'GET' &&
        headers.upgrade?.toLowerCase() === 'websocket' &&
        !pending.isOwed(socket) &&
        routes.isSocket(pathOf(url)),
      // Node counts the URL among the header bytes; each is checked by its own limit afterwards.
      maxHeaderSize: MAX_HEADER_BYTES + MAX_URL_BYTES,
    },
    // A longer id is still an id of the wrong form, not another route.
    routerOptions: { maxParamLength: MAX_URL_BYTES },
    requestIdHeader: false,
    genReqId: (request) => requestIdOf(request.headers['x-request-id']),
    // What arrives while closing is answered by its route; the listener itself is gone.
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, bareRequest, bareReply) => {
      // The declared types are those of a bare Fastify; the objects are ours.
      const request = bareRequest as FastifyRequest;
      const reply = bareReply as unknown as FastifyReply;
      markReply(request, reply, limiters);
      sendProblem(error, request, reply, log);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  pending.watch(app.server);
  return app;
}

/** Bodies are JSON objects, read strictly; every other media type is 415. */
function readJsonAlone(app: ApiServer): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      if (request.headers['idempotency-key'] !== undefined) request.rawBody = body;
      return parseJsonObject(body);
    },
  );
}
