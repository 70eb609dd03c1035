/** Arguments, signals, exit code: the only file that touches the process. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { systemClock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { createLog, type Log } from '#lib/log.ts';
import { startApp, type App } from './app.ts';
import { describeSettings, idleSettings, loadConfig, type Config } from './config.ts';
import { runDemo } from './demo/demo.ts';
import { runMigrate } from './migrate-command.ts';
import { rotateKey } from './rotate-key.ts';

/** After this, a stop that hangs is cut short; the journal is on disk whatever happens. */
const STOP_SLACK_MS = 30_000;
const SAME_WISH_MS = 1000;
/**
 * V8 lets a heap whose program does little grow by its young generation alone before it marks all of it anew: a media
 * worker of 15 MB every three seconds, for up to 20 ms. Twice as large is often enough.
 */
const HEAP_GROWTH = '--heap-growing-percent=100';

const USAGE = `callyard: telephony server for AI voice agents

  npm start               answers calls (SIP 5060, HTTP 8080)
  npm run demo            a built-in caller places a call and shows transcript and latency
  npm start -- rotate-key makes a new master key and rewraps every secret with it
  npm start -- migrate    brings the database's schema up to date; migrate down 1 undoes the newest step
  npm start -- --help     this text

Settings (environment, or a JSON file named by CALLYARD_CONFIG):
`;

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } },
  });
  const command = positionals[0] ?? 'all';
  if (values.help === true) {
    process.stdout.write(
      `${USAGE}${describeSettings()
        .map((line) => `  ${line}`)
        .join('\n')}\n`,
    );
    return 0;
  }
  const config = loadConfig(process.env);
  const log = createLog(config.logLevel);
  if (command === 'all') return serve(config, log);
  if (command === 'demo') return demo(config);
  if (command === 'migrate') {
    return runMigrate(config, log, positionals.slice(1), (line) =>
      process.stdout.write(`${line}\n`),
    );
  }
  if (command === 'rotate-key') {
    return rotateKey(config, log, (line) => process.stdout.write(`${line}\n`));
  }
  throw new AppError('E_CONFIG', `unknown command ${command}; run \`npm start -- --help\``);
}

async function serve(config: Config, log: Log): Promise<number> {
  setFlagsFromString(HEAP_GROWTH);
  for (const name of idleSettings(process.env)) log.warn('setting.idle', { name });
  const stop = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => stop.resolve(signal));
  // A fault outside any call: nothing is known to be sound any more, so live calls are ended and recorded.
  const onFault = (error: unknown): void => {
    log.error('process.failed', { error: toAppError(error) });
    process.exitCode = 1;
    stop.resolve('fault');
  };
  process.on('uncaughtException', onFault);
  process.on('unhandledRejection', onFault);
  const app = await startApp(config, log);
  process.stdout.write(`${app.banner.join('\n')}\n`);
  const reason = await stop.promise;
  log.info('node.stopping', { reason, liveCalls: app.liveCalls() });
  await stopInTime(app, config, log, reason === 'fault' ? 0 : config.drainS * 1000);
  return typeof process.exitCode === 'number' ? process.exitCode : 0;
}

/**
 * A second signal ends the drain early: the calls get their BYE at once. Ctrl-C under `npm start` arrives twice, from the
 * terminal and from npm, so what follows within a second is the same wish.
 */
async function stopInTime(app: App, config: Config, log: Log, graceMs: number): Promise<void> {
  const hurry = new AbortController();
  const firstMs = systemClock.now();
  const onSignal = (): void => {
    if (systemClock.now() - firstMs > SAME_WISH_MS) hurry.abort();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
  const lastResort = systemClock.setTimer(() => {
    log.error('node.stuck', { resources: process.getActiveResourcesInfo() });
    process.exit(1);
  }, graceMs + STOP_SLACK_MS);
  await app.stop(graceMs, hurry.signal);
  systemClock.clearTimer(lastResort);
  log.info('node.stopped', { dataDir: config.dataDir });
}

/** Calls the node these settings describe; starts one, for as long as the demo lasts, when none answers. */
async function demo(config: Config): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  const host = config.httpHost === '0.0.0.0' ? '127.0.0.1' : config.httpHost;
  const sipHost = config.sipHost === '0.0.0.0' ? '127.0.0.1' : config.sipHost;
  return runDemo({
    target: `sip:demo@${sipHost}:${config.sipPort}`,
    apiUrl: `http://${host}:${config.httpPort}`,
    apiKey: config.adminKey,
    apiKeyFile: join(config.dataDir, 'admin.key'),
    out: (line) => process.stdout.write(`${line}\n`),
    startServer: {
      command: process.execPath,
      args: [fileURLToPath(import.meta.url)],
      env: { ...process.env, CALLYARD_LOG_LEVEL: 'warn' },
    },
    signal: stop.signal,
  });
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    const { code, message } = toAppError(error);
    process.stderr.write(`callyard: ${message} [${code}]\n`);
    if (code === 'E_INTERNAL' && error instanceof Error)
      process.stderr.write(`${error.stack ?? ''}\n`);
    process.exit(1);
  },
);
