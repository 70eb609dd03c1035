/** The four SIP transactions, state by state and timer by timer (RFC 3261 17, RFC 6026), on simulated time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { SipMessage } from '#sip/server/message.ts';
import { DEFAULT_TIMERS } from '#sip/server/timers.ts';
import { ClientTransaction } from '#sip/server/transaction-client.ts';
import { InviteClientTransaction } from '#sip/server/transaction-invite-client.ts';
import { InviteServerTransaction } from '#sip/server/transaction-invite-server.ts';
import { ServerTransaction } from '#sip/server/transaction-server.ts';
import { flowOf, nameOf, parsed, reply, request, settled } from './_sip-fakes.ts';

/** Everything a transaction needs, and a record of what it did. */
function setUp(method: string, reliable: boolean) {
  const clock = new SimulatedClock();
  const sent: { name: string; atMs: number; message: SipMessage }[] = [];
  const heard: string[] = [];
  const state = { broken: false, ended: 0 };
  const options = {
    key: 'k',
    request: request({ method }),
    reliable,
    clock,
    timers: DEFAULT_TIMERS,
    onTerminated: () => void state.ended++,
    send: (bytes: Buffer) => {
      if (state.broken) return Promise.reject(new Error('unreachable'));
      const message = parsed(bytes);
      sent.push({ name: nameOf(message), atMs: clock.now(), message });
      return Promise.resolve();
    },
  };
  const clientSink = {
    onResponse: (response: SipMessage) => void heard.push(String(response.status)),
    onTimeout: () => void heard.push('timeout'),
    onTransportError: () => void heard.push('transport'),
  };
  const serverSink = {
    onFailed: (error: string) => void heard.push(error),
    onAck: () => void heard.push('ack'),
  };
  const flow = flowOf(reliable ? 'tcp' : 'udp');
  const times = (name: string): number[] =>
    sent.filter((entry) => entry.name === name).map(({ atMs }) => atMs);
  return { clock, sent, heard, state, options, clientSink, serverSink, flow, times };
}

function inviteClient(reliable = false) {
  const kit = setUp('INVITE', reliable);
  const transaction = new InviteClientTransaction({ ...kit.options, sink: kit.clientSink });
  const answer = (status: number, toTag = 'far'): void =>
    transaction.receive(reply(kit.options.request, status, { toTag }), kit.flow);
  transaction.start();
  return { ...kit, transaction, answer };
}

function client(reliable = false, method = 'OPTIONS') {
  const kit = setUp(method, reliable);
  const transaction = new ClientTransaction({ ...kit.options, sink: kit.clientSink });
  const answer = (status: number): void =>
    transaction.receive(reply(kit.options.request, status, { toTag: 'far' }), kit.flow);
  transaction.start();
  return { ...kit, transaction, answer };
}

function inviteServer(reliable = false) {
  const kit = setUp('INVITE', reliable);
  const transaction = new InviteServerTransaction({ ...kit.options, flow: kit.flow });
  transaction.attach(kit.serverSink);
  transaction.start();
  const respond = (status: number): boolean =>
    transaction.respond(reply(kit.options.request, status, { toTag: 'ours' }));
  const receive = (method: string): void =>
    transaction.receive(request({ method, toTag: 'ours' }), kit.flow);
  return { ...kit, transaction, respond, receive };
}

function server(reliable = false) {
  const kit = setUp('OPTIONS', reliable);
  const transaction = new ServerTransaction({ ...kit.options, flow: kit.flow });
  transaction.attach(kit.serverSink);
  const respond = (status: number): boolean =>
    transaction.respond(reply(kit.options.request, status, { toTag: 'ours' }));
  return { ...kit, transaction, respond };
}

test('INVITE client, UDP: timer A doubles without bound, timer B ends it at 32 s', () => {
  const { clock, times, heard, transaction } = inviteClient();
  assert.deepEqual(transaction.armed, ['A', 'B']);
  clock.advance(31_999);
  assert.deepEqual(times('INVITE'), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
  assert.deepEqual(heard, []);
  clock.advance(1);
  assert.deepEqual(heard, ['timeout']);
  assert.equal(clock.pending, 0);
});

test('INVITE client, TCP: no timer A, timer B all the same', () => {
  const { clock, times, heard, transaction } = inviteClient(true);
  assert.deepEqual(transaction.armed, ['B']);
  clock.advance(32_000);
  assert.deepEqual(times('INVITE'), [0]);
  assert.deepEqual(heard, ['timeout']);
});

test('INVITE client: a provisional stops A and B and sets our own limit, renewed by each', () => {
  const { clock, times, heard, answer, transaction } = inviteClient();
  clock.advance(600);
  answer(100);
  answer(180);
  assert.equal(transaction.state, 'proceeding');
  assert.deepEqual(transaction.armed, ['limit']);
  clock.advance(299_000);
  answer(180);
  clock.advance(299_999);
  assert.deepEqual(heard, ['100', '180', '180']);
  clock.advance(1);
  assert.deepEqual(heard, ['100', '180', '180', 'timeout']);
  assert.deepEqual(times('INVITE'), [0, 500]);
});

test('INVITE client: non-2xx is acknowledged, again for each repeat, until timer D', () => {
  for (const reliable of [false, true]) {
    const { clock, sent, times, heard, answer, transaction, state } = inviteClient(reliable);
    answer(486);
    const ack = sent.at(-1)?.message;
    assert.equal(ack?.get('CSeq'), '1 ACK');
    assert.match(ack?.get('To') ?? '', /tag=far/);
    assert.equal(ack?.viaBranch, 'z9hG4bK-1');
    assert.equal(ack?.getAll('Via').length, 1);
    if (reliable) {
      assert.equal(state.ended, 1);
      continue;
    }
    assert.equal(transaction.state, 'completed');
    assert.deepEqual(transaction.armed, ['D']);
    clock.advance(1000);
    answer(486);
    answer(180);
    assert.deepEqual(times('ACK'), [0, 1000]);
    assert.deepEqual(heard, ['486']);
    clock.advance(30_999);
    assert.equal(state.ended, 0);
    clock.advance(1);
    assert.equal(state.ended, 1);
    assert.equal(clock.pending, 0);
  }
});

test('INVITE client: Accepted passes every 2xx up and sends no ACK, until timer M (RFC 6026)', () => {
  for (const reliable of [false, true]) {
    const { clock, times, heard, answer, transaction, state } = inviteClient(reliable);
    answer(180);
    answer(200, 'one');
    answer(200, 'two');
    answer(486);
    assert.equal(transaction.state, 'accepted');
    assert.deepEqual(transaction.armed, ['M']);
    assert.deepEqual(heard, ['180', '200', '200']);
    assert.deepEqual(times('ACK'), []);
    clock.advance(31_999);
    assert.equal(state.ended, 0);
    clock.advance(1);
    assert.equal(state.ended, 1);
  }
});

test('INVITE client: after a CANCEL the final response has 64*T1, whatever else comes', () => {
  const { clock, heard, answer, transaction } = inviteClient();
  answer(180);
  transaction.limitAfterCancel();
  clock.advance(31_000);
  answer(180);
  clock.advance(1000);
  assert.deepEqual(heard, ['180', '180', 'timeout']);
});

test('client: timer E doubles to T2, T2 after a 1xx, timer F at 32 s', () => {
  const { clock, times, heard } = client();
  clock.advance(32_000);
  assert.deepEqual(
    times('OPTIONS'),
    [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500],
  );
  assert.deepEqual(heard, ['timeout']);
  assert.equal(clock.pending, 0);

  const second = client();
  second.clock.advance(100);
  second.answer(100);
  assert.equal(second.transaction.state, 'proceeding');
  second.clock.advance(9000);
  assert.deepEqual(second.times('OPTIONS'), [0, 500, 4500, 8500]);
  second.clock.advance(32_000);
  assert.deepEqual(second.heard, ['100', 'timeout']);
});

test('client: TCP has no timer E; a final response ends it at once, on UDP after timer K', () => {
  const tcp = client(true);
  assert.deepEqual(tcp.transaction.armed, ['F']);
  tcp.answer(200);
  assert.equal(tcp.state.ended, 1);

  const udp = client();
  udp.answer(200);
  udp.answer(200);
  assert.deepEqual(udp.heard, ['200']);
  assert.deepEqual(udp.transaction.armed, ['K']);
  udp.clock.advance(4999);
  assert.equal(udp.state.ended, 0);
  udp.clock.advance(1);
  assert.equal(udp.state.ended, 1);
});

test('client transactions report a transport error once, and nothing after their end', async () => {
  for (const make of [inviteClient, client]) {
    const kit = make();
    kit.state.broken = true;
    kit.clock.advance(500);
    await settled();
    assert.deepEqual(kit.heard, ['transport']);
    assert.equal(kit.state.ended, 1);
    kit.answer(200);
    kit.clock.advance(60_000);
    assert.deepEqual(kit.heard, ['transport']);
  }
});

test('INVITE server: 100 at once, the last provisional for each repeat', () => {
  const { sent, receive, respond } = inviteServer();
  receive('INVITE');
  respond(180);
  receive('INVITE');
  assert.deepEqual(
    sent.map(({ name }) => name),
    ['100 INVITE', '100 INVITE', '180 INVITE', '180 INVITE'],
  );
});

test('INVITE server, UDP: timer G doubles to T2 until the ACK, timer I absorbs', () => {
  const { clock, times, respond, receive, transaction, state, heard } = inviteServer();
  respond(486);
  assert.deepEqual(transaction.armed, ['G', 'H']);
  clock.advance(10_000);
  assert.deepEqual(times('486 INVITE'), [0, 500, 1500, 3500, 7500]);
  receive('INVITE');
  assert.equal(times('486 INVITE').length, 6);
  assert.equal(respond(200), false);
  receive('ACK');
  assert.equal(transaction.state, 'confirmed');
  assert.deepEqual(transaction.armed, ['I']);
  receive('ACK');
  receive('INVITE');
  clock.advance(4999);
  assert.equal(state.ended, 0);
  clock.advance(1);
  assert.equal(state.ended, 1);
  assert.equal(times('486 INVITE').length, 6);
  assert.deepEqual(heard, []);
});

test('INVITE server, TCP: no timer G, no timer I; timer H without an ACK', () => {
  const first = inviteServer(true);
  first.respond(486);
  assert.deepEqual(first.transaction.armed, ['H']);
  first.clock.advance(20_000);
  assert.deepEqual(first.times('486 INVITE'), [0]);
  first.receive('ACK');
  assert.equal(first.state.ended, 1);

  const second = inviteServer();
  second.respond(486);
  second.clock.advance(32_000);
  assert.deepEqual(second.heard, ['no-ack']);
  assert.equal(second.state.ended, 1);
  assert.deepEqual(second.times('486 INVITE').length, 11);
});

test('INVITE server: Accepted absorbs INVITEs, passes ACKs up, sends 2xx it is given, ends with timer L', () => {
  for (const reliable of [false, true]) {
    const { clock, times, respond, receive, transaction, state, heard } = inviteServer(reliable);
    respond(200);
    assert.deepEqual(transaction.armed, ['L']);
    receive('INVITE');
    assert.deepEqual(times('200 INVITE'), [0]);
    assert.equal(respond(200), true);
    assert.equal(respond(180), false);
    assert.equal(respond(486), false);
    assert.deepEqual(times('200 INVITE'), [0, 0]);
    receive('ACK');
    assert.deepEqual(heard, ['ack']);
    clock.advance(31_999);
    assert.equal(state.ended, 0);
    clock.advance(1);
    assert.equal(state.ended, 1);
  }
});

test('server: silence before an answer, the answer for each repeat, timer J', () => {
  const { clock, sent, respond, transaction, state } = server();
  transaction.receive();
  assert.equal(sent.length, 0);
  respond(100);
  transaction.receive();
  assert.equal(sent.length, 2);
  assert.equal(respond(200), true);
  assert.equal(respond(200), false);
  transaction.receive();
  assert.deepEqual(
    sent.map(({ name }) => name),
    ['100 OPTIONS', '100 OPTIONS', '200 OPTIONS', '200 OPTIONS'],
  );
  assert.deepEqual(transaction.armed, ['J']);
  clock.advance(31_999);
  assert.equal(state.ended, 0);
  clock.advance(1);
  assert.equal(state.ended, 1);

  const tcp = server(true);
  tcp.respond(200);
  assert.equal(tcp.state.ended, 1);
});

test('server transactions report that a response cannot be sent', async () => {
  for (const make of [inviteServer, server]) {
    const kit = make();
    kit.state.broken = true;
    kit.respond(200);
    await settled();
    assert.deepEqual(kit.heard, ['transport']);
    assert.equal(kit.clock.pending, 0);
  }
});

test('terminate is idempotent and leaves no timer, in every state', () => {
  const kits = [inviteClient(), client(), inviteServer(), server()];
  for (const { transaction, clock, state } of kits) {
    transaction.terminate();
    transaction.terminate();
    assert.equal(state.ended, 1);
    assert.equal(clock.pending, 0);
  }
});
