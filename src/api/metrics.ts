/** Metrics of the facade, and the page that Prometheus reads (contract 2.9). */
import { Type } from 'typebox';
import type { FastifyRequest } from 'fastify';
import type { Metrics } from '#lib/metrics.ts';
import { addressOf, isAllowed } from './addresses.ts';
import { Problem } from './problem.ts';
import type { ApiServer } from './routing.ts';
import { failures } from './schemas.ts';

const LOOPBACK = ['127.0.0.0/8', '::1'];
/** Label of every request that no route took: a path is whatever a stranger writes. */
const NO_ROUTE = 'unknown';
const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]);
/** Headers of a proxy: who is behind it is not known, so a proxy on this machine is no loopback client. */
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-real-ip'];

/** Counts every answer by the pattern of its route. Before the routes are added. */
export function addMetricsHooks(app: ApiServer, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? NO_ROUTE : (request.routeOptions.url ?? NO_ROUTE);
    const method = METHODS.has(request.method) ? request.method : 'OTHER';
    metrics.httpRequests.inc({ method, route, status: String(reply.statusCode) });
    metrics.httpDuration.observe({ method, route }, reply.elapsedTime / 1000);
  });
}

export type MetricsPart = {
  readonly metrics: Metrics;
  /** Networks, as CIDR, that may read the metrics besides this machine. */
  readonly metricsAllow: readonly string[];
};

export function addMetricsRoute(app: ApiServer, part: MetricsPart): void {
  const { registry } = part.metrics;
  app.route({
    method: 'GET',
    url: '/metrics',
    config: { capability: 'pub' },
    schema: {
      operationId: 'getMetrics',
      tags: ['Operation'],
      summary: 'Metrics for Prometheus',
      description: 'From this machine and from the networks of `CALLYARD_METRICS_ALLOW` alone.',
      response: {
        200: {
          description: 'Prometheus text format',
          content: { 'text/plain': { schema: Type.String() } },
        },
        403: failures({ problems: ['IP_NOT_ALLOWED'] })[403],
      },
    },
    handler: async (request, reply) => {
      if (!mayRead(request, part.metricsAllow)) throw new Problem('IP_NOT_ALLOWED');
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  });
}

function mayRead(request: FastifyRequest, allow: readonly string[]): boolean {
  const address = addressOf(request) ?? '';
  if (isAllowed(address, allow)) return true;
  return isAllowed(address, LOOPBACK) && FORWARDED.every((name) => !(name in request.headers));
}
