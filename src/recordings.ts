/** Plugs the parts of recordings together: where they are, their keys, their way up, their end. */
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRecordingFiles } from '#api/recording-files.ts';
import type { RecordingFiles } from '#api/ports.ts';
import { systemClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { recordingPlace, type NewRecording, type RecordingPlace } from '#lib/recording-place.ts';
import type { RecordingFormat } from '#lib/sealed-audio.ts';
import { repairSealed } from '#media/recording/sealed-repair.ts';
import { repairWav } from '#media/recording/wav.ts';
import { openObjectStorage, parseStorageUrl, type ObjectStorage } from '#store/object-storage.ts';
import { sweepOrphans } from '#store/recording-orphans.ts';
import { createRecordingMending } from '#store/recording-mending.ts';
import { createRecordingRemoval } from '#store/recording-removal.ts';
import { RecordingUploads } from '#store/recording-uploads.ts';
import { createRecordings, type Recordings } from '#store/recordings.ts';
import type { RepairRecording } from '#store/recover.ts';
import { Retention } from '#store/retention.ts';
import type { Store } from '#store/store.ts';

export type RecordingSettings = {
  /** CALLYARD_RECORDING_FORMAT: of recordings that begin from now on. */
  readonly recordingFormat: RecordingFormat;
  /** CALLYARD_RECORDINGS_URL: `file:` path, `s3://` URL, or null for `recordings` in the data directory. */
  readonly recordingsUrl: string | null;
  readonly s3AccessKeyId: string | null;
  readonly s3SecretAccessKey: string | null;
};

export type RecordingParts = {
  readonly recordings: Recordings;
  readonly files: RecordingFiles;
  newRecording(call: { readonly accountId: Id }): NewRecording;
  readonly repair: RepairRecording;
  /** Begins what runs beside the calls: uploads and retention. */
  start(): void;
  close(): Promise<void>;
};

export type RecordingPartsOptions = {
  readonly settings: RecordingSettings;
  readonly dataDir: string;
  readonly store: Pick<Store, 'database' | 'sealer' | 'journal' | 'projection'>;
  readonly log: Log;
};

/** Errors: E_CONFIG for a place that cannot be used. */
export async function openRecordingParts(options: RecordingPartsOptions): Promise<RecordingParts> {
  const { settings, dataDir, store, log } = options;
  const { database, sealer } = store;
  const clock = systemClock;
  const place = recordingPlace(dataDir, folderOf(settings.recordingsUrl));
  const objects = await openObjects(settings);
  const recordings = createRecordings({ database, sealer, clock });
  const mend = createRecordingMending({ place, recordings, repair: repairSealed, clock, log });
  const mendById = async (accountId: Id, id: Id): Promise<boolean> => {
    const kept = await recordings.find(accountId, id);
    return kept === null || mend(accountId, kept);
  };
  const removal = createRecordingRemoval({
    ...{ place, objects, log },
    notes: join(dataDir, 'removals'),
  });
  const retention = new Retention({
    ...{ database, removal, clock, log },
    onRun: async () => {
      store.journal.turnOver();
      await sweepOrphans({ database, place, isCaughtUp: () => isCaughtUp(store), clock, log });
    },
  });
  const uploads =
    objects === null
      ? null
      : new RecordingUploads({ database, objects, place, removal, mend: mendById, clock, log });
  return {
    recordings,
    files: createRecordingFiles({ place, recordings, removal, objects, log, mend }),
    newRecording: ({ accountId }) => {
      const { seal, keyEnc } = recordings.newKey(accountId);
      const file = place.newFile(seal.recordingId, clock.wallMs());
      return { ...file, seal: { ...seal, format: settings.recordingFormat }, keyEnc };
    },
    repair: (recording, accountId) => repair(place, recordings, recording, accountId),
    start() {
      retention.start();
      uploads?.start();
    },
    async close() {
      await Promise.all([retention.close(), uploads?.close()]);
      objects?.close();
    },
  };
}

const CATCH_UP_TRIES = 100;
const CATCH_UP_MS = 50;

/** Waits some seconds until all that is in the journal now has reached the database. */
async function isCaughtUp({
  journal,
  projection,
}: RecordingPartsOptions['store']): Promise<boolean> {
  let appended = 0;
  const stop = journal.onAppend(() => appended++);
  try {
    for (let tries = 0; tries < CATCH_UP_TRIES; tries++) {
      // What is pending now was all appended since: what was pending before is done.
      if (projection.lagEvents <= appended) return true;
      await delay(CATCH_UP_MS, undefined, systemClock);
    }
    return false;
  } finally {
    stop();
  }
}

function repair(
  place: RecordingPlace,
  recordings: Recordings,
  recording: Parameters<RepairRecording>[0],
  accountId: Id,
): ReturnType<RepairRecording> {
  const path = place.pathOf(recording.uri);
  if (path === null) return Promise.resolve(null);
  if (recording.key_enc === undefined) return repairWav(path);
  return repairSealed(path, recordings.openKey(accountId, recording.id, recording.key_enc));
}

function folderOf(url: string | null): string | null {
  if (url === null || url.startsWith('s3:')) return null;
  if (!url.startsWith('file:')) {
    throw new AppError('E_CONFIG', 'CALLYARD_RECORDINGS_URL must begin with file: or s3://');
  }
  return url.startsWith('file://') ? fileURLToPath(url) : resolve(url.slice('file:'.length));
}

async function openObjects(settings: RecordingSettings): Promise<ObjectStorage | null> {
  const { recordingsUrl: url, s3AccessKeyId, s3SecretAccessKey } = settings;
  if ((s3AccessKeyId === null) !== (s3SecretAccessKey === null)) {
    throw new AppError(
      'E_CONFIG',
      'CALLYARD_S3_ACCESS_KEY_ID and CALLYARD_S3_SECRET_ACCESS_KEY belong together',
    );
  }
  if (url === null || !url.startsWith('s3:')) return null;
  const credentials =
    s3AccessKeyId === null || s3SecretAccessKey === null
      ? null
      : { accessKeyId: s3AccessKeyId, secretAccessKey: s3SecretAccessKey };
  return openObjectStorage(parseStorageUrl(url, credentials));
}
