/** Shapes of overview, contacts, extensions and status of the console API (contract 2.6 rows 1, 13 to 15). */
import { Type } from 'typebox';
import { consolePageFields, ConsolePaginationSchema } from './paging.ts';
import { EXAMPLE_ID, IdSchema, nullable, ref, TimeSchema } from './schemas.ts';

export const OverviewSchema = Type.Object(
  {
    configured: Type.Boolean({ description: 'Whether a trunk is set up at all' }),
    vos: Type.Object({
      configured: Type.Boolean(),
      active: Type.Boolean(),
      name: nullable(Type.String()),
      host: nullable(Type.String()),
      port: nullable(Type.Integer()),
      transport: nullable(Type.Enum(['udp', 'tcp', 'tls'])),
      registered: Type.Boolean(),
      registeredUntil: nullable(TimeSchema),
      source: Type.Enum(['database', 'environment', 'none']),
      lastError: nullable(Type.String()),
    }),
    server: Type.Object({
      version: Type.String(),
      startedAt: TimeSchema,
      uptimeSeconds: Type.Integer(),
      nodes: Type.Integer(),
    }),
    activeCalls: Type.Integer({ description: 'Calls that are not over' }),
    today: Type.Object(
      {
        calls: Type.Integer(),
        answered: Type.Integer(),
        failed: Type.Integer(),
        totalDuration: Type.Integer({ description: 'Seconds' }),
      },
      { description: 'Phone and web calls since midnight in the account’s time zone' },
    ),
  },
  {
    examples: [
      {
        configured: true,
        vos: {
          configured: true,
          active: true,
          name: 'Main trunk',
          host: 'sip.example.net',
          port: 5060,
          transport: 'udp',
          registered: false,
          registeredUntil: null,
          source: 'database',
          lastError: null,
        },
        server: {
          version: '0.1.0',
          startedAt: '2026-01-01T00:00:00.000Z',
          uptimeSeconds: 3600,
          nodes: 1,
        },
        activeCalls: 2,
        today: { calls: 40, answered: 31, failed: 7, totalDuration: 5210 },
      },
    ],
  },
);

export const ContactsQuery = Type.Object({
  ...consolePageFields,
  keyword: Type.Optional(
    Type.String({
      maxLength: 100,
      description: 'A part of name, phone, e-mail or company, case-insensitive',
    }),
  ),
});

export const ContactsSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object({
        id: IdSchema,
        name: Type.String(),
        phone: Type.String(),
        email: nullable(Type.String()),
        company: nullable(Type.String()),
        tags: Type.Array(Type.String()),
        doNotCall: Type.Boolean(),
        lastCallAt: nullable(TimeSchema),
      }),
    ),
    pagination: ref(ConsolePaginationSchema),
  },
  {
    examples: [
      {
        items: [
          {
            id: EXAMPLE_ID,
            name: 'Ann',
            phone: '+15550100',
            email: 'ann@example.com',
            company: null,
            tags: ['vip'],
            doNotCall: false,
            lastCallAt: null,
          },
        ],
        pagination: {
          page: 1,
          pageSize: 20,
          total: 1,
          totalExact: true,
          totalPages: 1,
          hasNext: false,
          nextCursor: null,
        },
      },
    ],
  },
);

export const ExtensionsSchema = Type.Object(
  {
    total: Type.Integer(),
    items: Type.Array(
      Type.Object({
        id: IdSchema,
        extension: Type.String(),
        name: Type.String(),
        kind: Type.Enum(['sip', 'number', 'agent']),
        department: nullable(Type.String()),
        status: Type.Enum(['idle', 'ringing', 'busy', 'offline', 'disabled']),
        enabled: Type.Boolean(),
      }),
      { description: 'By extension, at most 10,000' },
    ),
  },
  {
    examples: [
      {
        total: 1,
        items: [
          {
            id: EXAMPLE_ID,
            extension: '801',
            name: 'Front desk',
            kind: 'agent',
            department: null,
            status: 'idle',
            enabled: true,
          },
        ],
      },
    ],
  },
);

export const RealtimeSchema = Type.Object(
  {
    activeCalls: Type.Integer({ description: 'Calls that are not over' }),
    ringingCalls: Type.Integer(),
    queuedCalls: Type.Integer(),
    todayCalls: Type.Integer(),
    todayAnswered: Type.Integer(),
    sip: Type.Object({
      registered: Type.Boolean({ description: 'Whether any trunk is registered' }),
      trunks: Type.Array(
        Type.Object({
          name: Type.String(),
          state: Type.Enum(['unregistered', 'static', 'disabled'], {
            description: '`static`: in use without a registration',
          }),
          calls: Type.Integer(),
        }),
      ),
    }),
    providers: Type.Array(
      Type.Object({
        kind: Type.Enum(['stt', 'llm', 'tts', 'realtime']),
        vendor: Type.String(),
        state: Type.Enum(['up', 'degraded', 'down']),
        p50Ms: nullable(
          Type.Number({ description: 'Median time to the first result; null before the first' }),
        ),
      }),
    ),
    nodes: Type.Array(
      Type.Object({
        id: Type.String(),
        calls: Type.Integer({ description: 'Of this account' }),
        load: Type.Number({ description: 'Calls of all accounts as a share of the limit, 0..1' }),
        state: Type.Enum(['accepting', 'starting', 'draining', 'overloaded']),
      }),
    ),
    updatedAt: TimeSchema,
  },
  {
    examples: [
      {
        activeCalls: 2,
        ringingCalls: 1,
        queuedCalls: 0,
        todayCalls: 40,
        todayAnswered: 31,
        sip: { registered: false, trunks: [{ name: 'Main trunk', state: 'static', calls: 2 }] },
        providers: [{ kind: 'llm', vendor: 'openai', state: 'up', p50Ms: 420 }],
        nodes: [{ id: 'node-1', calls: 2, load: 0.01, state: 'accepting' }],
        updatedAt: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);
