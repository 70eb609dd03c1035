/** The 49 messages of RFC 4475 section 3, each with what this server makes of it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { StreamFramer } from '#sip/server/framing.ts';
import type { SipMessage } from '#sip/server/message.ts';
import { parseMessage } from '#sip/server/parse.ts';
import { parseUri } from '#sip/server/uri.ts';

const FOLDER = new URL('../data/rfc4475/', import.meta.url);

/** A status means "refused with it", null "dropped", 'ok' "accepted; what follows is for the layers above". */
type Row = {
  readonly file: string;
  readonly section: string;
  readonly expected: 'ok' | number | null;
  readonly because: string;
  readonly check?: (message: SipMessage) => void;
};

const rows: readonly Row[] = [
  {
    file: 'wsinv',
    section: '3.1.1.1',
    expected: 'ok',
    because: 'folding and space everywhere, long and compact names mixed',
    check: (message) => {
      assert.equal(message.to.tag, '1918181833n');
      assert.equal(message.from.display, 'J Rosenberg \\"');
      assert.equal(message.from.tag, '98asjd8');
      assert.deepEqual(message.cseq, { number: 9, method: 'INVITE' });
      assert.equal(message.list('Via').length, 3);
      assert.equal(message.topVia?.host, '192.0.2.2');
      assert.equal(message.viaBranch, '390skdjuw');
      assert.equal(message.get('Subject'), '');
      assert.equal(message.get('UnknownHeaderWithUnusualValue'), ';;,,;;,;');
      assert.equal(message.get('NewFangledHeader'), 'newfangled value continued newfangled value');
      assert.equal(message.contact?.display, 'Quoted string ""');
      assert.deepEqual(
        [...(message.contact?.params ?? [])],
        [
          ['newparam', 'newvalue'],
          ['secondparam', null],
          ['q', '0.33'],
        ],
      );
      assert.equal(message.body.length, 150);
    },
  },
  {
    file: 'intmeth',
    section: '3.1.1.2',
    expected: 'ok',
    because: 'every character that tokens and user parts allow (501 or 405 above)',
    check: (message) => {
      assert.equal(message.method, "!interesting-Method0123456789_*+`.%indeed'~");
      const uri = parseUri(message.uri);
      assert.equal(uri?.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
      assert.equal(uri?.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
      assert.equal(message.to.display, 'BEL:\x07 NUL:\x00 DEL:\x7f');
      assert.equal(message.from.display, "token1~` token2'+_ token3*%!.-");
      assert.equal(message.from.params.get("fromparam''~+*_!.-%"), '"работающий"');
      assert.equal(message.from.tag, "_token~1'+`*%!-.");
      assert.equal(message.callId, 'intmeth.word%ZK-!.*_+\'@word`~)(><:\\/"][?}{');
      assert.equal(message.get("extensionHeader-!.%*+_`'~"), '\ufeff大停電');
    },
  },
  {
    file: 'esc01',
    section: '3.1.1.3',
    expected: 'ok',
    because: 'escapes in their places',
    check: (message) => {
      assert.equal(parseUri(message.uri)?.user, 'sips:user@example.com');
      assert.equal(parseUri(message.to.uri)?.user, 'user');
      assert.equal(parseUri(message.from.uri)?.user, 'I have spaces');
      assert.equal(parseUri(message.contact?.uri ?? '')?.user, 'caller');
    },
  },
  {
    file: 'escnull',
    section: '3.1.1.4',
    expected: 'ok',
    because: 'an escaped NUL is a character like others',
    check: (message) => {
      const users = message.list('Contact').map((contact) => parseUri(contact.slice(1, -1))?.user);
      assert.deepEqual(users, ['\0', '\0\0']);
      assert.equal(parseUri(message.to.uri)?.user, 'null-\0-null');
    },
  },
  {
    file: 'esc02',
    section: '3.1.1.5',
    expected: 'ok',
    because: 'a percent sign outside a URI escapes nothing',
    check: (message) => {
      assert.equal(message.method, 'RE%47IST%45R');
      assert.equal(message.to.display, '%Z%45');
      assert.equal(message.list('Contact').length, 2);
      assert.equal(message.get('C%6Fntact'), '<sip:alias2@host2.example.com>');
    },
  },
  {
    file: 'lwsdisp',
    section: '3.1.1.6',
    expected: 'ok',
    because: 'no space needed before the bracket',
    check: (message) => assert.equal(message.from.display, 'caller'),
  },
  {
    file: 'longreq',
    section: '3.1.1.7',
    expected: 'ok',
    because: 'long values, 34 Vias in every spelling',
    check: (message) => {
      assert.equal(message.list('Via').length, 34);
      assert.equal(message.from.tag?.length, 155);
      assert.equal(message.body.length, 150);
    },
  },
  {
    file: 'dblreq',
    section: '3.1.1.8',
    expected: 'ok',
    because: 'bytes beyond Content-Length in a datagram are dropped',
    check: (message) => {
      assert.equal(message.method, 'REGISTER');
      assert.equal(message.body.length, 0);
    },
  },
  {
    file: 'semiuri',
    section: '3.1.1.9',
    expected: 'ok',
    because: 'semicolons in the user part are no parameters',
    check: (message) => {
      const uri = parseUri(message.uri);
      assert.equal(uri?.user, 'user;par=u@example.net');
      assert.equal(uri?.host, 'example.com');
      assert.equal(uri?.params.size, 0);
    },
  },
  {
    file: 'transports',
    section: '3.1.1.10',
    expected: 'ok',
    because: 'any token is a transport in a Via',
    check: (message) =>
      assert.deepEqual(
        message.list('Via').map((via) => via.split('/')[2]?.split(' ')[0]),
        ['UDP', 'SCTP', 'TLS', 'UNKNOWN', 'TCP'],
      ),
  },
  {
    file: 'mpart01-altered',
    section: '3.1.1.11',
    expected: 'ok',
    because: 'a binary multipart body; octets of our own, see test/data/rfc4475/README.md',
    check: (message) => {
      assert.equal(String(message.body.length), message.get('Content-Length'));
      assert.ok(message.body.includes(Buffer.from(Array.from({ length: 256 }, (_, i) => i))));
    },
  },
  {
    file: 'unreason',
    section: '3.1.1.12',
    expected: 'ok',
    because: 'the reason phrase is any UTF-8',
    check: (message) => {
      assert.equal(message.status, 200);
      assert.equal(message.reason, '= 2**3 * 5**2 но сто девяносто девять - простое');
    },
  },
  {
    file: 'noreason',
    section: '3.1.1.13',
    expected: 'ok',
    because: 'the reason phrase may be empty',
    check: (message) => assert.deepEqual([message.status, message.reason], [100, '']),
  },
  { file: 'badinv01', section: '3.1.2.1', expected: 400, because: 'empty parameters and values' },
  { file: 'clerr', section: '3.1.2.2', expected: 400, because: 'body shorter than declared' },
  { file: 'ncl', section: '3.1.2.3', expected: 400, because: 'negative Content-Length' },
  { file: 'scalar02', section: '3.1.2.4', expected: 400, because: 'CSeq above 32 bits' },
  { file: 'scalarlg', section: '3.1.2.5', expected: null, because: 'a response with such a CSeq' },
  { file: 'quotbal', section: '3.1.2.6', expected: 400, because: 'unclosed quote in To' },
  {
    file: 'ltgtruri',
    section: '3.1.2.7',
    expected: 400,
    because: 'brackets round the Request-URI',
  },
  { file: 'lwsruri', section: '3.1.2.8', expected: 400, because: 'space in the Request-URI' },
  { file: 'lwsstart', section: '3.1.2.9', expected: 400, because: 'two spaces in the start line' },
  { file: 'trws', section: '3.1.2.10', expected: 400, because: 'spaces after the version' },
  { file: 'escruri', section: '3.1.2.11', expected: 400, because: 'headers in the Request-URI' },
  {
    file: 'baddate',
    section: '3.1.2.12',
    expected: 'ok',
    because: 'nobody here reads Date, so a wrong time zone is let through as the RFC allows',
  },
  { file: 'regbadct', section: '3.1.2.13', expected: 400, because: '`?` in a Contact without <>' },
  {
    file: 'badaspec',
    section: '3.1.2.14',
    expected: 'ok',
    because: 'space inside the brackets is ignored, the liberal choice of the two the RFC gives',
    check: (message) => assert.equal(message.to.uri, 'sip:t.watson@example.org'),
  },
  {
    file: 'baddn',
    section: '3.1.2.15',
    expected: 400,
    because: 'an unquoted comma could begin a second value: the strict choice of the two',
  },
  { file: 'badvers', section: '3.1.2.16', expected: 505, because: 'SIP/7.0' },
  { file: 'mismatch01', section: '3.1.2.17', expected: 400, because: 'CSeq of another method' },
  { file: 'mismatch02', section: '3.1.2.18', expected: 400, because: 'the same, unknown method' },
  { file: 'bigcode', section: '3.1.2.19', expected: null, because: 'a status of ten digits' },
  {
    file: 'badbranch',
    section: '3.2.1',
    expected: 'ok',
    because: 'nothing after the magic cookie: matched by the rules of RFC 2543 above',
    check: (message) => assert.equal(message.viaBranch, 'z9hG4bK'),
  },
  { file: 'insuf', section: '3.3.1', expected: 400, because: 'no Call-ID, From, To' },
  { file: 'unkscm', section: '3.3.2', expected: 'ok', because: 'unknown scheme: 416 above' },
  {
    file: 'novelsc',
    section: '3.3.3',
    expected: 'ok',
    because: 'known, unusable scheme: 416 above',
  },
  {
    file: 'unksm2',
    section: '3.3.4',
    expected: 'ok',
    because: 'any scheme is a URI in From, To and Contact',
    check: (message) => {
      assert.equal(message.to.uri, 'isbn:2983792873');
      assert.equal(message.contact?.uri, 'name:John_Smith');
    },
  },
  {
    file: 'bext01',
    section: '3.3.5',
    expected: 'ok',
    because: 'unknown options: 420 above',
    check: (message) => assert.equal(message.list('Require').length, 2),
  },
  { file: 'invut', section: '3.3.6', expected: 'ok', because: 'unknown body type: 415 above' },
  { file: 'regaut01', section: '3.3.7', expected: 'ok', because: 'unknown credentials: 401 above' },
  { file: 'multi01', section: '3.3.8', expected: 400, because: 'single-value headers repeated' },
  { file: 'mcl01', section: '3.3.9', expected: 400, because: 'two Content-Length headers' },
  {
    file: 'bcast',
    section: '3.3.10',
    expected: 'ok',
    because: 'matches no transaction: dropped above, never sent on to the broadcast address',
  },
  {
    file: 'zeromf',
    section: '3.3.11',
    expected: 'ok',
    because: 'the last hop may answer',
    check: (message) => assert.equal(message.get('Max-Forwards'), '0'),
  },
  {
    file: 'cparam01',
    section: '3.3.12',
    expected: 'ok',
    because: 'without brackets the parameter is of the header',
    check: (message) => {
      assert.equal(message.contact?.uri, 'sip:+19725552222@gw1.example.net');
      assert.ok(message.contact?.params.has('unknownparam'));
    },
  },
  {
    file: 'cparam02',
    section: '3.3.13',
    expected: 'ok',
    because: 'inside brackets it is of the URI',
    check: (message) => {
      assert.equal(message.contact?.params.size, 0);
      assert.ok(parseUri(message.contact?.uri ?? '')?.params.has('unknownparam'));
    },
  },
  {
    file: 'regescrt',
    section: '3.3.14',
    expected: 'ok',
    because: 'headers in a bracketed Contact URI are allowed',
    check: (message) =>
      assert.equal(
        parseUri(message.contact?.uri ?? '')?.headers,
        'Route=%3Csip:sip.example.com%3E',
      ),
  },
  { file: 'sdp01', section: '3.3.15', expected: 'ok', because: 'Accept without SDP: 406 above' },
  {
    file: 'inv2543',
    section: '3.4.1',
    expected: 'ok',
    because: 'RFC 2543: no branch, no From tag, no Max-Forwards, no Content-Length',
    check: (message) => {
      assert.equal(message.viaBranch, '');
      assert.equal(message.from.tag, undefined);
      assert.ok(message.body.toString().startsWith('v=0'));
    },
  },
];

const read = (file: string): Buffer => readFileSync(new URL(`${file}.dat`, FOLDER));

test('the table has each message of the folder once, 49 in all', () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.dat'));
  assert.deepEqual(rows.map((row) => `${row.file}.dat`).toSorted(), files.toSorted());
  assert.equal(rows.length, 49);
});

for (const { file, section, expected, because, check } of rows) {
  test(`RFC 4475 ${section} ${file}: ${expected ?? 'dropped'}, ${because}`, () => {
    const result = parseMessage(read(file));
    assert.equal(result.ok ? 'ok' : result.status, expected, result.ok ? '' : result.reason);
    if (result.ok) check?.(result.message);
    else assert.ok(result.reason.length > 0);
  });
}

test('what is accepted survives serializing and parsing again', () => {
  for (const { file } of rows.filter((row) => row.expected === 'ok')) {
    const first = parseMessage(read(file));
    assert.ok(first.ok, file);
    const second = parseMessage(first.message.serialize());
    assert.ok(second.ok, file);
    const withoutLength = (message: SipMessage): object[] =>
      message.headers.filter((header) => header.key !== 'content-length');
    assert.deepEqual(withoutLength(second.message), withoutLength(first.message), file);
    assert.ok(second.message.body.equals(first.message.body), file);
    assert.deepEqual(second.message.serialize(), first.message.serialize(), file);
  }
});

test('a stream gives the same verdict as a datagram, where Content-Length can be trusted', () => {
  // These tell a stream nothing about where the message ends, or have no length at all.
  const notFramed = new Set(['clerr', 'ncl', 'mcl01', 'baddn']);
  for (const { file, expected } of rows) {
    const [frame] = new StreamFramer().push(read(file));
    if (notFramed.has(file)) {
      assert.ok(frame === undefined || frame.kind === 'broken', file);
      continue;
    }
    assert.ok(frame?.kind === 'message', file);
    assert.equal(frame.result.ok ? 'ok' : frame.result.status, expected, file);
  }
});
