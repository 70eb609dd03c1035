/** The receiver of the guide, as it stands, against the real server. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { ask } from './_identity.ts';
import { atEnd } from './_store.ts';

const RECEIVER = fileURLToPath(new URL('../../examples/webhook-receiver.mjs', import.meta.url));

type Example = { readonly port: number; readonly nextLine: () => Promise<string> };

async function startExample(t: TestContext, secret: string, port = 0): Promise<Example> {
  const env = { ...process.env, WEBHOOK_SECRET: secret, PORT: String(port) };
  const child = spawn(process.execPath, [RECEIVER], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(t, () => end(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => String((await lines.next()).value);
  const said = Number(/^listening on (\d+)$/.exec(await nextLine())?.[1]);
  return { port: said, nextLine };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, 'exit');
  child.kill();
  await gone;
}

async function send(server: TestApp, path: string, body: object) {
  const answer = await ask(server.app.httpUrl, 'POST', path, { token: ADMIN_KEY, body });
  assert.ok(answer.status < 300, answer.text);
  return answer.data as unknown as Record<string, unknown>;
}

test('the receiver of the guide takes what is genuine, once, and nothing else', async (t) => {
  const server = await startTestApp(t, { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' });
  // The port is known before the secret is, so the first one is only there to find it.
  const { port: wrongPort } = await startExample(t, newWebhookSecret());
  const wrong = await send(server, '/api/v1/webhooks', { url: `http://127.0.0.1:${wrongPort}/` });
  const refused = await send(server, `/api/v1/webhooks/${String(wrong['id'])}/test`, {});
  assert.deepEqual([refused['ok'], refused['response_status']], [false, 401]);

  const hook = await send(server, '/api/v1/webhooks', { url: 'http://127.0.0.1:1/' });
  const example = await startExample(t, String(hook['secret']));
  const own = `/api/v1/webhooks/${String(hook['id'])}`;
  const moved = await ask(server.app.httpUrl, 'PATCH', own, {
    ...{ token: ADMIN_KEY, body: { url: `http://127.0.0.1:${example.port}/` } },
  });
  assert.equal(moved.status, 200);
  const passed = await send(server, `${own}/test`, {});
  assert.deepEqual([passed['ok'], passed['response_status']], [true, 204]);
  assert.match(await example.nextLine(), /^webhook\.test null null \{\}$/);
  await send(server, `${own}/rotate-secret`, { overlap_s: 60 });
  const rotated = await send(server, `${own}/test`, {});
  assert.equal(rotated['ok'], true, 'the old secret still verifies');
  const forged = await fetch(`http://127.0.0.1:${example.port}/`, {
    method: 'POST',
    headers: {
      ...{ 'webhook-id': 'x', 'webhook-timestamp': 'now', 'webhook-signature': 'v1,AAAA v2' },
    },
    body: '{}',
  });
  assert.equal(forged.status, 401);
  await send(server, `${own}/rotate-secret`, { overlap_s: 0 });
  const changed = await send(server, `${own}/test`, {});
  assert.deepEqual([changed['ok'], changed['response_status']], [false, 401]);
});
