/** `/ws/events` on the whole server: live events of a real call, replay after a loss, filters, and who hears what. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { newId, newTimedId, type Id } from '#lib/ids.ts';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { defaultAccount, makeApiKey, makeUser, systemRows } from './_identity.ts';
import { SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Event = {
  readonly id: Id;
  readonly type: string;
  readonly alias: string | null;
  readonly call_id: Id | null;
  readonly seq: number | null;
  readonly data: Record<string, unknown>;
};

class Listener {
  readonly events: Event[] = [];
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.events.push(JSON.parse(data.toString()) as Event));
    this.closed = new Promise((resolve) => socket.once('close', resolve));
  }

  static async open(
    t: TestContext,
    server: TestApp,
    query = '',
    key = ADMIN_KEY,
  ): Promise<Listener> {
    const url = `${server.app.httpUrl.replace('http', 'ws')}/ws/events?${query}`;
    const headers = key === '' ? {} : { authorization: `Bearer ${key}` };
    const socket = new WebSocket(url, { headers });
    const listener = new Listener(socket);
    atEnd(t, () => socket.terminate());
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', (_request, response) =>
        reject(new Error(`HTTP ${response.statusCode}`)),
      );
    });
    return listener;
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  close(): void {
    this.#socket.close();
  }

  get types(): string[] {
    return this.events.map(({ type }) => type);
  }

  async until(type: string): Promise<void> {
    const isThere = await eventually(async () => this.types.includes(type), Boolean);
    assert.ok(isThere, `${type} has not come, but ${this.types.join(', ')}`);
  }
}

/** A call that is answered and hung up by the caller. */
async function callOnce(t: TestContext, server: TestApp): Promise<void> {
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  const call = peer.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  call.confirm(await call.response('INVITE')).ack();
  call.send('BYE');
  await call.response('BYE');
}

test('events of a real call, in order, each once; what was missed comes again', async (t) => {
  const server = await startTestApp(t);
  const all = await Listener.open(t, server);
  const some = await Listener.open(t, server, 'types=call-answered,call.ended');
  await callOnce(t, server);
  await all.until('call.ended');
  await some.until('call.ended');
  const call = all.events.filter(({ call_id: id }) => id === all.events[0]?.call_id);
  assert.deepEqual(
    call.map(({ seq }) => seq),
    call.map((_, at) => at + 1),
  );
  assert.equal(call[0]?.type, 'call.initiated');
  assert.equal(call[0]?.alias, 'call-initiated');
  assert.deepEqual(some.types, ['call.answered', 'call.ended']);
  const first = all.events[0] as Event;
  const path = `/api/v1/call-records/${String(first.call_id)}/events?page_size=100`;
  await eventually(
    () => server.get<{ events?: Event[] }>(path),
    ({ data }) => data.events?.some(({ type }) => type === 'call.ended') === true,
  );
  const again = await Listener.open(t, server, `after=${first.id}`);
  await again.until('call.ended');
  assert.deepEqual(
    again.events.map(({ id }) => id),
    all.events.slice(1).map(({ id }) => id),
  );
  again.send({ type: 'ping' });
  await again.until('pong');
  const other = await Listener.open(t, server, `call_id=${newId()}&after=${first.id}`);
  other.send({ type: 'ping' });
  await other.until('pong');
  assert.deepEqual(other.types, ['pong']);
});

test('who hears what: other tenants nothing, keys of agents their calls, viewers masked words', async (t) => {
  const server = await startTestApp(t);
  const mine = await defaultAccount(server);
  const stranger = await makeUser(server);
  const [agent] = await systemRows<{ id: Id }>(server.databaseUrl, 'SELECT id FROM agents');
  const key = async (account: Id, wish: object): Promise<string> =>
    (await makeApiKey(server, account, wish)).key;
  const foreign = await Listener.open(t, server, '', await key(stranger, {}));
  const bound = await Listener.open(t, server, '', await key(mine, { agentIds: [agent?.id] }));
  const unbound = await Listener.open(t, server, '', await key(mine, { agentIds: [newId()] }));
  const viewer = await Listener.open(t, server, '', await key(mine, { role: 'viewer' }));
  const agentsOwn = await Listener.open(t, server, `agent_id=${String(agent?.id)}`);
  await callOnce(t, server);
  await bound.until('call.ended');
  await viewer.until('call.ended');
  await agentsOwn.until('call.ended');
  assert.deepEqual([foreign.events, unbound.events], [[], []]);
  assert.equal(bound.types[0], 'call.initiated');
  const from = String(viewer.events[0]?.data['from']);
  assert.doesNotMatch(from, /^\+?1?5550100$/);
});

test('what is refused before the upgrade, and frames that are none', async (t) => {
  const server = await startTestApp(t);
  const rows: [query: string, key: string, status: number][] = [
    ['types=call.*,nonsense', ADMIN_KEY, 400],
    ['call_id=1', ADMIN_KEY, 400],
    ['token=abc', ADMIN_KEY, 400],
    [`after=${newId()}`, ADMIN_KEY, 404],
    ['', `cy_nobody00_${'x'.repeat(43)}`, 401],
    ['ticket=tk_unknown', '', 401],
  ];
  for (const [query, key, status] of rows) {
    await assert.rejects(Listener.open(t, server, query, key), {
      message: `HTTP ${status}`,
    });
  }
  const plain = await fetch(`${server.app.httpUrl}/ws/events`, {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  assert.equal(plain.status, 426);
  const listener = await Listener.open(t, server);
  for (let i = 0; i < 10; i++) listener.send({ type: 'subscribe' });
  assert.equal(await listener.closed, 1008);
});

test('more than a thousand missed events come in portions, none is left out', async (t) => {
  const server = await startTestApp(t);
  const mine = await defaultAccount(server);
  await systemRows(
    server.databaseUrl,
    `INSERT INTO call_events (id, user_id, type, at, data, node)
     SELECT gen_random_uuid(), $1, 'trunk.changed', now() - interval '1 hour' + n * interval '100 ms',
            jsonb_build_object('trunk_id', gen_random_uuid(), 'registered', true, 'error', null, 'n', n), 'node-1'
       FROM generate_series(0, 2500) n`,
    [mine],
  );
  const [first] = await systemRows<{ id: Id }>(
    server.databaseUrl,
    "SELECT id FROM call_events WHERE data ->> 'n' = '0'",
  );
  const seen = new Set<Id>();
  let after = first?.id ?? '';
  for (let portion = 0; portion < 4; portion++) {
    const listener = await Listener.open(t, server, `after=${after}`);
    if (portion < 2) assert.equal(await listener.closed, 4408, `portion ${portion}`);
    else {
      await eventually(
        async () => seen.size + listener.events.length,
        (count) => count >= 2500,
      );
      listener.close();
    }
    for (const event of listener.events) seen.add(event.id);
    after = listener.events.at(-1)?.id ?? after;
    if (seen.size >= 2500) break;
  }
  assert.equal(seen.size, 2500);
  // Whoever wants few of them must get past the others, and not be sent away empty-handed for ever.
  const wanted = newId();
  await systemRows(
    server.databaseUrl,
    `INSERT INTO call_events (id, user_id, type, at, data, node)
     VALUES ($2, $1, 'campaign.started', now(), '{}', 'node-1')`,
    [mine, wanted],
  );
  const few = await Listener.open(t, server, `types=campaign.*&after=${first?.id ?? ''}`);
  await few.until('campaign.started');
  assert.deepEqual(
    few.events.map(({ id }) => id),
    [wanted],
  );
});

test('words that were not final can be the last that a client had', async (t) => {
  const server = await startTestApp(t);
  const before = newTimedId(Date.now() - 1_000);
  const live = await Listener.open(t, server);
  await callOnce(t, server);
  await live.until('call.ended');
  const again = await Listener.open(t, server, `after=${before}`);
  await again.until('call.ended');
  assert.deepEqual(
    again.events.map(({ id }) => id),
    live.events.map(({ id }) => id),
  );
  const tomorrow = newTimedId(Date.now() + 3 * 86_400_000);
  await assert.rejects(Listener.open(t, server, `after=${tomorrow}`), { message: 'HTTP 404' });
});

test('an event of another agent is no event for a key of some agents', async (t) => {
  const server = await startTestApp(t);
  const mine = await defaultAccount(server);
  const live = await Listener.open(t, server);
  await callOnce(t, server);
  await live.until('call.ended');
  const { key } = await makeApiKey(server, mine, { agentIds: [newId()] });
  const after = live.events[0]?.id ?? '';
  await assert.rejects(Listener.open(t, server, `after=${after}`, key), { message: 'HTTP 404' });
});
