/** SipMessage: header access and change, bytes out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SipMessage } from '#sip/server/message.ts';
import { parseMessage } from '#sip/server/parse.ts';

function invite(): SipMessage {
  const message = SipMessage.request('INVITE', 'sip:bob@192.0.2.4');
  message.add('Via', 'SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1');
  message.add('f', '"Alice" <sip:alice@192.0.2.1>;tag=a1');
  message.add('To', '<sip:bob@192.0.2.4>');
  message.add('CALL-ID', 'c1@192.0.2.1');
  message.add('CSeq', '7 INVITE');
  return message;
}

const contactOf = (message: SipMessage): string | undefined => message.contact?.uri;

test('golden bytes', () => {
  const message = invite();
  message.body = Buffer.from('v=0\r\n');
  message.add('Content-Length', '99').add('Subject', '张');
  const lines = [
    'INVITE sip:bob@192.0.2.4 SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1',
    'From: "Alice" <sip:alice@192.0.2.1>;tag=a1',
    'To: <sip:bob@192.0.2.4>',
    'Call-ID: c1@192.0.2.1',
    'CSeq: 7 INVITE',
    'Subject: 张',
    'Content-Length: 5',
    '',
    'v=0',
    '',
  ];
  assert.equal(message.serialize().toString(), lines.join('\r\n'));
  const response = SipMessage.responseTo(message, 486, 'Busy Here');
  const expected = ['SIP/2.0 486 Busy Here', ...lines.slice(1, 6), 'Content-Length: 0', '', ''];
  assert.equal(response.serialize().toString(), expected.join('\r\n'));
});

test('getters parse, keep, and forget when the header changes', () => {
  const message = invite();
  assert.equal(message.callId, 'c1@192.0.2.1');
  assert.deepEqual(message.cseq, { number: 7, method: 'INVITE' });
  assert.equal(message.from.tag, 'a1');
  assert.equal(message.from, message.from);
  assert.equal(message.to.tag, undefined);
  message.set('To', '<sip:bob@192.0.2.4>;tag=b1');
  assert.equal(message.to.tag, 'b1');
  assert.equal(message.viaBranch, 'z9hG4bK1');
  message.prepend('Via', 'SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2');
  assert.equal(message.viaBranch, 'z9hG4bK2');
  message.remove('v');
  assert.equal(message.topVia, undefined);
  assert.equal(message.viaBranch, '');
  assert.equal(contactOf(message), undefined);
  message.add('m', '<sip:a@192.0.2.1>, <sip:b@192.0.2.1>');
  assert.equal(contactOf(message), 'sip:a@192.0.2.1');
  message.remove('From').remove('CSeq').remove('Call-ID');
  assert.deepEqual([message.from.uri, message.cseq.number, message.callId], ['', 0, '']);
});

test('set keeps the place of the first line, add goes after the last, prepend before the first', () => {
  const message = SipMessage.response(200, 'OK');
  message.add('Route', '<sip:1>').add('Subject', 's').add('route', '<sip:2>').add('Date', 'd');
  const order = (): string[] => message.headers.map((header) => `${header.name}=${header.value}`);
  message.add('Route', '<sip:3>').prepend('Route', '<sip:0>');
  assert.deepEqual(order(), [
    'Route=<sip:0>',
    'Route=<sip:1>',
    'Route=<sip:2>',
    'Route=<sip:3>',
    'Subject=s',
    'Date=d',
  ]);
  message.prepend('Via', 'SIP/2.0/UDP a');
  assert.equal(order()[0], 'Via=SIP/2.0/UDP a');
  message.set('Route', '<sip:9>').set('Expires', '60');
  assert.deepEqual(order().slice(1), ['Route=<sip:9>', 'Subject=s', 'Date=d', 'Expires=60']);
});

test('list joins lines and splits values, only of list headers', () => {
  const message = SipMessage.response(200, 'OK');
  message.add('Allow', 'INVITE, ACK').add('Allow', 'BYE').add('Supported', '');
  message.add('Subject', 'a, b').add('WWW-Authenticate', 'Digest realm="a", nonce="b"');
  assert.deepEqual(message.list('allow'), ['INVITE', 'ACK', 'BYE']);
  assert.deepEqual(message.getAll('allow'), ['INVITE, ACK', 'BYE']);
  assert.deepEqual(message.list('Supported'), []);
  assert.equal(message.has('Supported'), true);
  assert.deepEqual(message.list('Subject'), ['a, b']);
  assert.equal(message.list('WWW-Authenticate').length, 1);
  assert.deepEqual(message.list('Require'), []);
});

test('replaceTop and takeTop work on the first value, wherever lines break', () => {
  const message = SipMessage.response(200, 'OK');
  message.add('Via', 'SIP/2.0/UDP a, SIP/2.0/UDP b').add('Via', 'SIP/2.0/UDP c');
  message.replaceTop('Via', 'SIP/2.0/UDP x');
  assert.deepEqual(message.list('Via'), ['SIP/2.0/UDP x', 'SIP/2.0/UDP b', 'SIP/2.0/UDP c']);
  const taken = [1, 2, 3, 4].map(() => message.takeTop('Via'));
  assert.deepEqual(taken, ['SIP/2.0/UDP x', 'SIP/2.0/UDP b', 'SIP/2.0/UDP c', undefined]);
  assert.equal(message.has('Via'), false);
  message.replaceTop('Via', 'SIP/2.0/UDP y');
  assert.equal(message.has('Via'), false);
});

test('a clone goes its own way', () => {
  const message = invite();
  const copy = message.clone();
  copy.set('Call-ID', 'other').uri = 'sip:else@192.0.2.4';
  copy.add('Subject', 's');
  assert.equal(message.callId, 'c1@192.0.2.1');
  assert.equal(message.uri, 'sip:bob@192.0.2.4');
  assert.equal(message.has('Subject'), false);
  assert.deepEqual(message.clone().serialize(), message.serialize());
});

test('line ends in what the application sets cannot make a further header', () => {
  const message = invite();
  message.set('Subject', 'a\r\nEvil: 1').add('X-A', 'b\nEvil: 2');
  message.prepend('X-B', 'c\rEvil: 3').replaceTop('Via', 'SIP/2.0/UDP a\r\nEvil: 4');
  message.add('X-C\r\nEvil', '5');
  message.uri = 'sip:bob@192.0.2.4 SIP/2.0\r\nEvil: 6\r\nX:';
  assert.doesNotMatch(message.serialize().toString(), /\r\nEvil|[^\r]\n|\r[^\n]/);
});

test('bytes that are not UTF-8 come back as they were', () => {
  const raw = Buffer.from(
    invite()
      .set('Subject', 'c\xff\xfe@x')
      .set('From', '"\xff\xfe" <sip:a@192.0.2.3>;tag=1')
      .serialize()
      .toString('utf8'),
    'latin1',
  );
  const result = parseMessage(raw);
  assert.ok(result.ok);
  assert.equal(result.message.encoding, 'latin1');
  assert.deepEqual(result.message.serialize(), raw);
  const response = SipMessage.responseTo(result.message, 200, 'OK');
  assert.ok(response.serialize().includes(Buffer.from('From: "\xff\xfe" <', 'latin1')));
});
