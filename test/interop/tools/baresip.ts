/** A headless baresip: speaks a WAV, records what it hears, obeys its control port. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { startPeer, until, type Peer } from './process.ts';
import { concatPcm, readChannel, silence, writeWav } from './wav.ts';

export type BaresipEvent = {
  readonly event?: boolean;
  readonly type?: string;
  readonly param?: string;
};

export type Baresip = Peer & {
  /** Runs a command (`dial sip:...`, `hangup`, `sndcode 5`, `ausrc aufile,x.wav`). Throws when baresip refuses it. */
  command(line: string): Promise<string>;
  readonly events: readonly BaresipEvent[];
  waitFor(type: string, timeoutMs: number): Promise<BaresipEvent>;
  /** What it heard in its last call (baresip writes one file per call and direction). */
  heard(): Int16Array;
};

const MODULES =
  'g711 g722 opus l16 srtp aufile aubridge sndfile uuid account stdio ctrl_tcp debug_cmd menu'.split(
    ' ',
  );

export type BaresipOptions = {
  readonly folder: string;
  readonly name: string;
  readonly address: string;
  /** What it says from the start of each call; silence follows, for the end of the file would hang up. */
  readonly speech: Int16Array;
  readonly transport?: 'udp' | 'tcp';
  /** Outbound proxy `host:port`; without, requests go to the dialled address. */
  readonly proxy?: string;
  /** As baresip names them, in its order; default G.711. */
  readonly codecs?: string;
  /** SRTP by SDES, without which it makes no call. */
  readonly srtp?: boolean;
  /** Of its sound card. The codec's own is best: baresip's resampler is a rough one. */
  readonly rateHz?: number;
  /** Further lines of its configuration, such as `opus_dtx yes`. */
  readonly lines?: readonly string[];
};

const CONTROL_PORT = 4444;
/** It takes a second by itself, and many at the start of a suite that starts everything at once. */
const START_TIMEOUT_MS = 30_000;
const SILENCE_AFTER_MS = 60_000;

export async function startBaresip(options: BaresipOptions): Promise<Baresip> {
  const folder = join(options.folder, options.name);
  const recordings = join(folder, 'rec');
  mkdirSync(recordings, { recursive: true });
  writeConfiguration(folder, recordings, options);
  const peer = startPeer({
    name: `baresip ${options.name}`,
    command: 'baresip',
    args: ['-f', folder, '-s', '-v'],
    logPath: join(folder, 'log'),
  });
  try {
    const control = await until(`${peer.name} control port`, START_TIMEOUT_MS, () =>
      open(options.address),
    );
    void peer.exited.finally(() => control.destroy());
    return Object.assign(peer, controlOf(control), { heard: () => heardIn(recordings) });
  } catch (error) {
    await peer.stop();
    throw error;
  }
}

function writeConfiguration(folder: string, recordings: string, options: BaresipOptions): void {
  const { address, name } = options;
  const files = execFileSync('dpkg', ['-L', 'baresip-core'], { encoding: 'utf8' }).split('\n');
  const modulePath = dirname(files.find((file) => file.endsWith('/g711.so')) ?? '');
  const wav = join(folder, 'speech.wav');
  const rateHz = options.rateHz ?? 8000;
  const plain = join(folder, 'speech-8000.wav');
  writeWav(plain, [concatPcm(options.speech, silence(SILENCE_AFTER_MS))]);
  execFileSync('sox', [plain, '-r', String(rateHz), wav]);
  const lines = [
    'poll_method epoll',
    `sip_listen ${address}:5060`,
    `net_interface ${address}`,
    `audio_player aubridge,sink_${name}`,
    `audio_source aufile,${wav}`,
    `audio_alert aubridge,alert_${name}`,
    `ausrc_srate ${rateHz}`,
    `auplay_srate ${rateHz}`,
    'ausrc_channels 1',
    'auplay_channels 1',
    'audio_jitter_buffer_type fixed',
    'jitter_buffer_delay 2-10',
    'rtp_ports 20000-20998',
    `module_path ${modulePath}`,
    `ctrl_tcp_listen ${address}:${CONTROL_PORT}`,
    `snd_path ${recordings}`,
    'menu_bell no',
    ...(options.lines ?? []),
    ...MODULES.map((module) => `module ${module}.so`),
  ];
  const transport = options.transport ?? 'udp';
  const proxy =
    options.proxy === undefined ? '' : `;outbound="sip:${options.proxy};transport=${transport}"`;
  const account = `<sip:${name}@${address};transport=${transport}>${proxy};regint=0;audio_codecs=${options.codecs ?? 'PCMU,PCMA'};answermode=auto${options.srtp === true ? ';mediaenc=srtp-mand' : ''}`;
  writeFileSync(join(folder, 'config'), `${lines.join('\n')}\n`);
  writeFileSync(join(folder, 'accounts'), `${account}\n`);
  writeFileSync(join(folder, 'contacts'), '');
}

function open(address: string): Promise<Socket | false> {
  return new Promise((resolve) => {
    const socket = connect(CONTROL_PORT, address);
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(false));
  });
}

type ControlReply = { readonly response?: boolean; readonly ok?: boolean; readonly data?: string };

/** baresip's control protocol: JSON in netstrings; events and replies share the connection. */
function controlOf(socket: Socket): Pick<Baresip, 'command' | 'events' | 'waitFor'> {
  const events: BaresipEvent[] = [];
  const replies: ControlReply[] = [];
  let pending = Buffer.alloc(0);
  // A reset on exit says nothing that the exit does not say.
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes]);
    for (;;) {
      const colon = pending.indexOf(':');
      const length = Number(pending.toString('latin1', 0, Math.max(0, colon)));
      if (colon < 0 || pending.length < colon + 1 + length + 1) return;
      const text = pending.toString('utf8', colon + 1, colon + 1 + length);
      pending = pending.subarray(colon + 1 + length + 1);
      const message = JSON.parse(text) as BaresipEvent & ControlReply;
      if (message.response) replies.push(message);
      else events.push(message);
    }
  });
  return {
    events,
    command: async (line) => {
      const [command = '', ...rest] = line.split(' ');
      const json = JSON.stringify({ command, params: rest.join(' '), token: 'suite' });
      socket.write(`${Buffer.byteLength(json)}:${json},`);
      const reply = await until(`baresip ${command}`, 5000, () => replies.shift());
      if (!reply.ok) throw new Error(`baresip ${line}: ${reply.data}`);
      return reply.data ?? '';
    },
    waitFor: async (type, timeoutMs) =>
      until(`baresip ${type}, after ${JSON.stringify(events)}`, timeoutMs, () => {
        const at = events.findIndex((event) => event.type === type);
        return at < 0 ? undefined : events.splice(0, at + 1).at(-1);
      }),
  };
}

function heardIn(recordings: string): Int16Array {
  const names = readdirSync(recordings).filter((name) => name.endsWith('-dec.wav'));
  const last = names.sort().at(-1);
  if (last === undefined) throw new Error(`baresip recorded nothing in ${recordings}`);
  const [path, plain] = [join(recordings, last), join(recordings, 'heard.wav')];
  // It records at the codec's rate: 16 kHz for G.722, 48 kHz and two channels for Opus.
  execFileSync('sox', [path, '-r', '8000', '-c', '1', '-b', '16', plain]);
  return readChannel(plain);
}
