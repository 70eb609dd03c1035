/** Kernel-stamped capture of the loopback with tcpdump. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startPeer, untilLogged } from './process.ts';
import { readPcap, type Datagram } from './pcap.ts';

const HANDOVER_MS = 1500;

export type Capture = {
  readonly path: string;
  /** Ends the capture and reads it. */
  finish(): Promise<Datagram[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts a capture of what `filter` says; resolves once packets are being taken. */
export async function startCapture(path: string, filter: string, iface = 'lo'): Promise<Capture> {
  const args = ['-i', iface, '-w', path, '-s', '2048', '-B', '65536', '-U', '-n', '-Z', 'root'];
  const peer = startPeer({
    name: 'tcpdump',
    command: 'tcpdump',
    args: [...args, '--time-stamp-precision=nano', filter],
    logPath: `${path}.log`,
  });
  await untilLogged(peer, /listening on/, 5000);
  const stop = (): Promise<void> => peer.stop('SIGINT');
  return {
    path,
    finish: async () => {
      // The kernel hands packets over in blocks, a second late at worst; what it still holds at the end is lost.
      await sleep(HANDOVER_MS);
      await stop();
      const dropped = /(\d+) packets dropped by kernel/.exec(peer.log())?.[1];
      if (dropped !== '0') throw new Error(`the capture itself lost packets: ${peer.log()}`);
      return readPcap(path);
    },
    [Symbol.asyncDispose]: stop,
  };
}
