/** The coders of a call: made before it needs them, and given back whatever happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallCodecs } from '#media/codec/call-codecs.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { AUDIO } from './_media.ts';

const OPUS: NegotiatedAudio = {
  ...AUDIO,
  codec: 'opus',
  payloadType: 111,
  receivePayloadType: 111,
};

test('only Opus must be awaited, and only once', async () => {
  const codecs = new CallCodecs();
  for (const codec of ['PCMU', 'PCMA', 'G722', 'L16'] as const) {
    assert.equal(codecs.prepare({ ...AUDIO, codec }), null, codec);
  }
  await codecs.prepare(OPUS);
  const encoder = codecs.encoder(OPUS);
  assert.equal(codecs.prepare(OPUS), null);
  assert.equal(codecs.encoder({ ...OPUS, ptimeMs: 40 }), encoder, 'its state goes on');
  assert.equal(codecs.decoder('opus'), codecs.decoder('opus'));
  const g722 = { ...AUDIO, codec: 'G722' } as const;
  const other = codecs.encoder(g722);
  await codecs.prepare(OPUS);
  assert.notEqual(codecs.encoder(OPUS), encoder, 'a stream that begins anew');
  assert.notEqual(codecs.encoder(g722), other);
  codecs.free();
  codecs.free();
});

test('a decoder of Opus is prepared where the other side may send it', async () => {
  const codecs = new CallCodecs();
  const alternatives = [{ codec: 'opus', payloadType: 111 }] as const;
  await codecs.prepare({ ...AUDIO, alternatives });
  assert.equal(codecs.decoder('opus').clockHz, 48_000);
  assert.throws(() => codecs.encoder(OPUS), { code: 'E_MEDIA' });
  codecs.free();
});

test('a call that ends while its coders are being made keeps none of them', async () => {
  const codecs = new CallCodecs();
  const [first, second] = [codecs.prepare(OPUS), codecs.prepare(OPUS)];
  codecs.free();
  await Promise.all([first, second]);
  assert.throws(() => codecs.encoder(OPUS), { code: 'E_MEDIA' });
  assert.throws(() => codecs.decoder('opus'), { code: 'E_MEDIA' });
});

test('500 calls with Opus take no more memory than ten', async () => {
  const pcm = new Int16Array(160);
  const payload = new Uint8Array(1200);
  const run = async (calls: number): Promise<void> => {
    for (let i = 0; i < calls; i++) {
      const codecs = new CallCodecs();
      await codecs.prepare(OPUS);
      const bytes = codecs.encoder(OPUS).encode(pcm, 160, payload);
      codecs.decoder('opus').decode(new DataView(payload.buffer, 0, bytes), new Int16Array(960));
      codecs.encoder(AUDIO);
      await codecs.prepare(OPUS);
      codecs.encoder(OPUS);
      codecs.free();
    }
  };
  await run(10);
  const before = process.memoryUsage().rss;
  await run(500);
  const grownMb = (process.memoryUsage().rss - before) / 2 ** 20;
  // Not given back, they would be 80 MB.
  assert.ok(grownMb < 20, `${grownMb.toFixed(1)} MB`);
});
