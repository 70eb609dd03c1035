/** Which number a call is for, and which registration of ours it came by. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createInbound } from '#sip/inbound.ts';
import { TRUNK_ID } from './_fake-registrar.ts';
import { FakeLink, incoming } from './_sip-link.ts';

test('the line of a Request-URI is ours when it is an id; the number dialled is then in To', () => {
  const rows: [uri: string, to: string, called: string, line: string | null][] = [
    ['sip:8001@h', '<sip:9009@h>', '8001', null],
    [`sip:alice@h:5060;line=${TRUNK_ID}`, '<sip:+15550100@h>', '+15550100', TRUNK_ID],
    [`sip:alice@h;transport=tcp;line=${TRUNK_ID};ob`, 'tel:+15550100', '+15550100', TRUNK_ID],
    [`sip:alice@h;line=${TRUNK_ID}`, '<sip:h>', 'alice', TRUNK_ID],
    ['sip:alice@h;line=xyz', '<sip:9009@h>', 'alice', null],
    [`sip:alice@h;line=${TRUNK_ID}x`, '<sip:9009@h>', 'alice', null],
  ];
  for (const [uri, to, called, line] of rows) {
    const { request } = incoming('INVITE', { headers: { to } });
    const { call } = createInbound({
      ...{ request: { ...request, uri }, offer: null, link: new FakeLink() },
      ...{ clock: new SimulatedClock(), log: silentLog, trustAsserted: false },
      addLeg: () => undefined,
      removeLeg: () => undefined,
      onDecided: () => undefined,
    });
    assert.deepEqual([call.called, call.line], [called, line], uri);
  }
});
