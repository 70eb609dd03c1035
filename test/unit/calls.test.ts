/** The call service's decisions before a call exists. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { Calls, type CallsOptions } from '#sessions/calls.ts';
import type { PlaceCall } from '#sessions/call-service-types.ts';
import type { OutboundRequest, SipAgent, Trunk } from '#sip/types.ts';
import { AGENT, createRig, settle } from './_fakes.ts';

const TRUNK = {
  id: null,
  name: 't',
  host: '192.0.2.20',
  port: 5060,
  transport: 'udp',
  codecs: ['PCMA'],
  fromNumber: null,
  username: null,
} as unknown as Trunk;

function serviceWith(changes: Partial<CallsOptions> = {}) {
  const dialled: string[] = [];
  const sip = {
    isUp: true,
    onCall: () => undefined,
    setDraining: () => undefined,
    localAddressFor: () => Promise.resolve('192.0.2.1'),
    call: (request: OutboundRequest) => {
      dialled.push(request.to);
      return Promise.resolve({
        ok: false,
        cause: 'refused',
        status: 486,
        reason: null,
        q850: null,
        retryAfter: false,
        authFailed: false,
      });
    },
  } as unknown as SipAgent;
  const rig = createRig();
  const calls = new Calls({
    deps: { ...rig.deps, clock: new SimulatedClock() },
    sip,
    journal: { append: () => undefined },
    agents: {
      forInbound: () => Promise.resolve(AGENT),
      byId: (_account, id) => Promise.resolve(id === AGENT.id ? AGENT : null),
      defaultFor: () => Promise.resolve(AGENT),
    },
    trunks: { trunkFor: () => Promise.resolve(TRUNK) },
    node: 'n1',
    maxCalls: 1,
    providersFor: rig.setup.providers,
    normaliseNumber: (text) => text,
    shownAddress: (local) => local,
    ...changes,
  });
  return { calls, dialled };
}

test('what is refused before anybody is dialled', async () => {
  const gone = new AbortController();
  gone.abort();
  const request = { accountId: AGENT.accountId, to: '+15550100' };
  type Row = [changes: Partial<CallsOptions>, request: PlaceCall, code: string];
  const rows: Row[] = [
    [{}, { ...request, to: '110' }, 'NUMBER_NOT_ALLOWED'],
    [{}, { ...request, agentId: '00000000-0000-4000-8000-00000000dead' }, 'REFERENCE_NOT_FOUND'],
    [{ trunks: { trunkFor: () => Promise.resolve(null) } }, request, 'NO_ROUTE'],
    [{ maxCalls: 0 }, request, 'OVERLOADED'],
    [{}, { ...request, signal: gone.signal }, 'UNAVAILABLE'],
  ];
  for (const [changes, wanted, code] of rows) {
    const { calls, dialled } = serviceWith(changes);
    const placed = await calls.place(wanted);
    await settle();
    assert.equal(placed.ok ? 'placed' : placed.refusal.code, code);
    assert.deepEqual(dialled, []);
  }
});

test('a placed call is seen by its account alone, also after its end', async () => {
  const { calls, dialled } = serviceWith();
  const placed = await calls.place({ accountId: AGENT.accountId, to: '+15550100' });
  assert.ok(placed.ok);
  assert.equal(placed.call.status, 'dialing');
  await settle();
  await settle();
  assert.deepEqual(dialled, ['+15550100']);
  const { id } = placed.call;
  assert.equal((await calls.get(AGENT.accountId, id))?.outcome, 'busy');
  assert.equal(await calls.get('00000000-0000-4000-8000-0000000000ff', id), null);
  assert.deepEqual(await calls.live(AGENT.accountId), []);
});
