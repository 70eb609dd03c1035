/** linphonec, driven by its prompt: speaks a WAV, records what it hears. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPeer, untilLogged, type Peer } from './process.ts';
import { readChannel, writeWav } from './wav.ts';

export type Linphone = Peer & {
  call(uri: string): Promise<void>;
  hangUp(): Promise<void>;
  /** What it heard; complete after `hangUp`. */
  heard(): Int16Array;
};

export async function startLinphone(options: {
  readonly folder: string;
  readonly address: string;
  readonly speech: Int16Array;
  /** The one codec it offers, such as `G722`; absent: whatever it has. */
  readonly codec?: string;
}): Promise<Linphone> {
  const folder = join(options.folder, 'linphone');
  const home = join(folder, 'home');
  const recording = join(folder, 'heard.wav');
  const speech = join(folder, 'speech.wav');
  const rc = join(folder, 'linphonerc');
  // linphonec does not make its data folder, and needs it.
  mkdirSync(join(home, '.local', 'share', 'linphone'), { recursive: true });
  writeWav(speech, [options.speech]);
  writeFileSync(rc, configuration(options.address));
  const { codec } = options;
  const peer = startPeer({
    name: 'linphonec',
    command: 'linphonec',
    args: ['-c', rc],
    logPath: join(folder, 'log'),
    env: { ...process.env, HOME: home },
  });
  try {
    await untilLogged(peer, /linphonec>/, 10_000);
    if (codec !== undefined) await offerOnly(peer, codec);
    peer.type('soundcard use files');
    peer.type(`record ${recording}`);
  } catch (error) {
    await peer.stop();
    throw error;
  }
  return Object.assign(peer, {
    call: async (uri: string) => {
      peer.type(`call ${uri}`);
      await untilLogged(peer, /connected\.|Call \d+ with .* (connected|established)/i, 10_000);
      peer.type(`play ${speech}`);
    },
    hangUp: async () => {
      peer.type('terminate');
      await untilLogged(peer, /ended|terminated/i, 5000);
      peer.type('quit');
      await peer.exited;
    },
    heard: () => {
      // It records at the codec's rate.
      const plain = join(folder, 'heard-8000.wav');
      execFileSync('sox', [recording, '-r', '8000', '-c', '1', '-b', '16', plain]);
      return readChannel(plain);
    },
  });
}

/** Its list has lines such as ` 6: G722 (8000) disabled`; each is switched by its number. */
async function offerOnly(peer: Peer, codec: string): Promise<void> {
  peer.type('codec disable all');
  const line = new RegExp(`^ *(\\d+): ${codec} \\(`, 'm');
  const [, number] = await untilLogged(peer, line, 5000);
  peer.type(`codec enable ${number}`);
  await untilLogged(peer, new RegExp(`: ${codec} \\(\\d+\\) enabled`), 5000);
}

function configuration(address: string): string {
  return [
    '[sip]',
    'sip_port=5060',
    'sip_tcp_port=0',
    'sip_tls_port=0',
    `bind_address=${address}`,
    'use_ipv6=0',
    'guess_hostname=0',
    `contact="linphone" <sip:linphone@${address}>`,
    'default_proxy=-1',
    '[rtp]',
    'audio_rtp_port=22000',
    'audio_adaptive_jitt_comp_enabled=0',
    `bind_address=${address}`,
    '[net]',
    'firewall_policy=1',
    `nat_address=${address}`,
    '[sound]',
    'echocancellation=0',
    'agc=0',
    'eq_active=0',
    '',
  ].join('\n');
}
