/** Who wants a socket (contract 1.2): credentials where a browser can put them, and the pages that may ask. */
import type { FastifyRequest } from 'fastify';
import { invalid, Problem } from './problem.ts';

/** The subprotocol that is spoken; the token travels beside it, because browsers cannot set headers. */
export const SUBPROTOCOL = 'callyard.v1';
const BEARER = 'bearer.';

export type Offered =
  | { readonly authorization: string | undefined; readonly ticket: null }
  | { readonly authorization: undefined; readonly ticket: string };

type SocketAsk = Pick<FastifyRequest, 'headers' | 'query'>;

/**
 * What a request proves itself with. Two proofs at once are refused: a proxy in front may have read the other one.
 * Errors: VALIDATION_FAILED, UNAUTHENTICATED for a `bearer.` without the name of the protocol.
 */
export function offeredBy(request: SocketAsk): Offered {
  const { authorization } = request.headers;
  const { ticket } = request.query as { readonly ticket?: unknown };
  const token = tokenIn(request.headers['sec-websocket-protocol']);
  const proofs = [authorization, ticket, token].filter((proof) => proof !== undefined);
  if (proofs.length > 1) throw invalid('', 'credentials');
  if (ticket !== undefined) {
    if (typeof ticket !== 'string') throw invalid('?ticket', 'type', { type: 'string' });
    return { ticket, authorization: undefined };
  }
  if (token !== undefined) return { authorization: `Bearer ${token}`, ticket: null };
  return { authorization, ticket: null };
}

/** RFC 9110 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Errors: VALIDATION_FAILED for a list that is none (RFC 6455 4.1), UNAUTHENTICATED. */
function tokenIn(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const names = header.split(',').map((name) => name.trim());
  const isList = names.every((name) => NAME.test(name)) && new Set(names).size === names.length;
  if (!isList) throw invalid('', 'http');
  const tokens = names.filter((name) => name.startsWith(BEARER));
  if (tokens.length > 1) throw invalid('', 'credentials');
  const [token] = tokens;
  if (token !== undefined && !names.includes(SUBPROTOCOL)) throw new Problem('UNAUTHENTICATED');
  return token?.slice(BEARER.length);
}

/**
 * Programs send no `Origin`. Pages do, and get what CORS gives them (contract 1.6): the configured origins, and pages of
 * this very host. The scheme is left out: a proxy that ends TLS may not tell it. Errors: FORBIDDEN.
 */
export function refuseForeignPage(request: FastifyRequest, origins: readonly string[]): void {
  const { origin } = request.headers;
  if (origin === undefined || origins.includes(origin)) return;
  if (!URL.canParse(origin) || new URL(origin).host !== hostOf(request)) {
    throw new Problem('FORBIDDEN');
  }
}

function hostOf(request: FastifyRequest): string | null {
  const url = `${request.protocol}://${request.host}`;
  return URL.canParse(url) ? new URL(url).host : null;
}
