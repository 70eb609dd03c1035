/** Baidu's access token: fetched once for many, renewed before its end and when it is refused; the token service's faults. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { BAIDU } from '#providers/baidu/module.ts';
import type { TtsProvider } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { speakAll } from '../unit/_provider-contract.ts';
import { fastClock, until } from './_aliyun-nls.ts';
import { ACCOUNT, CREDENTIALS, SECRETS, startBaidu as start } from './_baidu.ts';
import { assertClean, hasCode, SETTING, vendorSettings, vendorTools } from './_speech-vendors.ts';

test('a token is fetched once for all who wait, and kept', async (t) => {
  const world = await start(t);
  const tts = world.tts();
  const say = async (): Promise<number> =>
    (await speakAll(tts, { text: 'One.', language: 'en' })).pcm.length;
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, say)), Array(20).fill(1600));
  await say();
  assert.deepEqual(world.sim.asked, [ACCOUNT.apiKey]);
  tts.close?.();
  await assertClean(world.sim);
});

test('a token that has expired is fetched again, once, and the piece is said', async (t) => {
  const world = await start(t);
  const tts = world.tts();
  await speakAll(tts, { text: 'One.', language: 'en' });
  tts.close?.();
  const second = world.tts();
  await speakAll(second, { text: 'One.', language: 'en' });
  await until('a spare is open', () => world.sim.server.open === 1);
  world.sim.tokens.clear();
  for (let n = 0; n < 2; n++) {
    assert.equal((await speakAll(second, { text: 'Two.', language: 'en' })).pcm.length, 1600);
  }
  second.close?.();
  assert.equal(world.sim.asked.length, 3, 'one for each voice, and one for what has expired');
  await assertClean(world.sim);
});

test('a token is renewed before its end', async (t) => {
  const world = await start(t, { tokenLifeS: 86_400 + 61 });
  let wallMs = Date.now();
  const clock = { ...systemClock, wallMs: () => wallMs };
  const settings = vendorSettings(CREDENTIALS, {
    url: world.sim.ttsUrl,
    token_url: world.sim.tokenUrl,
  });
  const tts = BAIDU.tts?.(settings, vendorTools(clock)) as TtsProvider;
  const once = (): Promise<unknown> => speakAll(tts, { text: 'One.', language: 'en', voice: '4' });
  await once();
  wallMs += 60_000;
  await once();
  assert.equal(world.sim.asked.length, 1);
  wallMs += 2_000;
  await once();
  assert.equal(world.sim.asked.length, 2);
  tts.close?.();
  await assertClean(world.sim);
});

const TOKEN_FAULTS: readonly (readonly [string, VendorFault, string, RegExp])[] = [
  ['silent', { kind: 'hang' }, 'E_TIMEOUT', /no token within 3000 ms/],
  ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER', /cannot be reached/],
  ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER', /no JSON/],
  ['huge', { kind: 'huge', bytes: 4 * 1024 * 1024 }, 'E_PROVIDER_SERVER', /no JSON/],
  ['down', { kind: 'refuse', status: 503 }, 'E_PROVIDER_SERVER', /answers 503/],
];

test('what goes wrong with the token service is told in time, without a secret, and passes', async (t) => {
  for (const [name, fault, code, text] of TOKEN_FAULTS) {
    const world = await start(t, { clock: fastClock(8) });
    world.sim.tokenFaults.add(fault);
    const tts = world.tts();
    const startMs = world.clock.now();
    const thrown: unknown = await speakAll(tts, { text: 'One.', language: 'en' }).catch(
      (error: unknown) => error,
    );
    assert.ok(hasCode(code, text)(thrown), `${name}: ${String(thrown)}`);
    assert.doesNotMatch((thrown as AppError).message, SECRETS);
    assert.ok(world.clock.now() - startMs < 4_500, name);
    assert.equal((await speakAll(tts, { text: 'Two.', language: 'en' })).pcm.length, 1600, name);
    tts.close?.();
    await assertClean(world.sim);
  }
});

test('a wrong secret is told by the setting; who gives up does not wait for the token', async (t) => {
  const world = await start(t);
  const credentials = { ...CREDENTIALS, secret_key: 'another' };
  const wrong = world.tts({}, { credentials });
  const spoken = speakAll(wrong, { text: 'One.', language: 'en' });
  const text = new RegExp(`${SETTING}: credentials api_key or secret_key`);
  await assert.rejects(spoken, hasCode('E_PROVIDER_AUTH', text));
  world.sim.tokenFaults.add({ kind: 'hang' });
  const abort = new AbortController();
  const given = speakAll(world.tts(), { text: 'One.', language: 'en' }, abort.signal);
  setTimeout(() => abort.abort(), 30);
  const startMs = Date.now();
  await assert.rejects(given, hasCode('E_ABORTED'));
  assert.ok(Date.now() - startMs < 1_000);
  await assertClean(world.sim);
});
