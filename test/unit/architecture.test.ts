/** The import law of docs/architecture.md as a test: which folder may import which. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSources } from './_sources.ts';

const MAY_IMPORT: Record<string, readonly string[]> = {
  lib: [],
  media: ['lib'],
  sip: ['lib'],
  providers: ['lib'],
  store: ['lib'],
  cluster: ['lib'],
  demo: ['lib'],
  sessions: ['lib', 'media', 'sip', 'providers'],
  api: ['lib', 'sessions', 'store', 'cluster'],
};

/** Packages that exactly one place may import, so that replacing one is a change in one place. */
const ONLY_IN: Record<string, RegExp> = {
  'drachtio-srf': /^src\/sip\/srf\.ts$/,
  pg: /^src\/store\//,
  'node-pg-migrate': /^src\/store\//,
  openai: /^src\/providers\/openai\//,
  '@aws-sdk/client-s3': /^src\/store\/object-storage\.ts$/,
  pino: /^src\/lib\/log\.ts$/,
  'rtp.js': /^src\/media\//,
  fastify: /^src\/api\//,
  xstate: /^src\/sessions\//,
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s+'([^']+)'|(?:^|\n)\s*import\s+'([^']+)'|import\('([^']+)'\)/g;

export function faultsOf(path: string, text: string): string[] {
  const faults: string[] = [];
  const folder = /^src\/([^/]+)\//.exec(path)?.[1];
  for (const match of text.matchAll(IMPORT)) {
    const target = match[1] ?? match[2] ?? match[3] ?? '';
    if (target.startsWith('.') || target.startsWith('#')) {
      if (!/\.(ts|json)$/.test(target)) faults.push(`${path}: '${target}' must end in .ts`);
    } else {
      const name = target.startsWith('@')
        ? target.split('/').slice(0, 2).join('/')
        : target.split('/')[0];
      const only = ONLY_IN[name ?? ''];
      if (only && path.startsWith('src/') && !only.test(path))
        faults.push(`${path}: may not import ${name}`);
    }
    if (folder === undefined) continue;
    if (target.startsWith('../') && !staysInside(path, target, folder)) {
      faults.push(`${path}: '${target}' leaves the folder; use #folder/file.ts`);
    }
    const across = /^#([a-z]+)\//.exec(target)?.[1];
    if (across !== undefined && across !== folder && !MAY_IMPORT[folder]?.includes(across)) {
      faults.push(`${path}: ${folder} may not import ${across}`);
    }
  }
  return faults;
}

function staysInside(path: string, target: string, folder: string): boolean {
  return new URL(target, `file:///${path}`).pathname.startsWith(`/src/${folder}/`);
}

test('every import obeys the import law', async () => {
  const faults: string[] = [];
  for (const [path, text] of await readSources()) faults.push(...faultsOf(path, text));
  assert.deepEqual(faults, []);
});

test('the import law finds what it is meant to find', () => {
  const rows: [string, string, RegExp | null][] = [
    ['src/media/a.ts', "import { b } from './b.ts';", null],
    ['src/media/a.ts', "import type { b } from '#lib/b.ts';", null],
    ['src/media/a.ts', "import type { b } from '#sip/b.ts';", /media may not import sip/],
    ['src/api/a.ts', "import { b } from '#media/b.ts';", /api may not import media/],
    ['src/demo/a.ts', "import { b } from '#sip/b.ts';", /demo may not import sip/],
    ['src/sip/a.ts', "import { b } from './b.js';", /must end in \.ts/],
    ['src/sip/a.ts', "import { b } from './b';", /must end in \.ts/],
    ['src/sip/a.ts', "import { b } from '../lib/b.ts';", /leaves the folder/],
    ['src/sip/server/a.ts', "import { b } from '../b.ts';", null],
    ['src/sip/a.ts', "import Srf from 'drachtio-srf';", /may not import drachtio-srf/],
    ['src/sip/srf.ts', "import Srf from 'drachtio-srf';", null],
    ['src/api/a.ts', "import pg from 'pg';", /may not import pg/],
  ];
  for (const [path, text, expected] of rows) {
    const faults = faultsOf(path, text).join('\n');
    if (expected === null) assert.equal(faults, '', `${path}: ${text}`);
    else assert.match(faults, expected, `${path}: ${text}`);
  }
});
