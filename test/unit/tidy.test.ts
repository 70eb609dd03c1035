/** The house rules that a machine can check: sizes, banned words, no async actions in machines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSources } from './_sources.ts';

const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;

/** Word -> what to do instead. */
const BANNED: readonly [RegExp, string][] = [
  [/\bFIXME\b/, 'mend it, or write an issue'],
  [/\bTODO\b(?!\(#\d+\))/, 'a TODO needs an issue number: TODO(#12)'],
  [/\bXXX\b/, 'say what is wrong'],
  [/\.only\(/, 'a focused test hides the others'],
  [/catch(?: \([a-zA-Z_]+\))? \{\s*\}/, 'a catch handles, wraps or says why'],
  [/\.catch\(\(\) => (?:undefined|\{\}|null)\)/, 'a catch handles, wraps or says why'],
  [/\bsetInterval\(/, 'intervals drift and outlive their owner; use a Clock timer'],
  [/\benum [A-Z]/, 'type stripping cannot run enums; use a union'],
];

export function faultsOf(path: string, text: string): string[] {
  if (path === 'test/unit/tidy.test.ts') return [];
  const faults: string[] = [];
  const lines = text.split('\n');
  if (lines.length > MAX_FILE_LINES)
    faults.push(`${path}: ${lines.length} lines (max ${MAX_FILE_LINES})`);
  for (const [pattern, instead] of BANNED) {
    const found = pattern.exec(text);
    if (found) faults.push(`${path}:${lineOf(text, found.index)}: ${found[0]}: ${instead}`);
  }
  if (path.startsWith('src/')) faults.push(...longFunctions(path, lines));
  if (path.endsWith('.machine.ts') && /\basync\b|Date\.now|performance\.now/.test(text)) {
    faults.push(`${path}: a machine is pure: no async, no clock`);
  }
  return faults;
}

/** A function ends at the first later line with a closing brace at its own indent (the formatter guarantees it). */
function longFunctions(path: string, lines: readonly string[]): string[] {
  const faults: string[] = [];
  const start =
    /^(\s*)(?:export )?(?:(?:static |private |override )*(?:async )?(?:function\b|[#a-zA-Z]\w*\s*\([^)]*\)[^;=]*\{$|(?:get|set) \w+\()|(?:const|let) \w+[^=]*= (?:async )?\([^)]*\)[^=]*=> \{$)/;
  for (const [index, line] of lines.entries()) {
    const indent = start.exec(line)?.[1];
    if (indent === undefined || /^\s*(?:if|for|while|switch|catch|return|else)\b/.test(line))
      continue;
    const end = lines.findIndex(
      (later, at) => at > index && new RegExp(`^${indent}\\}`).test(later),
    );
    const length = end - index + 1;
    if (end > 0 && length > MAX_FUNCTION_LINES) {
      faults.push(`${path}:${index + 1}: function of ${length} lines (max ${MAX_FUNCTION_LINES})`);
    }
  }
  return faults;
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

test('every file is tidy', async () => {
  const faults: string[] = [];
  for (const [path, text] of await readSources()) faults.push(...faultsOf(path, text));
  assert.deepEqual(faults, []);
});

test('the tidy rules find what they are meant to find', () => {
  const long = (count: number, line: string): string =>
    Array.from({ length: count }, () => line).join('\n');
  const rows: [string, string, RegExp | null][] = [
    ['src/lib/a.ts', long(500, '// x'), null],
    ['src/lib/a.ts', long(501, '// x'), /501 lines/],
    ['src/lib/a.ts', `function a(): void {\n${long(68, '  b();')}\n}\n`, null],
    ['src/lib/a.ts', `function a(): void {\n${long(69, '  b();')}\n}\n`, /function of 71 lines/],
    [
      'src/lib/a.ts',
      `class A {\n  async b(): Promise<void> {\n${long(70, '    b();')}\n  }\n}\n`,
      /function of 72/,
    ],
    ['src/lib/a.ts', 'try { a(); } catch {}', /catch handles/],
    ['src/lib/a.ts', 'try { a(); } catch (error) {\n}', /catch handles/],
    ['src/lib/a.ts', 'a().catch(() => undefined);', /catch handles/],
    ['src/lib/a.ts', '// TODO: later', /issue number/],
    ['src/lib/a.ts', '// TODO(#12): later', null],
    ['test/unit/a.test.ts', "test.only('a', () => {});", /focused/],
    ['src/sessions/a.machine.ts', 'const now = Date.now();', /pure/],
  ];
  for (const [path, text, expected] of rows) {
    const faults = faultsOf(path, text).join('\n');
    if (expected === null) assert.equal(faults, '', `${path}: ${text.slice(0, 60)}`);
    else assert.match(faults, expected, `${path}: ${text.slice(0, 60)}`);
  }
});
