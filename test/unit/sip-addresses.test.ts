/** Which addresses to listen on, and which one leads to a target. */
import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import {
  expandHosts,
  hostPort,
  isLoopback,
  listenError,
  RouteFinder,
} from '#sip/server/addresses.ts';
import { MAX_ROUTES, ROUTE_LIFETIME_MS } from '#sip/server/limits.ts';

function own(address: string): NetworkInterfaceInfo {
  const common = { address, netmask: '', mac: '', internal: isLoopback(address), cidr: null };
  return address.includes(':')
    ? { ...common, family: 'IPv6', scopeid: 0 }
    : { ...common, family: 'IPv4' };
}

const INTERFACES = {
  lo: [own('127.0.0.1'), own('::1')],
  eth0: [own('192.0.2.7'), own('198.51.100.7'), own('2001:db8::7'), own('fe80::1')],
  eth1: [own('169.254.3.4')],
  down: undefined,
};

test('hosts become addresses', () => {
  const rows: [string[], string[] | RegExp][] = [
    [['0.0.0.0'], ['127.0.0.1', '192.0.2.7', '198.51.100.7']],
    [['::'], ['::1', '2001:db8::7']],
    [['192.0.2.7'], ['192.0.2.7']],
    [
      ['192.0.2.7', '0.0.0.0'],
      ['192.0.2.7', '127.0.0.1', '198.51.100.7'],
    ],
    [
      ['203.0.113.1', '2001:db8::7'],
      ['203.0.113.1', '2001:db8::7'],
    ],
    [['localhost'], /localhost is not a numeric/],
    [[], /no local address/],
  ];
  for (const [hosts, expected] of rows) {
    if (expected instanceof RegExp) {
      assert.throws(() => expandHosts(hosts, INTERFACES), { code: 'E_CONFIG', message: expected });
    } else assert.deepEqual(expandHosts(hosts, INTERFACES), expected);
  }
});

test('a route goes to the address that packets leave from', async () => {
  const probed: string[] = [];
  const answers: Record<string, string | undefined> = {
    '203.0.113.1': '198.51.100.7',
    '203.0.113.2': '10.9.9.9',
    '203.0.113.3': undefined,
  };
  const probe = (address: string): Promise<string | undefined> => {
    probed.push(address);
    return Promise.resolve(answers[address]);
  };
  const clock = new SimulatedClock();
  const all = ['127.0.0.1', '192.0.2.7', '198.51.100.7'];
  const rows: [string[], string, string | null][] = [
    [all, '127.0.0.1', '127.0.0.1'],
    [all, '127.8.8.8', '127.0.0.1'],
    [all, '198.51.100.7', '198.51.100.7'],
    [all, '203.0.113.1', '198.51.100.7'],
    [all, '203.0.113.2', '192.0.2.7'],
    [all, '203.0.113.3', '192.0.2.7'],
    [['192.0.2.7'], '127.0.0.1', '192.0.2.7'],
    [['127.0.0.1'], '203.0.113.1', '127.0.0.1'],
    [all, '2001:db8::1', null],
    [all, 'example.com', null],
    [[], '203.0.113.1', null],
  ];
  for (const [listening, target, expected] of rows) {
    const found = new RouteFinder(listening, clock, probe).localFor(target);
    if (expected === null) await assert.rejects(found, { code: 'E_SIP_ENGINE' });
    else assert.equal(await found, expected, `${listening.join()} to ${target}`);
  }
  const allowed = new Set(Object.keys(answers));
  assert.ok(
    probed.every((address) => allowed.has(address)),
    probed.join(),
  );
});

test('routes are remembered for a while, in bounded number', async () => {
  let probes = 0;
  const clock = new SimulatedClock();
  const finder = new RouteFinder(['192.0.2.7'], clock, () => {
    probes++;
    return Promise.resolve('192.0.2.7');
  });
  await Promise.all([finder.localFor('203.0.113.1'), finder.localFor('203.0.113.1')]);
  clock.advance(ROUTE_LIFETIME_MS - 1);
  await finder.localFor('203.0.113.1');
  assert.equal(probes, 1);
  clock.advance(1);
  await finder.localFor('203.0.113.1');
  assert.equal(probes, 2);
  for (let at = 0; at < MAX_ROUTES; at++) await finder.localFor(`198.51.${at >> 8}.${at & 255}`);
  assert.equal(probes, 2 + MAX_ROUTES);
  await finder.localFor('203.0.113.1');
  assert.equal(probes, 3 + MAX_ROUTES);
});

test('what the operator is told', () => {
  const failure = (code: string): Error => Object.assign(new Error(`bind ${code}`), { code });
  const busy = listenError(failure('EADDRINUSE'), 'udp', '192.0.2.7', 5060);
  assert.equal(busy.code, 'E_PORT_IN_USE');
  assert.match(busy.message, /udp\/192\.0\.2\.7:5060 is in use/);
  assert.equal(listenError(failure('EADDRNOTAVAIL'), 'tcp', '::1', 5060).code, 'E_CONFIG');
  assert.equal(listenError(failure('EMFILE'), 'tcp', '::1', 5060).code, 'E_SIP_ENGINE');
  assert.equal(hostPort('2001:db8::7', 5060), '[2001:db8::7]:5060');
});
