/**
 * The curl commands of the guides, run as they stand. A fenced `sh` block that holds curl is an example; an HTML comment
 * on the line behind the block says what must come back: `<!-- 201 agent=data.id -->` keeps a value as `$agent`.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export type Example = {
  /** Where it stands: `docs/api.md:40`. */
  readonly place: string;
  readonly command: string;
  readonly status: number;
  readonly keep: readonly { readonly name: string; readonly path: string }[];
};

/** Every example of a guide in order; one without an expectation is a fault of the guide. */
export function examplesIn(file: string, text: string): Example[] {
  const examples: Example[] = [];
  for (const match of text.matchAll(
    /^```sh\n([\s\S]*?)^```\n(?:<!-- (\d{3})((?: \w+=[\w.]+)*) -->)?/gm,
  )) {
    const [, command = '', status, keeps = ''] = match;
    if (!/\bcurl\b/.test(command)) continue;
    const place = `${file}:${text.slice(0, match.index).split('\n').length}`;
    assert.ok(status !== undefined, `${place} does not say what comes back`);
    const keep = [...keeps.matchAll(/(\w+)=([\w.]+)/g)].map(([, name = '', path = '']) => ({
      name,
      path,
    }));
    examples.push({ place, command: command.trim(), status: Number(status), keep });
  }
  return examples;
}

export type Answer = { readonly status: number; readonly text: string };

/** Runs an example and returns what it keeps for later ones. */
export async function runExample(
  example: Example,
  variables: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const { url, init } = requestOf(example.command, variables, example.place);
  const response = await fetch(url, init);
  const text = await response.text();
  assert.equal(response.status, example.status, `${example.place}: ${text.slice(0, 500)}`);
  const kept = new Map<string, string>();
  const isStream = response.headers.get('content-type') === 'text/event-stream';
  const answer: unknown =
    example.keep.length === 0 || isStream ? lastOfEach(text) : JSON.parse(text);
  for (const { name, path } of example.keep) {
    const value = path
      .split('.')
      .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], answer);
    assert.equal(typeof value, 'string', `${example.place}: no ${path} in ${text.slice(0, 300)}`);
    kept.set(name, value as string);
  }
  return kept;
}

/** Of a stream of events the last data of each. */
function lastOfEach(text: string): Record<string, unknown> {
  const events = text.matchAll(/^event: (\w+)\ndata: (.*)$/gm);
  return Object.fromEntries(
    [...events].map(([, event = '', data = '']) => [event, JSON.parse(data) as unknown]),
  );
}

/** What curl would send. Only the options that the guides use are known; another one is a fault. */
function requestOf(
  command: string,
  variables: ReadonlyMap<string, string>,
  place: string,
): { url: string; init: RequestInit } {
  const [program, ...words] = wordsOf(command, variables, place);
  assert.equal(program, 'curl', `${place}: one curl command per block`);
  const headers = new Headers();
  let method: string | undefined;
  let body: string | Uint8Array | undefined;
  let url: string | undefined;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '-s' || word === '-N' || word === '--fail-with-body') continue;
    if (word === '-o') words.shift();
    else if (word === '-X') method = words.shift();
    else if (word === '-H') {
      const [name = '', ...rest] = (words.shift() ?? '').split(':');
      headers.append(name, rest.join(':').trim());
    } else if (word === '--data-binary') body = dataOf(words.shift() ?? '');
    else if (word === '--json') {
      body = words.shift();
      headers.set('content-type', 'application/json');
    } else {
      assert.ok(!word.startsWith('-') && url === undefined, `${place}: unknown option ${word}`);
      url = word;
    }
  }
  assert.ok(url !== undefined, `${place}: no URL`);
  const init = { method: method ?? (body === undefined ? 'GET' : 'POST'), headers };
  return { url, init: body === undefined ? init : { ...init, body } };
}

/** `@name` stands for what is in the file. */
function dataOf(word: string): string | Uint8Array {
  if (!word.startsWith('@')) return word;
  return readFileSync(new URL(`../../${word.slice(1)}`, import.meta.url));
}

/** The words of a shell command: quotes, `$name`, and a backslash at the end of a line. */
function wordsOf(command: string, variables: ReadonlyMap<string, string>, place: string): string[] {
  const words: string[] = [];
  const text = command.replaceAll('\\\n', ' ');
  const part = /\s+|'([^']*)'|"((?:[^"\\]|\\.)*)"|\$(\w+)|([^\s'"$]+)/gy;
  const valueOf = (name: string): string => {
    const value = variables.get(name);
    assert.ok(value !== undefined, `${place}: $${name} is not known here`);
    return value;
  };
  let word: string | null = null;
  for (const match of text.matchAll(part)) {
    const [whole, single, double, name, plain] = match;
    if (/^\s/.test(whole)) {
      if (word !== null) words.push(word);
      word = null;
      continue;
    }
    const inner = double?.replace(
      /\\(["$\\])|\$(\w+)/g,
      (_, escaped?: string, used?: string) => escaped ?? valueOf(used ?? ''),
    );
    word = (word ?? '') + (single ?? inner ?? (name === undefined ? plain : valueOf(name)));
  }
  if (word !== null) words.push(word);
  return words;
}
