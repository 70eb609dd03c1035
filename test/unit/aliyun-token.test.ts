/** The CreateToken request: the published check value, and the encoding that signatures fail on. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { signTokenQuery } from '#providers/aliyun/token.ts';

const KEY = {
  accessKeyId: 'my_access_key_id',
  accessKeySecret: 'my_access_key_secret',
  region: 'cn-shanghai',
};
const STAMP = {
  nonce: 'b924c8c3-6d03-4c5d-ad36-d984d3116788',
  timeMs: Date.UTC(2019, 3, 18, 8, 32, 31, 987),
};

test('the published check value comes out, byte for byte', () => {
  assert.equal(
    signTokenQuery(KEY, STAMP),
    'AccessKeyId=my_access_key_id&Action=CreateToken&Format=JSON&RegionId=cn-shanghai' +
      '&SignatureMethod=HMAC-SHA1&SignatureNonce=b924c8c3-6d03-4c5d-ad36-d984d3116788' +
      '&SignatureVersion=1.0&Timestamp=2019-04-18T08%3A32%3A31Z&Version=2019-02-28' +
      '&Signature=hHq4yNsPitlfDJ2L0nQPdugdEzM%3D',
  );
});

test('every part of the request changes the signature', () => {
  const signatureOf = (query: string): string => new URLSearchParams(query).get('Signature') ?? '';
  const variants = [
    signTokenQuery(KEY, STAMP),
    signTokenQuery({ ...KEY, accessKeyId: 'other' }, STAMP),
    signTokenQuery({ ...KEY, accessKeySecret: 'other' }, STAMP),
    signTokenQuery({ ...KEY, region: 'ap-southeast-1' }, STAMP),
    signTokenQuery(KEY, { ...STAMP, nonce: '0' }),
    signTokenQuery(KEY, { ...STAMP, timeMs: STAMP.timeMs + 1_000 }),
  ].map(signatureOf);
  assert.equal(new Set(variants).size, variants.length);
});

test('RFC 3986: what encodeURIComponent leaves is encoded too, and the tilde stays', () => {
  const query = signTokenQuery({ ...KEY, accessKeyId: "a!'()*~ +/=" }, STAMP);
  const [joined = '', signature = ''] = query.split('&Signature=');
  assert.ok(query.startsWith('AccessKeyId=a%21%27%28%29%2A~%20%2B%2F%3D&'), query);
  const twice = joined.replaceAll('%', '%25').replaceAll('=', '%3D').replaceAll('&', '%26');
  const expected = createHmac('sha1', `${KEY.accessKeySecret}&`)
    .update(`GET&%2F&${twice}`)
    .digest('base64');
  assert.equal(decodeURIComponent(signature), expected);
});
