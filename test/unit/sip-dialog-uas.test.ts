/** Calls that come in: answers, ACK, CANCEL in all its races, requests within the dialog. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PEER, flowOf, parsed, reply, request, settled } from './_sip-fakes.ts';
import { NOTHING, SDP, createKit, sentOf } from './_sip-kit.ts';
import type { Kit } from './_sip-kit.ts';

/** An INVITE that is answered and acknowledged; gives the tags. */
function answered(kit: Kit, fields: Parameters<typeof request>[0] = {}, flow = flowOf('udp')) {
  kit.transport.receive(request(fields), flow);
  const { transactionId } = kit.app.last('INVITE');
  const sent = sentOf(kit.respond(`200 OK\r\n\r\n${SDP}`, transactionId));
  const toTag = sent.message.to.tag ?? '';
  kit.transport.receive(request({ method: 'ACK', branch: 'z9hG4bK-ack', toTag }), flow);
  kit.app.take();
  kit.transport.take();
  return { toTag, dialogId: sent.dialogId, sent };
}

test('INVITE: 100 before the application hears of it, one To tag, Contact, Record-Route, Allow', () => {
  const kit = createKit();
  const route = 'Record-Route: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>';
  kit.transport.receive(request({ headers: [route] }));
  assert.deepEqual(kit.transport.take(), ['100 INVITE']);
  const event = kit.app.last('INVITE');
  assert.equal(event.dialogId, '');
  assert.deepEqual(event.receivedOn, { address: '192.0.2.1', port: 5060 });

  const ringing = sentOf(kit.respond('180 Ringing', event.transactionId));
  const ok = sentOf(kit.respond(`200 OK\r\nX-Mine: a\r\n\r\n${SDP}`, event.transactionId));
  const [first, second] = kit.transport.sent;
  assert.deepEqual(kit.transport.take(), ['180 INVITE', '200 INVITE']);
  assert.equal(first?.message.to.tag, second?.message.to.tag);
  assert.equal(ok.dialogId, 'call-1;from-tag=peer-tag');
  assert.equal(ringing.dialogId, ok.dialogId);
  assert.deepEqual(ok.message.serialize(), second?.message.serialize(), 'the echo is the wire');
  assert.equal(ok.message.get('Contact'), '<sip:192.0.2.1:5060>');
  assert.deepEqual(ok.message.list('Record-Route'), [
    '<sip:p2.example.com;lr>',
    '<sip:p1.example.com;lr>',
  ]);
  assert.equal(ok.message.get('X-Mine'), 'a');
  assert.equal(ok.message.get('Content-Type'), 'application/sdp');
  assert.match(ok.message.get('Allow') ?? '', /INVITE.*BYE/);
  assert.equal(ok.message.body.toString(), SDP);
  assert.equal(kit.respond('200 OK', event.transactionId).ok, false, 'only one final response');
});

test('the application may choose the tag and write localhost, not the reserved headers', () => {
  const kit = createKit();
  kit.transport.receive(request({ transport: 'TCP' }), flowOf('tcp'));
  const headers = [
    'To: <sip:bot@192.0.2.1>;tag=chosen',
    'Contact: sip:bot@localhost',
    'Via: SIP/2.0/UDP evil',
    'Route: <sip:evil>',
    'Content-Length: 1',
  ].join('\r\n');
  const { message } = sentOf(kit.respond(`183 Progress\r\n${headers}\r\n\r\nünï`));
  assert.equal(message.to.tag, 'chosen');
  assert.equal(message.get('Contact'), '<sip:bot@192.0.2.1:5060;transport=tcp>');
  assert.equal(message.getAll('Via').length, 1);
  assert.equal(message.has('Route'), false);
  assert.equal(parsed(message.serialize()).body.toString(), 'ünï');
  assert.equal(sentOf(kit.respond('486 Busy')).message.to.tag, 'chosen');
  assert.equal(kit.core.dialogs.size, 0, 'the early dialog is gone');
});

test('200 is repeated T1..T2 until the ACK, which goes up once', async () => {
  const kit = createKit();
  kit.transport.receive(request());
  const { message } = sentOf(kit.respond('200 OK'));
  kit.app.take();
  await kit.advance(10_000);
  const times = kit.transport.sent.filter(({ message: m }) => m.status === 200);
  assert.deepEqual(
    times.map(({ atMs }) => atMs),
    [0, 500, 1500, 3500, 7500],
  );
  const toTag = message.to.tag ?? '';
  kit.transport.receive(request({ method: 'ACK', branch: 'z9hG4bK-a', cseq: 2, toTag }));
  assert.deepEqual(kit.app.take(), [], 'an ACK for another CSeq is not this one');
  kit.transport.receive(request({ method: 'ACK', branch: 'z9hG4bK-b', toTag }));
  kit.transport.receive(request({ method: 'ACK', branch: 'z9hG4bK-c', toTag }));
  assert.deepEqual(kit.app.take(), ['ACK']);
  kit.transport.take();
  await kit.advance(60_000);
  assert.deepEqual(kit.transport.take(), []);
  assert.equal(kit.core.dialogs.size, 1);
  assert.equal(kit.clock.pending, 0);
});

test('no ACK within 64*T1: BYE with a Reason on the wire and to the application', async () => {
  for (const protocol of ['udp', 'tcp'] as const) {
    const kit = createKit();
    const transport = protocol === 'udp' ? 'UDP' : 'TCP';
    kit.transport.receive(request({ transport }), flowOf(protocol));
    kit.respond('200 OK');
    kit.app.take();
    kit.transport.take();
    await kit.advance(31_999);
    // RFC 3261 13.3.1.4: whatever the transport, since a later hop may lose it.
    assert.equal(kit.transport.take().length, 10, protocol);
    await kit.advance(1);
    const bye = kit.transport.last('BYE');
    assert.match(bye.get('Reason') ?? '', /SIP;cause=408;text="ACK timeout"/);
    const told = kit.app.last('BYE');
    assert.equal(told.transactionId, 'unsolicited');
    assert.equal(told.source, 'application');
    assert.deepEqual(told.message.serialize(), bye.serialize());
    assert.equal(kit.core.dialogs.size, 0);
    kit.transport.receive(reply(bye, 200), flowOf(protocol));
    await kit.advance(40_000);
    assert.deepEqual(kit.leftovers(), NOTHING);
  }
});

test('an answer that cannot be delivered ends the call at once', async () => {
  const kit = createKit();
  kit.transport.receive(request());
  kit.transport.isBroken = true;
  kit.respond('200 OK');
  await settled();
  await settled();
  assert.deepEqual(kit.app.take(), ['INVITE', 'BYE*']);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('CANCEL: 200 to it, 487 to the INVITE, told to the application; its late answer is refused', async () => {
  const kit = createKit();
  kit.transport.receive(request());
  const { transactionId } = kit.app.last('INVITE');
  kit.respond('180 Ringing', transactionId);
  kit.transport.take();
  kit.transport.receive(request({ method: 'CANCEL' }));
  const [toCancel, toInvite] = kit.transport.sent;
  assert.deepEqual(kit.transport.take(), ['200 CANCEL', '487 INVITE']);
  assert.equal(toCancel?.message.to.tag, toInvite?.message.to.tag);
  assert.equal(kit.app.last('CANCEL').transactionId, transactionId);
  assert.equal(kit.respond('200 OK', transactionId).ok, false);
  kit.transport.receive(request({ method: 'ACK', toTag: toInvite?.message.to.tag ?? '' }));
  await kit.advance(40_000);
  assert.deepEqual(kit.app.take(), ['INVITE', 'CANCEL']);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('CANCEL after the 200 is answered 200 and harms nothing; without its INVITE it gets 481', () => {
  const kit = createKit();
  kit.transport.receive(request());
  const { message } = sentOf(kit.respond('200 OK'));
  kit.app.take();
  kit.transport.take();
  kit.transport.receive(request({ method: 'CANCEL' }));
  assert.equal(kit.transport.last('200 CANCEL').to.tag, message.to.tag);
  assert.deepEqual(kit.app.take(), []);
  assert.equal(kit.core.dialogs.size, 1);
  kit.transport.receive(request({ method: 'CANCEL', branch: 'z9hG4bK-none' }));
  kit.transport.last('481 CANCEL');
});

test('the application is silent: 500 to an INVITE after 64 s, to others after 30 s, 480 after long ringing', async () => {
  const silent = createKit();
  silent.transport.receive(request());
  await silent.advance(64_000);
  silent.transport.last('500 INVITE');

  const ringing = createKit();
  ringing.transport.receive(request());
  ringing.respond('180 Ringing');
  ringing.transport.take();
  await ringing.advance(599_000);
  assert.equal(ringing.transport.take().length, 9, 'one 180 a minute');
  await ringing.advance(1000);
  ringing.transport.last('480 INVITE');
  await ringing.advance(40_000);
  assert.deepEqual(ringing.leftovers(), NOTHING);

  const info = createKit();
  const { toTag } = answered(info);
  info.transport.receive(request({ method: 'INFO', branch: 'z9hG4bK-i', cseq: 2, toTag }));
  await info.advance(30_000);
  info.transport.last('500 INFO');
});

test('refusals before the application hears of anything', () => {
  const rows: [Parameters<typeof request>[0], string, RegExp?][] = [
    [{ headers: ['Require: 100rel, foo'] }, '420 INVITE', /Unsupported: 100rel, foo\r\n/],
    [{ method: 'FOO' }, '405 FOO', /Allow: INVITE, ACK/],
    [{ method: 'REGISTER' }, '405 REGISTER', /Allow: /],
    [{ method: 'BYE' }, '481 BYE'],
    [{ method: 'INFO', toTag: 'gone' }, '481 INFO'],
    [{ method: 'INVITE', toTag: 'gone' }, '481 INVITE'],
    [{ uri: 'http://192.0.2.1/' }, '416 INVITE'],
    [{ contact: null }, '400 INVITE'],
  ];
  for (const [fields, expected, header] of rows) {
    const kit = createKit();
    kit.transport.receive(request(fields));
    const response = kit.transport.last(expected);
    assert.ok(response.to.tag !== undefined, expected);
    if (header !== undefined) assert.match(response.serialize().toString(), header);
    assert.deepEqual(kit.app.take(), []);
  }
  const hops = createKit();
  const text = request().serialize().toString().replace('Max-Forwards: 70', 'Max-Forwards: 0');
  hops.transport.receive(text);
  hops.transport.last('483 INVITE');
});

test('OPTIONS and INVITE depend on somebody being there', () => {
  const kit = createKit();
  kit.transport.receive(request({ method: 'OPTIONS', branch: 'z9hG4bK-1' }));
  const ok = kit.transport.last('200 OPTIONS');
  assert.match(ok.get('Allow') ?? '', /INVITE/);
  assert.equal(ok.get('Accept'), 'application/sdp');

  kit.uas.setOverload(7);
  kit.transport.receive(request({ method: 'OPTIONS', branch: 'z9hG4bK-2', callId: '2' }));
  assert.equal(kit.transport.last('503 OPTIONS').get('Retry-After'), '7');
  kit.transport.receive(request({ branch: 'z9hG4bK-3', callId: '3' }));
  kit.transport.last('503 INVITE');
  kit.uas.setOverload(null);

  kit.app.isOpen = false;
  kit.transport.receive(request({ branch: 'z9hG4bK-4', callId: '4' }));
  kit.transport.last('503 INVITE');

  kit.app.isOpen = true;
  kit.registry.methods = ['INVITE', 'OPTIONS', 'REGISTER'];
  for (const method of ['OPTIONS', 'REGISTER']) {
    kit.transport.receive(request({ method, branch: `z9hG4bK-${method}`, callId: method }));
    const { transactionId, dialogId } = kit.app.last(method);
    assert.equal(dialogId, '');
    assert.equal(sentOf(kit.respond('200 OK', transactionId)).dialogId, '');
    kit.transport.last(`200 ${method}`);
  }
});

test('BYE ends the dialog: 487 to a pending re-INVITE, 481 to what comes after', async () => {
  const kit = createKit();
  const { toTag, dialogId } = answered(kit);
  kit.transport.receive(request({ branch: 'z9hG4bK-r', cseq: 2, toTag }));
  assert.equal(kit.app.last('INVITE').dialogId, dialogId);
  kit.transport.receive(request({ method: 'BYE', branch: 'z9hG4bK-b', cseq: 3, toTag }));
  assert.deepEqual(kit.transport.take(), ['100 INVITE', '487 INVITE']);
  const bye = kit.app.last('BYE');
  assert.equal(sentOf(kit.respond('200 OK', bye.transactionId)).dialogId, dialogId);
  kit.transport.last('200 BYE');
  kit.transport.receive(request({ method: 'INFO', branch: 'z9hG4bK-i', cseq: 4, toTag }));
  kit.transport.last('481 INFO');
  const late = await kit.inDialog(dialogId, 'BYE sip:placeholder SIP/2.0');
  assert.match(late.ok ? '' : late.reason, /unable to find dialog/);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('BYE before the answer ends the ringing call like a CANCEL', async () => {
  const kit = createKit();
  kit.transport.receive(request());
  const { message } = sentOf(kit.respond('180 Ringing'));
  const toTag = message.to.tag ?? '';
  kit.transport.take();
  kit.transport.receive(request({ method: 'BYE', branch: 'z9hG4bK-b', cseq: 2, toTag }));
  assert.deepEqual(kit.transport.take(), ['200 BYE', '487 INVITE']);
  assert.deepEqual(kit.app.take(), ['INVITE', 'CANCEL']);
  kit.transport.receive(request({ method: 'ACK', toTag }));
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('CSeq order, and one INVITE at a time', async () => {
  const kit = createKit();
  const { toTag, dialogId } = answered(kit, { cseq: 1 });
  const receive = (method: string, cseq: number, body = ''): void =>
    kit.transport.receive(
      request({ method, branch: `z9hG4bK-${method}${cseq}`, cseq, toTag, body }),
    );
  receive('INFO', 5);
  kit.respond('200 OK');
  receive('INFO', 4);
  kit.transport.last('500 INFO');
  receive('INVITE', 6);
  receive('INVITE', 7);
  const later = kit.transport.last('500 INVITE');
  const retry = Number(later.get('Retry-After'));
  assert.ok(retry >= 0 && retry <= 10);
  receive('UPDATE', 8, SDP);
  kit.transport.last('500 UPDATE');
  receive('UPDATE', 9);
  kit.respond('200 OK', kit.app.last('UPDATE').transactionId);
  kit.transport.last('200 UPDATE');
  const invite = kit.app.heard.findLast(({ message }) => message.method === 'INVITE');
  kit.respond('488 Not Acceptable Here', invite?.transactionId);
  kit.transport.last('488 INVITE');

  kit.app.take();
  const ours = kit.inDialog(dialogId, `INVITE sip:placeholder SIP/2.0\r\n\r\n${SDP}`);
  assert.ok((await ours).ok);
  await settled();
  receive('INVITE', 20);
  kit.transport.last('491 INVITE');
  receive('UPDATE', 21, SDP);
  kit.transport.last('491 UPDATE');
  assert.deepEqual(kit.app.take(), []);
  receive('INFO', 21);
  kit.respond('200 OK', kit.app.last('INFO').transactionId);
  kit.transport.last('200 INFO');
  receive('BYE', 3);
  kit.app.last('BYE');
});

test('UPDATE while ringing: 500 with an unanswered offer, passed up once there was an answer', () => {
  const kit = createKit();
  kit.transport.receive(request({ body: SDP, headers: ['Content-Type: application/sdp'] }));
  const { transactionId } = kit.app.last('INVITE');
  const { message } = sentOf(kit.respond('180 Ringing', transactionId));
  const toTag = message.to.tag ?? '';
  const update = (cseq: number): void =>
    kit.transport.receive(
      request({ method: 'UPDATE', branch: `z9hG4bK-u${cseq}`, cseq, toTag, body: SDP }),
    );
  update(2);
  assert.ok(kit.transport.last('500 UPDATE').has('Retry-After'));
  kit.respond(`183 Progress\r\n\r\n${SDP}`, transactionId);
  update(3);
  assert.equal(kit.app.last('UPDATE').dialogId, 'call-1;from-tag=peer-tag');
});

test('re-INVITE and UPDATE move the target, but only when accepted', async () => {
  const kit = createKit();
  const { toTag, dialogId } = answered(kit);
  const target = async (): Promise<string> => {
    sentOf(await kit.inDialog(dialogId, 'INFO sip:placeholder SIP/2.0'));
    await settled();
    return kit.transport.last('INFO').uri;
  };
  const move = (method: string, cseq: number, status: string): void => {
    const contact = `<sip:moved${cseq}@${PEER}:5070>`;
    kit.transport.receive(request({ method, branch: `z9hG4bK-${cseq}`, cseq, toTag, contact }));
    kit.respond(status, kit.app.last(method).transactionId);
  };
  assert.equal(await target(), `sip:peer@${PEER}:5060`);
  move('INVITE', 2, '488 Not Acceptable Here');
  assert.equal(await target(), `sip:peer@${PEER}:5060`);
  move('INVITE', 3, '200 OK');
  assert.equal(await target(), `sip:moved3@${PEER}:5070`);
  assert.equal(kit.transport.sent.at(-1)?.to, `${PEER}:5070`);
  move('UPDATE', 4, '200 OK');
  assert.equal(await target(), `sip:moved4@${PEER}:5070`);
});

test('our BYE waits for the ACK to our 200', async () => {
  const kit = createKit();
  kit.transport.receive(request());
  const { message, dialogId } = sentOf(kit.respond('200 OK'));
  kit.transport.take();
  const bye = kit.inDialog(dialogId, 'BYE sip:placeholder SIP/2.0');
  await settled();
  assert.deepEqual(kit.transport.take(), []);
  kit.transport.receive(
    request({ method: 'ACK', branch: 'z9hG4bK-a', toTag: message.to.tag ?? '' }),
  );
  assert.equal(sentOf(await bye).message.method, 'BYE');
  await settled();
  const sent = kit.transport.last('BYE');
  assert.equal(sent.get('CSeq'), '1 BYE');
  assert.equal(sent.from.tag, message.to.tag);
  assert.equal(sent.to.tag, 'peer-tag');
  kit.app.take();
  // The peer hangs up at the same time: both BYEs are answered, the application hears of its own.
  const crossing = { method: 'BYE', branch: 'z9hG4bK-x', cseq: 2, toTag: message.to.tag ?? '' };
  kit.transport.receive(request(crossing));
  kit.transport.last('200 BYE');
  kit.transport.receive(reply(sent, 200));
  assert.deepEqual(kit.app.take(), ['200 BYE']);
  await kit.advance(40_000);
  assert.deepEqual(kit.leftovers(), NOTHING);
});

test('an application that goes away: calls refused, dialogs taken over or hung up', async () => {
  const kit = createKit();
  const { toTag } = answered(kit);
  kit.transport.receive(request({ branch: 'z9hG4bK-w', callId: 'waiting' }));
  kit.app.isOpen = false;
  kit.clientGone(kit.app);
  kit.transport.last('503 INVITE');
  kit.transport.receive(request({ method: 'INFO', branch: 'z9hG4bK-i', cseq: 2, toTag }));
  kit.transport.last('503 INFO');
  await kit.advance(32_000);
  const bye = kit.transport.sent.findLast(({ message }) => message.method === 'BYE');
  assert.match(bye?.message.get('Reason') ?? '', /application is gone/);
  await kit.advance(64_000);
  assert.deepEqual(kit.leftovers(), NOTHING);

  const adopted = createKit();
  const call = answered(adopted);
  adopted.app.isOpen = false;
  adopted.clientGone(adopted.app);
  const heir = Object.assign(new (adopted.app.constructor as new () => typeof adopted.app)());
  adopted.registry.apps.push(heir);
  const taken = adopted.inDialog(call.dialogId, 'INFO sip:placeholder SIP/2.0', heir);
  assert.ok((await taken).ok);
  await adopted.advance(32_000);
  assert.equal(adopted.core.dialogs.size, 1);
  adopted.transport.receive(
    request({ method: 'INFO', branch: 'z9hG4bK-i', cseq: 2, toTag: call.toTag }),
  );
  assert.equal(heir.last('INFO').dialogId, call.dialogId);
});
