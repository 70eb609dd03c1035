/** Documents that repeat what the code says must not drift from it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PROBLEMS } from '#api/problem.ts';
import { ERROR_CODES } from '#lib/errors.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('docs/errors.md lists exactly the codes of the registry', () => {
  const rows = [...read('docs/errors.md').matchAll(/^\| `(E_\w+)` \| (\w+) \| (yes|no) \| \S/gm)];
  const documented = rows.map(([, code, fault, again]) => [code, fault, again === 'yes']);
  const registry = Object.entries(ERROR_CODES).map(([code, { fault, retryable }]) => [
    code,
    fault,
    retryable,
  ]);
  assert.deepEqual(documented, registry);
});

test('README shows the two commands, and every local link of the documents leads somewhere', () => {
  const readme = read('README.md');
  for (const command of ['npm start', 'npm test', 'npm run demo'])
    assert.ok(readme.includes(command), command);
  const decisions = read('docs/decisions/README.md');
  for (const [, target = ''] of decisions.matchAll(/\]\(([^)]+)\)/g))
    read(`docs/decisions/${target}`);
});

test('the lock file and the manifest name no registry host and pin every version', () => {
  assert.doesNotMatch(read('package-lock.json'), /"resolved": "https?:/);
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  for (const group of ['dependencies', 'devDependencies', 'optionalDependencies']) {
    for (const [name, version] of Object.entries(manifest[group] ?? {})) {
      assert.match(version, /^\d+\.\d+\.\d+/, `${name} is not pinned`);
    }
  }
});

test('docs/api.md lists exactly the codes of the HTTP interface', () => {
  const rows = [...read('docs/api.md').matchAll(/^\| `([A-Z_]+)` \| (\d{3}) \| (.+) \|$/gm)];
  const documented = rows.map(([, code, status, text]) => [code, Number(status), text]);
  const known = Object.entries(PROBLEMS).map(([code, { status, en }]) => [code, status, en]);
  assert.deepEqual(documented, known);
});

test('docs/api.md lists exactly the routes that are not built', () => {
  const matrix = JSON.parse(read('test/data/route-roles.json')) as Record<string, string>;
  const listed = [...read('docs/api.md').matchAll(/^- `((?:GET|POST|PUT|PATCH|DELETE) \S+)`$/gm)];
  const absent = listed.map(([, route = '']) => route);
  const planned = JSON.parse(read('test/data/routes-to-come.json')) as string[];
  assert.deepEqual(absent, planned);
  for (const route of absent) assert.ok(!(route.replace(/\{\w+\}/g, '{}') in matrix), route);
});
