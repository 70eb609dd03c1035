/** Login with e-mail and password (contract 1.2). It exists only where Callyard itself holds the passwords. */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Logins } from '#store/users-login.ts';
import { addressOf, countingKey } from './addresses.ts';
import type { Tokens } from './auth-jwt.ts';
import { rateLimited, setRateHeaders } from './hooks.ts';
import { Problem } from './problem.ts';
import { AttemptLimiter } from './rate-limit.ts';
import { fromStore } from './record-source.ts';
import type { ApiServer } from './routing.ts';
import { answers, EXAMPLE_ID, IdSchema, ok } from './schemas.ts';

const ATTEMPTS = { limit: 5, windowMs: 60_000 };

const LoginBody = Type.Object(
  {
    username: Type.String({ minLength: 1, maxLength: 320, description: 'The e-mail address' }),
    password: Type.String({ minLength: 1, maxLength: 1024 }),
  },
  {
    additionalProperties: false,
    examples: [{ username: 'admin@localhost', password: 'correct horse battery staple' }],
  },
);

const LoginSchema = Type.Object(
  {
    token: Type.String({ description: 'A JWT for `Authorization: Bearer`' }),
    expires_at: Type.Integer({ description: 'Unix seconds' }),
    user: Type.Object({ id: IdSchema, email: Type.String() }),
  },
  {
    examples: [
      {
        token: 'eyJhbGciOiJIUzI1NiJ9.…',
        expires_at: 1767268800,
        user: { id: EXAMPLE_ID, email: 'admin@localhost' },
      },
    ],
  },
);

export type LoginPart = {
  readonly logins: Logins;
  readonly sign: NonNullable<Tokens['sign']>;
  readonly clock: Clock;
};

export function addLoginRoute(app: ApiServer, part: LoginPart): void {
  const byAddress = new AttemptLimiter({ ...ATTEMPTS, clock: part.clock });
  const byName = new AttemptLimiter({ ...ATTEMPTS, clock: part.clock });
  app.route({
    method: 'POST',
    url: '/api/auth/login',
    config: { capability: 'pub' },
    schema: {
      operationId: 'login',
      tags: ['Authentication'],
      summary: 'Get a token with e-mail and password',
      description:
        'The token acts on the user’s own account as owner, with `X-Account-Id` on another as what the user is there. At most 5 attempts a minute for each address and each name; a wrong name and a wrong password answer alike.',
      body: LoginBody,
      response: answers(200, LoginSchema, {
        description: 'Logged in',
        hasBody: true,
        problems: [],
      }),
    },
    handler: async (request, reply) => {
      const { username, password } = request.body;
      const ip = addressOf(request);
      const name = username.trim().toLowerCase();
      for (const [limiter, key] of [
        [byAddress, countingKey(ip)],
        [byName, name],
      ] as const) {
        const state = limiter.take(key);
        setRateHeaders(reply, state);
        if (!state.allowed) throw rateLimited(state);
      }
      const source = { requestId: request.id, ip };
      const user = await fromStore(part, part.logins.check(name, password, source));
      if (user === null) {
        throw new Problem('UNAUTHENTICATED', { faults: [{ path: '', rule: 'login' }] });
      }
      const { token, expiresAt } = await part.sign(user.id);
      return ok({ token, expires_at: expiresAt, user });
    },
  });
}
