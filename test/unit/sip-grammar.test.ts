/** Tables of header values and URIs: what they mean, and what is malformed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatNameAddr,
  formatVia,
  parseAuth,
  parseCSeq,
  parseNameAddr,
  parseNumber,
  parseParams,
  parseVia,
  splitList,
} from '#sip/server/header-grammar.ts';
import { headerName, isListHeader } from '#sip/server/headers.ts';
import { quote, schemeOf, unquote } from '#sip/server/lexer.ts';
import { formatUri, parseUri } from '#sip/server/uri.ts';

test('lists split at commas outside quotes and brackets', () => {
  const table: [string, string[]][] = [
    ['', []],
    [' \t ', []],
    ['a', ['a']],
    ['a,b', ['a', 'b']],
    [' a , ,b,', ['a', 'b']],
    ['"a,b" <sip:x>, <sip:y,z;a="1,2">;q=1', ['"a,b" <sip:x>', '<sip:y,z;a="1,2">;q=1']],
    ['"a\\",b" <sip:x>,c', ['"a\\",b" <sip:x>', 'c']],
    ['"never closed, b', ['"never closed, b']],
    ['<sip:a, b', ['<sip:a, b']],
    ['<sip:a"b>,c"d,e"', ['<sip:a"b>', 'c"d,e"']],
    ['\u3000a,\ufeffb', ['\u3000a', '\ufeffb']],
  ];
  for (const [text, expected] of table) assert.deepEqual(splitList(text), expected, text);
});

test('parameters', () => {
  const table: [string, [string, string | null][] | undefined][] = [
    ['', []],
    ['  ', []],
    [';lr', [['lr', null]]],
    [
      '; LR ; Tag = abc ',
      [
        ['lr', null],
        ['tag', 'abc'],
      ],
    ],
    [';a="x;y=\\"z"', [['a', '"x;y=\\"z"']]],
    [';a=', [['a', '']]],
    [';a=[2001:db8::1]', [['a', '[2001:db8::1]']]],
    [';a=1;A=2', [['a', '1']]],
    [';', undefined],
    [';;a', undefined],
    [';a;', undefined],
    ['a', undefined],
    [';a b', undefined],
    [';a="x', undefined],
    [';a="x"y', undefined],
    [';a=x,y', undefined],
    [';=x', undefined],
    [';a=<x>', undefined],
  ];
  for (const [text, expected] of table) {
    const params = parseParams(text);
    assert.deepEqual(params === undefined ? undefined : [...params], expected, text);
  }
});

test('name-addr and addr-spec', () => {
  const table: [string, { display: string; uri: string; tag?: string } | undefined][] = [
    ['sip:a@b', { display: '', uri: 'sip:a@b' }],
    ['sip:a@b;tag=1', { display: '', uri: 'sip:a@b', tag: '1' }],
    ['<sip:a@b;x=y>;tag=1', { display: '', uri: 'sip:a@b;x=y', tag: '1' }],
    ['"A \\"B\\" \\\\" <sip:a@b>', { display: 'A "B" \\', uri: 'sip:a@b' }],
    ['"A<B>" <sip:a@b>', { display: 'A<B>', uri: 'sip:a@b' }],
    ['Alice Smith <sip:a@b>;Tag=Q', { display: 'Alice Smith', uri: 'sip:a@b', tag: 'Q' }],
    ['张三 <sip:a@b>', { display: '张三', uri: 'sip:a@b' }],
    ['""<sip:a@b>', { display: '', uri: 'sip:a@b' }],
    ['<tel:+1-555-0100>', { display: '', uri: 'tel:+1-555-0100' }],
    ['tel:+1-555-0100;phone-context=x', { display: '', uri: 'tel:+1-555-0100' }],
    ['*', { display: '', uri: '*' }],
    ['', undefined],
    ['<>', undefined],
    ['<sip:>', undefined],
    ['a@b', undefined],
    ['<a@b>', undefined],
    ['sip:a b@c', undefined],
    ['<sip:a@b', undefined],
    ['"A <sip:a@b>', undefined],
    ['"A" B <sip:a@b>', undefined],
    ['"A" sip:a@b', undefined],
    ['A, B <sip:a@b>', undefined],
    ['sip:a@b?x=y', undefined],
    ['sip:a@b, sip:c@d', undefined],
    ['<sip:a@b>, <sip:c@d>', undefined],
    ['<sip:a@b> tag=1', undefined],
    ['<sip:a@b>;;tag=1', undefined],
    ['<sip:a@b>;tag=1;', undefined],
    ['<sip:a@b\u0000>', undefined],
  ];
  for (const [text, expected] of table) {
    const addr = parseNameAddr(text);
    const seen = addr && {
      display: addr.display,
      uri: addr.uri,
      ...(addr.tag === undefined ? {} : { tag: addr.tag }),
    };
    assert.deepEqual(seen, expected, text);
    if (addr === undefined || addr.uri === '*') continue;
    assert.deepEqual(parseNameAddr(formatNameAddr(addr)), addr, `${text} round trip`);
  }
});

test('Via', () => {
  type Expected = { transport: string; host: string; port?: number; branch: string } | undefined;
  const table: [string, Expected][] = [
    [
      'SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa',
      { transport: 'UDP', host: '192.0.2.1', port: 5060, branch: 'z9hG4bKa' },
    ],
    [
      'sip / 2.0 / tcp  host.example.com : 99 ; branch = x',
      { transport: 'TCP', host: 'host.example.com', port: 99, branch: 'x' },
    ],
    [
      'SIP/2.0/TLS [2001:db8::1]:5061;received=2001:db8::9;rport',
      { transport: 'TLS', host: '[2001:db8::1]', port: 5061, branch: '' },
    ],
    ['SIP/2.0/UDP a_b.example.com', { transport: 'UDP', host: 'a_b.example.com', branch: '' }],
    ['', undefined],
    ['SIP/2.0', undefined],
    ['SIP/2.0/UDP', undefined],
    ['SIP/2.0/UDP ;branch=a', undefined],
    ['SIP/2.0/U@P host', undefined],
    ['SIP/2.0/UDP host:port', undefined],
    ['SIP/2.0/UDP host:65536', undefined],
    ['SIP/2.0/UDP host:', undefined],
    ['SIP/2.0/UDP ho st', undefined],
    ['SIP/2.0/UDP [2001:db8::1', undefined],
    ['SIP/2.0/UDP 2001:db8::1', undefined],
    ['SIP/2.0/UDP host;;branch=a', undefined],
  ];
  for (const [text, expected] of table) {
    const via = parseVia(text);
    const seen = via && {
      transport: via.transport,
      host: via.host,
      ...(via.port === undefined ? {} : { port: via.port }),
      branch: via.branch,
    };
    assert.deepEqual(seen, expected, text);
    if (via !== undefined) assert.deepEqual(parseVia(formatVia(via)), via, `${text} round trip`);
  }
});

test('CSeq and numbers', () => {
  const table: [string, [number, string] | undefined][] = [
    ['1 INVITE', [1, 'INVITE']],
    ['0009   ACK', [9, 'ACK']],
    ['4294967295 BYE', [4_294_967_295, 'BYE']],
    ['4294967296 BYE', undefined],
    ['36893488147419103232 REGISTER', undefined],
    ['-1 BYE', undefined],
    ['1', undefined],
    ['1INVITE', undefined],
    ['INVITE 1', undefined],
    ['1 INV ITE', undefined],
    ['0x10 BYE', undefined],
    ['', undefined],
  ];
  for (const [text, expected] of table) {
    const cseq = parseCSeq(text);
    assert.deepEqual(cseq && [cseq.number, cseq.method], expected, text);
  }
  assert.equal(parseNumber('00070', 255), 70);
  assert.equal(parseNumber('256', 255), undefined);
  assert.equal(parseNumber('1.5', 255), undefined);
  assert.equal(parseNumber('0'.repeat(65), 255), undefined);
});

test('challenges and credentials', () => {
  type Expected = [string, Record<string, string>][] | undefined;
  const table: [string, Expected][] = [
    [
      'Digest realm="a, b", nonce="x\\"y", algorithm=MD5, qop="auth,auth-int"',
      [['Digest', { realm: 'a, b', nonce: 'x"y', algorithm: 'MD5', qop: 'auth,auth-int' }]],
    ],
    [
      'Digest realm="a",nonce="1", Digest realm = "b" , nonce="2",stale=TRUE',
      [
        ['Digest', { realm: 'a', nonce: '1' }],
        ['Digest', { realm: 'b', nonce: '2', stale: 'TRUE' }],
      ],
    ],
    [
      'Digest  realm="a", opaque = "", nonce="n"',
      [['Digest', { realm: 'a', opaque: '', nonce: 'n' }]],
    ],
    ['NoOneKnows opaque-data=here', [['NoOneKnows', { 'opaque-data': 'here' }]]],
    ['Bearer abc==', [['Bearer', { '': 'abc==' }]]],
    ['Negotiate', [['Negotiate', {}]]],
    ['', undefined],
    ['realm="a"', undefined],
    ['Digest realm="a', undefined],
    ['Di(gest realm="a"', undefined],
  ];
  for (const [text, expected] of table) {
    const seen = parseAuth(text)?.map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);
    assert.deepEqual(seen, expected, text);
  }
});

test('sip URIs', () => {
  type Expected =
    | { user?: string; password?: string; host: string; port?: number; headers?: string }
    | undefined;
  const table: [string, Expected][] = [
    ['sip:example.com', { host: 'example.com' }],
    ['SIP:Alice@Example.COM:5070', { user: 'Alice', host: 'example.com', port: 5070 }],
    ['sips:a:p%40w@192.0.2.1', { user: 'a', password: 'p%40w', host: '192.0.2.1' }],
    ['sip:[2001:db8::1]:5060', { host: '2001:db8::1', port: 5060 }],
    ['sip:a@[2001:DB8::1]', { user: 'a', host: '2001:db8::1' }],
    ['sip:a;b=c@d', { user: 'a;b=c', host: 'd' }],
    ['sip:a%20b@d', { user: 'a b', host: 'd' }],
    ['sip:a%zzb@d', { user: 'a%zzb', host: 'd' }],
    ['sip:%E5%BC%A0@d', { user: '张', host: 'd' }],
    ['sip:%ff@d', { user: 'ÿ', host: 'd' }],
    ['sip:*97#@d', { user: '*97#', host: 'd' }],
    ['sip:a@d?Subject=x&y=z', { user: 'a', host: 'd', headers: 'Subject=x&y=z' }],
    ['sip:', undefined],
    ['sip:@d', undefined],
    ['sip:a@', undefined],
    ['sip:a@b@c', undefined],
    ['sip:a@b c', undefined],
    ['sip:a@b:0x1', undefined],
    ['sip:a@b:99999', undefined],
    ['sip:a@b;;c', undefined],
    ['sip:a@b;', undefined],
    ['sip:a@[::1', undefined],
    ['<sip:a@b>', undefined],
    ['tel:+15550100', undefined],
    ['a@b', undefined],
    ['', undefined],
  ];
  for (const [text, expected] of table) {
    const uri = parseUri(text);
    const seen = uri && {
      ...(uri.user === undefined ? {} : { user: uri.user }),
      ...(uri.password === undefined ? {} : { password: uri.password }),
      host: uri.host,
      ...(uri.port === undefined ? {} : { port: uri.port }),
      ...(uri.headers === '' ? {} : { headers: uri.headers }),
    };
    assert.deepEqual(seen, expected, text);
    if (uri !== undefined) assert.deepEqual(parseUri(formatUri(uri)), uri, `${text} round trip`);
  }
  const params = parseUri('sip:a@b;transport=TCP;LR;x=[::1]')?.params ?? new Map();
  assert.deepEqual(
    [...params],
    [
      ['transport', 'TCP'],
      ['lr', null],
      ['x', '[::1]'],
    ],
  );
  assert.equal(schemeOf('soap.beep://x'), 'soap.beep');
  assert.equal(schemeOf('3a:x'), undefined);
  const lone = { scheme: 'sip', user: '\ud800', password: undefined, host: 'b' } as const;
  const text = formatUri({ ...lone, port: undefined, params: new Map(), headers: '' });
  assert.equal(text, 'sip:%EF%BF%BD@b');
});

test('names: case, compact forms, lists', () => {
  const table: [string, string, boolean][] = [
    ['v', 'Via', true],
    ['V', 'Via', true],
    ['mAx-FORwards', 'Max-Forwards', false],
    ['i', 'Call-ID', false],
    ['CALL-ID', 'Call-ID', false],
    ['x', 'Session-Expires', false],
    ['k', 'Supported', true],
    ['record-route', 'Record-Route', true],
    ['www-authenticate', 'WWW-Authenticate', false],
    ['X-Own-Header', 'X-Own-Header', false],
    ['constructor', 'constructor', false],
    ['__proto__', '__proto__', false],
  ];
  for (const [raw, name, isList] of table) {
    assert.equal(headerName(raw).name, name);
    assert.equal(headerName(raw).key, name.toLowerCase());
    assert.equal(isListHeader(raw), isList, raw);
  }
});

test('quoting', () => {
  for (const text of ['', 'a', 'a"b', '\\', 'a\\"b\\\\', '张, "三"']) {
    assert.equal(unquote(quote(text)), text);
  }
  assert.equal(unquote('a"b'), 'a"b');
  assert.equal(unquote('"a" b'), '"a" b');
  assert.equal(unquote('"a\\"'), '"a\\"');
});
