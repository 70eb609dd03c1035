/** Settings: what is taken from where, and what refuses to start with which line. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig, describeSettings } from '#src/config.ts';
import { openDataDir } from '#src/data-dir.ts';
import { AppError } from '#lib/errors.ts';

test('defaults need no setting at all', () => {
  const config = loadConfig({});
  assert.equal(config.httpPort, 8080);
  assert.equal(config.sipPort, 5060);
  assert.deepEqual(config.rtpPorts, { first: 20_000, last: 29_999 });
  assert.equal(config.recording, null);
  assert.equal(config.databaseUrl, null);
});

test('environment values are read as their types, older names too', () => {
  const config = loadConfig({
    CALLYARD_HTTP_PORT: '0',
    CALLYARD_RECORDING: 'off',
    STT_PROVIDER: 'sim',
    CALLYARD_DRAIN_S: '5',
  });
  assert.equal(config.httpPort, 0);
  assert.equal(config.recording, false);
  assert.equal(config.sttVendor, 'sim');
  assert.equal(config.drainS, 5);
});

test('codecs are read in any case, once each, and in their order', () => {
  assert.deepEqual(loadConfig({}).codecs, ['PCMA', 'PCMU', 'G722', 'opus']);
  assert.equal(loadConfig({}).srtp, 'off');
  const { codecs, srtp } = loadConfig({
    ...{ CALLYARD_CODECS: 'OPUS pcmu,l16, opus', CALLYARD_SRTP: 'required' },
  });
  assert.deepEqual([codecs, srtp], [['opus', 'PCMU', 'L16'], 'required']);
});

test('lists are read apart, switches of either kind are switches', () => {
  const config = loadConfig({
    CALLYARD_TRUSTED_PROXIES: '192.0.2.1, 2001:DB8::/32',
    CALLYARD_CORS_ORIGINS: 'https://Desk.example.net https://b.example:8443,http://localhost:3000',
    CALLYARD_AUTH_PROVISION: 'off',
    CALLYARD_RATE_LIMIT: '200',
  });
  assert.deepEqual(config.trustedProxies, ['192.0.2.1/32', '2001:db8::/32']);
  assert.deepEqual(config.corsOrigins, [
    ...['https://desk.example.net', 'https://b.example:8443', 'http://localhost:3000'],
  ]);
  assert.deepEqual([config.authProvision, config.rateLimit, config.rateBurst], [false, 200, 100]);
  const plain = loadConfig({});
  assert.deepEqual(
    [plain.trustedProxies, plain.corsOrigins, plain.authProvision, plain.adminPassword],
    [[], [], true, null],
  );
});

test('each bad setting refuses with one line that names it', () => {
  const rows: [Record<string, string>, RegExp][] = [
    [
      { CALLYARD_HTP_PORT: '1' },
      /^unknown setting CALLYARD_HTP_PORT; did you mean CALLYARD_HTTP_PORT\?$/,
    ],
    [{ CALLYARD_WHATEVER_THIS_IS: '1' }, /^unknown setting CALLYARD_WHATEVER_THIS_IS; run/],
    [{ CALLYARD_HTTP_PORT: 'http' }, /^CALLYARD_HTTP_PORT = "http": /],
    [{ CALLYARD_HTTP_PORT: '70000' }, /^CALLYARD_HTTP_PORT = 70000: /],
    [{ CALLYARD_RTP_PORTS: '30000-20000' }, /^CALLYARD_RTP_PORTS = "30000-20000": /],
    [{ CALLYARD_RTP_PORTS: 'all' }, /^CALLYARD_RTP_PORTS = "all": /],
    [{ CALLYARD_RECORDING: 'perhaps' }, /^CALLYARD_RECORDING = "perhaps": /],
    [{ CALLYARD_SIP_HOST: 'localhost' }, /^CALLYARD_SIP_HOST = "localhost" must be a numeric IP/],
    [{ CALLYARD_LOG_LEVEL: 'loud' }, /^CALLYARD_LOG_LEVEL = "loud": /],
    [
      { CALLYARD_JWT_SECRET: 's'.repeat(32), CALLYARD_JWT_JWKS_URL: 'https://a.example/jwks' },
      /^CALLYARD_JWT_SECRET and CALLYARD_JWT_JWKS_URL exclude each other; set one of them$/,
    ],
    [{ CALLYARD_JWT_SECRET: 'too short' }, /^CALLYARD_JWT_SECRET needs 32 characters or more/],
    [
      { CALLYARD_JWT_JWKS_URL: 'file:///etc/keys' },
      /^CALLYARD_JWT_JWKS_URL = "file:.*must be an https URL$/,
    ],
    [{ CALLYARD_AUTH_PROVISION: 'perhaps' }, /^CALLYARD_AUTH_PROVISION = "perhaps": /],
    [
      { CALLYARD_TRUSTED_PROXIES: '10.0.0.0/8, 10.0.0.1/8' },
      /^CALLYARD_TRUSTED_PROXIES: "10.0.0.1\/8" is neither/,
    ],
    [{ CALLYARD_CORS_ORIGINS: '*' }, /^CALLYARD_CORS_ORIGINS: "\*" is no origin/],
    [
      { CALLYARD_CORS_ORIGINS: 'https://desk.example.net/' },
      /^CALLYARD_CORS_ORIGINS: "https:\/\/desk.example.net\/" is no origin/,
    ],
    [
      { CALLYARD_CODECS: 'PCMA,G729,iLBC' },
      /^CALLYARD_CODECS does not know "G729", "iLBC"; there are PCMA, PCMU, G722, opus, L16 \(G\.729/,
    ],
    [{ CALLYARD_CODECS: ' , ' }, /^CALLYARD_CODECS names no codec; there are/],
    [{ CALLYARD_SRTP: 'mandatory' }, /^CALLYARD_SRTP = "mandatory": /],
    [{ CALLYARD_RATE_LIMIT: '0' }, /^CALLYARD_RATE_LIMIT = 0: /],
    [
      { CALLYARD_CONFIG: '/nonexistent/callyard.json' },
      /^settings file \/nonexistent\/callyard.json cannot be read/,
    ],
  ];
  for (const [env, expected] of rows) {
    assert.throws(
      () => loadConfig(env),
      (error) => {
        assert.ok(error instanceof AppError);
        assert.equal(error.code, 'E_CONFIG');
        assert.match(error.message, expected);
        assert.ok(!error.message.includes('\n'));
        return true;
      },
    );
  }
});

test('the settings file gives way to the environment and refuses unknown keys', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'callyard-config-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'callyard.json');
  writeFileSync(file, '{"httpPort": 9000, "maxCalls": 7}');
  const config = loadConfig({ CALLYARD_CONFIG: file, CALLYARD_HTTP_PORT: '9001' });
  assert.equal(config.httpPort, 9001);
  assert.equal(config.maxCalls, 7);
  writeFileSync(file, '{"httPort": 9000}');
  assert.throws(() => loadConfig({ CALLYARD_CONFIG: file }), /settings file: .*httPort/);
  writeFileSync(file, '[1');
  assert.throws(() => loadConfig({ CALLYARD_CONFIG: file }), /is no JSON/);
});

test('a secret is never in the error line', () => {
  assert.throws(
    () => loadConfig({ CALLYARD_ADMIN_KEY: 'x', CALLYARD_HTTP_PORT: 'y' }),
    (error) => {
      assert.ok(error instanceof Error && !error.message.includes('"x"'));
      return true;
    },
  );
  assert.throws(
    () => loadConfig({ CALLYARD_JWT_SECRET: 'canary', CALLYARD_ADMIN_PASSWORD: 'canary' }),
    (error) => {
      assert.ok(error instanceof Error && !error.message.includes('canary'));
      return true;
    },
  );
});

test('every setting is described', () => {
  for (const line of describeSettings()) assert.match(line, /^[A-Z][A-Z0-9_]* +\S/);
});

test('a data directory is held by one node; a dead holder is seen through', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'callyard-data-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const held = openDataDir(dir);
  assert.throws(
    () => openDataDir(dir),
    (error) => error instanceof AppError && error.code === 'E_DATA_DIR_LOCKED',
  );
  held.release();
  openDataDir(dir).release();
  writeFileSync(
    join(dir, 'node.lock'),
    JSON.stringify({ pid: process.pid, since: 'another boot/1' }),
  );
  openDataDir(dir).release();
  writeFileSync(join(dir, 'node.lock'), '{"pid": 4');
  openDataDir(dir).release();
  const file = join(dir, 'file');
  writeFileSync(file, '');
  assert.throws(() => openDataDir(file), /cannot be used/);
});
