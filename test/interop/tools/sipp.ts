/** Runs SIPp within bounds and reads its statistics. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPeer, until, type Peer } from './process.ts';

export type SippRun = {
  /** Folder for scenario, statistics and logs; media files of the scenario must be in it. */
  readonly folder: string;
  readonly name: string;
  readonly xml: string;
  readonly address: string;
  readonly port?: number;
  readonly transport?: 'udp' | 'tcp';
  readonly mediaPort?: number;
  /** Hard end of the run. */
  readonly timeoutS: number;
  readonly extra?: readonly string[];
};

export type SippCalls = {
  /** `host:port` to call. */
  readonly target: string;
  readonly service: string;
  readonly calls: number;
  readonly ratePerS: number;
  readonly limit?: number;
};

export type SippStatistics = {
  readonly created: number;
  readonly successful: number;
  readonly failed: number;
  readonly retransmissions: number;
  /** Samples of the timer `invite` (INVITE to 200) in ms. */
  readonly inviteMs: readonly number[];
  /** The CSV's last line by column name. */
  readonly columns: ReadonlyMap<string, string>;
};

export type Sipp = Peer & {
  /** Waits for SIPp's own end. Exit code 0 means that all calls were good. */
  result(): Promise<{
    readonly code: number | NodeJS.Signals;
    readonly statistics: SippStatistics;
  }>;
};

/** A SIPp that takes calls on `address`; resolves once its port is bound. */
export async function startSippUas(run: SippRun, calls?: number): Promise<Sipp> {
  const limit = calls === undefined ? [] : ['-m', String(calls)];
  const sipp = launch(run, ['-aa', ...limit]);
  // SIPp says nothing when it is up: the kernel's socket tables know.
  const table = run.transport === 'tcp' ? '/proc/net/tcp' : '/proc/net/udp';
  const local = hexAddress(run.address, run.port ?? 5060);
  await until(`${run.name} to bind`, 5000, () => {
    if (!sipp.isRunning) throw new Error(`${run.name} exited: ${sipp.log().slice(-1500)}`);
    return readFileSync(table, 'utf8').includes(local);
  });
  return sipp;
}

/** A SIPp that places calls. */
export function startSippUac(run: SippRun, calls: SippCalls): Sipp {
  const limit = calls.limit ?? Math.max(calls.calls, 10);
  const load = ['-m', String(calls.calls), '-r', String(calls.ratePerS), '-l', String(limit)];
  return launch(run, ['-s', calls.service, ...load, '-trace_rtt', '-rtt_freq', '1', calls.target]);
}

function launch(run: SippRun, args: readonly string[]): Sipp {
  const scenario = join(run.folder, `${run.name}.xml`);
  const statistics = join(run.folder, `${run.name}.csv`);
  writeFileSync(scenario, run.xml);
  const media = [
    '-mi',
    run.address,
    ...(run.mediaPort === undefined ? [] : ['-mp', String(run.mediaPort)]),
  ];
  const peer = startPeer({
    name: `sipp ${run.name}`,
    command: 'sipp',
    cwd: run.folder,
    logPath: join(run.folder, `${run.name}.log`),
    args: [
      ...[
        '-sf',
        scenario,
        '-i',
        run.address,
        '-p',
        String(run.port ?? 5060),
        '-bind_local',
        ...media,
      ],
      ...[
        '-t',
        run.transport === 'tcp' ? 't1' : 'u1',
        '-nostdin',
        '-timeout',
        `${run.timeoutS}s`,
        '-timeout_error',
      ],
      ...[
        '-trace_stat',
        '-stf',
        statistics,
        '-fd',
        '1',
        '-trace_err',
        '-error_file',
        `${statistics}.errors`,
      ],
      ...(run.extra ?? []),
      ...args,
    ],
  });
  return Object.assign(peer, {
    result: async () => {
      const code = await peer.exited;
      return { code, statistics: readStatistics(run.folder, statistics, run.name, peer.pid) };
    },
  });
}

function hexAddress(address: string, port: number): string {
  const octets = address.split('.').map(Number).toReversed();
  const hex = (value: number, digits: number): string =>
    value.toString(16).toUpperCase().padStart(digits, '0');
  return `${octets.map((octet) => hex(octet, 2)).join('')}:${hex(port, 4)}`;
}

function readStatistics(folder: string, path: string, name: string, pid: number): SippStatistics {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  const names = lines[0]?.split(';') ?? [];
  const values = lines.at(-1)?.split(';') ?? [];
  const columns = new Map(names.map((column, at) => [column, values[at] ?? '']));
  const count = (column: string): number => Number(columns.get(column) ?? Number.NaN);
  return {
    created: count('TotalCallCreated'),
    successful: count('SuccessfulCall(C)'),
    failed: count('FailedCall(C)'),
    retransmissions: count('Retransmissions(C)'),
    inviteMs: readSamples(join(folder, `${name}_${pid}_rtt.csv`), 'invite'),
    columns,
  };
}

/** SIPp's `-trace_rtt` file: date;milliseconds;timer name. */
function readSamples(path: string, timer: string): number[] {
  if (!existsSync(path)) return [];
  const rows = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(';'));
  return rows.filter((row) => row[2]?.trim() === timer).map((row) => Number(row[1]));
}
