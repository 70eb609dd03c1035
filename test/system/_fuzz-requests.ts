/** One random request of an operation, and the check of its answer against what the document declares. */
import { HOSTILE_STRINGS, brokenValue, valueFor, type Random } from './_random-values.ts';
import type { Operation } from './_openapi.ts';

export type FuzzRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
};

export function randomRequest(
  operation: Operation,
  random: Random,
  ids: readonly string[],
): FuzzRequest {
  const options = { random, ids };
  const isBroken = random.next() < 0.4;
  const path = operation.path.replace(/\{\w+\}/g, () => {
    // An empty segment would be another path, which no route answers for.
    if (isBroken && random.next() < 0.3) return encodeURIComponent(wellFormed(random)) || '%20';
    const [id = ''] = ids.length === 0 ? [] : [random.pick(ids)];
    return random.next() < 0.9 ? id : '00000000-0000-4000-8000-000000000000';
  });
  const query = new URLSearchParams();
  for (const [name, schema] of Object.entries(operation.query)) {
    if (random.next() < 0.75) continue;
    const value = isBroken && random.next() < 0.5 ? wellFormed(random) : valueFor(schema, options);
    query.append(name, typeof value === 'string' ? value.toWellFormed() : JSON.stringify(value));
  }
  if (isBroken && random.next() < 0.1) query.append('not_a_field', '1');
  const text = query.size === 0 ? path : `${path}?${query.toString()}`;
  return { method: operation.method, path: text, ...bodyFor(operation, options, isBroken) };
}

function bodyFor(
  operation: Operation,
  options: { random: Random; ids: readonly string[] },
  isBroken: boolean,
): Pick<FuzzRequest, 'headers' | 'body'> {
  const { random } = options;
  if (operation.method === 'GET') return { headers: {}, body: null };
  if (operation.body === null) {
    const [type] = operation.mediaTypes;
    if (type === undefined) return { headers: {}, body: null };
    return { headers: { 'content-type': type }, body: 'RIFF????WAVE' };
  }
  const value = valueFor(operation.body, options);
  const body = JSON.stringify(isBroken ? brokenValue(value, random) : value);
  const kind = isBroken ? random.below(30) : -1;
  const headers = { 'content-type': kind === 0 ? 'text/plain' : 'application/json' };
  if (kind === 1) return { headers, body: body.slice(0, -1) };
  if (kind === 2) return { headers, body: `${'['.repeat(5_000)}${']'.repeat(5_000)}` };
  if (kind === 3) return { headers, body: `{"a":1,"a":2}` };
  return { headers, body };
}

function wellFormed(random: Random): string {
  return random.pick(HOSTILE_STRINGS).slice(0, 500).toWellFormed();
}

/** What is wrong with an answer; empty when it is as declared. */
export function faultsOf(
  operation: Operation,
  answer: { readonly status: number; readonly type: string; readonly text: string },
): string[] {
  if (answer.status === 500) return [`500 ${answer.text.slice(0, 300)}`];
  if (!operation.answers.has(answer.status))
    return [`undeclared ${answer.status}: ${answer.text.slice(0, 300)}`];
  const validator = operation.answers.get(answer.status) ?? null;
  if (!answer.type.startsWith('application/json')) {
    return validator === null ? [] : [`${answer.status} is ${answer.type}, not JSON`];
  }
  if (validator === null) return [];
  return validator(JSON.parse(answer.text))
    .slice(0, 3)
    .map((fault) => `${answer.status} ${fault}`);
}
