/** CALLYARD_VAD: what the settings come to, and which line refuses to start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { chooseVad } from '../../src/vad-choice.ts';

const chosen = (env: Record<string, string>) => chooseVad(loadConfig(env));

test('by default WebRTC decides, whatever else is set', async () => {
  assert.equal(await chosen({}), 'fvad');
  assert.equal(await chosen({ CALLYARD_VAD: 'fvad', CALLYARD_SILERO_MODEL: '/nowhere' }), 'fvad');
});

test('Silero without its model refuses to start, and says what is missing', async () => {
  await assert.rejects(chosen({ CALLYARD_VAD: 'silero' }), {
    code: 'E_CONFIG',
    message: /needs CALLYARD_SILERO_MODEL/,
  });
  const env = { CALLYARD_VAD: 'silero', CALLYARD_SILERO_MODEL: '/nowhere/silero.onnx' };
  await assert.rejects(chosen(env), { code: 'E_CONFIG', message: /there is no file \/nowhere/ });
  assert.throws(() => loadConfig({ CALLYARD_VAD: 'energy' }), { code: 'E_CONFIG' });
});
