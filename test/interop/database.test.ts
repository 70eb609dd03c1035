/** A database of the operator's own: the same records, calls go on while it is away, and nothing is lost by it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { startPostgres, type Postgres } from './tools/postgres.ts';
import { until } from './tools/process.ts';
import { ANSWER, GREETING, QUESTION, SCRIPT, phrase } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { concatPcm } from './tools/wav.ts';

const NODE = '127.0.0.21';
const PORT = 15_432;
let folder = '';
let postgres: Postgres;
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-database-'));
  postgres = await startPostgres(folder, PORT);
  const env = { DATABASE_URL: postgres.url };
  server = await startServer({ folder, address: NODE, script: SCRIPT, env });
});
after(async () => {
  await server?.stop();
  postgres?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

async function wholeCall(during: () => Promise<void> | void = () => undefined): Promise<string> {
  const call = await placeCall({ target: `sip:8001@${NODE}` });
  try {
    await call.hearSpeech(0, 3000);
    await during();
    await call.hearSilence(8000, 800);
    const said = await call.say(concatPcm(encodeUtteranceId(7), phrase));
    await call.hearSpeech(said.lastMs, 4000);
    await call.hearSilence(5000, 800);
  } finally {
    await call.hangUp();
  }
  return call.sip.callId;
}

async function checkRecord(known: readonly string[], sipCallId: string): Promise<void> {
  const record = await server.finishedRecord(known, 20_000);
  assert.equal(record.sip_call_id, sipCallId);
  assert.equal(record.outcome, 'completed');
  const said = record.messages.map((message) => message.content);
  assert.deepEqual(said, [GREETING, QUESTION, ANSWER]);
}

test('a call with DATABASE_URL set leaves the same record', async () => {
  const known = await server.recordIds();
  await checkRecord(known, await wholeCall());
});

test('the database crashes in mid-call: the call goes on, the next one is taken, both are kept', async () => {
  const known = await server.recordIds();
  const first = await wholeCall(() => postgres.stop('immediate'));
  const ready = await fetch(`${server.apiUrl}/ready`, { headers: { connection: 'close' } });
  assert.equal(ready.status, 200);
  assert.match(await ready.text(), /"status":"degraded"/);
  const second = await wholeCall();
  await postgres.start();
  const ids = await until('both records', 30_000, async () => {
    const found = (await server.recordIds()).filter((id) => !known.includes(id));
    return found.length === 2 ? found : undefined;
  });
  const [newest = '', older = ''] = ids;
  await checkRecord([...known, newest], first);
  await checkRecord([...known, older], second);
});
