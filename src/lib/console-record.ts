/** Calls as the console lists them (contract 2.6 row 6): the shapes between the store and the facade. */
import type { RecordDetail, RecordRow } from './call-record.ts';
import type { Page, PageQuery } from './page.ts';

export type ConsoleRecordRow = RecordRow &
  Pick<RecordDetail, 'answerTime' | 'endTime' | 'customerId' | 'fromNumber' | 'toNumber'>;

export type ConsoleRecordQuery = PageQuery & {
  /** In normal form; null or empty: any. */
  readonly phonePrefix: string | null;
  /** Inclusive, ISO-8601. */
  readonly startFrom: string | null;
  /** Exclusive. */
  readonly startBefore: string | null;
  readonly hasRecording: boolean | null;
};

export type ConsoleRecordPage = Page<ConsoleRecordRow>;
