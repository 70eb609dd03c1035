/** Hosts as people write them into settings: what may stand in a SIP URI, checked before anything is stored or sent. */
import { isIP } from 'node:net';

/** A name, an IPv4 address or an IPv6 address without brackets. */
export function isHost(host: string): boolean {
  return isIP(host) !== 0 || /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?$/i.test(host);
}

/** Without `:port` behind it and the brackets of IPv6; text of another form comes back as it is. */
export function hostPartOf(text: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(text);
  return match?.[1] ?? match?.[2] ?? text;
}

/** A host, with a port if need be: some registrars want theirs in the domain. */
export function isHostWithPort(text: string): boolean {
  const port = /^(?:\[[^\]]*\]|[^:[\]]*):(\d+)$/.exec(text)?.[1];
  return isHost(hostPartOf(text)) && (port === undefined || isPort(Number(port)));
}

/** `proxy.example`, `192.0.2.1:5070`, `sip:proxy.example;transport=tcp;lr`. Not `sips:`, which nothing here speaks yet. */
export function isProxyAddress(text: string): boolean {
  const [address = '', ...params] = text.replace(/^sip:/i, '').split(';');
  return (
    isHostWithPort(address) &&
    params.every((param) => /^(?:transport=(?:udp|tcp)|lr(?:=[a-z0-9]+)?)$/i.test(param))
  );
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
