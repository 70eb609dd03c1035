/** Tencent's signed addresses, by the vectors of providers.md 4.1 (a public repository's) and 4.2 (our own, kept). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signatureOf, signedQuery, textToSign } from '#providers/tencent/signature.ts';

const SECRET_KEY = 'testsecret';

const ASR = {
  ...{ voice_id: 'c64385ee-3e5c-4fc5-bbfd-7c71addb35b0', voice_format: 1, needvad: 1 },
  ...{ engine_model_type: '16k_zh', secretid: 'AKIDEXAMPLE', nonce: 1673408372 },
  ...{ timestamp: 1673408372, expired: 1673494772 },
};

const TTS = {
  ...{ Action: 'TextToStreamAudioWSv2', AppId: 1259220000, SecretId: 'AKIDEXAMPLE', ModelType: 1 },
  ...{ VoiceType: 101001, Codec: 'pcm', SampleRate: 8000, Speed: 0, Volume: 0 },
  ...{ SessionId: '11111111-2222-4333-8444-555555555555', EnableSubtitle: 'True' },
  ...{ Timestamp: 1700000000, Expired: 1700086400 },
};

test('the recogniser’s text to sign and signature are those of the published vector', () => {
  const text = textToSign('asr.cloud.tencent.com/asr/v2/1259220000', ASR);
  assert.equal(
    text,
    'asr.cloud.tencent.com/asr/v2/1259220000?engine_model_type=16k_zh&expired=1673494772' +
      '&needvad=1&nonce=1673408372&secretid=AKIDEXAMPLE&timestamp=1673408372&voice_format=1' +
      '&voice_id=c64385ee-3e5c-4fc5-bbfd-7c71addb35b0',
  );
  assert.equal(signatureOf(text, SECRET_KEY), 'TWnOXzSRGSW/kExVPvxQSP6/4Uk=');
});

test('the voice’s signature is that of the regression vector', () => {
  const text = textToSign('tts.cloud.tencent.com/stream_wsv2', TTS, 'GET');
  assert.equal(
    text,
    'GETtts.cloud.tencent.com/stream_wsv2?Action=TextToStreamAudioWSv2&AppId=1259220000&Codec=pcm' +
      '&EnableSubtitle=True&Expired=1700086400&ModelType=1&SampleRate=8000&SecretId=AKIDEXAMPLE' +
      '&SessionId=11111111-2222-4333-8444-555555555555&Speed=0&Timestamp=1700000000' +
      '&VoiceType=101001&Volume=0',
  );
  assert.equal(signatureOf(text, SECRET_KEY), 'b+0W93d7Is1T6YE0lLR6r76U6RQ=');
});

test('in the address everything is encoded, in the signed text nothing is', () => {
  const odd = { hotword_list: '退货|10,C++ & more|5', b: 1, a: 2 };
  const text = textToSign('h/p', odd);
  assert.equal(text, 'h/p?a=2&b=1&hotword_list=退货|10,C++ & more|5');
  const query = signedQuery(odd, 'signature', 'TWn+/xQ=');
  assert.match(query, /hotword_list=%E9%80%80%E8%B4%A7%7C10%2CC%2B%2B%20%26%20more%7C5/);
  assert.match(query, /&signature=TWn%2B%2FxQ%3D$/);
  const back = new URL(`ws://h/p?${query}`).searchParams;
  assert.equal(back.get('hotword_list'), odd.hotword_list);
  assert.equal(back.get('signature'), 'TWn+/xQ=');
});
