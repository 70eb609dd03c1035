/** The parser beyond the torture messages: what is refused and how, tolerance, limits, seeded mutation. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MAX_BODY, MAX_HEAD, MAX_HEADER_LINE, MAX_HEADER_LINES } from '#sip/server/limits.ts';
import { StreamFramer } from '#sip/server/framing.ts';
import { parseMessage } from '#sip/server/parse.ts';

const HEADERS = [
  'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1',
  'From: <sip:a@192.0.2.1>;tag=1',
  'To: <sip:b@192.0.2.2>',
  'Call-ID: c1',
  'CSeq: 1 OPTIONS',
];
const REQUEST = 'OPTIONS sip:b@192.0.2.2 SIP/2.0';

function messageText(start: string, headers: readonly string[], body = '', eol = '\r\n'): string {
  return [start, ...headers, '', body].join(eol);
}

/** The usual request with one header line replaced, dropped (null) or put at the end. */
function withHeader(name: string, line: string | null): string {
  const rest = HEADERS.filter((header) => !header.startsWith(`${name}:`));
  return messageText(REQUEST, line === null ? rest : [...rest, line]);
}

function verdict(text: string | Buffer): string {
  const result = parseMessage(Buffer.from(text));
  return result.ok ? 'ok' : `${result.status} ${result.reason}`;
}

test('verdicts', () => {
  const rows: [string, string, string][] = [
    ['plain', messageText(REQUEST, HEADERS), 'ok'],
    ['line feeds alone', messageText(REQUEST, HEADERS, '', '\n'), 'ok'],
    ['line ends before', `\r\n\r\n${messageText(REQUEST, HEADERS)}`, 'ok'],
    ['lower-case version', messageText('OPTIONS sip:b@h sip/2.0', HEADERS), 'ok'],
    ['no empty line', [REQUEST, ...HEADERS, ''].join('\r\n'), 'ok'],
    ['cut inside a line', [REQUEST, ...HEADERS].join('\r\n'), '400 Header section not ended'],
    ['no From', withHeader('From', null), '400 Missing From'],
    ['no To', withHeader('To', null), '400 Missing To'],
    ['no CSeq', withHeader('CSeq', null), '400 Missing CSeq'],
    ['no Call-ID', withHeader('Call-ID', null), '400 Missing Call-ID'],
    ['empty Call-ID', withHeader('Call-ID', 'i:'), '400 Malformed Call-ID'],
    ['bar in Call-ID', withHeader('Call-ID', 'i: a|b@h'), '400 Malformed Call-ID'],
    ['two @ in Call-ID', withHeader('Call-ID', 'i: a@b@h'), '400 Malformed Call-ID'],
    ['words as Call-ID', withHeader('Call-ID', 'i: {a}<"/[]?\\:>@(h)'), 'ok'],
    ['bar in tag', withHeader('From', 'f: <sip:a@h>;tag=a|b'), '400 Malformed From tag'],
    ['bar in To tag', withHeader('To', 't: <sip:a@h>;tag=a|b'), '400 Malformed To tag'],
    ['no Via, nowhere to answer', withHeader('Via', null), 'null Missing Via'],
    ['Via unreadable', withHeader('Via', 'Via: SIP/2.0 h'), 'null Malformed Via'],
    ['Via readable enough', withHeader('Via', 'Via: SIP/2.0/UDP h;;'), '400 Malformed Via'],
    ['From a star', withHeader('From', 'From: *'), '400 Malformed From'],
    ['two From', withHeader('X', 'f: <sip:c@h>'), '400 More than one From'],
    ['Max-Forwards a word', withHeader('X', 'Max-Forwards: x'), '400 Malformed Max-Forwards'],
    ['Max-Forwards 300', withHeader('X', 'Max-Forwards: 300'), 'ok'],
    ['no colon', withHeader('X', 'Nonsense'), '400 Malformed header line'],
    ['no name', withHeader('X', ': x'), '400 Malformed header line'],
    ['space in name', withHeader('X', 'A b: x'), '400 Malformed header line'],
    ['bare CR', withHeader('X', 'Subject: a\rEvil: b'), '400 Malformed header line'],
    ['fold of nothing', messageText(REQUEST, [' x: y', ...HEADERS]), '400 Malformed header line'],
    ['Contact star', withHeader('X', 'Contact: *'), 'ok'],
    ['Contact list', withHeader('X', 'm: <sip:a@h>;q=1, "x, y" <sip:b@h>'), 'ok'],
    ['Contact bad', withHeader('X', 'm: <sip:a@h>, b'), '400 Malformed Contact'],
    ['length 0, body', messageText(REQUEST, [...HEADERS, 'l: 0'], 'body'), 'ok'],
    ['length with sign', withHeader('X', 'l: +0'), '400 Malformed Content-Length'],
    ['length empty', withHeader('X', 'l:'), '400 Malformed Content-Length'],
    ['same length twice', withHeader('X', 'l: 0\r\nl: 0'), '400 Malformed Content-Length'],
    ['body missing', withHeader('X', 'l: 1'), '400 Body shorter than Content-Length'],
    ['version 3', messageText('OPTIONS sip:b@h SIP/3.0', HEADERS), '505 Version Not Supported'],
    ['no version', messageText('OPTIONS sip:b@h', HEADERS), 'null Not a SIP message'],
    ['no URI', messageText('OPTIONS SIP/2.0', HEADERS), '400 Malformed Request-URI'],
    [
      'URI without scheme',
      messageText('OPTIONS b@h SIP/2.0', HEADERS),
      '400 Malformed Request-URI',
    ],
    ['method no token', messageText('OPT(IONS sip:b@h SIP/2.0', HEADERS), 'null Not a SIP message'],
    ['tel URI', messageText('OPTIONS tel:+15550100 SIP/2.0', HEADERS), 'ok'],
    ['HTTP', 'GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'null Not a SIP message'],
    ['nothing', '', 'null Not a SIP message'],
    ['line ends alone', '\r\n\r\n', 'null Not a SIP message'],
    ['response', messageText('SIP/2.0 200 OK', HEADERS), 'ok'],
    ['response, other CSeq method', messageText('SIP/2.0 200 OK', HEADERS), 'ok'],
    ['response, no reason, no space', messageText('SIP/2.0 200', HEADERS), 'ok'],
    ['response 99', messageText('SIP/2.0 099 x', HEADERS), 'null Malformed status line'],
    ['response 700', messageText('SIP/2.0 700 x', HEADERS), 'null Malformed status line'],
    ['response 20x', messageText('SIP/2.0 20x OK', HEADERS), 'null Malformed status line'],
    ['response version 3', messageText('SIP/3.0 200 OK', HEADERS), 'null Version Not Supported'],
    [
      'response with two To',
      messageText('SIP/2.0 200 OK', [...HEADERS, 't: <sip:c@h>']),
      'null More than one To',
    ],
  ];
  for (const [name, text, expected] of rows) assert.equal(verdict(text), expected, name);
});

test('an ACK is never answered', () => {
  const headers = HEADERS.map((line) => line.replace('1 OPTIONS', '1 INVITE'));
  assert.equal(
    verdict(messageText('ACK sip:b@192.0.2.2 SIP/2.0', headers)),
    'null CSeq method does not match',
  );
});

test('the body is the bytes after the empty line', () => {
  const head = messageText(REQUEST, [...HEADERS, 'l: 4']);
  const binary = Buffer.from([0, 0xff, 0x0d, 0x0a]);
  const result = parseMessage(Buffer.concat([Buffer.from(head), binary, Buffer.from('rest')]));
  assert.ok(result.ok);
  assert.deepEqual(result.message.body, binary);
  const withoutLength = parseMessage(Buffer.from(messageText(REQUEST, HEADERS, '\r\nab')));
  assert.ok(withoutLength.ok);
  assert.equal(withoutLength.message.body.toString(), '\r\nab');
});

test('limits: what is too large is refused with 413 or 513, and can be answered', () => {
  const rows: [string, string, string][] = [
    ['lines, most', lines(MAX_HEADER_LINES - HEADERS.length), 'ok'],
    ['lines', lines(MAX_HEADER_LINES - HEADERS.length + 1), '513 Too many header lines'],
    ['200 lines', lines(200), '513 Too many header lines'],
    ['line, longest', withHeader('X', `X: ${'x'.repeat(MAX_HEADER_LINE - 3)}`), 'ok'],
    ['line', withHeader('X', `X: ${'x'.repeat(MAX_HEADER_LINE)}`), '513 Header line too long'],
    ['folded line', withHeader('X', `X: y${'\r\n z'.repeat(3_000)}`), '513 Header line too long'],
    ['section', withHeader('X', `X: ${'x'.repeat(MAX_HEAD)}`), '513 Header section too long'],
    ['Contact', withHeader('X', `m: <sip:${'a'.repeat(20_000)}@h>`), '513 Header line too long'],
    ['Contacts', withHeader('X', `m: ${'<sip:a@h>,'.repeat(65)}`), '513 Too many Contact values'],
    ['body', body(MAX_BODY + 1), '413 Request Entity Too Large'],
    ['body, largest', body(MAX_BODY), 'ok'],
  ];
  for (const [name, text, expected] of rows) assert.equal(verdict(text), expected, name);

  function lines(count: number): string {
    return messageText(REQUEST, [
      ...HEADERS,
      ...Array.from({ length: count }, (_, at) => `X-${at}: y`),
    ]);
  }
  function body(size: number): string {
    return messageText(REQUEST, [...HEADERS, `l: ${size}`], 'v'.repeat(size));
  }
});

test('hostile sizes in every place end in a verdict', () => {
  const filler = [
    '"',
    '\\"',
    ',',
    ';',
    '<',
    '>',
    '<>',
    ';a=b',
    '%',
    '\t',
    '\r\n ',
    ':',
    '@',
    '[',
    '\0',
  ];
  for (const piece of filler) {
    const text = piece.repeat(Math.floor(60_000 / piece.length));
    for (const line of [`Via: SIP/2.0/UDP h${text}`, `m: <sip:a@h>${text}`, `To: ${text}`, text]) {
      assert.equal(typeof verdict(messageText(REQUEST, [line, ...HEADERS])), 'string');
    }
    assert.equal(typeof verdict(messageText(`OPTIONS sip:${text}@h SIP/2.0`, HEADERS)), 'string');
    assert.equal(typeof verdict(text), 'string');
  }
});

/** Small fast generator (mulberry32), so that a failure can be run again. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function mutate(seed: Buffer, other: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(seed);
  for (let count = 1 + random(6); count > 0 && bytes.length > 2; count--) {
    const at = random(bytes.length);
    const size = 1 + random(24);
    const kind = random(6);
    if (kind === 0) bytes[at] = random(256);
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
    else if (kind === 2) bytes = bytes.subarray(0, at);
    else if (kind === 3) bytes[at] = '\r\n\t ";,<>:=@%/\\[]'.charCodeAt(random(17));
    else {
      const from = kind === 4 ? bytes : other;
      const start = random(from.length);
      const piece = from.subarray(start, start + size);
      bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    }
  }
  return bytes;
}

test('mutated messages never make the parser throw, and what it accepts it can write and read again', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_120);
  const rounds = Number(process.env['FUZZ_ROUNDS'] ?? 12_000);
  const random = generator(seed);
  const folder = new URL('../data/rfc4475/', import.meta.url);
  const corpus = readdirSync(folder)
    .filter((name) => name.endsWith('.dat'))
    .map((name) => readFileSync(new URL(name, folder)));
  const pick = (): Buffer => corpus[random(corpus.length)] ?? Buffer.alloc(0);
  let accepted = 0;
  for (let round = 0; round < rounds; round++) {
    const bytes = mutate(pick(), pick(), random);
    const where = `FUZZ_SEED=${seed} round ${round}`;
    const result = parseMessage(bytes);
    const frames = new StreamFramer().push(bytes);
    assert.ok(frames.length < 100, where);
    if (!result.ok) {
      const isAnswerable = result.message?.kind === 'request' && result.message.has('Via');
      assert.ok(result.status === null || isAnswerable, where);
      continue;
    }
    accepted++;
    const { message } = result;
    void [message.contact, message.viaBranch, message.list('Via'), message.list('Route')];
    const again = parseMessage(message.serialize());
    assert.ok(again.ok, `${where}: ${again.ok ? '' : again.reason}`);
    assert.deepEqual(again.message.serialize(), message.serialize(), where);
    assert.deepEqual(again.message.cseq, message.cseq, where);
    assert.equal(again.message.callId, message.callId, where);
  }
  assert.ok(accepted > rounds / 20, `only ${accepted} of ${rounds} were accepted`);
});
