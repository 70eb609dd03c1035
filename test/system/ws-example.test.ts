/** The client of the WebSocket guide, run as its text says: it speaks a file, and writes down what it hears. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { ADMIN_KEY, SCRIPT, startTestApp } from './_app.ts';

const CLIENT = fileURLToPath(new URL('../../examples/ws-client.mjs', import.meta.url));

/** A file at 16 kHz: a pause for the greeting, the number of an utterance, something as loud as speech. */
function question(): Buffer {
  const code = encodeUtteranceId(1);
  const pcm = new Int16Array(8_000 * 7);
  pcm.set(code, 8_000 * 6);
  for (let i = 8_000 * 6 + code.length; i < pcm.length; i++) {
    pcm[i] = 6000 * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  const data = Buffer.alloc(pcm.length * 4);
  for (const [at, sample] of pcm.entries()) {
    const next = pcm[at + 1] ?? 0;
    data.writeInt16LE(sample, at * 4);
    data.writeInt16LE(Math.round((sample + next) / 2), at * 4 + 2);
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  for (const [at, value] of [
    [16, 16],
    [24, 16_000],
    [28, 32_000],
    [40, data.length],
  ] as const)
    header.writeUInt32LE(value, at);
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const)
    header.writeUInt16LE(value, at);
  header.write('data', 36);
  return Buffer.concat([header, data]);
}

test('the example speaks, is understood, hears the answer, and hangs up', async (t) => {
  const server = await startTestApp(t);
  const [asked, heard] = ['question.wav', 'heard.wav'].map((name) => join(server.dataDir, name));
  writeFileSync(asked as string, question());
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [CLIENT, asked as string, heard as string],
    {
      env: {
        ...{ PATH: process.env['PATH'], CALLYARD_URL: server.app.httpUrl },
        ...{ CALLYARD_KEY: ADMIN_KEY, QUIET_S: '2' },
      },
      timeout: 60_000,
    },
  );
  const lines = stdout.trim().split('\n');
  assert.equal(lines.pop(), 'closed 1000 call over');
  const frames = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(frames[0]?.['uplink'], { rate: 8_000, encoding: 'pcm_s16le' });
  const readies = frames.filter((frame) => frame['type'] === 'ready');
  assert.deepEqual(readies[1]?.['uplink'], { rate: 16_000, encoding: 'pcm_s16le' });
  const understood = frames.find((frame) => frame['type'] === 'user-speech' && frame['is_final']);
  assert.equal(understood?.['text'], SCRIPT.utterances['1']);
  const said = frames
    .filter((frame) => frame['type'] === 'ai-response')
    .map((frame) => frame['text']);
  assert.ok(said.join('').includes('Your order is cancelled.'), said.join('|'));
  const last = frames.at(-1);
  assert.deepEqual([last?.['type'], last?.['hangup_reason']], ['ended', 'user']);
  const wav = readFileSync(heard as string);
  assert.equal(wav.readUInt32LE(24), 16_000);
  const samples = Array.from({ length: (wav.length - 44) / 2 }, (_, at) =>
    wav.readInt16LE(44 + at * 2),
  );
  assert.ok(samples.length > 16_000 * 5, `${samples.length} samples`);
  assert.ok(samples.some((sample) => Math.abs(sample) > 1_000));
});
