/** Parties, URIs and lists in header values. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  calleeOf,
  callerOf,
  encodeUser,
  parseNameAddr,
  parseUri,
  quoteDisplayName,
  splitHeader,
} from '#sip/party.ts';

test('name-addr and addr-spec', () => {
  const rows: [string, string | null, string, string | null][] = [
    ['<sip:a@b>;tag=1', null, 'sip:a@b', '1'],
    ['sip:a@b;tag=2', null, 'sip:a@b', '2'],
    ['"A, <B>" <sip:a@b;x=y>;tag=3', 'A, <B>', 'sip:a@b;x=y', '3'],
    ['"say \\"hi\\"" <sip:a@b>', 'say "hi"', 'sip:a@b', null],
    ['Alice Smith <tel:+1-555-0100>;TAG = 4', 'Alice Smith', 'tel:+1-555-0100', '4'],
    ['"" <sip:a@b>', null, 'sip:a@b', null],
    ['<sip:a@b', null, 'sip:a@b', null],
    ['', null, '', null],
    ['"unclosed <sip:a@b>', null, '"unclosed <sip:a@b>', null],
  ];
  for (const [text, displayName, uri, tag] of rows) {
    const parsed = parseNameAddr(text);
    assert.equal(parsed.displayName, displayName, text);
    assert.equal(parsed.uri, uri, text);
    assert.equal(parsed.params.get('tag') ?? null, tag, text);
  }
});

test('URIs', () => {
  const rows: [string, string, string, number | null][] = [
    ['sip:1000@192.0.2.1', '1000', '192.0.2.1', null],
    ['SIP:a%23b@Host.Example:5070;transport=TCP?x=y', 'a#b', 'host.example', 5070],
    ['sip:+15550100;npdi@[2001:db8::1]:5060', '+15550100', '2001:db8::1', 5060],
    ['sips:u:secret@h', 'u', 'h', null],
    ['sip:host.example', '', 'host.example', null],
    ['tel:+1(555)0100;phone-context=x', '+15550100', '', null],
    ['sip:a%zz@h', 'a%zz', 'h', null],
  ];
  for (const [text, user, host, port] of rows) {
    const parsed = parseUri(text);
    assert.deepEqual([parsed?.user, parsed?.host, parsed?.port], [user, host, port], text);
  }
  assert.equal(parseUri('sip:a@b;transport=TCP')?.params.get('transport'), 'TCP');
  for (const text of ['http://x', '', 'mailto:a@b']) assert.equal(parseUri(text), null);
});

test('lists split at commas that separate', () => {
  assert.deepEqual(splitHeader('"a,b" <sip:x,y@z>;q="1,2", <tel:1>,, sip:c@d'), [
    '"a,b" <sip:x,y@z>;q="1,2"',
    '<tel:1>',
    'sip:c@d',
  ]);
  assert.deepEqual(splitHeader('"open \\" , x'), ['"open \\" , x']);
});

test('who calls: From, the asserted identity of a trusted source, privacy', () => {
  const headers =
    (from: string, more: Record<string, string> = {}) =>
    (name: string) =>
      name === 'from' ? from : more[name];
  const plain = headers('"Bob" <sip:+15550101@h>;tag=1', {
    'p-asserted-identity': '"Real" <sip:real@h>, <tel:+1-555-0102>',
  });
  assert.equal(callerOf(plain, false).user, '+15550101');
  assert.equal(callerOf(plain, false).displayName, 'Bob');
  assert.equal(callerOf(plain, true).user, '+15550102', 'the asserted number');
  const hidden = headers('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', {
    'p-asserted-identity': '<sip:+15550103@h>',
    privacy: 'id',
  });
  const untrusted = callerOf(hidden, false);
  assert.deepEqual([untrusted.user, untrusted.anonymous], ['', true]);
  const trusted = callerOf(hidden, true);
  assert.deepEqual([trusted.user, trusted.anonymous], ['+15550103', true]);
  assert.equal(callerOf(headers('<sip:x@h>', { privacy: 'none' }), false).anonymous, false);
  assert.equal(callerOf(headers('<sip:x@h>', { privacy: 'critical;id' }), false).anonymous, true);
  assert.equal(callerOf(headers('tel:+15550104;tag=1'), false).user, '+15550104');
  assert.equal(calleeOf((name) => (name === 'to' ? '<sip:2000@h>' : undefined)).user, '2000');
  assert.equal(calleeOf(() => undefined).uri, '');
});

test('what we write', () => {
  assert.equal(encodeUser('+1555#4*'), '+1555%234*');
  assert.equal(encodeUser('a@b>\r\nX: y'), 'a%40b%3E%0D%0AX%3A%20y');
  assert.equal(quoteDisplayName('Say "hi"\\\r\n'), '"Say \\"hi\\"\\\\"');
});
