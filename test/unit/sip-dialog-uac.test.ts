/** Calls that go out: what is sent, early dialogs, forks, the ACK, CANCEL in all its races, route sets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_PEER } from '#sip/server/control-types.ts';
import type { SipMessage } from '#sip/server/message.ts';
import { PEER, flowOf, reply, request, settled } from './_sip-fakes.ts';
import { NOTHING, SDP, createKit, sentOf } from './_sip-kit.ts';
import type { Kit } from './_sip-kit.ts';

const INVITE = `INVITE sip:callee@${PEER} SIP/2.0\r\nFrom: <sip:bot@localhost>\r\n\r\n${SDP}`;
const CONTACT = `Contact: <sip:callee@${PEER}:5080>`;

/** An INVITE of the application on the wire. */
async function invited(kit: Kit, text = INVITE) {
  const { message, transactionId } = sentOf(await kit.submit(text));
  await settled();
  kit.transport.take();
  return { invite: message, transactionId };
}

/** ... that was answered and acknowledged. */
async function connected(kit: Kit, headers: readonly string[] = [CONTACT]) {
  const call = await invited(kit);
  const ok = reply(call.invite, 200, { toTag: 'far', headers });
  kit.transport.receive(ok);
  const { dialogId } = kit.app.last('200 INVITE');
  sentOf(await kit.inDialog(dialogId, 'ACK sip:placeholder SIP/2.0'));
  await settled();
  const ack = kit.transport.last('ACK');
  kit.transport.take();
  kit.app.take();
  return { ...call, ok, ack, dialogId };
}

test('an INVITE: Via with rport, tags, Max-Forwards, Contact, our host for localhost', async () => {
  const kit = createKit();
  const result = sentOf(await kit.submit(INVITE));
  await settled();
  const wire = kit.transport.last('INVITE');
  assert.deepEqual(wire.serialize(), result.message.serialize(), 'the echo is the wire');
  assert.match(
    wire.get('Via') ?? '',
    /^SIP\/2\.0\/UDP 192\.0\.2\.1:5060;branch=z9hG4bK[^;]+;rport$/,
  );
  assert.equal(wire.uri, `sip:callee@${PEER}`);
  assert.equal(wire.from.uri, 'sip:bot@192.0.2.1');
  assert.ok(wire.from.tag !== undefined);
  assert.equal(wire.get('To'), `<sip:callee@${PEER}>`);
  assert.equal(wire.get('Contact'), '<sip:192.0.2.1:5060>');
  assert.equal(wire.get('Max-Forwards'), '70');
  assert.equal(wire.get('Content-Type'), 'application/sdp');
  assert.equal(wire.get('CSeq'), '1 INVITE');
  assert.deepEqual(result.peer, { protocol: 'udp', address: PEER, port: 5060 });
  assert.equal(kit.transport.sent.at(-1)?.to, `${PEER}:5060`);
});

test('a digest retry keeps Call-ID, From and CSeq as given; routeUrl is only the next hop', async () => {
  const kit = createKit();
  const text = [
    `REGISTER sip:${PEER} SIP/2.0`,
    'Call-ID: kept',
    'CSeq: 42 REGISTER',
    'From: <sip:me@192.0.2.9>;tag=mine',
    'Contact: sip:me@localhost;expires=60',
    'Authorization: Digest username="me"',
  ].join('\r\n');
  const result = sentOf(await kit.submit(text, 'sip:192.0.2.50:5070;transport=tcp'));
  await settled();
  const wire = kit.transport.last('REGISTER');
  assert.equal(wire.callId, 'kept');
  assert.equal(wire.get('CSeq'), '42 REGISTER');
  assert.equal(wire.get('From'), '<sip:me@192.0.2.9>;tag=mine');
  assert.match(wire.get('Via') ?? '', /SIP\/2\.0\/TCP/);
  assert.match(wire.get('Contact') ?? '', /me@192\.0\.2\.1:5060;transport=tcp/);
  assert.equal(wire.has('Route'), false);
  assert.equal(wire.uri, `sip:${PEER}`);
  assert.equal(kit.transport.sent.at(-1)?.to, '192.0.2.50:5070');
  kit.transport.receive(reply(wire, 401, { toTag: 'r' }), flowOf('tcp'));
  const up = kit.app.last('401 REGISTER');
  assert.equal(up.transactionId, result.transactionId);
  assert.equal(up.dialogId, '');
  await kit.advance(1);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('silence is a 408, no way there a 503, and an address that cannot be read a NOK', async () => {
  const silent = createKit();
  await invited(silent);
  await silent.advance(32_000);
  assert.deepEqual(silent.app.heard.at(-1)?.peer, NO_PEER);
  assert.deepEqual(silent.app.take(), ['408 INVITE']);
  assert.deepEqual(silent.leftovers(), NOTHING);

  const broken = createKit();
  broken.transport.isBroken = true;
  sentOf(await broken.submit(`OPTIONS sip:${PEER} SIP/2.0`));
  await settled();
  assert.deepEqual(broken.app.heard.at(-1)?.peer, NO_PEER);
  assert.deepEqual(broken.app.take(), ['503 OPTIONS']);
  assert.deepEqual(broken.leftovers(), NOTHING);

  for (const uri of [
    'sips:a@192.0.2.9',
    'sip:a@192.0.2.9;transport=tls',
    'http://x',
    'sip:a@nowhere.invalid',
  ]) {
    const kit = createKit();
    const result = await kit.submit(`OPTIONS ${uri} SIP/2.0`);
    assert.equal(result.ok, false, uri);
    assert.deepEqual(kit.leftovers(), NOTHING);
  }
});

test('a long request goes by TCP, by UDP when TCP is refused, and stays on a named transport', async () => {
  const long = `INVITE sip:callee@${PEER} SIP/2.0\r\nX-Long: ${'x'.repeat(1300)}`;
  const kit = createKit();
  await kit.submit(long);
  await settled();
  assert.equal(kit.transport.sent.at(-1)?.protocol, 'tcp');
  assert.match(kit.transport.last('INVITE').get('Via') ?? '', /TCP/);

  const refusing = createKit();
  const sendTo = refusing.transport.sendTo.bind(refusing.transport);
  refusing.transport.sendTo = (target, bytes) =>
    target.protocol === 'tcp' ? Promise.reject(new Error('refused')) : sendTo(target, bytes);
  await refusing.submit(long);
  await settled();
  assert.equal(refusing.transport.sent.at(-1)?.protocol, 'udp');
  assert.match(refusing.transport.last('INVITE').get('Via') ?? '', /UDP/);
  assert.deepEqual(refusing.app.take(), []);

  const named = createKit();
  await named.submit(long.replace(PEER, `${PEER};transport=udp`));
  await settled();
  assert.equal(named.transport.sent.at(-1)?.protocol, 'udp');
});

test('responses go up, each with the dialog; the ACK is the application`s, repeated by us', async () => {
  const kit = createKit();
  const { invite, transactionId } = await invited(kit);
  kit.transport.receive(reply(invite, 100));
  assert.equal(kit.app.last('100 INVITE').dialogId, '');
  kit.transport.receive(reply(invite, 180, { toTag: 'far', headers: [CONTACT] }));
  const dialogId = `${invite.callId};from-tag=${invite.from.tag}`;
  assert.equal(kit.app.last('180 INVITE').dialogId, dialogId);
  assert.equal(kit.core.dialogs.size, 1);
  const ok = reply(invite, 200, { toTag: 'far', headers: [CONTACT], body: SDP });
  kit.transport.receive(ok);
  assert.equal(kit.app.last('200 INVITE').transactionId, transactionId);
  kit.transport.receive(ok);
  assert.deepEqual(kit.app.take(), ['100 INVITE', '180 INVITE', '200 INVITE']);
  assert.deepEqual(kit.transport.take(), [], 'no ACK before the application sends one');

  const sent = sentOf(await kit.inDialog(dialogId, `ACK sip:whatever SIP/2.0\r\n\r\n${SDP}`));
  await settled();
  const ack = kit.transport.last('ACK');
  assert.deepEqual(sent.message.serialize(), ack.serialize());
  assert.equal(ack.uri, `sip:callee@${PEER}:5080`);
  assert.equal(ack.get('CSeq'), '1 ACK');
  assert.equal(ack.to.tag, 'far');
  assert.equal(ack.body.toString(), SDP);
  assert.notEqual(ack.viaBranch, invite.viaBranch);
  kit.transport.receive(ok);
  await settled();
  assert.deepEqual(kit.transport.take(), ['ACK', 'ACK']);
  await kit.advance(40_000);
  kit.transport.receive(ok);
  await settled();
  assert.deepEqual(kit.transport.take(), ['ACK'], 'even after timer M');
  assert.equal((await kit.inDialog(dialogId, 'ACK sip:x SIP/2.0')).ok, false);
  assert.deepEqual(kit.app.take(), []);
});

test('a refusal is acknowledged by the transaction, and the application`s own ACK gets a NOK', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  kit.transport.receive(reply(invite, 180, { toTag: 'far', headers: [CONTACT] }));
  kit.transport.receive(reply(invite, 486, { toTag: 'far' }));
  assert.deepEqual(kit.transport.take(), ['ACK']);
  const { dialogId } = kit.app.last('486 INVITE');
  assert.equal((await kit.inDialog(dialogId, 'ACK sip:x SIP/2.0')).ok, false);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('forks: the first 200 is the call, others are acknowledged and hung up without a word', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  for (const toTag of ['a', 'b', 'c']) {
    kit.transport.receive(reply(invite, 180, { toTag, headers: [CONTACT] }));
  }
  assert.equal(kit.core.dialogs.size, 3);
  kit.transport.receive(reply(invite, 200, { toTag: 'b', headers: [CONTACT] }));
  assert.equal(kit.core.dialogs.size, 1);
  const { dialogId } = kit.app.last('200 INVITE');
  await kit.inDialog(dialogId, 'ACK sip:x SIP/2.0');
  await settled();
  assert.equal(kit.transport.last('ACK').to.tag, 'b');
  kit.transport.take();
  kit.app.take();
  const second = reply(invite, 200, { toTag: 'c', headers: [CONTACT] });
  kit.transport.receive(second);
  await settled();
  assert.deepEqual(
    kit.transport.sent.map(({ message }) => message.to.tag),
    ['c', 'c'],
  );
  assert.deepEqual(kit.transport.take(), ['ACK', 'BYE']);
  kit.transport.receive(second);
  await settled();
  assert.deepEqual(kit.transport.take(), ['ACK'], 'its repeat gets the ACK, not another BYE');
  assert.deepEqual(kit.app.take(), []);
  sentOf(await kit.inDialog(dialogId, 'BYE sip:placeholder SIP/2.0'));
  await settled();
  assert.equal(kit.transport.last('BYE').to.tag, 'b');
});

test('an application that sends no ACK: the engine ends the call after 64*T1', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  kit.transport.receive(reply(invite, 200, { toTag: 'far', headers: [CONTACT] }));
  await kit.advance(32_000);
  assert.deepEqual(kit.transport.take(), ['ACK', 'BYE']);
  assert.deepEqual(kit.app.take(), ['200 INVITE', 'BYE*']);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('CANCEL: held until a provisional comes; its 200 stays here, the 487 goes up', async () => {
  const kit = createKit();
  const { invite, transactionId } = await invited(kit);
  const result = sentOf(await kit.cancel(transactionId, '\r\nReason: SIP;cause=200'));
  assert.deepEqual(kit.transport.take(), []);
  assert.equal((await kit.cancel(transactionId)).ok, false, 'once is enough');
  kit.transport.receive(reply(invite, 100));
  const cancel = kit.transport.last('CANCEL');
  assert.deepEqual(cancel.serialize(), result.message.serialize());
  assert.equal(cancel.get('Via'), invite.get('Via'));
  assert.equal(cancel.uri, invite.uri);
  assert.equal(cancel.get('CSeq'), '1 CANCEL');
  assert.equal(cancel.get('Reason'), 'SIP;cause=200');
  kit.transport.receive(reply(cancel, 200));
  kit.transport.receive(reply(invite, 487, { toTag: 'far' }));
  assert.deepEqual(kit.app.take(), ['100 INVITE', '487 INVITE']);
  assert.equal((await kit.cancel(transactionId)).ok, false);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('CANCEL without an answer to the INVITE: 487 of our own after 64*T1', async () => {
  const kit = createKit();
  const { invite, transactionId } = await invited(kit);
  kit.transport.receive(reply(invite, 180, { toTag: 'far', headers: [CONTACT] }));
  await kit.cancel(transactionId);
  kit.transport.last('CANCEL');
  await kit.advance(32_000);
  assert.deepEqual(kit.app.take(), ['180 INVITE', '487 INVITE']);
  await kit.advance(10_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('a 200 that crosses our CANCEL goes up; after the ACK we hang up', async () => {
  for (const isHeld of [false, true]) {
    const kit = createKit();
    const { invite, transactionId } = await invited(kit);
    if (!isHeld) kit.transport.receive(reply(invite, 180, { toTag: 'far', headers: [CONTACT] }));
    await kit.cancel(transactionId);
    kit.transport.receive(reply(invite, 200, { toTag: 'far', headers: [CONTACT] }));
    const { dialogId } = kit.app.last('200 INVITE');
    kit.transport.take();
    sentOf(await kit.inDialog(dialogId, 'ACK sip:x SIP/2.0'));
    await settled();
    assert.deepEqual(kit.transport.take(), ['ACK', 'BYE']);
    assert.equal(kit.app.last('BYE').transactionId, 'unsolicited');
    await kit.advance(70_000);
    assert.deepEqual(kit.leftovers(), NOTHING);
  }
});

test('an application that goes away while it rings: CANCEL; a late 200 is ended', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  kit.transport.receive(reply(invite, 180, { toTag: 'far', headers: [CONTACT] }));
  kit.app.isOpen = false;
  kit.clientGone(kit.app);
  kit.transport.last('CANCEL');
  kit.transport.take();
  kit.transport.receive(reply(invite, 200, { toTag: 'far', headers: [CONTACT] }));
  await settled();
  assert.deepEqual(kit.transport.take(), ['ACK', 'BYE']);
  await kit.advance(70_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('route sets: loose, strict, and none', async () => {
  const loose = ['Record-Route: <sip:192.0.2.31;lr>', 'Record-Route: <sip:192.0.2.32:5090;lr>'];
  const strict = ['Record-Route: <sip:192.0.2.31;lr>, <sip:192.0.2.32:5090>'];
  const rows: [readonly string[], string, string[], string][] = [
    [[], `sip:callee@${PEER}:5080`, [], `${PEER}:5080`],
    [
      loose,
      `sip:callee@${PEER}:5080`,
      ['<sip:192.0.2.32:5090;lr>', '<sip:192.0.2.31;lr>'],
      '192.0.2.32:5090',
    ],
    [
      strict,
      'sip:192.0.2.32:5090',
      ['<sip:192.0.2.31;lr>', `<sip:callee@${PEER}:5080>`],
      '192.0.2.32:5090',
    ],
  ];
  for (const [routes, uri, route, to] of rows) {
    const kit = createKit();
    const { dialogId, ack } = await connected(kit, [CONTACT, ...routes]);
    sentOf(await kit.inDialog(dialogId, 'INFO sip:placeholder SIP/2.0'));
    await settled();
    const info = kit.transport.last('INFO');
    for (const message of [ack, info]) {
      assert.equal(message.uri, uri);
      assert.deepEqual(message.list('Route'), route);
    }
    assert.equal(kit.transport.sent.at(-1)?.to, to);
    assert.equal(info.get('CSeq'), '2 INFO');
  }
});

test('in a dialog: our CSeq counts up, theirs starts anywhere; their requests find the dialog', async () => {
  const kit = createKit();
  const { dialogId, invite } = await connected(kit);
  const ourTag = invite.from.tag ?? '';
  for (const method of ['INFO', 'UPDATE', 'INFO']) {
    await kit.inDialog(dialogId, `${method} sip:placeholder SIP/2.0`);
    await settled();
  }
  assert.deepEqual(
    kit.transport.sent.map(({ message }) => message.get('CSeq')),
    ['2 INFO', '3 UPDATE', '4 INFO'],
  );
  const bye = request({
    method: 'BYE',
    cseq: 900,
    callId: invite.callId,
    fromTag: 'far',
    toTag: ourTag,
  });
  kit.transport.receive(bye);
  const event = kit.app.last('BYE');
  assert.equal(event.dialogId, dialogId);
  kit.respond('200 OK', event.transactionId);
  kit.transport.last('200 BYE');
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('our re-INVITE: one at a time, ACK by the application, target moved, 481 ends the dialog', async () => {
  const kit = createKit();
  const { dialogId } = await connected(kit);
  const reinvite = `INVITE sip:placeholder SIP/2.0\r\nContact: <sip:me@192.0.2.1:5060>\r\n\r\n${SDP}`;
  sentOf(await kit.inDialog(dialogId, reinvite));
  await settled();
  const first = kit.transport.last('INVITE');
  assert.equal(first.get('Contact'), '<sip:me@192.0.2.1:5060>');
  const busy = await kit.inDialog(dialogId, reinvite);
  assert.match(busy.ok ? '' : busy.reason, /in progress/);
  const moved = `Contact: <sip:callee@${PEER}:5099>`;
  kit.transport.receive(reply(first, 200, { headers: [moved] }));
  assert.equal(kit.app.last('200 INVITE').dialogId, dialogId);
  sentOf(await kit.inDialog(dialogId, 'ACK sip:x SIP/2.0'));
  await settled();
  assert.equal(kit.transport.last('ACK').uri, `sip:callee@${PEER}:5099`);
  assert.equal(kit.transport.last('ACK').get('CSeq'), '2 ACK');

  sentOf(await kit.inDialog(dialogId, reinvite));
  await settled();
  kit.transport.receive(reply(kit.transport.last('INVITE'), 491));
  kit.app.last('491 INVITE');
  assert.equal(kit.core.dialogs.size, 1, 'a refused re-INVITE leaves the call alone');

  sentOf(await kit.inDialog(dialogId, reinvite));
  await settled();
  kit.app.take();
  kit.transport.receive(reply(kit.transport.last('INVITE'), 481));
  await settled();
  assert.deepEqual(kit.app.take(), ['481 INVITE', 'BYE*']);
  assert.equal(kit.core.dialogs.size, 0);
  await kit.advance(70_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('a challenged BYE keeps the dialog for the one with credentials, but not for ever', async () => {
  const kit = createKit();
  const { dialogId } = await connected(kit);
  const bye = async (status: number): Promise<SipMessage> => {
    sentOf(await kit.inDialog(dialogId, 'BYE sip:placeholder SIP/2.0'));
    await settled();
    const sent = kit.transport.last('BYE');
    kit.transport.receive(reply(sent, status));
    return sent;
  };
  await bye(407);
  assert.equal(kit.core.dialogs.size, 1);
  assert.equal((await bye(407)).get('CSeq'), '3 BYE');
  await kit.advance(32_000);
  assert.equal(kit.core.dialogs.size, 0);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('the peer behind NAT is answered where it sends from', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  const flow = flowOf('udp', { remoteAddress: '203.0.113.7', remotePort: 41_000 });
  const headers = ['Contact: <sip:callee@10.0.0.5:5060>'];
  kit.transport.receive(reply(invite, 200, { toTag: 'far', headers }), flow);
  await kit.inDialog(kit.app.last('200 INVITE').dialogId, 'ACK sip:x SIP/2.0');
  await settled();
  assert.equal(kit.transport.last('ACK').uri, 'sip:callee@10.0.0.5:5060');
  assert.equal(kit.transport.sent.at(-1)?.to, '203.0.113.7:41000');
});

test('reliable provisionals that repeat are not passed up twice (RFC 3262)', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  const ringing = (rseq: number): void =>
    kit.transport.receive(
      reply(invite, 183, { toTag: 'far', headers: [CONTACT, 'Require: 100rel', `RSeq: ${rseq}`] }),
    );
  ringing(5);
  ringing(5);
  ringing(6);
  assert.deepEqual(kit.app.take(), ['183 INVITE', '183 INVITE']);
  const { controlId: dialogId } = [...kit.core.dialogs.all][0] ?? { controlId: '' };
  sentOf(await kit.inDialog(dialogId, 'PRACK sip:placeholder SIP/2.0\r\nRAck: 6 1 INVITE'));
  await settled();
  const prack = kit.transport.last('PRACK');
  assert.equal(prack.get('RAck'), '6 1 INVITE');
  assert.equal(prack.get('CSeq'), '2 PRACK');
});

test('answers that srf makes no dialog of are hung up after its ACK', async () => {
  const rows: [number, readonly string[], RegExp][] = [
    [200, [], /no Contact/],
    [202, [CONTACT], /not a 200/],
  ];
  for (const [status, headers, reason] of rows) {
    const kit = createKit();
    const { invite } = await invited(kit);
    kit.transport.receive(reply(invite, status, { toTag: 'far', headers }));
    await kit.inDialog(kit.app.last(`${status} INVITE`).dialogId, 'ACK sip:x SIP/2.0');
    await settled();
    assert.match(kit.transport.last('BYE').get('Reason') ?? '', reason);
    assert.deepEqual(kit.transport.take(), ['ACK', 'BYE']);
    await kit.advance(70_000);
    assert.deepEqual(kit.leftovers(), NOTHING);
  }
});

test('a callee that invents To tags fills no table', async () => {
  const kit = createKit();
  const { invite } = await invited(kit);
  for (let fork = 0; fork < 100; fork++) {
    kit.transport.receive(reply(invite, 180, { toTag: `t${fork}`, headers: [CONTACT] }));
  }
  assert.equal(kit.core.dialogs.size, 32);
  for (let fork = 0; fork < 100; fork++) {
    kit.transport.receive(reply(invite, 200, { toTag: `t${fork}`, headers: [CONTACT] }));
  }
  await settled();
  assert.equal(kit.core.dialogs.size, 1);
  assert.equal(kit.transport.take().filter((name) => name === 'BYE').length, 32);
});

test('an INVITE that cannot even start leaves nothing behind', async () => {
  const kit = createKit();
  kit.transport.localFor = () => Promise.reject(new Error('no listening address leads there'));
  const result = await kit.submit(INVITE);
  assert.match(result.ok ? '' : result.reason, /no listening address/);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('a Contact or Route that leads nowhere: ACK and BYE go back to where the answer came from', async () => {
  const contacts = ['sip:a@nowhere.invalid', 'sip:a@192.0.2.9;transport=tls', 'tel:+15550100'];
  for (const uri of [...contacts, 'sips:a@192.0.2.9']) {
    const kit = createKit();
    // Fails by itself when no ACK goes out.
    const { dialogId } = await connected(kit, [`Contact: <${uri}>`]);
    sentOf(await kit.inDialog(dialogId, 'BYE sip:placeholder SIP/2.0'));
    await settled();
    assert.equal(kit.transport.last('BYE').uri, uri);
    assert.equal(kit.transport.sent.at(-1)?.to, `${PEER}:5060`, uri);
  }
});
