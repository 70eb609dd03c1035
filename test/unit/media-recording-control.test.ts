/** Which recording a call has at any time, as the main thread knows it: conflicts, stops, a worker that dies. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { wavHeader } from '#lib/wav.ts';
import { AppError } from '#lib/errors.ts';
import type { MediaCommand } from '#media/media-protocol.ts';
import { RecordingControl } from '#media/recording/recording-control.ts';
import type { RecordingResult } from '#media/types.ts';

const RESULT: RecordingResult = {
  ...{ path: '/made/up.wav', durationMs: 20, bytes: 684, truncated: false, sha256: null },
};

function setUp(options: { recordingPath?: string; recordsOnCommand?: boolean } = {}) {
  const sent: string[] = [];
  let isLate = false;
  const control = new RecordingControl({
    id: 1,
    options: {
      ...{ callId: 'c', localAddress: '192.0.2.1', recordingPath: null },
      ...{ firstRtpTimeoutMs: 1, rtpTimeoutMs: 1 },
      ...options,
    },
    send: (command: MediaCommand) =>
      sent.push('path' in command ? `${command.type} ${command.path}` : command.type),
    deadline: (answer, what) => (isLate ? Promise.reject(new AppError('E_TIMEOUT', what)) : answer),
  });
  const stopped = (recording: RecordingResult | null, error: string | null = null): void =>
    control.stopped({ type: 'recording.stopped', session: 1, recording, error });
  return { control, sent, stopped, beLate: () => (isLate = true) };
}

test('the call`s own recording, then others, one at a time', async () => {
  const { control, sent, stopped } = setUp({ recordingPath: '/own.wav' });
  assert.throws(
    () => control.start('/a.wav', null),
    { code: 'E_CONFLICT' },
    'not before the media',
  );
  control.started();
  control.started();
  control.record();
  control.pause(true);
  assert.throws(() => control.start('/a.wav', null), { code: 'E_CONFLICT' });
  const both = [control.stop(), control.stop()];
  control.pause(false);
  assert.throws(
    () => control.start('/a.wav', null),
    { code: 'E_CONFLICT' },
    'still being finished',
  );
  stopped(RESULT);
  assert.deepEqual(await Promise.all(both), [RESULT, RESULT]);
  assert.equal(await control.stop(), null);
  control.record();
  control.start('/a.wav', null);
  const failing = control.stop();
  stopped(null, 'broken');
  await assert.rejects(failing, { code: 'E_MEDIA', message: 'broken' });
  assert.deepEqual(sent, [
    'recording.pause',
    'recording.stop',
    'recording.start /a.wav',
    'recording.stop',
  ]);
});

test('a recording on command waits for it; another file in its place leaves it waiting', async () => {
  const { control, sent, stopped } = setUp({ recordingPath: '/own.wav', recordsOnCommand: true });
  control.record();
  control.started();
  control.pause(true);
  assert.equal(await control.stop(), null);
  control.start('/other.wav', null);
  control.record();
  const stopping = control.stop();
  stopped(RESULT);
  await stopping;
  control.record();
  control.record();
  assert.deepEqual(sent, ['recording.start /other.wav', 'recording.stop', 'record']);
});

test('no answer is E_TIMEOUT; the end of the session ends the wait', async () => {
  const late = setUp();
  late.control.started();
  late.control.start('/a.wav', null);
  late.beLate();
  await assert.rejects(late.control.stop(), { code: 'E_TIMEOUT' });
  late.control.close();
  const ended = setUp();
  ended.control.started();
  ended.control.start('/a.wav', null);
  const stopping = ended.control.stop();
  ended.control.close();
  assert.equal(await stopping, null);
  assert.equal(await ended.control.stop(), null, 'nor does a stop after the end wait');
  assert.equal(ended.sent.filter((type) => type === 'recording.stop').length, 1);
});

test('a worker that dies: whoever stops the recording gets what is left of it, else the call does', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-control-'));
  try {
    for (const isStopping of [false, true]) {
      const path = join(folder, `${isStopping}.wav`);
      await writeFile(path, Buffer.concat([wavHeader(0), Buffer.alloc(800 * 4)]));
      const { control } = setUp();
      control.started();
      assert.equal(await control.left(), null, 'nothing runs');
      control.start(path, null);
      const stopping = isStopping ? control.stop() : null;
      const left = await control.left();
      const result = isStopping ? await stopping : left;
      assert.equal(left === null, isStopping);
      assert.deepEqual([result?.path, result?.durationMs, result?.truncated], [path, 100, true]);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
