/**
 * Random requests to every operation of the published document: no 500, and no answer that the document does not
 * declare. FUZZ_REQUESTS sets their number (`npm run test:long`: 100,000), FUZZ_SEED repeats a run; else 60 s of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { newId } from '#lib/ids.ts';
import { startTestApp, type TestApp } from './_app.ts';
import { defaultAccount, makeToken } from './_identity.ts';
import { faultsOf, randomRequest } from './_fuzz-requests.ts';
import { openPlaces, operationsOf, type Document, type Operation } from './_openapi.ts';
import { seeded } from './_random-values.ts';

const SECONDS = 60;
const IN_FLIGHT = 8;
/** Nothing of a caller's is dialled: the port answers nobody. */
const ENV = {
  CALLYARD_RATE_LIMIT: '100000',
  CALLYARD_RATE_BURST: '100000',
  CALLYARD_TRUNK: 'sip:127.0.0.1:9',
  CALLYARD_MAX_CALLS: '20',
};

async function documentOf(server: TestApp): Promise<Document> {
  const response = await fetch(`${server.app.httpUrl}/openapi.json`);
  return (await response.json()) as Document;
}

test('the document is valid OpenAPI 3.1, and only free-form fields are open', async (t) => {
  const server = await startTestApp(t);
  const document = await documentOf(server);
  const result = await new Validator().validate(structuredClone(document));
  assert.equal(result.valid, true, JSON.stringify(result.errors));
  const free =
    /\/(?:metadata|variables|attributes|options|prices|credentials|arguments|parameters|changes|data|evidence)$/;
  const open = openPlaces(document.paths, 'paths')
    .concat(openPlaces(document.components.schemas, 'schemas'))
    .filter((place) => !free.test(place.replace(/\/(?:anyOf|oneOf|items|schema)(?:\/\d+)?/g, '')));
  assert.deepEqual(open, []);
});

test('random requests find no 500 and no undeclared answer', async (t) => {
  const wanted = Number(process.env['FUZZ_REQUESTS'] ?? 0);
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
  const server = await startTestApp(t, ENV);
  const operations = operationsOf(await documentOf(server)).filter(isFuzzed);
  const token = await makeToken(server, await defaultAccount(server));
  const run = new FuzzRun(server.app.httpUrl, token, operations, seed);
  const endMs = performance.now() + SECONDS * 1000;
  await run.go(() => (wanted > 0 ? run.sent < wanted : performance.now() < endMs));
  t.diagnostic(
    `seed ${seed}: ${run.sent} requests to ${operations.length} operations; ${run.describe()}`,
  );
  assert.deepEqual([...run.faults].slice(0, 20), [], `FUZZ_SEED=${seed}`);
  assert.ok(run.sent > operations.length * 5, `only ${run.sent} requests`);
});

/** Login has a bucket of its own that would only answer 429. */
function isFuzzed(operation: Operation): boolean {
  return operation.path !== '/api/auth/login';
}

class FuzzRun {
  readonly faults = new Set<string>();
  readonly #statuses = new Map<number, number>();
  readonly #ids: string[] = [];
  readonly #origin: string;
  readonly #token: string;
  readonly #operations: readonly Operation[];
  readonly #random;
  #sent = 0;

  /** `token` is an owner's: one that a request can revoke would end the run. */
  constructor(origin: string, token: string, operations: readonly Operation[], seed: number) {
    this.#origin = origin;
    this.#token = token;
    this.#operations = operations;
    this.#random = seeded(seed);
  }

  get sent(): number {
    return this.#sent;
  }

  async go(isOn: () => boolean): Promise<void> {
    const worker = async (): Promise<void> => {
      while (isOn() && this.faults.size < 50) await this.#one();
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  }

  describe(): string {
    const parts = [...this.#statuses].sort(([a], [b]) => a - b);
    return parts.map(([status, count]) => `${status}: ${count}`).join(', ');
  }

  async #one(): Promise<void> {
    // Every operation in turn, so that none is left out by chance.
    const operation = this.#operations[this.#sent++ % this.#operations.length] as Operation;
    const { method, path, headers, body } = randomRequest(operation, this.#random, this.#ids);
    const response = await fetch(this.#origin + path, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'x-request-id': newId(), ...headers },
      ...(body === null ? {} : { body }),
      redirect: 'manual',
    });
    const text = await response.text();
    this.#statuses.set(response.status, (this.#statuses.get(response.status) ?? 0) + 1);
    const type = response.headers.get('content-type') ?? '';
    for (const fault of faultsOf(operation, { status: response.status, type, text })) {
      this.faults.add(`${operation.name}: ${fault} | ${path} ${body?.slice(0, 600) ?? ''}`);
    }
    this.#learn(text);
  }

  /** Ids that answers name make later requests meet objects that exist. */
  #learn(text: string): void {
    for (const [id] of text.matchAll(
      /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g,
    )) {
      if (this.#ids.length < 400) this.#ids.push(id);
      else this.#ids[this.#random.below(400)] = id;
    }
  }
}
