/** Who may call as trunks come and go: one bad row, one dead database must not change it for the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { addressToDial, addressView } from '#src/addresses.ts';
import { AccessList } from '#src/access.ts';

type Rows = readonly { host: string; cidrs: readonly string[] }[];

function listOf(read: () => Promise<Rows>, allow = '') {
  const clock = new SimulatedClock();
  const options = { allow, environmentTrunk: null, trunkSources: read, clock, log: silentLog };
  return { list: new AccessList(options), clock };
}

test('private networks may call until there is a trunk; then its sources may', async () => {
  let rows: Rows = [];
  const { list } = listOf(() => Promise.resolve(rows), '203.0.113.7');
  await list.refresh();
  assert.deepEqual(
    ['127.0.0.1', '10.1.2.3', '203.0.113.7', '198.51.100.9'].map((address) => list.allows(address)),
    [true, true, true, false],
  );
  assert.equal(list.hasTrunk, false);
  assert.equal(list.isTrunk('127.0.0.1'), false);
  rows = [{ host: '192.0.2.20', cidrs: ['198.51.100.0/24', 'not a block'] }];
  await list.refresh();
  assert.deepEqual(
    ['127.0.0.1', '10.1.2.3', '203.0.113.7', '198.51.100.9', '192.0.2.20'].map((address) =>
      list.allows(address),
    ),
    [true, false, true, true, true],
  );
  assert.deepEqual([list.isTrunk('192.0.2.20'), list.isTrunk('203.0.113.7')], [true, false]);
  list.close();
});

test('with the database away the last known list stands, and it is read again later', async () => {
  let isAway = false;
  let reads = 0;
  const { list, clock } = listOf(() => {
    reads++;
    return isAway
      ? Promise.reject(new Error('away'))
      : Promise.resolve([{ host: '192.0.2.20', cidrs: [] }]);
  });
  await list.refresh();
  isAway = true;
  await list.refresh();
  assert.equal(list.allows('192.0.2.20'), true);
  clock.advance(10_000);
  assert.equal(reads, 3);
  list.close();
  clock.advance(60_000);
  assert.equal(reads, 3, 'a closed list reads no more');
});

test('an address belongs to the rows that name it, and only this machine and trunks are believed', async () => {
  const rows = [
    { id: 'a', host: '192.0.2.20', cidrs: ['198.51.100.0/24'] },
    { id: 'b', host: '127.0.0.2', cidrs: [] },
    { id: 'c', host: '192.0.2.20', cidrs: ['2001:db8::/32'] },
    { id: 'd', host: '192.0.2.40', outboundProxy: 'sip:192.0.2.41:5070;lr', cidrs: [] },
  ];
  const list = new AccessList({
    ...{ allow: '203.0.113.7', environmentTrunk: null, log: silentLog },
    trunkSources: () => Promise.resolve(rows),
    clock: new SimulatedClock(),
  });
  assert.deepEqual(list.at('192.0.2.20'), []);
  await list.refresh();
  const cases: [address: string, ids: string[], believed: boolean][] = [
    ['192.0.2.20', ['a', 'c'], true],
    ['::ffff:192.0.2.20', ['a', 'c'], true],
    ['198.51.100.77', ['a'], true],
    ['2001:db8::1', ['c'], true],
    ['127.0.0.2', ['b'], true],
    ['192.0.2.40', ['d'], true],
    ['192.0.2.41', ['d'], true],
    ['127.0.0.1', [], true],
    ['::1', [], true],
    ['203.0.113.7', [], false],
    ['not an address', [], false],
  ];
  for (const [address, ids, believed] of cases) {
    assert.deepEqual(
      list.at(address).map(({ id }) => id),
      ids,
      address,
    );
    assert.equal(list.believes(address), believed, address);
  }
  list.close();
});

test('a change counts at once, also beside a name that does not resolve; an older read undoes nothing', async () => {
  const reads: ((rows: Rows) => void)[] = [];
  const { list, clock } = listOf(() => new Promise((resolve) => void reads.push(resolve)));
  const first = list.refresh();
  const second = list.refresh();
  reads[1]?.([
    { host: 'no-such-host.invalid', cidrs: [] },
    { host: '192.0.2.20', cidrs: [] },
  ]);
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  assert.equal(list.allows('192.0.2.20'), true, 'before the name has failed');
  reads[0]?.([]);
  await Promise.all([first, second]);
  assert.equal(list.isTrunk('192.0.2.20'), true);
  list.close();
  assert.equal(clock.pending, 0);
});

test('the address a peer is shown', () => {
  const rows: [publicAddress: string | null, nets: string | null, peer: string, shown: string][] = [
    [null, null, '203.0.113.5', '10.0.0.1'],
    ['198.51.100.1', null, '203.0.113.5', '198.51.100.1'],
    ['198.51.100.1', null, '127.0.0.1', '10.0.0.1'],
    ['198.51.100.1', '10.0.0.0/8', '10.9.9.9', '10.0.0.1'],
    ['198.51.100.1', null, 'sip.example.net', '198.51.100.1'],
  ];
  for (const [publicAddress, nets, peer, shown] of rows) {
    assert.equal(addressView(publicAddress, nets)('10.0.0.1', peer), shown, peer);
  }
  assert.throws(() => addressView(null, '10.0.0.0/40'), /CALLYARD_LOCAL_NETS/);
  assert.equal(addressToDial(null, ['udp/127.0.0.1:5060', 'udp/192.0.2.7:5060']), '192.0.2.7');
});
