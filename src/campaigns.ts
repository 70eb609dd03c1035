/** Campaigns as one part of the process: what people do with them over HTTP, and the dialler that works through them. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CampaignPorts } from '#api/campaigns.ts';
import { systemClock } from '#lib/clock.ts';
import { systemCodeOf } from '#lib/errors.ts';
import { isId, newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { CallService } from '#sessions/call-service-types.ts';
import { CampaignDialler } from '#sessions/campaign-dialler.ts';
import type { CallJournal } from '#sessions/ports.ts';
import { createCampaignDialling } from '#store/campaign-dialling.ts';
import { createCampaignTargets } from '#store/campaign-targets.ts';
import { createCampaigns } from '#store/campaigns.ts';
import type { Store } from '#store/store.ts';

export type CampaignPartsOptions = {
  readonly store: Pick<Store, 'database' | 'journal' | 'projection'>;
  readonly calls: Pick<CallService, 'place' | 'get'>;
  readonly sip: { readonly isUp: boolean };
  readonly journal: CallJournal;
  readonly dataDir: string;
  readonly node: string;
  /** Of an account that has no settings yet. */
  readonly defaults: { readonly countryCode: string | null; readonly timezone: string };
  /** What the environment's trunk shows. */
  readonly environmentNumber: string | null;
  readonly log: Log;
};

export type RunningCampaigns = {
  readonly ports: CampaignPorts;
  /** Begins to dial: once calls can be placed. */
  start(): void;
  /** No new calls; resolves when none is being placed any more. */
  stopDialling(): Promise<void>;
  close(): Promise<void>;
};

/** To be opened after the recovery of calls, so that what it appended counts as left over from before. */
export function openCampaigns(options: CampaignPartsOptions): RunningCampaigns {
  const { store, calls, sip, journal, node, log } = options;
  const { countryCode, timezone: timeZone } = options.defaults;
  const { database } = store;
  let appended = 0;
  let isSettled = false;
  const dialler = new CampaignDialler({
    ...{ calls, journal, log, clock: systemClock },
    store: createCampaignDialling({ database, node, timeZone }),
    driver: driverOf(options.dataDir),
    isReady: () => sip.isUp && store.journal.isHealthy,
    isSettled: () => (isSettled ||= store.projection.lagEvents <= appended),
  });
  const stopListening = store.journal.onAppend((entry) => {
    appended++;
    dialler.noteEntry(entry);
  });
  const { environmentNumber } = options;
  const campaigns = createCampaigns({ database, node, countryCode, environmentNumber });
  return {
    ports: {
      targets: createCampaignTargets(database, countryCode),
      campaigns: {
        ...campaigns,
        command: async (actor, id, command) => {
          const changed = await campaigns.command(actor, id, command);
          if (changed?.ok === true) dialler.tell(changed.news);
          dialler.wake();
          return changed;
        },
      },
    },
    start: () => dialler.start(),
    stopDialling: () => dialler.stopDialling(),
    async close() {
      await dialler.close();
      stopListening();
    },
  };
}

/**
 * Names this data directory, which one process at a time holds: what was claimed under this name and is not in the
 * journal beside it was never dialled. A host's name says nothing of that: two containers may share one, and one that
 * is made anew over the same directory has another.
 */
export function driverOf(dataDir: string): string {
  const file = join(dataDir, 'dialler.id');
  try {
    const known = readFileSync(file, 'utf8').trim();
    if (isId(known)) return known;
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  const made = newId();
  writeFileSync(`${file}.partial`, made, { mode: 0o600 });
  renameSync(`${file}.partial`, file);
  return made;
}
