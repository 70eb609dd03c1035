/**
 * The acceptance of campaigns: 1,000 phones behind one carrier over real SIP, the whole server killed 20 times at random
 * moments, also while it starts. What counts is what the carrier has written down.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ADMIN_KEY, freshDatabase, makeDataDir } from './_app.ts';
import { Callees, mostAtOnce, mostInOneSecond, type Callee, type CarriedCall } from './_callees.ts';
import { systemRows } from './_identity.ts';
import { atEnd } from './_store.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CALLEES = Number(process.env['TEST_CALLEES'] ?? 1_000);
const KILLS = Number(process.env['TEST_CAMPAIGN_KILLS'] ?? 20);
const SETTINGS = {
  ...{ concurrency: 12, cps: 20, ring_timeout_s: 5, max_attempts: 3, retry_delay_s: 2 },
  stop_failure_pct: 0,
};
/**
 * The dialler spaces the beginnings of calls; the way from there to the wire (media port, signalling) takes a few ms
 * more or less, so two may arrive closer together than they left. A second may hold that many more.
 */
const WIRE_TOLERANCE = 2;
/** Claims that may be open without a call when the server dies: each of these attempts may have had no call. */
const MAX_CLAIMS = 4;
/** A CANCEL is on its way while the server already calls the call over. */
const END_TOLERANCE_MS = 100;

type Server = { readonly child: ChildProcess; readonly exited: Promise<unknown> };

class Node {
  readonly #env: Record<string, string | undefined>;
  readonly #log: string;
  #server: Server | null = null;
  #url: Promise<string> | null = null;

  constructor(t: TestContext, dataDir: string, databaseUrl: string, trunk: string) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(?:CALLYARD_|DATABASE_URL$|NODE_)/.test(name),
    );
    this.#log = join(dataDir, 'server.log');
    this.#env = {
      ...Object.fromEntries(inherited),
      ...{ CALLYARD_HTTP_HOST: '127.0.0.1', CALLYARD_HTTP_PORT: '0', CALLYARD_SIP_PORT: '0' },
      ...{ CALLYARD_SIP_HOST: '127.0.0.1', CALLYARD_DATA_DIR: dataDir, CALLYARD_TRUNK: trunk },
      ...{ CALLYARD_ADMIN_KEY: ADMIN_KEY, CALLYARD_LANGUAGE: 'en', DATABASE_URL: databaseUrl },
      ...{ CALLYARD_STT_VENDOR: 'sim', CALLYARD_LLM_VENDOR: 'sim', CALLYARD_TTS_VENDOR: 'sim' },
      ...{ CALLYARD_LOG_LEVEL: 'warn', CALLYARD_DRAIN_S: '0' },
    };
    atEnd(t, () => this.kill());
  }

  start(): void {
    const child = spawn(process.execPath, ['src/main.ts'], { cwd: ROOT, env: this.#env });
    const log = createWriteStream(this.#log, { flags: 'a' });
    child.stderr.pipe(log);
    this.#server = { child, exited: new Promise((resolve) => child.once('exit', resolve)) };
    this.#url = new Promise((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (bytes: Buffer) => {
        text += bytes.toString('utf8');
        const url = /API {9}(http:\S+)/.exec(text)?.[1];
        if (url !== undefined) resolve(url);
      });
      child.once('exit', () => reject(new Error(`the server ended: ${this.log()}`)));
    });
    // Killed while it starts: nobody asks for its URL then, and nobody hears of its end.
    void Promise.allSettled([this.#url]);
  }

  log(): string {
    return readFileSync(this.#log, 'utf8').slice(-2_000);
  }

  /** SIGKILL: nothing is given back. */
  async kill(): Promise<void> {
    this.#server?.child.kill('SIGKILL');
    await this.#server?.exited;
    this.#server = null;
  }

  async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(`${await this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { data: T };
    assert.ok(response.ok, `${path}: ${JSON.stringify(answer)}`);
    return answer.data;
  }
}

/** Three of four answer, others are busy, away, gone, or never pick up. */
function calleeOf(number: string, attempt: number): Callee {
  const at = Number(number.slice(-4));
  const ringMs = 20 + (at % 7) * 40;
  // Some talk for so long that the pace alone would have three times as many calls at once as there may be.
  const isLong = at >= 100 && at < 145;
  const talking = { status: 200, ringMs, talkMs: isLong ? 2_000 : 50 + (at % 5) * 100 };
  if (at % 100 === 0) return { status: 480, ringMs: 60_000 };
  if (at % 20 === 1) return { status: 486, ringMs };
  if (at % 10 === 2) return attempt === 1 ? { status: 486, ringMs } : talking;
  if (at % 20 === 3) return { status: 404, ringMs: 0 };
  if (at % 20 === 13) return { status: 603, ringMs };
  if (at % 50 === 4) return { status: 480, ringMs: 0 };
  return talking;
}

type Campaign = {
  readonly id: string;
  readonly status: string;
  readonly counts: Record<string, number>;
};
type Row = { readonly phone: string; readonly status: string; readonly attempts: number };

async function launch(node: Node): Promise<string> {
  const agent = await node.ask<{ id: string }>('POST', '/api/v1/agents', {
    ...{ name: 'Ann', system_prompt: 'Be kind.', greeting: 'Hello.' },
  });
  const always = { weekdays: [1, 2, 3, 4, 5, 6, 7], start: '00:00', end: '24:00' };
  const { id } = await node.ask<Campaign>('POST', '/api/v1/campaigns', {
    ...{ name: 'c', agent_id: agent.id, settings: SETTINGS },
    schedule: { windows: [always], timezone: 'UTC' },
  });
  const targets = Array.from({ length: CALLEES }, (_, at) => ({
    phone: `+1555555${String(at).padStart(4, '0')}`,
  }));
  await node.ask('POST', `/api/v1/campaigns/${id}/targets`, { targets });
  await node.ask('POST', `/api/v1/campaigns/${id}/start`, {});
  return id;
}

/** No number too often, too soon, or twice at once. */
function checkNumbers(calls: readonly CarriedCall[], rows: readonly Row[]): void {
  const byNumber = new Map<string, CarriedCall[]>();
  for (const call of calls) byNumber.set(call.number, [...(byNumber.get(call.number) ?? []), call]);
  for (const { phone, status, attempts } of rows) {
    const mine = byNumber.get(phone) ?? [];
    assert.ok(status === 'done' || status === 'failed', `${phone} is ${status}`);
    assert.ok(attempts >= 1 && attempts <= SETTINGS.max_attempts, `${phone}: ${attempts} attempts`);
    assert.ok(mine.length <= attempts, `${phone}: ${mine.length} calls in ${attempts} attempts`);
    for (const [at, next] of mine.slice(1).entries()) {
      const former = mine[at];
      const waitedMs = next.beganMs - (former?.endedMs ?? Number.POSITIVE_INFINITY);
      // What was lost may ring on: how long is the carrier's to know, but never into the next call.
      const isLost = former?.lostMs != null;
      const leastMs = isLost ? 0 : SETTINGS.retry_delay_s * 1_000 - END_TOLERANCE_MS;
      assert.ok(waitedMs >= leastMs, `${phone} was called again after ${waitedMs} ms`);
    }
    if (status === 'done') assert.ok(mine.length > 0, `${phone} is done and was never called`);
    const isTalker = calleeOf(phone, 2).status === 200;
    const wasLost = mine.some(({ lostMs }) => lostMs !== null);
    if (!wasLost) assert.equal(status, isTalker ? 'done' : 'failed', phone);
  }
}

test(
  `${CALLEES} phones and ${KILLS} kills: caps hold, nobody is called beyond the rule, nobody is forgotten`,
  { timeout: 600_000 },
  async (t) => {
    const callees = await Callees.open(calleeOf);
    atEnd(t, () => callees.close());
    const databaseUrl = await freshDatabase(t);
    const node = new Node(t, makeDataDir(t), databaseUrl, callees.trunk);
    node.start();
    const id = await launch(node);
    const startedMs = performance.now();
    for (let kill = 0; kill < KILLS; kill++) {
      // Every other one while it dials, however long it takes to start; the others whenever it is.
      if (kill % 2 === 1) await callees.nextCall(15_000);
      await sleep(50 + Math.random() * 1_950);
      await node.kill();
      await sleep(50); // what was on the wire has arrived
      callees.lose();
      node.start();
    }
    const killedMs = performance.now() - startedMs;
    let campaign: Campaign;
    do {
      await sleep(500);
      campaign = await node.ask<Campaign>('GET', `/api/v1/campaigns/${id}`);
      assert.ok(performance.now() - startedMs < 550_000, JSON.stringify(campaign));
    } while (campaign.status === 'running');
    const rows = await systemRows<Row>(
      databaseUrl,
      'SELECT phone, status, attempts FROM campaign_targets',
    );
    const { calls } = callees;
    const [most, fastest] = [mostAtOnce(calls), mostInOneSecond(calls)];
    const cut = calls.filter(({ lostMs }) => lostMs !== null).length;
    const rungOn = calls.filter(({ how, lostMs }) => lostMs !== null && how === 'expired').length;
    const attempts = rows.reduce((sum, row) => sum + row.attempts, 0);
    t.diagnostic(
      `${calls.length} calls, ${attempts} attempts, ${cut} cut off by kills, ${rungOn} of them rang until they expired; at most ${most} at once, ${fastest} within a second; ${Math.round(killedMs / 1000)} s of kills, ${Math.round((performance.now() - startedMs) / 1000)} s in all; ${JSON.stringify(campaign.counts)}`,
    );
    assert.equal(campaign.status, 'completed');
    assert.equal(rows.length, CALLEES);
    assert.equal((campaign.counts['done'] ?? 0) + (campaign.counts['failed'] ?? 0), CALLEES);
    assert.ok(most <= SETTINGS.concurrency, `${most} at once`);
    assert.equal(most, SETTINGS.concurrency, 'the cap was put to the test');
    const without = attempts - calls.length;
    assert.ok(without <= KILLS * MAX_CLAIMS, `${without} attempts without a call`);
    assert.ok(fastest <= SETTINGS.cps + WIRE_TOLERANCE, `${fastest} within a second`);
    checkNumbers(calls, rows);
    const ends = await systemRows(
      databaseUrl,
      "SELECT FROM call_events WHERE type = 'campaign.completed'",
    );
    assert.equal(ends.length, 1);
  },
);
