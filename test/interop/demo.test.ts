/** `npm run demo` as a user runs it: without a server, and beside one that runs. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startPeer } from './tools/process.ts';
import { startServer } from './tools/server.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = '127.0.0.29';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-demo-'));
});
after(() => {
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

async function runDemo(name: string, env: Readonly<Record<string, string>>): Promise<string> {
  const inherited = Object.entries(process.env).filter(
    ([key]) => !/^(CALLYARD_|NODE_|DATABASE_URL$)/.test(key),
  );
  await using demo = startPeer({
    name: 'demo',
    command: process.execPath,
    args: ['src/main.ts', 'demo'],
    cwd: ROOT,
    logPath: join(folder, `${name}.log`),
    env: {
      ...Object.fromEntries(inherited),
      CALLYARD_SIP_HOST: NODE,
      CALLYARD_HTTP_HOST: NODE,
      ...env,
    },
  });
  const code = await demo.exited;
  assert.equal(code, 0, demo.log());
  return demo.log();
}

/** Every chapter of the story: transcript, latency of each turn, barge-in, the server's parts, the two curl lines. */
function checkStory(story: string): string {
  for (const wanted of [
    /Answered after \d+ ms, PCM[AU]/,
    /0\.\d s {2}agent {3}\S/,
    /s {2}caller {2}\(speech, \d\.\d s/,
    /\[interrupted\]/,
    /greeting \(from ACK\).* \d+ ms/,
    /turn 1 \(English\).* \d+ ms/,
    /turn 2 \(Chinese\).* \d+ ms/,
    /turn 3 \(interruption\).* \d+ ms/,
    /the agent fell silent \d+ ms after/,
    /endpointing .* \d+ ms/,
    /ended as completed/,
    /curl .*\/recording/,
  ]) {
    assert.match(story, wanted);
  }
  return /record {5}curl .* (http\S+)/.exec(story)?.[1] ?? '';
}

test('without a server the demo starts one, and stops it again', async () => {
  const story = await runDemo('alone', { CALLYARD_DATA_DIR: join(folder, 'alone') });
  assert.match(story, /No server answers on .*: starting one/);
  const url = checkStory(story);
  await assert.rejects(fetch(url), 'the server of the demo still answers');
});

test('beside a running server the demo calls that one, and what it prints can be fetched', async () => {
  await using server = await startServer({ folder, address: NODE, script: null });
  const keyFile = join(folder, 'server', 'suite.key');
  const apiKey = readFileSync(keyFile, 'utf8');
  const story = await runDemo('beside', {
    CALLYARD_ADMIN_KEY: apiKey,
    CALLYARD_DATA_DIR: join(folder, 'unused'),
  });
  assert.match(story, /A server answers on/);
  assert.ok(!story.includes(apiKey), 'the key is on the terminal');
  const url = checkStory(story);
  const [id] = await server.recordIds();
  assert.equal(url, `${server.apiUrl}/api/v1/call-records/${id}`);
  const headers = { authorization: `Bearer ${apiKey}`, connection: 'close' };
  const recording = await fetch(`${url}/recording`, { headers });
  assert.equal(recording.status, 200);
  assert.equal(Buffer.from(await recording.arrayBuffer()).toString('latin1', 0, 4), 'RIFF');
});
