/** Every curl command in the guides, in order, against a running server. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ADMIN_KEY, startTestApp } from './_app.ts';
import { examplesIn, runExample } from './_curl-examples.ts';
import { startFakeCarrier } from './_fake-carrier.ts';

const GUIDES = [
  'docs/api.md',
  'docs/records.md',
  'docs/campaigns.md',
  'docs/squads.md',
  'docs/aliyun.md',
  'docs/providers.md',
  'docs/trunks.md',
  'docs/security.md',
  'docs/websocket.md',
  'docs/voice-stream.md',
  'docs/webhooks.md',
  'docs/tools.md',
  'docs/events.md',
  'docs/contacts.md',
];

for (const guide of GUIDES) {
  test(`the examples of ${guide} do what it says`, async (t) => {
    const carrier = await startFakeCarrier(t);
    const server = await startTestApp(t, { CALLYARD_TRUNK: carrier.trunk });
    const text = readFileSync(new URL(`../../${guide}`, import.meta.url), 'utf8');
    const examples = examplesIn(guide, text);
    assert.ok(examples.length >= 2, `${guide} has hardly any example`);
    const variables = new Map([
      ['BASE', server.app.httpUrl],
      ['KEY', ADMIN_KEY],
    ]);
    for (const example of examples) {
      for (const [name, value] of await runExample(example, variables)) variables.set(name, value);
    }
  });
}
