/**
 * How a thread stands beside the others of the machine. Linux has a scheduling class and a nice value for each thread; a
 * nice value alone does not help who must be on time: since Linux 6.6 a thread that wakes waits for the one that runs to
 * use up its slice (with 250 ticks a second 4 ms at most), whatever their nice values. One in the class SCHED_RR does not.
 */
import { execFile } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { promisify } from 'node:util';

/** `realtime`: before all that is not; `raised`: by its nice value only; `equal`: as the main thread. */
export type Standing = 'realtime' | 'raised' | 'equal';

const BEFORE_MAIN = 10;
const CHRT_TIMEOUT_MS = 2000;
/** The least of the class: nothing of this machine that is more urgent has to wait. */
const LEAST_PRIORITY = '1';

/**
 * Puts the calling thread before the others as far as the system allows, and says how far that is. SCHED_RR takes
 * CAP_SYS_NICE or an RLIMIT_RTPRIO of 1, and chrt(1) of util-linux; a nice value the same or an RLIMIT_NICE. Threads that
 * it starts afterwards stand as the main thread does where it is `realtime`, and as it does itself where it is `raised`.
 * The kernel leaves 5 % of a core to the others whatever such a thread does (sched_rt_runtime_us).
 */
export async function goFirst(mayBeRealtime: boolean): Promise<Standing> {
  const thread = ownThread();
  if (thread === null) return 'equal';
  // By nice value as well: what a realtime thread lends its class to goes first too.
  const isRaised = setNice(thread, -BEFORE_MAIN);
  if (mayBeRealtime && (await setRoundRobin(thread))) return 'realtime';
  return isRaised ? 'raised' : 'equal';
}

/** Puts the calling thread where the main thread is: no call's packet waits for it. */
export function goWithOthers(): void {
  const thread = ownThread();
  if (thread !== null) setNice(thread, 0);
}

function ownThread(): number | null {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  } catch (error) {
    if (error instanceof Error) return null;
    throw error;
  }
}

/** The process goes by the number of its main thread, which keeps what it was started with. */
function setNice(thread: number, ofMain: number): boolean {
  try {
    setPriority(thread, getPriority(process.pid) + ofMain);
    return true;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

async function setRoundRobin(thread: number): Promise<boolean> {
  const args = ['--rr', '--reset-on-fork', '--pid', LEAST_PRIORITY, String(thread)];
  try {
    await promisify(execFile)('chrt', args, { timeout: CHRT_TIMEOUT_MS });
    return true;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}
