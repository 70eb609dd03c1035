/**
 * Recordings that are `ready` and have no end: their disk hung when the call was over, and the call did not wait for it.
 * What is there is closed when somebody first wants it. Only rows without a hash are: a file that was closed and is
 * cut off since stays damaged.
 */
import { stat } from 'node:fs/promises';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { systemCodeOf, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { RecordingPlace } from '#lib/recording-place.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import type { ClosedRecording, KeptRecording, Recordings } from './recordings.ts';

export type RecordingMendingOptions = {
  readonly place: Pick<RecordingPlace, 'pathOf'>;
  readonly recordings: Pick<Recordings, 'noteClosed'>;
  readonly repair: (path: string, seal: RecordingSeal) => Promise<ClosedRecording>;
  readonly clock: Clock;
  readonly log: Log;
};

/**
 * False while the file may still be being written. Nothing is done to one that is closed, plain, elsewhere or gone.
 * Errors: E_MEDIA, E_TIMEOUT (the disk hangs still), E_DATABASE*.
 */
export type MendRecording = (accountId: Id, kept: KeptRecording) => Promise<boolean>;

/** A disk that has come back takes all it is given within this. */
const SETTLED_MS = 30_000;
const MEND_MS = 10_000;

export function createRecordingMending(options: RecordingMendingOptions): MendRecording {
  const running = new Map<Id, Promise<boolean>>();
  return (accountId, kept) => {
    const { id, key, isClosed = true, status } = kept;
    if (isClosed || key === null || status !== 'ready') return Promise.resolve(true);
    const before = running.get(id);
    if (before !== undefined) return before;
    const work = mend(options, accountId, { ...kept, key });
    running.set(id, work);
    return work.finally(() => running.delete(id));
  };
}

async function mend(
  { place, recordings, repair, clock, log }: RecordingMendingOptions,
  accountId: Id,
  { id, uri, key }: KeptRecording & { readonly key: Uint8Array },
): Promise<boolean> {
  const path = place.pathOf(uri);
  if (path === null) return true;
  try {
    const { mtimeMs } = await stat(path);
    if (clock.wallMs() - mtimeMs < SETTLED_MS) return false;
    const work = repair(path, { recordingId: id, key });
    await recordings.noteClosed(
      accountId,
      id,
      await withDeadline(work, MEND_MS, 'mending a recording', clock),
    );
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return true;
    log.error('recording.notMended', { recordingId: id, error: toAppError(error) });
    throw error;
  }
  log.warn('recording.mended', { recordingId: id });
  return true;
}
