/**
 * A carrier whose lines speak G.729 alone: Kamailio with an rtpengine of its own that turns the G.711 of a phone behind
 * it into G.729 and masks everything else. It shares nothing with the edge under test but the packages.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runKamailio } from './kamailio.ts';
import { startPeer, until, type Peer } from './process.ts';

export type G729CarrierOptions = {
  readonly folder: string;
  readonly address: string;
  /** `sip:host:port` that every call of a phone goes to. */
  readonly edge: string;
};

const MODULES = 'jsonrpcs kex corex tm tmx sl rr pv maxfwd textops siputils xlog ctl rtpengine';

export async function startG729Carrier(options: G729CarrierOptions): Promise<Peer> {
  const folder = join(options.folder, 'carrier');
  mkdirSync(folder, { recursive: true });
  const where = { folder, address: options.address };
  const transcoder = await startRtpengine({ ...where, firstPort: 40_000 });
  try {
    const kamailio = await runKamailio(where, (run) => configuration(options, run));
    const stop = async (): Promise<void> => {
      await Promise.all([kamailio.stop(), transcoder.stop()]);
    };
    return { ...kamailio, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await transcoder.stop();
    throw error;
  }
}

async function startRtpengine(options: {
  readonly folder: string;
  readonly address: string;
  readonly firstPort: number;
}): Promise<Peer> {
  const { folder, address, firstPort } = options;
  const peer = startPeer({
    name: 'rtpengine',
    command: 'rtpengine',
    args: [
      ...['--foreground', '--log-stderr', '--log-level=5', '--table=-1', '--config-file=none'],
      ...[`--interface=${address}`, `--listen-ng=${address}:2223`],
      ...[`--port-min=${firstPort}`, `--port-max=${firstPort + 998}`],
      ...[`--pidfile=${join(folder, 'rtpengine.pid')}`],
    ],
    logPath: join(folder, 'rtpengine.log'),
  });
  try {
    // Kamailio asks for it once at its start. The system shows addresses from their last byte on, and 2223 as 08AF.
    const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
    const shown = ` ${bytes.toReversed().join('').toUpperCase()}:08AF `;
    await until('rtpengine to listen', 10_000, () =>
      readFileSync('/proc/net/udp', 'utf8').includes(shown),
    );
    return peer;
  } catch (error) {
    await peer.stop();
    throw error;
  }
}

function configuration({ address, edge }: G729CarrierOptions, run: string): string {
  return `#!KAMAILIO
debug=2 log_stderror=yes fork=yes children=2 tcp_children=2 auto_aliases=no
listen=udp:${address}:5060
listen=tcp:${address}:5060
${MODULES.split(' ')
  .map((name) => `loadmodule "${name}.so"`)
  .join('\n')}
modparam("jsonrpcs", "transport", 0)
modparam("ctl", "binrpc", "unix:${run}/ctl")
modparam("rtpengine", "rtpengine_sock", "udp:${address}:2223")
modparam("rr", "append_fromtag", 1)
request_route {
	if (has_totag()) {
		if (loose_route()) { route(MEDIA); if (!t_relay()) sl_reply_error(); exit; }
		if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
		sl_send_reply("404", "Not Here"); exit;
	}
	if (t_lookup_request()) exit;
	if (!is_method("INVITE")) { sl_send_reply("405", "Method Not Allowed"); exit; }
	record_route();
	$du = "${edge}";
	t_on_reply("REPLY");
	route(MEDIA);
	if (!t_relay()) sl_reply_error();
}
route[MEDIA] {
	if (is_method("BYE")) { rtpengine_delete(); return; }
	if (has_body("application/sdp")) rtpengine_manage("replace-origin replace-session-connection codec-mask-all codec-transcode-G729");
}
onreply_route[REPLY] {
	if (has_body("application/sdp")) rtpengine_manage("replace-origin replace-session-connection");
}
`;
}
