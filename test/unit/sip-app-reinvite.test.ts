/** Requests of ours inside a dialog, on a simulated clock: glare of re-INVITEs, digits by INFO. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { sendReinvite } from '#sip/reinvite.ts';
import { CHALLENGE, codeOf, rig, SDP, TYPE, type Rig } from './_sip-dialog.ts';
import { FakeLink, incoming, settle } from './_sip-link.ts';

test('glare: while we wait theirs is taken, ours waits for its answer and is then made anew', async () => {
  for (const role of ['caller', 'callee'] as const) {
    const made = rig({ role });
    let version = 0;
    const offering = made.leg.reinvite(() => `${SDP}v${++version}`);
    made.leg.onOffer(async () => {
      await settle();
      await settle();
      return { sdp: SDP };
    });
    await settle();
    const crossed = incoming('INVITE', { headers: TYPE, body: SDP });
    made.leg.handle(crossed.request);
    assert.equal(crossed.answers[0]?.status, 491);
    made.link.last.respond(491);
    const theirs = incoming('INVITE', { headers: TYPE, body: SDP });
    made.clock.advance(0);
    made.leg.handle(theirs.request);
    assert.equal(theirs.answers.length, 0, 'not refused');
    made.clock.advance(4000);
    assert.equal(made.link.taken.length, 1, 'not while theirs is being answered');
    for (let i = 0; i < 6; i++) await settle();
    assert.equal(theirs.answers[0]?.status, 200);
    assert.equal(made.link.taken.length, 2);
    assert.equal(made.link.last.request.body, `${SDP}v2`);
    made.link.last.respond(200, TYPE, SDP);
    assert.equal(await offering, SDP);
    assert.equal(made.clock.pending, 0);
  }
});

test('a dialog that ends while we wait after glare leaves no timer behind', async () => {
  const made = rig({ role: 'caller' });
  const offering = codeOf(made.leg.reinvite(SDP));
  await settle();
  made.link.last.respond(491);
  made.leg.lost();
  assert.equal(await offering, 'E_SIP_DIALOG_GONE');
  assert.equal(made.clock.pending, 0);
});

test('the waits after glare: 2.1 to 4 s for who began the call, up to 2 s for the other side; three and no more', async () => {
  for (const [role, from, to] of [
    ['caller', 2100, 4000],
    ['callee', 0, 2000],
  ] as const) {
    for (const random of [0, 0.5, 0.9999]) {
      const link = new FakeLink();
      const clock = new SimulatedClock();
      const options = {
        ...{ link, clock, role, dialogId: 'd1', credentials: null, sdp: () => SDP },
        ...{ over: new Promise(() => undefined), free: () => Promise.resolve() },
        ...{ onWire: () => undefined, random: () => random },
      };
      const offering = codeOf(sendReinvite(options));
      await settle();
      for (let glare = 1; glare <= 3; glare++) {
        assert.equal(link.taken.length, glare);
        link.last.respond(491);
        const startMs = clock.now();
        while (link.taken.length === glare && clock.now() - startMs <= 4000 && glare < 3) {
          clock.advance(10);
          await settle();
        }
        const waitedMs = clock.now() - startMs;
        if (glare < 3) assert.ok(waitedMs >= from && waitedMs <= to, `${role}: ${waitedMs} ms`);
      }
      assert.equal(await offering, 'E_SIP_REJECTED');
      assert.equal(clock.pending, 0);
    }
  }
});

test('a digit by INFO: its body, a challenge, refusals, silence, a dialog that is gone', async () => {
  const made = rig({ credentials: { username: 'u', password: 'p', realm: null } });
  const sent = made.leg.sendDtmf('#', 160);
  await settle();
  const { method, headers, body } = made.link.last.request;
  assert.deepEqual(
    [method, headers?.['Content-Type'], body],
    ['INFO', 'application/dtmf-relay', 'Signal=#\r\nDuration=160\r\n'],
  );
  made.link.last.respond(407, CHALLENGE);
  assert.match(made.link.last.request.headers?.['Proxy-Authorization'] ?? '', /^Digest /);
  made.link.last.respond(200);
  await sent;
  assert.equal(made.clock.pending, 0);
  for (const digit of ['', 'w', 'E', '12', '5\r\nX: y'])
    assert.equal(await codeOf(made.leg.sendDtmf(digit, 100)), 'E_REQUEST', digit);

  const rows: [string, (rig: Rig) => void, string, number][] = [
    ['415', ({ link }) => link.last.respond(415), 'E_SIP_REJECTED', 0],
    ['407 again', ({ link }) => link.last.respond(407, CHALLENGE), 'E_SIP_REJECTED', 0],
    ['silence', ({ clock }) => clock.advance(4000), 'E_TIMEOUT', 0],
    ['481', ({ link }) => link.last.respond(481), 'E_SIP_DIALOG_GONE', 1],
    ['their BYE', ({ leg }) => leg.handle(incoming('BYE').request), 'E_SIP_DIALOG_GONE', 0],
  ];
  for (const [name, act, code, byes] of rows) {
    const one = rig();
    const sending = codeOf(one.leg.sendDtmf('5', 100));
    await settle();
    act(one);
    assert.equal(await sending, code, name);
    await settle();
    assert.equal(one.link.taken.filter(({ request }) => request.method === 'BYE').length, byes);
    if (byes === 0) assert.equal(one.clock.pending, 0, name);
  }
  const over = rig();
  over.leg.lost();
  assert.equal(await codeOf(over.leg.sendDtmf('5', 100)), 'E_SIP_DIALOG_GONE');
});
