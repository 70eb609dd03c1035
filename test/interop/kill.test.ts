/** kill -9 in the middle of a call: the restarted node closes the record, with what had been said. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { until } from './tools/process.ts';
import { ANSWER, GREETING, QUESTION, SCRIPT, phrase } from './tools/script.ts';
import { startServer } from './tools/server.ts';
import { concatPcm, readWav } from './tools/wav.ts';

const NODE = '127.0.0.21';

test('after kill -9 in mid-call the record is closed with the transcript so far', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-kill-'));
  const options = { folder, address: NODE, script: SCRIPT };
  const first = await startServer(options);
  const call = await placeCall({ target: `sip:8001@${NODE}` });
  try {
    await call.hearSpeech(0, 3000);
    await call.hearSilence(8000, 800);
    await call.say(concatPcm(encodeUtteranceId(7), phrase));
    const [id] = await first.recordIds();
    assert.ok(id !== undefined);
    await until('the answer in the transcript', 8000, async () => {
      const { messages } = await first.record(id);
      return messages.length === 3;
    });
    const startedMs = performance.now();
    await first.kill();

    await using second = await startServer(options);
    const restartMs = performance.now() - startedMs;
    console.log(`# ready again ${restartMs.toFixed(0)} ms after the kill`);
    const record = await second.record(id);
    assert.deepEqual(
      [record.status, record.outcome, record.hangup_reason],
      ['ended', 'node_lost', 'error'],
    );
    const said = record.messages.map(({ role, content }) => [role, content]);
    assert.deepEqual(said, [
      ['assistant', GREETING],
      ['user', QUESTION],
      ['assistant', ANSWER],
    ]);
    assert.ok((record.duration_seconds ?? 0) >= 5, `${record.duration_seconds} s`);
    assert.deepEqual(await second.recordIds(), [id], 'one record, not two');
    // What was recorded up to the kill is kept as a file that can be played.
    assert.equal(record.recording_status, 'ready');
    const wav = readWav(await second.saveRecording(id));
    assert.equal(wav.channels.length, 2);
    assert.ok((wav.channels[0]?.length ?? 0) >= 5 * 8000, 'five seconds of recording');
    // And the node takes calls again.
    const again = await placeCall({ target: `sip:8001@${NODE}` });
    await again.hearSpeech(0, 3000);
    await again.hangUp();
    assert.equal((await second.finishedRecord([id])).outcome, 'completed');
  } finally {
    await call.hangUp();
    await first.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
