/** Hold by us, through renegotiations of either side: who is on hold stays there until we say so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LegDescription } from '#sessions/leg-hold.ts';
import { createSdpSession } from '#sip/sdp.ts';

const LOCAL = { address: '192.0.2.1', port: 20_000, codecs: ['PCMA', 'PCMU'] } as const;
const theirs = (direction: string): string =>
  [
    ...['v=0', 'o=- 1 1 IN IP4 192.0.2.9', 's=-', 'c=IN IP4 192.0.2.9', 't=0 0'],
    ...['m=audio 4000 RTP/AVP 8', `a=${direction}`, ''],
  ].join('\r\n');
const directionOf = (sdp: string | null | undefined): string =>
  /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(sdp ?? '')?.[1] ?? '';

function connected(): LegDescription {
  const description = new LegDescription();
  const session = createSdpSession(LOCAL, 1);
  description.use(session);
  session.answer(theirs('sendrecv'));
  return description;
}

function answerTo(description: LegDescription, direction: string): string {
  const answer = description.renegotiate(theirs(direction));
  return 'sdp' in answer ? directionOf(answer.sdp) : String(answer.status);
}

test('before there is a description nothing is offered', () => {
  const description = new LegDescription();
  assert.equal(description.holdOffer(true), null);
  assert.equal(description.acceptAnswer(theirs('recvonly')), null);
  assert.deepEqual(description.renegotiate(theirs('sendrecv')), { status: 500 });
});

test('on hold, every offer of theirs is answered on hold; off hold again, as they wish', () => {
  const description = connected();
  const rows: [boolean, string, string][] = [
    [true, 'sendrecv', 'sendonly'],
    [true, 'recvonly', 'sendonly'],
    [true, 'sendonly', 'inactive'],
    [false, 'sendrecv', 'sendrecv'],
    [false, 'sendonly', 'recvonly'],
  ];
  for (const [on, offered, answered] of rows) {
    assert.equal(directionOf(description.holdOffer(on)), on ? 'sendonly' : 'sendrecv');
    const audio = description.acceptAnswer(theirs(on ? 'recvonly' : 'sendrecv'));
    assert.deepEqual([audio?.send, audio?.receive], [true, !on]);
    assert.equal(answerTo(description, offered), answered, `${on} ${offered}`);
    const late = description.renegotiate(null);
    assert.equal('sdp' in late && directionOf(late.sdp), on ? 'sendonly' : 'sendrecv');
  }
});

test('a hold that was refused, cannot be read or has no audio changes nothing', () => {
  const description = connected();
  description.holdOffer(true);
  assert.equal(answerTo(description, 'sendrecv'), 'sendrecv', 'no answer yet');
  description.holdOffer(true);
  assert.equal(description.acceptAnswer(theirs('recvonly').replace('4000', '0')), null);
  assert.equal(answerTo(description, 'sendrecv'), 'sendrecv');
  description.holdOffer(true);
  assert.throws(() => description.acceptAnswer('garbage'), { code: 'E_SDP' });
  assert.equal(answerTo(description, 'sendrecv'), 'sendrecv');
  description.holdOffer(true);
  description.acceptAnswer(theirs('recvonly'));
  description.use(createSdpSession(LOCAL, 2));
  assert.equal(
    directionOf(description.holdOffer(false)),
    'sendrecv',
    'a new attempt is not on hold',
  );
});

test('a call that was under SRTP and goes on in plain is told, once each time', () => {
  let told = 0;
  const description = new LegDescription(() => told++);
  const key = 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5';
  const sealed = theirs('sendrecv').replace('a=sendrecv', `${key}\r\na=sendrecv`);
  const session = createSdpSession({ ...LOCAL, srtp: 'preferred' }, 1);
  description.use(session);
  const first = session.answer(sealed);
  if (first !== null) description.agreed(first.audio);
  const steps: [offer: string, told: number][] = [
    [sealed, 0],
    [theirs('sendonly'), 1],
    [theirs('sendrecv'), 1],
    [sealed, 1],
    [theirs('sendrecv'), 2],
  ];
  for (const [offer, expected] of steps) {
    description.renegotiate(offer);
    assert.equal(told, expected, offer);
  }
  description.renegotiate(sealed);
  assert.match(description.holdOffer(true) ?? '', /a=crypto:1 /);
  description.acceptAnswer(theirs('recvonly'));
  assert.equal(told, 3, 'our own offer, answered in plain');
});
