/** The mixed load of the API bench: what a console and an integration ask for, in fixed shares and a fixed order. */
import { requestBytes } from './_http-client.ts';
import { PHONE_PREFIX } from './seed-records.ts';

export type Kind = 'get' | 'list' | 'insert' | 'patch' | 'statistics';

export type MixRequest = {
  readonly kind: Kind;
  readonly request: Buffer;
  /** Status of the answer. */
  readonly expect: number;
  readonly note?: (body: string) => void;
};

export type MixOptions = {
  readonly key: string;
  readonly ids: readonly string[];
  readonly agentIds: readonly string[];
};

/** Of every 20 requests: 8 gets, 6 lists, 3 inserts, 1 patch, 2 statistics. */
const ORDER: readonly Kind[] = [
  ...([
    'get',
    'list',
    'get',
    'insert',
    'get',
    'list',
    'statistics',
    'get',
    'list',
    'insert',
  ] as const),
  ...([
    'get',
    'list',
    'get',
    'patch',
    'get',
    'list',
    'statistics',
    'get',
    'list',
    'insert',
  ] as const),
];
const LIST = '/api/v1/call-records?page_size=20';
/** Every tenth record is entered late, for some day of the year, which has to be counted again then. */
const LATE_EVERY = 10;
const DAY_MS = 86_400_000;

export function makeMix({ key, ids, agentIds }: MixOptions): { next(): MixRequest } {
  let count = 0;
  let lists = 0;
  let inserts = 0;
  let cursor: string | null = null;
  const open: string[] = [];
  const get = (path: string): Buffer => requestBytes('GET', path, key);
  const pick = (from: readonly string[]): string => from[(count * 7919) % from.length] ?? '';

  const noteCursor = (body: string): void => {
    const { data } = JSON.parse(body) as { data: { pagination: { next_cursor: string | null } } };
    cursor = data.pagination.next_cursor;
  };
  const lateMs = (): number => (1 + ((inserts * 37) % 300)) * DAY_MS;

  const makers: Readonly<Record<Kind, () => Omit<MixRequest, 'kind'>>> = {
    get: () => ({ request: get(`/api/v1/call-records/${pick(ids)}`), expect: 200 }),
    list: () => {
      const shape = lists++ % 5;
      const after = cursor === null ? '' : `&cursor=${cursor}`;
      if (shape === 0) return { request: get(LIST), expect: 200, note: noteCursor };
      if (shape === 1) return { request: get(`${LIST}${after}`), expect: 200, note: noteCursor };
      if (shape === 2) return { request: get(`${LIST}&page=500`), expect: 200 };
      if (shape === 3) return { request: get(`${LIST}&agent_id=${pick(agentIds)}`), expect: 200 };
      const nobody = encodeURIComponent(PHONE_PREFIX.replace(/0$/, '9'));
      return { request: get(`${LIST}&caller_phone=${nobody}`), expect: 200 };
    },
    insert: () => {
      const isLate = ++inserts % LATE_EVERY === 0;
      const body = {
        agent_id: pick(agentIds),
        start_time: new Date(Date.now() - (isLate ? lateMs() : 0)).toISOString(),
        ...{ caller_name: `Caller ${inserts}`, caller_phone: `${PHONE_PREFIX}555555` },
        ...{ caller_app: '微信', metadata: { order: inserts } },
      };
      return {
        request: requestBytes('POST', '/api/v1/call-records', key, body),
        expect: 201,
        note: (text) => open.push((JSON.parse(text) as { data: { id: string } }).data.id),
      };
    },
    patch: () => {
      const id = open.shift() ?? pick(ids);
      const body = { metadata: { seen: true }, summary: 'Asked for the price, will call again.' };
      return {
        request: requestBytes('PATCH', `/api/v1/call-records/${id}`, key, body),
        expect: 200,
      };
    },
    statistics: () => ({
      request: get('/api/v1/call-records/statistics?period=year'),
      expect: 200,
    }),
  };

  return {
    next() {
      const kind = ORDER[count++ % ORDER.length] ?? 'get';
      return { kind, ...makers[kind]() };
    },
  };
}
