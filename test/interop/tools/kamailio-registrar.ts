/** Kamailio 5.6 as the registrar of a carrier: digest by its auth module, bindings by usrloc, calls to and from them. */
import { runKamailio } from './kamailio.ts';
import type { Peer } from './process.ts';

export type RegistrarOptions = {
  readonly folder: string;
  readonly address: string;
  readonly realm: string;
  readonly username: string;
  readonly password: string;
  /** What it grants at most; nonces live as long. */
  readonly maxExpiresS: number;
  /** Calls to this number go to the binding of `username`. */
  readonly number: string;
};

const MODULES =
  'jsonrpcs kex corex tm tmx sl rr pv maxfwd textops siputils xlog sanity ctl auth usrloc registrar';

/** Its log has a line `REGISTER <code> <user> <contact> <expires>` for each REGISTER it took. */
export function startRegistrar(options: RegistrarOptions): Promise<Peer> {
  return runKamailio(options, (run) => configuration(options, run));
}

function configuration(options: RegistrarOptions, run: string): string {
  const { address, realm, username, password, maxExpiresS, number } = options;
  return `#!KAMAILIO
debug=2 log_stderror=yes fork=yes children=2 tcp_children=2 auto_aliases=no alias="${realm}"
listen=udp:${address}:5060
listen=tcp:${address}:5060
${MODULES.split(' ')
  .map((name) => `loadmodule "${name}.so"`)
  .join('\n')}
modparam("jsonrpcs", "transport", 0)
modparam("ctl", "binrpc", "unix:${run}/ctl")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_expires", ${maxExpiresS})
modparam("rr", "append_fromtag", 1)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", ${maxExpiresS})
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
	if (is_method("REGISTER")) {
		if ($au != "${username}" || !pv_www_authenticate("${realm}", "${password}", "0")) {
			xlog("L_WARN", "REGISTER 401 $tU $ct $hdr(Expires)\\n");
			www_challenge("${realm}", "1"); exit;
		}
		xlog("L_WARN", "REGISTER 200 $tU $ct $hdr(Expires)\\n");
		if (!save("location")) sl_reply_error();
		exit;
	}
	if (is_method("INVITE")) record_route();
	if ($rU == "${number}") {
		$ru = "sip:${username}@${realm}";
		if (!lookup("location")) { sl_send_reply("480", "Not Registered"); exit; }
		if (!t_relay()) sl_reply_error();
		exit;
	}
	sl_send_reply("404", "Unknown User");
}
`;
}
