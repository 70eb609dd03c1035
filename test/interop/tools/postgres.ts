/** A throw-away PostgreSQL of Debian's packages, run as user postgres, as an operator's own database would be. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { atExit, until } from './process.ts';

export type Postgres = {
  readonly url: string;
  start(): Promise<void>;
  /** `immediate` is the crash: no connection is told, nothing is flushed. */
  stop(mode?: 'fast' | 'immediate'): void;
};

/** Makes a cluster below `folder` and starts it on 127.0.0.1:`port`. The caller stops it. */
export async function startPostgres(folder: string, port: number): Promise<Postgres> {
  const versions = readdirSync('/usr/lib/postgresql').sort();
  const bin = join('/usr/lib/postgresql', versions.at(-1) ?? '', 'bin');
  const data = join(folder, 'postgres');
  mkdirSync(data);
  // The server refuses to run as root, and has to reach its folder through ours.
  chmodSync(folder, 0o755);
  execFileSync('chown', ['postgres', data]);
  const asPostgres = (command: string, args: readonly string[]): string =>
    execFileSync('runuser', ['-u', 'postgres', '--', join(bin, command), ...args], {
      encoding: 'utf8',
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  asPostgres('initdb', [
    '-D',
    data,
    '-A',
    'trust',
    '-U',
    'app',
    '--no-locale',
    '-E',
    'UTF8',
    '--no-sync',
  ]);
  const options = `-p ${port} -h 127.0.0.1 -k ${data} -c fsync=off`;
  const start = async (): Promise<void> => {
    asPostgres('pg_ctl', ['-D', data, '-l', join(data, 'log'), '-o', options, 'start']);
    await until('PostgreSQL to answer', 10_000, () => isReady(bin, port));
  };
  let forget = (): void => undefined;
  const stop = (mode: 'fast' | 'immediate' = 'fast'): void => {
    forget();
    if (isReady(bin, port)) asPostgres('pg_ctl', ['-D', data, '-m', mode, '-w', 'stop']);
  };
  forget = atExit(() => stop('immediate'));
  await start();
  return { url: `postgres://app@127.0.0.1:${port}/postgres`, start, stop };
}

function isReady(bin: string, port: number): boolean {
  try {
    execFileSync(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]);
    return true;
  } catch {
    // pg_isready says no by its exit code.
    return false;
  }
}
