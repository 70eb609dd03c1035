/** iFlytek's signatures against the vectors of its pages (providers.md 3.1, 3.4); those of the LLM are worked out here. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { iflytekError, refusal } from '#providers/iflytek/errors.ts';
import {
  authorizationOf,
  beijingTime,
  rtasrLlmUrl,
  rtasrSignature,
  signatureOf,
  signedUrl,
} from '#providers/iflytek/signature.ts';
import { GrowingWords, spokenWordsOf } from '#providers/iflytek/words.ts';

/** The vendor's own masked sample. */
const SECRET = 'secretxxxxxxxx2df7900c09xxxxxxxx';
const KEY = { apiKey: 'keyxxxxxxxx8ee279348519exxxxxxxx', apiSecret: SECRET };
const ROWS = [
  [
    ...(['iat-api.xfyun.cn', '/v2/iat', 'Wed, 10 Jul 2019 07:35:43 GMT'] as const),
    'Hp3Ty4ZkSBmL8jKyOLpQiv9Sr5nvmeYEH7WsL/ZO2Jg=',
  ],
  [
    ...(['iat.xf-yun.com', '/v1', 'Tue, 14 May 2024 08:46:48 GMT'] as const),
    'S66FeqTJlvkd+KfJg+a73BAabocwRg2scKflONI8o80=',
  ],
] as const;

test('signatures of addresses are those of the vendor’s page', () => {
  for (const [host, path, date, expected] of ROWS) {
    assert.equal(signatureOf(SECRET, host, path, date), expected);
    const address = signedUrl(`wss://${host}${path}`, KEY, Date.parse(date));
    assert.doesNotMatch(address, /[+ ]/, 'the query is encoded in full');
    const url = new URL(address);
    assert.equal(`${url.protocol}//${url.host}${url.pathname}`, `wss://${host}${path}`);
    const query = Object.fromEntries(url.searchParams);
    assert.deepEqual(Object.keys(query), ['authorization', 'date', 'host']);
    assert.deepEqual([query['date'], query['host']], [date, host]);
    const header = `api_key="${KEY.apiKey}", algorithm="hmac-sha256", headers="host date request-line", signature="${expected}"`;
    const authorization = Buffer.from(query['authorization'] ?? '', 'base64').toString('utf8');
    assert.equal(authorization, header);
  }
});

test('the authorization begins as on the vendor’s page', () => {
  const [host, path, date] = ROWS[0];
  const authorization = authorizationOf(KEY, host, path, date);
  assert.ok(authorization.startsWith('YXBpX2tleT0ia2V5eHh4eHh4eHg4ZWUyNzkz'), authorization);
});

test('RTASR: the signa of the vendor’s page', () => {
  const signa = rtasrSignature('595f23df', 'd9f4aa7ea6d94faca62cd88a28fd5234', 1_512_041_814);
  assert.equal(signa, 'IrrzsJeOFk1NGfJHW6SkHUoN9CU=');
});

test('RTASR LLM: the sorted query without its signature is what is signed', () => {
  const nowMs = Date.UTC(2026, 10, 20, 2, 0, 0);
  assert.equal(beijingTime(nowMs), '2026-11-20T10:00:00+0800');
  assert.equal(beijingTime(Date.UTC(2026, 11, 31, 20, 0, 0)), '2027-01-01T04:00:00+0800');
  const call = { appId: 'a b', lang: 'autodialect', uuid: 'u-1', nowMs, more: { pd: '金融' } };
  const address = rtasrLlmUrl('wss://example.com/ast/communicate/v1', KEY, call);
  const [signed = '', signature = ''] = address.split('?')[1]?.split('&signature=') ?? [];
  assert.equal(
    signed,
    `accessKeyId=${KEY.apiKey}&appId=a%20b&audio_encode=pcm_s16le&lang=autodialect&pd=%E9%87%91%E8%9E%8D&samplerate=16000&utc=2026-11-20T10%3A00%3A00%2B0800&uuid=u-1`,
  );
  const due = createHmac('sha1', SECRET).update(signed).digest('base64');
  assert.equal(decodeURIComponent(signature), due);
});

test('an address with a query of its own keeps it, and it is not signed', () => {
  const [host, path, date, expected] = ROWS[0];
  const url = new URL(signedUrl(`wss://${host}${path}?x=1`, KEY, Date.parse(date)));
  assert.equal(url.searchParams.get('x'), '1');
  const header = Buffer.from(url.searchParams.get('authorization') ?? '', 'base64').toString();
  assert.ok(header.includes(expected));
});

test('codes fall into the classes of the table', () => {
  const rows: [number[], string][] = [
    [[10005, 10105, 10110, 10313, 11200, 11201], 'E_PROVIDER_AUTH'],
    [[10106, 10107, 10109, 10139, 10160, 10161, 10163], 'E_PROVIDER_PARAM'],
    [[10114, 10165, 10200], 'E_PROVIDER_IDLE'],
    [[10700, 10222, 99999], 'E_PROVIDER_SERVER'],
    [[10800, 11203], 'E_PROVIDER_QUOTA'],
  ];
  for (const [numbers, code] of rows) {
    for (const number of numbers) {
      const error = iflytekError(number, 'said', 'the account "A"');
      assert.equal(error.code, code, String(number));
      assert.equal(error.details['vendorCode'], String(number));
      if (code === 'E_PROVIDER_AUTH') assert.match(error.message, /the account "A"/);
    }
  }
  assert.match(iflytekError(11201, '', 'x').message, /limit of the day/);
});

test('a refused handshake tells how wrong this machine’s clock is', () => {
  const date = 'Wed, 10 Jul 2019 07:35:43 GMT';
  const at = Date.parse(date);
  const rows: [number, string | undefined, string, RegExp][] = [
    [at + 400_000, date, '', /clock of this machine is 400 s ahead of the vendor's/],
    [at - 400_000, date, '', /clock of this machine is 400 s behind the vendor's/],
    [at + 299_000, date, 'a valid date is required', /refused \(403\)$/],
    [at, undefined, 'a valid date is required', /is the clock of this machine right\?/],
    [at, undefined, 'HMAC signature does not match', /refused \(403\)$/],
  ];
  for (const [nowMs, told, body, expected] of rows) {
    const error = refusal({ status: 403, body, date: told }, 'the account "A"', nowMs);
    assert.equal(error.code, 'E_PROVIDER_AUTH');
    assert.match(error.message, expected);
  }
  const codes = [429, 400, 503].map(
    (status) => refusal({ status, body: '', date: undefined }, 'x', at).code,
  );
  assert.deepEqual(codes, ['E_PROVIDER_QUOTA', 'E_PROVIDER_PARAM', 'E_PROVIDER_SERVER']);
});

test('results that correct each other: appended, replaced, over several entries', () => {
  const words = new GrowingWords();
  const add = (sn: number, w: string, more: object): string =>
    words.add({ sn, ws: [{ cw: [{ w }, { w: 'second choice' }] }], ...more });
  assert.equal(add(1, '我', { pgs: 'apd' }), '我');
  assert.equal(add(2, '我要', { pgs: 'rpl', rg: [1, 1] }), '我要');
  assert.equal(add(3, '茶', { pgs: 'apd' }), '我要茶');
  assert.equal(add(4, '查账', { pgs: 'rpl', rg: [3, 3] }), '我要查账');
  assert.equal(add(5, '我要查账单', { pgs: 'rpl', rg: [1, 4] }), '我要查账单');
  assert.equal(add(6, '。', { pgs: 'apd', ls: true }), '我要查账单。');
  assert.throws(() => words.add({ ws: [] }), { code: 'E_PROVIDER_SERVER' });
});

test('a result without end is given up', () => {
  const words = new GrowingWords();
  const flood = (): void => {
    for (let sn = 0; sn < 5_000; sn++) words.add({ sn, ws: [] });
  };
  assert.throws(flood, { code: 'E_PROVIDER_SERVER' });
});

test('words that the vendor would smooth away', () => {
  const rt = (...each: [string, string][]): unknown => [
    { ws: each.map(([w, wp]) => ({ cw: [{ w, wp }] })) },
  ];
  const rows: [unknown, string, string][] = [
    [rt(['嗯', 's'], ['我要', 'n'], ['查', 'n'], ['。', 'p']), '我要查。', '嗯我要查。'],
    [rt(['嗯', 's'], ['。', 'p']), '嗯。', '嗯。'],
    [rt(['嗯', 's'], ['', 'g']), '嗯', '嗯'],
    [[], '', ''],
    [null, '', ''],
    [[null, { ws: 5 }, { ws: [null, { cw: 'x' }, { cw: [{ w: 7 }] }] }], '', ''],
  ];
  for (const [value, smooth, all] of rows) {
    assert.equal(spokenWordsOf(value, false), smooth);
    assert.equal(spokenWordsOf(value, true), all);
  }
});
