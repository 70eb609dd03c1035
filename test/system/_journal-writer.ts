/** A process that appends to a journal as fast as it can and reports each append that returned. */
import { writeSync } from 'node:fs';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { Journal } from '#store/journal.ts';
import { scriptCall } from '../unit/_store-entries.ts';

const STEP = 20;

const journal = await Journal.open({
  directory: process.argv[2] ?? '',
  log: silentLog,
  maxFileBytes: 64 * 1024,
});
const call = scriptCall(newId(), newId());
let written = 0;

function step(): void {
  for (let n = 0; n < STEP; n++) {
    journal.append(written === 0 ? call.initiated() : call.says('user', 'x'.repeat(written % 700)));
    writeSync(1, `${++written}\n`);
  }
  setImmediate(step);
}

step();
process.send?.('started');
