/** A trunk row registered at a real Kamailio: digest, refresh, calls that come by it, a wrong password, its end. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startRegistrar } from './tools/kamailio-registrar.ts';
import { until, type Peer } from './tools/process.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';

const NODE = '127.0.0.22';
const REGISTRAR = '127.0.0.13';
const NUMBER = '95550177';
const LOGIN = { username: 'callyard', password: 'made-up-7' };
const GRANTED_S = 5;

type Trunk = {
  readonly id: string;
  readonly state: {
    readonly registered: boolean | null;
    readonly expires_at: number | null;
    readonly last_error: string | null;
  };
};

let folder = '';
let kamailio: Peer;
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-registration-'));
  kamailio = await startRegistrar({
    ...{ folder, address: REGISTRAR, realm: 'carrier.test', ...LOGIN },
    ...{ maxExpiresS: GRANTED_S, number: NUMBER },
  });
  server = await startServer({ folder, address: NODE, script: null });
});
after(async () => {
  await server?.stop();
  await kamailio?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

const registers = (code: number): string[] =>
  kamailio.log().match(new RegExp(`REGISTER ${code} .*`, 'g')) ?? [];

function trunk(id: string): Promise<Trunk> {
  return server.get<Trunk>(`/api/v1/sip-trunks/${id}`);
}

async function makeTrunk(name: string, password: string): Promise<string> {
  const made = await server.post<Trunk>('/api/v1/sip-trunks', {
    ...{ name, host: REGISTRAR, domain: 'carrier.test', username: LOGIN.username, password },
    ...{ register: true, register_interval_s: 60 },
  });
  return made.id;
}

test('registered, refreshed before it runs out, called by it, and taken back at the end', async () => {
  const id = await makeTrunk('Kamailio', LOGIN.password);
  await until('the registration', 5_000, async () => (await trunk(id)).state.registered === true);
  const { expires_at: expiresAt, last_error: error } = (await trunk(id)).state;
  assert.equal(error, null);
  assert.ok(expiresAt !== null && expiresAt * 1000 <= Date.now() + GRANTED_S * 1000 + 1000);
  await until('two refreshes', 15_000, () => registers(200).length >= 3);
  assert.equal((await trunk(id)).state.registered, true);
  assert.match(registers(200)[0] ?? '', new RegExp(`callyard <sip:callyard@.*line=${id}> 60`));

  const known = await server.recordIds();
  const run = { folder, name: 'uac-reg', address: '127.0.0.14', mediaPort: 17_000, timeoutS: 20 };
  const target = { target: `${REGISTRAR}:5060`, service: NUMBER, calls: 1, ratePerS: 1 };
  await using uac = startSippUac({ ...run, xml: uacXml({ talkMs: 1500 }) }, target);
  assert.equal((await uac.result()).code, 0, uac.log().slice(-800));
  const record = (await server.finishedRecord(known)) as unknown as Record<string, unknown>;
  assert.deepEqual(
    [record['trunk_id'], record['to_number'], record['direction'], record['status']],
    [id, NUMBER, 'inbound', 'ended'],
  );

  const tested = await server.post<{ ok: boolean; sip_status: number }>(
    `/api/v1/sip-trunks/${id}/test`,
    {},
  );
  assert.deepEqual([tested.ok, tested.sip_status], [true, 200]);
  await server.stop();
  assert.match(registers(200).at(-1) ?? '', / 0$/);
  server = await startServer({ folder, address: NODE, script: null });
  await until('the registration', 5_000, async () => (await trunk(id)).state.registered === true);
});

test('a wrong password is told, tried with patience, and does no harm to others', async () => {
  const before401 = registers(401).length;
  const id = await makeTrunk('Wrong', 'made-up-8');
  await until('the refusal', 5_000, async () => (await trunk(id)).state.last_error !== null);
  const { registered, last_error: error } = (await trunk(id)).state;
  assert.deepEqual([registered, error], [false, 'auth_failed']);
  const tested = await server.post<object>(`/api/v1/sip-trunks/${id}/test`, {});
  const { ok, sip_status: status, error: told } = tested as Record<string, unknown>;
  assert.deepEqual([ok, status, told], [false, 401, 'auth_failed']);
  // Two for the registration, two for the trial; some of the other row's, whose nonces grow old.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  assert.ok(registers(401).length - before401 <= 8, registers(401).slice(before401).join('\n'));
});
