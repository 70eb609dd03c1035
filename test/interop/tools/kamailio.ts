/** Kamailio 5.6 as an edge proxy with record-route: 8xxx goes to our node, 9xxx to the called SIPp. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPeer, until, type Peer } from './process.ts';
import { isTcpOpen } from './tcp.ts';

export type KamailioOptions = {
  readonly folder: string;
  readonly address: string;
  /** `sip:host:port;transport=...` of our node and of the called party. */
  readonly node: string;
  readonly carrier: string;
  /** Calls to the carrier must log in (407, qop=auth); without, they pass. */
  readonly login?: { readonly username: string; readonly password: string };
};

const MODULES = 'jsonrpcs kex corex tm tmx sl rr pv maxfwd textops siputils xlog sanity ctl auth';

export function startKamailio(options: KamailioOptions): Promise<Peer> {
  return runKamailio(options, (run) => configuration(options, run));
}

/** Starts it on `address`:5060 with this configuration, and waits until it listens. */
export async function runKamailio(
  where: Pick<KamailioOptions, 'folder' | 'address'>,
  configured: (run: string) => string,
): Promise<Peer> {
  const folder = join(where.folder, 'kamailio');
  const run = join(folder, 'run');
  mkdirSync(run, { recursive: true });
  const path = join(folder, 'kamailio.cfg');
  writeFileSync(path, configured(run));
  const peer = startPeer({
    name: 'kamailio',
    command: 'kamailio',
    args: ['-f', path, '-DD', '-E', '-Y', run, '-m', '64', '-M', '8'],
    logPath: join(folder, 'log'),
  });
  // The main process ends its own workers on SIGTERM; they are in its care.
  await until('kamailio to listen', 10_000, () => {
    if (!peer.isRunning) throw new Error(`kamailio exited: ${peer.log().slice(-2000)}`);
    return peer.log().includes('Listening on') && isTcpOpen(where.address, 5060);
  }).catch(async (error: unknown) => {
    await peer.stop();
    throw error;
  });
  return peer;
}

function configuration(options: KamailioOptions, run: string): string {
  const { address } = options;
  return `#!KAMAILIO
debug=2 log_stderror=yes fork=yes children=2 tcp_children=2 auto_aliases=no
listen=udp:${address}:5060
listen=tcp:${address}:5060
${MODULES.split(' ')
  .map((name) => `loadmodule "${name}.so"`)
  .join('\n')}
modparam("jsonrpcs", "transport", 0)
modparam("ctl", "binrpc", "unix:${run}/ctl")
modparam("tm", "fr_timer", 5000)
modparam("tm", "fr_inv_timer", 60000)
modparam("rr", "append_fromtag", 1)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", 60)
request_route {
	if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (!sanity_check()) exit;
	if (is_method("OPTIONS") && uri == myself) { sl_send_reply("200", "OK"); exit; }
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (loose_route()) { if (!t_relay()) sl_reply_error(); exit; }
		if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
		sl_send_reply("404", "Not Here"); exit;
	}
	if (t_lookup_request()) exit;
	if (is_method("INVITE")) record_route();
	if ($rU =~ "^8[0-9]+$") { $du = "${options.node}"; if (!t_relay()) sl_reply_error(); exit; }
	if ($rU =~ "^\\+?9[0-9]+$") {
${login(options)}
		$du = "${options.carrier}"; if (!t_relay()) sl_reply_error();
		exit;
	}
	sl_send_reply("404", "Unknown User");
}
`;
}

function login({ login: wanted }: KamailioOptions): string {
  if (wanted === undefined) return '';
  return `		if (is_method("INVITE")) {
			if ($au != "${wanted.username}" || !pv_proxy_authenticate("edge.test", "${wanted.password}", "0")) {
				proxy_challenge("edge.test", "1"); exit;
			}
			consume_credentials();
		}`;
}
