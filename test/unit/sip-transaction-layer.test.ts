/** How messages find their transaction, and what becomes of those that have none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { DEFAULT_TIMERS } from '#sip/server/timers.ts';
import { cancelledKey, mergeKey, serverKey } from '#sip/server/transaction-key.ts';
import { TransactionLayer } from '#sip/server/transaction-layer.ts';
import type { AnyServerTransaction } from '#sip/server/transaction-layer.ts';
import { responseFlow } from '#sip/server/transaction-via.ts';
import { FakeTransport, PEER, flowOf, parsed, reply, request, settled } from './_sip-fakes.ts';

function setUp(maxTransactions = 100) {
  const transport = new FakeTransport();
  const heard: string[] = [];
  const transactions: AnyServerTransaction[] = [];
  const layer = new TransactionLayer({
    transport,
    clock: transport.clock,
    timers: DEFAULT_TIMERS,
    log: silentLog,
    maxTransactions,
    user: {
      onRequest: (transaction) => {
        transactions.push(transaction);
        heard.push(transaction.request.method);
      },
      onCancel: (_cancel, invite) =>
        void heard.push(`CANCEL ${invite === undefined ? '-' : 'INVITE'}`),
      onAck: () => void heard.push('ACK'),
      onStrayResponse: (response) => void heard.push(`stray ${response.status}`),
    },
  });
  return { transport, layer, heard, transactions };
}

test('repeats go to their transaction, ACK and CANCEL find their INVITE, others are new', () => {
  const { transport, heard, layer } = setUp();
  transport.receive(request());
  transport.receive(request());
  transport.receive(request({ method: 'CANCEL' }));
  transport.receive(request({ method: 'CANCEL', branch: 'z9hG4bK-other' }));
  transport.receive(request({ method: 'ACK', branch: 'z9hG4bK-2xx', toTag: 'x' }));
  transport.receive(request({ method: 'OPTIONS', branch: 'z9hG4bK-o' }));
  assert.deepEqual(heard, ['INVITE', 'CANCEL INVITE', 'CANCEL -', 'ACK', 'OPTIONS']);
  assert.deepEqual(layer.census(), { inviteClient: 0, client: 0, inviteServer: 1, server: 3 });
});

test('keys: branch and sent-by with the cookie, the RFC 2543 rules without', () => {
  const same: [string, Parameters<typeof request>[0], Parameters<typeof request>[0], boolean][] = [
    ['same branch', {}, {}, true],
    ['ACK of a non-2xx', {}, { method: 'ACK', toTag: 'ours' }, true],
    ['other branch', {}, { branch: 'z9hG4bK-2' }, false],
    ['other method', { method: 'OPTIONS' }, { method: 'INFO' }, false],
    ['cookie: CSeq does not matter', {}, { cseq: 2 }, true],
    ['old: same', { branch: '1' }, { branch: '1' }, true],
    ['old: ACK', { branch: '1' }, { branch: '1', method: 'ACK', toTag: 'ours' }, true],
    ['old: other CSeq', { branch: '1' }, { branch: '1', cseq: 2 }, false],
    ['old: other Call-ID', { branch: '1' }, { branch: '1', callId: 'x' }, false],
    ['old: other URI', { branch: '1' }, { branch: '1', uri: 'sip:x@192.0.2.1' }, false],
  ];
  for (const [name, a, b, expected] of same) {
    assert.equal(serverKey(request(a)) === serverKey(request(b)), expected, name);
  }
  const cancel = request({ method: 'CANCEL' });
  assert.equal(cancelledKey(cancel), serverKey(request()));
  assert.notEqual(serverKey(cancel), serverKey(request()));
  assert.equal(mergeKey(request({ branch: 'z9hG4bK-2' })), mergeKey(request()));
});

test('a request that comes twice by different paths is refused with 482', () => {
  const { transport, heard } = setUp();
  transport.receive(request({ branch: 'z9hG4bK-a' }));
  transport.receive(request({ branch: 'z9hG4bK-b' }));
  assert.deepEqual(heard, ['INVITE']);
  assert.equal(transport.last('482 INVITE').viaBranch, 'z9hG4bK-b');
  transport.receive(request({ method: 'INFO', branch: 'z9hG4bK-c', toTag: 't' }));
  transport.receive(request({ method: 'INFO', branch: 'z9hG4bK-d', toTag: 't' }));
  assert.deepEqual(heard, ['INVITE', 'INFO', 'INFO'], 'requests in a dialog are not merged');
});

test('after its transaction is over the same request is new again', () => {
  const { transport, heard, transactions } = setUp();
  transport.receive(request({ method: 'OPTIONS', branch: 'z9hG4bK-a' }));
  transactions[0]?.respond(reply(request({ method: 'OPTIONS', branch: 'z9hG4bK-a' }), 200));
  transport.clock.advance(32_000);
  transport.receive(request({ method: 'OPTIONS', branch: 'z9hG4bK-b' }));
  assert.deepEqual(heard, ['OPTIONS', 'OPTIONS']);
});

test('responses match by branch and CSeq method; the rest is stray', () => {
  const { transport, layer, heard } = setUp();
  const got: number[] = [];
  const options = request({ method: 'OPTIONS', branch: 'z9hG4bK-mine' });
  const target = { protocol: 'udp', address: PEER, port: 5060 } as const;
  layer.request(
    options,
    { target, flow: null },
    {
      onResponse: (response) => void got.push(response.status),
      onTimeout: () => void got.push(-1),
      onTransportError: () => void got.push(-2),
    },
  );
  transport.receive(reply(request({ method: 'INFO', branch: 'z9hG4bK-mine' }), 200));
  transport.receive(reply(request({ method: 'OPTIONS', branch: 'z9hG4bK-else' }), 200));
  transport.receive(reply(options, 200));
  assert.deepEqual(got, [200]);
  assert.deepEqual(heard, ['stray 200', 'stray 200']);
  transport.clock.advance(5000);
  assert.equal(transport.clock.pending, 0);
  assert.deepEqual(layer.census(), { inviteClient: 0, client: 0, inviteServer: 0, server: 0 });
});

test('a full table answers 503 and keeps nothing', () => {
  const { transport, layer, heard } = setUp(1);
  transport.receive(request({ branch: 'z9hG4bK-a', callId: 'a' }));
  transport.receive(request({ branch: 'z9hG4bK-b', callId: 'b' }));
  assert.deepEqual(heard, ['INVITE']);
  assert.equal(transport.last('503 INVITE').get('Retry-After'), '5');
  assert.equal(layer.census().inviteServer, 1);
});

test('a connection that closes fails what had no answer, and only that', async () => {
  const { transport, layer } = setUp();
  const got: string[] = [];
  const target = { protocol: 'tcp', address: PEER, port: 5060 } as const;
  const start = (branch: string): void => {
    layer.request(
      request({ branch }),
      { target, flow: null },
      {
        onResponse: (response) => void got.push(`${branch} ${response.status}`),
        onTimeout: () => void got.push(`${branch} timeout`),
        onTransportError: () => void got.push(`${branch} error`),
      },
    );
  };
  start('z9hG4bK-a');
  start('z9hG4bK-b');
  await settled();
  transport.receive(reply(request({ branch: 'z9hG4bK-b' }), 180));
  transport.dropConnection(7);
  assert.deepEqual(got, ['z9hG4bK-b 180', 'z9hG4bK-a error']);
});

test('a flow that is gone is replaced by its target', async () => {
  const { transport, layer } = setUp();
  const target = { protocol: 'udp', address: '192.0.2.77', port: 5080 } as const;
  const failing = { ...flowOf('udp'), remoteAddress: '192.0.2.66' };
  const original = transport.sendOn.bind(transport);
  transport.sendOn = (flow, bytes) =>
    flow === failing ? Promise.reject(new Error('gone')) : original(flow, bytes);
  const used = await layer.send({ target, flow: failing }, request().serialize());
  assert.equal(used.remoteAddress, '192.0.2.77');
  assert.deepEqual(
    transport.sent.map(({ to }) => to),
    ['192.0.2.77:5080'],
  );
});

test('responses go to the source with rport, to sent-by without, to the source behind NAT', () => {
  const flow = flowOf('udp', { remotePort: 40_000 });
  const rows: [string, number][] = [
    [`${PEER}:5062;rport=40000;received=${PEER}`, 40_000],
    [`${PEER}:5062`, 5062],
    [PEER, 5060],
    [`10.0.0.5:5062;received=${PEER}`, 40_000],
    [`phone.invalid;received=${PEER}`, 40_000],
  ];
  for (const [via, port] of rows) {
    const text = request().serialize().toString().replace(`${PEER}:5060;`, `${via};`);
    assert.equal(responseFlow(parsed(text), flow).remotePort, port, via);
  }
  const tcp = flowOf('tcp', { remotePort: 40_000 });
  assert.equal(responseFlow(request(), tcp), tcp);
});

test('a user that throws costs one message, not the engine', () => {
  const { transport, layer } = setUp();
  const target = { protocol: 'udp', address: PEER, port: 5060 } as const;
  const options = request({ method: 'OPTIONS', branch: 'z9hG4bK-mine' });
  layer.request(
    options,
    { target, flow: null },
    {
      onResponse: () => {
        throw new Error('a fault of ours');
      },
      onTimeout: () => undefined,
      onTransportError: () => undefined,
    },
  );
  assert.doesNotThrow(() => transport.receive(reply(options, 200)));
});
