/** How a thread stands beside the others of its process: nice values of Linux, which has one for each thread. */
import { readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Before the main thread by so much. `timed`: it keeps time for calls. `working`: no call's packet waits for it. */
const BEFORE = { timed: 10, working: 0 };

/**
 * Of the calling thread; threads that it starts inherit it. False, and everything as it was, where the system has no such
 * thing or refuses: to go before others takes CAP_SYS_NICE or an RLIMIT_NICE.
 */
export function setThreadPriority(kind: keyof typeof BEFORE): boolean {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    // The process goes by the number of its main thread, which keeps what it was started with.
    setPriority(thread, getPriority(process.pid) - BEFORE[kind]);
    return true;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}
