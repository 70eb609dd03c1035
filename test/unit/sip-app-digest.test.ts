/** Digest as a client: the RFCs' own examples, odd challenges, tries. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseChallenge,
  DigestClient,
  digestHeader,
  parseChallenges,
  type Challenge,
} from '#sip/digest.ts';

function one(value: string): Challenge {
  const challenge = chooseChallenge(parseChallenges(value), null);
  assert.ok(challenge, value);
  return challenge;
}

const RFC7616 =
  'realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';

test('the examples of RFC 7616 3.9.1 and RFC 2617 3.5', () => {
  const newer = {
    username: 'Mufasa',
    password: 'Circle of Life',
    realm: null,
    method: 'GET',
    uri: '/dir/index.html',
    nonceCount: 1,
    cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
  };
  const md5 = digestHeader({ ...newer, challenge: one(`Digest ${RFC7616}, algorithm=MD5`) });
  assert.match(md5, /response="8ca523f5e9506fed4657c9700eebdbec"/);
  const sha = digestHeader({ ...newer, challenge: one(`Digest ${RFC7616}, algorithm=SHA-256`) });
  assert.match(sha, /response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"/);
  assert.match(sha, /algorithm=SHA-256, qop=auth, nc=00000001, cnonce="f2\/wE4q/);
  assert.match(sha, /opaque="FQhe\/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"$/);

  const older = { ...newer, password: 'Circle Of Life', cnonce: '0a4f113b' };
  const realm = 'realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"';
  const withQop = digestHeader({
    ...older,
    challenge: one(`Digest ${realm}, qop="auth,auth-int"`),
  });
  assert.match(withQop, /response="6629fae49393a05397450978507c4ef1"/);
  assert.doesNotMatch(withQop, /algorithm/);
  const without = digestHeader({ ...older, challenge: one(`Digest ${realm}`) });
  assert.match(without, /response="670fd8c2df070c60b045671b8b24ff02"/);
  assert.doesNotMatch(without, /qop|cnonce|nc=/);
});

test('SHA-512-256 and -sess are answered in their length', () => {
  const input = { username: 'u', password: 'p', realm: null, method: 'INVITE', uri: 'sip:a@b' };
  const rows: [string, number][] = [
    ['SHA-512-256', 64],
    ['MD5-sess', 32],
    ['sha-256-SESS', 64],
  ];
  for (const [algorithm, length] of rows) {
    const challenge = one(`Digest realm="r", nonce="n", algorithm=${algorithm}, qop="auth"`);
    const value = digestHeader({ ...input, challenge, nonceCount: 255, cnonce: 'c' });
    assert.equal(/response="([0-9a-f]+)"/.exec(value)?.[1]?.length, length, algorithm);
    assert.match(value, /nc=000000ff/);
  }
});

test('challenges: commas in quotes, several in one header, the strongest known', () => {
  const rows: [string, string | null, string | null][] = [
    ['Digest realm="a, b", nonce="1"', 'a, b', null],
    ['Digest nonce="1",realm="say \\"x\\", y"', 'say "x", y', null],
    [
      'Digest realm="r",nonce="1",algorithm=MD5,Digest realm="r",nonce="2",algorithm=SHA-256',
      'r',
      '2',
    ],
    ['Digest realm="r",nonce="1",algorithm=SHA-256, Digest realm="r",nonce="2"', 'r', '1'],
    ['Basic realm="x", Digest realm="r", nonce="3"', 'r', '3'],
    ['Negotiate, Digest realm="r", nonce="4", qop=auth', 'r', '4'],
    ['Digest realm="r", nonce="5", algorithm=SHA3-512', null, null],
    ['Digest realm="r", nonce="6", qop="auth-int"', null, null],
    ['Digest realm="r", nonce="6", qop="auth-int", Digest realm="s", nonce="7"', 's', '7'],
    ['Digest realm="r"', null, null],
    ['', null, null],
    ['"""===,,,', null, null],
  ];
  for (const [value, realm, nonce] of rows) {
    const chosen = chooseChallenge(parseChallenges(value), null);
    assert.equal(chosen?.params.get('realm') ?? null, realm, value);
    if (nonce !== null) assert.equal(chosen?.params.get('nonce'), nonce, value);
  }
  const two = parseChallenges(
    'Digest realm="a", nonce="1", algorithm=SHA-256, Digest realm="b", nonce="2"',
  );
  assert.equal(chooseChallenge(two, 'b')?.params.get('nonce'), '2');
  assert.equal(chooseChallenge(two, 'c'), null);
});

test('two tries at most, the second one only for a stale nonce', () => {
  const answer = (values: string[], status = 407): (string | null)[] => {
    const client = new DigestClient({ username: 'u"x', password: 'p', realm: null }, () => 'c');
    return values.map((value) => {
      const header = (name: string): string | undefined =>
        name === (status === 407 ? 'proxy-authenticate' : 'www-authenticate') ? value : undefined;
      return client.answer({ status, header }, { method: 'BYE', uri: 'sip:a@b' })?.value ?? null;
    });
  };
  const challenge = (nonce: string, stale = ''): string =>
    `Digest realm="r", nonce="${nonce}", qop="auth"${stale}`;
  const [first, second] = answer([challenge('1'), challenge('2')]);
  assert.match(first ?? '', /^Digest username="u\\"x", .*nc=00000001/);
  assert.equal(second, null, 'a wrong password');
  const [, stale, third] = answer([
    challenge('1'),
    challenge('2', ', stale=TRUE'),
    challenge('3', ', stale=true'),
  ]);
  assert.match(stale ?? '', /nonce="2", .*nc=00000001/);
  assert.equal(third, null);
  const [, again] = answer([challenge('1'), challenge('1', ', stale=true')]);
  assert.match(again ?? '', /nc=00000002/, 'the same nonce counts on');
  const proxyOnly = new DigestClient({ username: 'u', password: 'p', realm: null });
  const silent = { status: 401, header: (): undefined => undefined };
  assert.equal(proxyOnly.answer(silent, { method: 'BYE', uri: 'sip:a@b' }), null);
});

test('random bytes as a challenge never throw and never loop', () => {
  let seed = 4242;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  const pieces = [
    'Digest',
    ' ',
    ',',
    '=',
    '"',
    '\\',
    'nonce',
    'realm',
    'x',
    '\u0000',
    'é',
    ';',
    '\t',
  ];
  for (let round = 0; round < 2000; round += 1) {
    const text = Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join('');
    const parsed = parseChallenges(text);
    assert.ok(parsed.length <= text.length);
    chooseChallenge(parsed, null);
  }
});
