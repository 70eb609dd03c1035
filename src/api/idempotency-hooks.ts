/** Where Idempotency-Key meets a request: the claim before the handler, the answer kept behind it. */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Log } from '#lib/log.ts';
import { idempotencyKeyOf } from './idempotency.ts';
import type { IdempotencyClaims } from './idempotency-claims.ts';
import type { ApiServer } from './routing.ts';

export function addIdempotencyHooks(app: ApiServer, claims: IdempotencyClaims, log: Log): void {
  app.decorateRequest('rawBody', null);
  app.decorateRequest('claim', null);
  app.addHook('preHandler', async (request, reply) => claimKey(request, reply, claims));
  app.addHook('onSend', async (request, reply, payload) => {
    await settleClaim(request, reply, payload, log);
    return payload;
  });
}

async function claimKey(
  request: FastifyRequest,
  reply: FastifyReply,
  claims: IdempotencyClaims,
): Promise<FastifyReply | undefined> {
  const { idempotent, holdsSecret } = request.routeOptions.config;
  if (idempotent !== true || request.caller === null) return undefined;
  const key = idempotencyKeyOf(request.headers['idempotency-key']);
  if (key === null) return undefined;
  const route = `${request.method} ${request.routeOptions.url ?? ''}`;
  const { accountId } = request.caller;
  const begun = await claims.begin(
    { accountId, route, key },
    fingerprintOf(request),
    holdsSecret === true,
  );
  if ('claim' in begun) {
    request.claim = begun.claim;
    return undefined;
  }
  return reply
    .code(begun.replay.status)
    .header('idempotency-replayed', 'true')
    .type('application/json; charset=utf-8')
    .send(begun.replay.body);
}

/** What the request asks for. Another key or user may see other agents, so its request is another request. */
function fingerprintOf(request: FastifyRequest): Buffer {
  const hash = createHash('sha256');
  const { caller, params, query, rawBody } = request;
  // A body that is no JSON is not kept; its length is what is left of it.
  const body = rawBody ?? request.headers['content-length'] ?? '';
  for (const part of [caller?.actor ?? '', JSON.stringify([params, query]), body]) {
    hash.update(part).update('\0');
  }
  return hash.digest();
}

/** Kept before it is sent, so that whoever has an answer gets the same again. 429 asks to come again, so it is not. */
async function settleClaim(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  log: Log,
): Promise<void> {
  const { claim } = request;
  if (claim === null) return;
  request.claim = null;
  const isKept = reply.statusCode < 500 && reply.statusCode !== 429 && typeof payload === 'string';
  try {
    if (isKept) await claim.store({ status: reply.statusCode, body: payload });
    else await claim.release();
  } catch (error) {
    // The work is done: its answer goes out even if it could not be kept.
    log.error('idempotency.notKept', { requestId: request.id, error });
  }
}
