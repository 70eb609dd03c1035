/**
 * The simulated NLS gateway driven by the vendor's own client (npm `alibabacloud-nls`): what we test our client against is
 * what theirs takes for the vendor. A failure before the start is left out: their client never settles on one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertClean,
  doubled,
  GOOD_TOKEN,
  spoken,
  startNls,
  type NlsWorld,
} from './_aliyun-nls.ts';

type Client = {
  on(event: string, listener: (data: Buffer | string) => void): void;
  start(params: object, enablePing: boolean, pingMs: number): Promise<string>;
};
type Transcription = Client & {
  defaultStartParams(): Record<string, unknown>;
  sendAudio(data: Buffer): boolean;
  ctrl(params: object): void;
  close(): Promise<string>;
  shutdown(): void;
};
type Synthesizer = Client & { defaultStartParams(voice: string): Record<string, unknown> };
type Official = {
  SpeechTranscription: new (config: object) => Transcription;
  SpeechSynthesizer: new (config: object, isLong?: boolean) => Synthesizer;
};

/** It comes without types. */
async function official(): Promise<Official> {
  const name = 'alibabacloud-nls';
  return (await import(name)) as Official;
}

const configOf = (world: NlsWorld, appkey: string): object => ({
  ...{ url: world.nls.url, appkey, token: GOOD_TOKEN },
});

function record(client: Client, names: readonly string[]): { name: string; data: string }[] {
  const seen: { name: string; data: string }[] = [];
  for (const name of names) client.on(name, (data) => seen.push({ name, data: String(data) }));
  return seen;
}

const namesOf = (seen: readonly { readonly name: string }[]): string[] =>
  seen.map(({ name }) => name);

test('their recogniser is started, hears partials and sentences, and is stopped', async (t) => {
  const world = await startNls(t);
  const { SpeechTranscription } = await official();
  for (const [appkey, rateHz, stop] of [
    ['app16', 16000, true],
    ['app8', 8000, false],
  ] as const) {
    const st = new SpeechTranscription(configOf(world, appkey));
    const seen = record(st, ['started', 'begin', 'changed', 'end', 'completed', 'failed']);
    const closed = new Promise((resolve) => st.on('closed', resolve));
    await st.start({ ...st.defaultStartParams(), sample_rate: rateHz }, true, 100);
    st.ctrl({ max_sentence_silence: 400 });
    // Two sentences; the second one is ended by the stop.
    const pcm = new Int16Array([...spoken(1, 1_000), ...spoken(3)]);
    const bytes = Buffer.from((rateHz === 16000 ? doubled(pcm) : pcm).buffer);
    const step = (rateHz / 1000) * 2 * 100;
    for (let at = 0; at < bytes.length; at += step) {
      assert.ok(st.sendAudio(bytes.subarray(at, at + step)));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (stop) await st.close();
    else st.shutdown();
    await closed;
    const whole = ['started', 'begin', 'changed', 'end', 'begin', 'changed'];
    assert.deepEqual(namesOf(seen), stop ? [...whole, 'end', 'completed'] : whole);
    const ends = seen.filter(({ name }) => name === 'end').map(({ data }) => JSON.parse(data));
    const { header, payload } = ends[0] as Record<string, Record<string, unknown>>;
    assert.equal(header?.['status'], 20_000_000);
    assert.equal(payload?.['result'], 'I want to cancel my order.');
    assert.deepEqual([payload['index'], payload['begin_time']], [1, 0]);
    assert.equal(ends.length, stop ? 2 : 1);
  }
  assert.deepEqual(world.nls.offered, [GOOD_TOKEN, GOOD_TOKEN]);
  await assertClean(world);
});

test('their recogniser is told of a failure in the middle', async (t) => {
  const world = await startNls(t);
  const { SpeechTranscription } = await official();
  world.nls.faults.add({ kind: 'fail_midway' });
  const st = new SpeechTranscription(configOf(world, 'app8'));
  const failed = new Promise<string>((resolve) => st.on('failed', (data) => resolve(String(data))));
  await st.start({ ...st.defaultStartParams(), sample_rate: 8000 }, false, 0);
  const bytes = Buffer.from(spoken(1).buffer);
  for (let at = 0; at < bytes.length; at += 640) st.sendAudio(bytes.subarray(at, at + 640));
  assert.equal(JSON.parse(await failed).header.status, 50_000_000);
  await assertClean(world);
});

test('their voice says short and long texts, with subtitles', async (t) => {
  const world = await startNls(t);
  const { SpeechSynthesizer } = await official();
  for (const [isLong, text] of [
    [false, '您好，世界。'],
    [true, 'One two three. '.repeat(30)],
  ] as const) {
    const tts = new SpeechSynthesizer(configOf(world, 'app16'), isLong);
    const sound: Buffer[] = [];
    tts.on('data', (data) => sound.push(data as Buffer));
    const seen = record(tts, ['meta', 'completed', 'failed']);
    const params = { ...tts.defaultStartParams('xiaoyun'), text, enable_subtitle: true };
    await tts.start(params, true, 100);
    assert.deepEqual(namesOf(seen), ['meta', 'completed']);
    const bytes = Buffer.concat(sound);
    assert.equal(bytes.toString('latin1', 0, 4), 'RIFF', 'their default is wav');
    const words = isLong ? 90 : 4;
    assert.equal(bytes.length, 44 + words * 6400);
  }
  await assertClean(world);
});

test('what their voice is refused, it says', async (t) => {
  const world = await startNls(t);
  const { SpeechSynthesizer } = await official();
  const tts = new SpeechSynthesizer(configOf(world, 'app8'));
  const params = { ...tts.defaultStartParams('nobody'), text: 'x' };
  await assert.rejects(tts.start(params, false, 0), /40000003/);
  const other = new SpeechSynthesizer(configOf(world, 'nothing'));
  const fine = { ...other.defaultStartParams('xiaoyun'), text: 'x' };
  await assert.rejects(other.start(fine, false, 0), /40020105/);
  assert.deepEqual(world.nls.violations, ['SpeechSynthesizer: voice nobody']);
});
