/**
 * A voice over a real socket that stops in the middle of a word, with the socket open: another voice goes on with the
 * sentence long before the watch over what is sent (3 s) would give it up, so nobody apologises.
 */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { FaultPlan } from '#providers/sim/vendor-server.ts';
import { clientOf } from './_answering.ts';
import { startTestApp } from './_app.ts';
import { addAccount, callAgent, recordOf, talk } from './_fault-calls.ts';
import { atEnd } from './_store.ts';

const WORDS = { '1': 'I want to cancel my order.' };
const REPLY = 'Very well it is cancelled and paid back.';
const SCRIPT = {
  utterances: WORDS,
  defaultReply: REPLY,
  delays: { sttMs: 50, llmMs: 50, ttsMs: 30 },
};
const AGENT = {
  ...{ name: 'Voice', system_prompt: 'Be kind.', greeting: 'Hello.', auto_summary: false },
  ...{ stt: { vendor: 'sim' }, llm: { vendor: 'sim' } },
};
const RATE_HZ = 24_000;

/** OpenAI's voice: half a second of a tone for each text; what holds `cancelled` stops there, with the socket open. */
async function startVoice() {
  const open = new Set<ServerResponse>();
  const asked: string[] = [];
  const tone = Buffer.alloc(RATE_HZ);
  for (let i = 0; i < RATE_HZ / 2; i++) tone.writeInt16LE(8000 * Math.sin(i / 12), i * 2);
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      asked.push((JSON.parse(body) as { input: string }).input);
      open.add(response);
      response.once('close', () => open.delete(response));
      response.writeHead(200, { 'content-type': 'audio/pcm' });
      response.write(tone);
      if (!body.includes('cancelled')) response.end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    open,
    asked,
    close: async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

test('a voice that stops in mid-word is replaced at the next one: said once, no fault of the call, no apology', async (t) => {
  const voice = await startVoice();
  atEnd(t, () => voice.close());
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const api = clientOf(server);
  const account = {
    ...{ vendor: 'openai', credentials: { api_key: 'made-up-key' }, openai: null, open: 0 },
    options: { base_url: voice.url, model: 'm' },
    ...{ faults: new FaultPlan(), violations: [], close: () => Promise.resolve() },
  };
  const config_id = await addAccount(api, 'tts', account, 'stalls');
  const tts = { vendor: 'openai', config_id };
  const { phone, agentId } = await callAgent(server, api, { ...AGENT, tts }, 1);
  await talk(phone, [1], () => undefined);
  await phone.hangUp();
  const { messages, errors } = await recordOf(api, agentId);
  assert.ok(voice.asked.includes(REPLY), 'the voice that stops had begun it');
  const said = messages.filter(({ role }) => role === 'assistant');
  assert.deepEqual(
    said.map(({ content }) => content),
    ['Hello.', REPLY],
    JSON.stringify(messages),
  );
  assert.equal(said[1]?.interrupted, undefined);
  assert.deepEqual(errors, []);
  assert.equal(voice.open.size, 0, 'what nobody waits for any more is let go');
});
