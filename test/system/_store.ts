/** A store on a fresh database and a fresh data directory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { openStore, type Store, type StoreOptions } from '#store/store.ts';
import { createTestDatabase } from './_database.ts';

const stacks = new WeakMap<TestContext, AsyncDisposableStack>();

/** Like `t.after`, which runs first things first: here what was made last goes first. */
export function atEnd(t: TestContext, cleanUp: () => Promise<void> | void): void {
  let stack = stacks.get(t);
  if (stack === undefined) {
    stack = new AsyncDisposableStack();
    stacks.set(t, stack);
    const made = stack;
    t.after(() => made.disposeAsync());
  }
  stack.defer(cleanUp);
}

export function newDataDir(t: TestContext): string {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'callyard-store-'));
  atEnd(t, () => rmSync(dataDir, { recursive: true, force: true }));
  return dataDir;
}

export async function newDatabase(
  t: TestContext,
  options?: { migrated: boolean },
): Promise<string> {
  const database = await createTestDatabase(options);
  atEnd(t, () => database.drop());
  return database.url;
}

export function storeOptions(
  dataDir: string,
  databaseUrl: string | undefined,
  more: Partial<StoreOptions> = {},
): StoreOptions {
  return {
    ...{ dataDir, databaseUrl, node: 'node-1', adminEmail: 'admin@localhost', log: silentLog },
    ...{ adminKey: undefined, masterKey: undefined },
    defaults: { timezone: 'Asia/Shanghai', language: 'zh-CN', countryCode: '86', currency: 'CNY' },
    trunkDefaults: { localHost: null, displayName: null },
    ...more,
  };
}

/** Closed at the end of the test, before its database and directory go. */
export async function newStore(t: TestContext, options: StoreOptions): Promise<Store> {
  const store = await openStore(options);
  atEnd(t, () => store.close(0));
  return store;
}

/** Waits until `isSo` holds; the deadline only ends a test that has failed. */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
