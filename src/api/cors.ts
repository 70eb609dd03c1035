/** Which web pages may call the API (contract 1.6): configured origins alone, no credentials of the browser's. */
import cors from '@fastify/cors';
import type { ApiServer } from './routing.ts';

const ALLOWED = [
  ...['Authorization', 'Content-Type', 'Idempotency-Key', 'X-Request-Id', 'X-Account-Id'],
  'Accept-Language',
];
const EXPOSED = [
  ...['X-Request-Id', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
  ...['Retry-After', 'Idempotency-Replayed', 'Content-Disposition'],
];
const MAX_AGE_S = 600;

/** Before the routes are declared: its own route for preflights declares no capability. */
export async function addCors(app: ApiServer, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await app.register(cors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ALLOWED,
    exposedHeaders: EXPOSED,
    credentials: false,
    maxAge: MAX_AGE_S,
    // Without Origin it is no preflight; answered bare, not with a refusal that is no envelope.
    strictPreflight: false,
  });
}
