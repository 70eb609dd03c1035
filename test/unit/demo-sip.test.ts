/** The built-in caller's signalling on a simulated clock and a flow made of arrays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { SipCall } from '#src/demo/sip-call.ts';
import {
  headerOf,
  listOf,
  parseSip,
  parseTarget,
  tagOf,
  uriOf,
  type SipMessage,
} from '#src/demo/sip-message.ts';
import { takeMessage, type SipFlow } from '#src/demo/sip-transport.ts';

const TARGET = parseTarget('sip:8001@192.0.2.1:5060');
assert.ok(TARGET !== undefined);

type Rig = {
  readonly call: SipCall;
  readonly clock: SimulatedClock;
  readonly sent: SipMessage[];
  readonly offers: string[];
  deliver(text: string): void;
  fail(error: Error): void;
};

function rig(reliable = false): Rig {
  const sent: SipMessage[] = [];
  const offers: string[] = [];
  let deliver: (text: string) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const flow: SipFlow = {
    reliable,
    localAddress: '192.0.2.9',
    localPort: 40_000,
    send: (text) => {
      const message = parseSip(text);
      assert.ok(message !== undefined, `not SIP: ${text}`);
      sent.push(message);
    },
    onMessage: (listener) => void (deliver = listener),
    onError: (listener) => void (fail = listener),
    close: () => undefined,
  };
  const clock = new SimulatedClock();
  const onOffer = (offer: string): string => {
    offers.push(offer);
    return 'our answer';
  };
  const call = new SipCall({
    flow,
    target: TARGET as NonNullable<typeof TARGET>,
    callerName: 'caller',
    onOffer,
    clock,
  });
  return {
    call,
    clock,
    sent,
    offers,
    deliver: (text) => deliver(text),
    fail: (error) => fail(error),
  };
}

/** A response to `request`, as a server would write it. */
function answer(
  request: SipMessage | undefined,
  status: string,
  extra: readonly string[] = [],
  body = '',
): string {
  assert.ok(request !== undefined);
  const copied = ['via', 'from', 'call-id', 'cseq'].map(
    (name) => `${name}: ${headerOf(request, name)}`,
  );
  const to = headerOf(request, 'to');
  const tagged = tagOf(to) === '' ? `${to};tag=srv` : to;
  return [`SIP/2.0 ${status}`, ...copied, `t: ${tagged}`, ...extra, '', body].join('\r\n');
}

const ROUTES = [
  'Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>',
  'Contact: "Callyard" <sip:node@192.0.2.1:5062>',
];

async function answered(on: Rig): Promise<string> {
  const placing = on.call.invite('our offer', 20_000);
  on.deliver(answer(on.sent[0], '200 OK', ROUTES, 'their answer'));
  return placing;
}

test('INVITE, 200, ACK, BYE: route set reversed, remote target from Contact', async () => {
  const on = rig();
  assert.equal(await answered(on), 'their answer');
  const [invite, ack] = on.sent;
  assert.deepEqual(
    [invite?.method, invite?.uri, invite?.body],
    ['INVITE', 'sip:8001@192.0.2.1:5060', 'our offer'],
  );
  assert.deepEqual(
    [ack?.method, ack?.uri, ack && headerOf(ack, 'cseq')],
    ['ACK', 'sip:node@192.0.2.1:5062', '1 ACK'],
  );
  assert.deepEqual(ack && listOf(ack, 'route'), ['<sip:p1.example;lr>', '<sip:p2.example;lr>']);
  assert.equal(ack && tagOf(headerOf(ack, 'to')), 'srv');
  const leaving = on.call.bye();
  on.deliver(answer(on.sent.at(-1), '200 OK'));
  await leaving;
  assert.deepEqual(
    on.sent.map((message) => message.method),
    ['INVITE', 'ACK', 'BYE'],
  );
  assert.equal(await on.call.ended, 'local');
  await on.call.bye();
  assert.equal(on.sent.length, 3, 'a second bye sends nothing');
  assert.equal(on.clock.pending, 0);
});

test('an INVITE is repeated on UDP until a provisional comes, never on TCP', async () => {
  for (const [reliable, before, total] of [
    [false, 4, 4],
    [true, 1, 1],
  ] as const) {
    const on = rig(reliable);
    const placing = on.call.invite('offer', 20_000);
    on.clock.advance(3600);
    assert.equal(on.sent.length, before, 'at 0, 500, 1500 and 3500 ms');
    on.deliver(answer(on.sent[0], '180 Ringing'));
    on.clock.advance(8000);
    assert.equal(on.sent.length, total);
    on.deliver(answer(on.sent[0], '486 Busy Here'));
    await assert.rejects(placing, { code: 'E_SIP_REJECTED', details: { status: 486 } });
    assert.equal(on.sent.at(-1)?.method, 'ACK');
    assert.equal(
      headerOf(on.sent.at(-1) as SipMessage, 'via'),
      headerOf(on.sent[0] as SipMessage, 'via'),
      'the ACK to a refusal keeps the branch',
    );
    assert.equal(on.clock.pending, 0);
  }
});

test('no answer in time: CANCEL with the branch of the INVITE', async () => {
  const on = rig(true);
  const placing = on.call.invite('offer', 20_000);
  on.clock.advance(20_000);
  await assert.rejects(placing, { code: 'E_TIMEOUT' });
  const [invite, cancel] = on.sent;
  assert.equal(cancel?.method, 'CANCEL');
  assert.equal(cancel && headerOf(cancel, 'via'), invite && headerOf(invite, 'via'));
  assert.equal(on.clock.pending, 0);
});

test('a lost flow ends the wait at once', async () => {
  const on = rig();
  const placing = on.call.invite('offer', 20_000);
  on.fail(new Error('ECONNREFUSED'));
  await assert.rejects(placing, { code: 'E_SIP_ENGINE' });
  await assert.rejects(on.call.request('OPTIONS'), { code: 'E_SIP_ENGINE' });
  assert.equal(on.clock.pending, 0);
});

test('a repeated 200 is acknowledged again; stray responses are not', async () => {
  const on = rig();
  await answered(on);
  on.deliver(answer(on.sent[0], '200 OK', ROUTES));
  assert.deepEqual(
    on.sent.map((message) => message.method),
    ['INVITE', 'ACK', 'ACK'],
  );
  on.deliver(answer(on.sent[0], '180 Ringing').replace(on.call.callId, 'other'));
  on.deliver('\r\n\r\n');
  assert.equal(on.sent.length, 3);
});

test('requests of the server are answered', async () => {
  const on = rig();
  await answered(on);
  const request = (method: string, body = '', callId = on.call.callId): string =>
    [
      `${method} sip:caller@192.0.2.9 SIP/2.0`,
      'v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx',
      'From: <sip:node@x>;tag=srv',
      'To: <sip:caller@y>;tag=us',
      `Call-ID: ${callId}`,
      `CSeq: 7 ${method}`,
      'Contact: <sip:moved@192.0.2.3>',
      '',
      body,
    ].join('\r\n');
  const rows: [string, string, number, string][] = [
    ['OPTIONS', '', 200, ''],
    ['INFO', '', 200, ''],
    ['UPDATE', '', 200, ''],
    ['INVITE', 'their offer', 200, 'our answer'],
    ['REFER', '', 405, ''],
  ];
  for (const [method, body, status, reply] of rows) {
    on.deliver(request(method, body));
    const response = on.sent.at(-1);
    assert.deepEqual([response?.status, response?.body], [status, reply], method);
    assert.equal(response && headerOf(response, 'via'), 'SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx');
  }
  assert.deepEqual(on.offers, ['their offer']);
  const count = on.sent.length;
  on.deliver(request('ACK'));
  assert.equal(on.sent.length, count);
  on.deliver(request('BYE', '', 'another-call'));
  assert.equal(on.sent.at(-1)?.status, 481);
  on.deliver(request('BYE'));
  assert.equal(on.sent.at(-1)?.status, 200);
  assert.equal(await on.call.ended, 'remote');
});

test('messages are cut off a TCP stream by their length', () => {
  const one = 'OPTIONS sip:x SIP/2.0\r\nContent-Length: 4\r\n\r\nbody';
  const stream = Buffer.from(`\r\n${one}${one.replace('Content-Length', 'l')}BYE sip:x`);
  const texts: string[] = [];
  let rest: Buffer = stream;
  for (let taken = takeMessage(rest); taken; taken = takeMessage(rest)) {
    if (taken.text !== '') texts.push(taken.text);
    rest = taken.rest;
  }
  assert.deepEqual(
    texts.map((text) => text.slice(-4)),
    ['body', 'body'],
  );
  assert.equal(rest.toString(), 'BYE sip:x');
  for (let length = 0; length < one.length; length++) {
    assert.equal(takeMessage(Buffer.from(one.slice(0, length))), undefined, `${length} bytes`);
  }
});

test('addresses and headers', () => {
  const rows: [string, string | undefined][] = [
    ['sip:8001@192.0.2.1', '8001 192.0.2.1 5060 udp'],
    ['sip:192.0.2.1:5080;transport=TCP', ' 192.0.2.1 5080 tcp'],
    ['sip:a@host.example;lr;transport=udp', 'a host.example 5060 udp'],
    ['sips:a@b', undefined],
    ['a@b', undefined],
    ['sip:a@b:0', undefined],
    ['sip:a@b:70000', undefined],
    ['sip:a@[::1]', undefined],
  ];
  for (const [text, expected] of rows) {
    const target = parseTarget(text);
    assert.equal(
      target && `${target.user} ${target.host} ${target.port} ${target.transport}`,
      expected,
      text,
    );
  }
  assert.equal(uriOf('"A, B" <sip:a@b;lr>;tag=1'), 'sip:a@b;lr');
  assert.equal(uriOf('sip:a@b;tag=1'), 'sip:a@b');
  const folded = parseSip('SIP/2.0 200 OK\r\nSubject: one\r\n two\r\n\r\n');
  assert.equal(folded && headerOf(folded, 'subject'), 'one two');
  for (const bad of ['', 'GET / HTTP/1.1\r\n\r\n', 'SIP/2.0 200 OK\r\n'])
    assert.equal(parseSip(bad), undefined);
});
