/** Tokens on a simulated clock: the issuer's key set, keys in PEM, what a login gives; attempts and networks. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { exportJWK, SignJWT } from 'jose';
import { cidrOf, countingKey, plainAddress } from '#api/addresses.ts';
import { createJwks } from '#api/auth-jwks.ts';
import { createTokens, publicKeyOf, TOKEN_LIFE_S } from '#api/auth-jwt.ts';
import { AttemptLimiter, RateLimiter } from '#api/rate-limit.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';

const MINUTE_MS = 60_000;

async function makeIssuer() {
  const clock = new SimulatedClock();
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = await exportJWK(publicKey);
  const state = { kids: ['a'], asked: 0, isUp: true };
  const find = createJwks({
    ...{ url: 'https://issuer.example/jwks', clock, log: silentLog },
    fetchText: async () => {
      state.asked++;
      if (!state.isUp) throw new Error('away');
      return JSON.stringify({ keys: state.kids.map((kid) => ({ ...jwk, kid })) });
    },
  });
  const has = async (kid: string): Promise<string> => {
    try {
      await find({ alg: 'RS256', kid }, { payload: '', signature: '' });
      return 'found';
    } catch (error) {
      return (error as { problem?: string; code?: string }).problem ?? 'none';
    }
  };
  return { clock, state, has };
}

test('a key set is asked for once in 10 minutes, and again for an unknown id after a pause', async () => {
  const { clock, state, has } = await makeIssuer();
  assert.deepEqual(await Promise.all([has('a'), has('a'), has('a')]), ['found', 'found', 'found']);
  assert.equal(state.asked, 1, 'single flight');
  clock.advance(10 * MINUTE_MS - 1);
  await has('a');
  assert.equal(state.asked, 1);
  clock.advance(1);
  await has('a');
  assert.equal(state.asked, 2);
  state.kids = ['a', 'b'];
  clock.advance(30_000);
  assert.equal(await has('b'), 'found', 'a new key is seen at once');
  assert.equal(state.asked, 3);
  for (let count = 0; count < 20; count++) assert.equal(await has(`x${count}`), 'none');
  assert.equal(state.asked, 3, 'made-up ids do not become requests');
  clock.advance(30_000);
  await has('x');
  assert.equal(state.asked, 4);
});

test('an issuer that is away: its keys serve for an hour, without any it is 503', async () => {
  const { clock, state, has } = await makeIssuer();
  state.isUp = false;
  assert.equal(await has('a'), 'UNAVAILABLE');
  assert.equal(await has('a'), 'UNAVAILABLE');
  assert.equal(state.asked, 1, 'everybody waits for the same try');
  state.isUp = true;
  clock.advance(5_000);
  assert.equal(await has('a'), 'found');
  state.isUp = false;
  clock.advance(59 * MINUTE_MS);
  assert.equal(await has('a'), 'found');
  clock.advance(MINUTE_MS);
  assert.equal(await has('a'), 'UNAVAILABLE');
});

test('our own tokens carry what is configured, and last as long as they say', async () => {
  const clock = new SimulatedClock();
  const settings = {
    key: { kind: 'secret', secret: Buffer.from('s'.repeat(32)) },
    ...{ issuer: 'callyard', audience: 'desk' },
  } as const;
  const tokens = createTokens(settings, clock, silentLog);
  const user = newId();
  assert.ok(tokens.sign !== null);
  const { token, expiresAt } = await tokens.sign(user);
  assert.equal(expiresAt, clock.wallMs() / 1000 + TOKEN_LIFE_S);
  assert.equal(await tokens.verify(token), user);
  const other = createTokens({ ...settings, audience: 'other' }, clock, silentLog);
  await assert.rejects(other.verify(token), { problem: 'UNAUTHENTICATED' });
  clock.advance((TOKEN_LIFE_S + 29) * 1000);
  assert.equal(await tokens.verify(token), user, 'within the tolerance');
  clock.advance(2_000);
  await assert.rejects(tokens.verify(token), { problem: 'TOKEN_EXPIRED' });
});

test('HS256 with the public key as its secret does not pass for RS256', async () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const key = { kind: 'public', key: publicKeyOf(pem) } as const;
  const tokens = createTokens(
    { key, issuer: null, audience: null },
    new SimulatedClock(),
    silentLog,
  );
  assert.equal(tokens.sign, null);
  const forged = await new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(newId())
    .setExpirationTime('1h')
    .sign(Buffer.from(pem));
  await assert.rejects(tokens.verify(forged), { problem: 'UNAUTHENTICATED' });
});

test('keys in PEM: which are taken', () => {
  const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits });
  const spki = (key: ReturnType<typeof rsa>['publicKey']): string =>
    key.export({ type: 'spki', format: 'pem' }).toString();
  const good = rsa(2048);
  assert.equal(publicKeyOf(spki(good.publicKey)).asymmetricKeyType, 'rsa');
  const escaped = spki(good.publicKey).trim().replaceAll('\n', '\\n');
  assert.equal(publicKeyOf(escaped).asymmetricKeyType, 'rsa', 'line ends as \\n');
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rows: [string, RegExp][] = [
    ['', /no public key/],
    ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', /no public key/],
    [good.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /private key/],
    [ec.publicKey.export({ type: 'spki', format: 'pem' }).toString(), /RSA key/],
    [spki(rsa(1024).publicKey), /2048 bits/],
  ];
  for (const [pem, message] of rows) {
    assert.throws(() => publicKeyOf(pem), { code: 'E_CONFIG', message });
  }
});

test('networks in normal form', () => {
  const rows: [string, string | null][] = [
    ['192.0.2.0/24', '192.0.2.0/24'],
    ['192.0.2.7', '192.0.2.7/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['192.0.2.7/24', null],
    ['192.0.2.0/33', null],
    ['192.0.2.0/', null],
    ['192.0.2.0/2 4', null],
    ['192.0.2/24', null],
    ['2001:DB8::/32', '2001:db8::/32'],
    ['::/0', '::/0'],
    ['2001:db8::1', '2001:db8::1/128'],
    ['2001:db8::1/64', null],
    ['::ffff:192.0.2.0/120', '::ffff:192.0.2.0/120'],
    ['::ffff:192.0.2.1/120', null],
    ['fe80::1%eth0', null],
    ['2001:db8::/129', null],
    ['example.com/24', null],
    ['', null],
  ];
  for (const [text, expected] of rows) assert.equal(cidrOf(text), expected, text);
});

test('addresses as sockets and proxies write them', () => {
  const rows: [string, string, string][] = [
    ['192.0.2.7:4711', '192.0.2.7', '192.0.2.7'],
    ['[2001:db8::5]:4711', '2001:db8::5', '2001:db8:0:0::/64'],
    ['[2001:db8::5]', '2001:db8::5', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80::1', 'fe80:0:0:0::/64'],
    ['::ffff:192.0.2.7', '192.0.2.7', '192.0.2.7'],
    ['64:ff9b::192.0.2.7', '64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
  ];
  for (const [text, plain, counted] of rows) {
    assert.equal(plainAddress(text), plain);
    assert.equal(countingKey(text), counted, text);
  }
});

test('attempts in a sliding window, in a bounded table; a token that is given back', () => {
  const clock = new SimulatedClock();
  const attempts = new AttemptLimiter({ limit: 2, windowMs: MINUTE_MS, clock, capacity: 2 });
  assert.deepEqual(attempts.take('a'), {
    ...{ allowed: true, limit: 2, remaining: 1, resetS: 60, retryAfterS: 60 },
  });
  clock.advance(40_000);
  assert.equal(attempts.take('a').allowed, true);
  assert.deepEqual(attempts.take('a'), {
    ...{ allowed: false, limit: 2, remaining: 0, resetS: 60, retryAfterS: 20 },
  });
  clock.advance(20_000);
  assert.equal(attempts.take('a').allowed, true, 'the first has left the window');
  assert.equal(attempts.take('a').allowed, false);
  attempts.take('b');
  attempts.take('c');
  assert.equal(attempts.size, 2);

  const limiter = new RateLimiter({ ratePerS: 1, burst: 2 }, clock);
  limiter.take('a');
  limiter.giveBack('a');
  limiter.giveBack('a');
  limiter.giveBack('unknown');
  assert.deepEqual([limiter.peek('a').remaining, limiter.size], [2, 1]);
});
