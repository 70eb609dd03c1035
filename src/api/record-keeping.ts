/** The store's side of what clients write to records, as the facade wants it. */
import { systemClock, type Clock } from '#lib/clock.ts';
import type { Store } from '#store/store.ts';
import type { RecordKeeping } from './ports.ts';

const DAY_MS = 86_400_000;

export function recordKeeping(
  store: Pick<Store, 'records' | 'statistics' | 'rollup'>,
  clock: Clock = systemClock,
): RecordKeeping {
  return {
    ...store.records,
    statistics: (accountId, query) => store.statistics.read(accountId, query),
    noteChange(accountId, startTime) {
      const isRecent = startTime !== null && clock.wallMs() - Date.parse(startTime) < DAY_MS;
      // Days as young as that are counted record by record anyway.
      if (!isRecent) store.rollup.wake(accountId);
    },
  };
}
