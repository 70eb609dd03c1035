/** Cutting a stream into messages, however its bytes arrive. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StreamFramer } from '#sip/server/framing.ts';
import type { Frame } from '#sip/server/framing.ts';
import { MAX_BODY, MAX_HEAD } from '#sip/server/limits.ts';

function request(callId: string, body: string, ...more: string[]): string {
  return [
    'MESSAGE sip:b@192.0.2.2 SIP/2.0',
    'Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1',
    'From: <sip:a@192.0.2.1>;tag=1',
    'To: <sip:b@192.0.2.2>',
    `Call-ID: ${callId}`,
    'CSeq: 1 MESSAGE',
    ...more,
    '',
    body,
  ].join('\r\n');
}

/** `c1:body`, `ping`, `broken 400 reason`. */
function describe(frame: Frame): string {
  if (frame.kind === 'ping') return 'ping';
  const { result } = frame;
  if (frame.kind === 'broken' || !result.ok) {
    return `${frame.kind} ${result.ok ? '' : `${result.status} ${result.reason}`}`;
  }
  return `${result.message.callId}:${result.message.body.toString('latin1')}`;
}

const STREAM = Buffer.from(
  [
    request('c1', 'one', 'Content-Length: 3'),
    request('c2', '', 'l : 0'),
    '\r\n\r\n',
    request('c3', '\r\n\r\nMESSAGE x', 'Content-Length:', '\t13'),
    '\r\n',
    request('c4', 'caf\u00e9', 'Content-Length: 5').replaceAll('\r\n', '\n'),
    '\r\n\r\n\r\n\r\n',
    request('c5', ''),
    request('c6', 'x', 'Content-Length: 1').replace('CSeq: 1', 'CSeq: x'),
    request('c7', 'end', 'L: 3'),
  ].join(''),
);
const FRAMES = [
  'c1:one',
  'c2:',
  'ping',
  'c3:\r\n\r\nMESSAGE x',
  'c4:caf\u00c3\u00a9',
  'ping',
  'ping',
  'c5:',
  'message 400 Malformed CSeq',
  'c7:end',
];

test('the whole stream at once', () => {
  assert.deepEqual(new StreamFramer().push(STREAM).map(describe), FRAMES);
});

test('split in two at every byte', () => {
  for (let at = 1; at < STREAM.length; at++) {
    const framer = new StreamFramer();
    const frames = [...framer.push(STREAM.subarray(0, at)), ...framer.push(STREAM.subarray(at))];
    assert.deepEqual(frames.map(describe), FRAMES, `split at ${at}`);
    assert.equal(framer.isPartial, false);
  }
});

test('every byte by itself, and in pieces of each size', () => {
  for (let size = 1; size < 64; size++) {
    const framer = new StreamFramer();
    const frames: Frame[] = [];
    for (let at = 0; at < STREAM.length; at += size) {
      frames.push(...framer.push(STREAM.subarray(at, at + size)));
    }
    assert.deepEqual(frames.map(describe), FRAMES, `pieces of ${size}`);
  }
});

test('messages own their bytes', () => {
  const chunk = Buffer.from(request('c1', 'body', 'l: 4'));
  const [frame] = new StreamFramer().push(chunk);
  chunk.fill(0);
  assert.equal(frame === undefined ? '' : describe(frame), 'c1:body');
});

test('isPartial says whether a message has begun', () => {
  const framer = new StreamFramer();
  assert.equal(framer.isPartial, false);
  framer.push(Buffer.from('\r\n'));
  assert.equal(framer.isPartial, false);
  framer.push(Buffer.from('M'));
  assert.equal(framer.isPartial, true);
  const rest = request('c1', 'ab', 'l: 4').slice(1);
  assert.equal(framer.push(Buffer.from(rest)).length, 0);
  assert.equal(framer.isPartial, true);
  assert.equal(framer.push(Buffer.from('cd')).length, 1);
  assert.equal(framer.isPartial, false);
});

test('a stream that cannot be cut any further breaks once and for all', () => {
  const rows: [string, string, string][] = [
    ['garbage', 'hello\r\n\r\n', 'broken null Not a SIP message'],
    ['HTTP', 'GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'broken null Not a SIP message'],
    ['length', request('c', '', 'l: x'), 'broken 400 Malformed Content-Length'],
    ['two', request('c', '', 'l: 1', 'l: 1'), 'broken 400 Malformed Content-Length'],
    ['body', request('c', '', `l: ${MAX_BODY + 1}`), 'broken 413 Request Entity Too Large'],
    ['huge', request('c', '', 'l: 99999999999'), 'broken 413 Request Entity Too Large'],
    ['head', request('c', '', `X: ${'x'.repeat(MAX_HEAD)}`), 'broken 513 Header section too long'],
    [
      'endless',
      request('c', '').trimEnd() + 'x'.repeat(MAX_HEAD),
      'broken 513 Header section too long',
    ],
    ['lines', request('c', '', ...Array(200).fill('X: y')), 'broken 513 Too many header lines'],
  ];
  for (const [name, text, expected] of rows) {
    const framer = new StreamFramer();
    assert.deepEqual(framer.push(Buffer.from(text)).map(describe), [expected], name);
    assert.deepEqual(framer.push(STREAM), [], name);
    assert.equal(framer.isPartial, false, name);
  }
});
