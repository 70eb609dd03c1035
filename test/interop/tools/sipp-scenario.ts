/** SIPp scenarios as text. SIPp needs the XML declaration on the very first line and no blank line before a request. */
import { createHash } from 'node:crypto';

const DECLARATION = '<?xml version="1.0" encoding="ISO-8859-1" ?>';
const EMPTY = 'Content-Length: 0';

export type UacScenario = {
  /** How the call goes on between ACK and BYE; `media` plays a raw G.711 file that is in the run's folder. */
  readonly talkMs: number;
  readonly media?: { readonly file: string; readonly codec: 'PCMU' | 'PCMA' };
  readonly codec?: 'PCMU' | 'PCMA';
  /** The far side hangs up: the scenario waits for its BYE instead of sending one. */
  readonly waitForBye?: boolean;
};

/** What a right answer to our 407 looks like. `uri` is the Request-URI that the caller must sign. */
export type DigestCheck = {
  readonly username: string;
  readonly password: string;
  readonly realm: string;
  readonly uri: string;
};

export type UasScenario = {
  readonly ringMs: number;
  /** Challenge with 407 and verify the answer; without, the call is taken as it is. */
  readonly digest?: DigestCheck;
  /** Refuse with this status instead of answering. */
  readonly refuse?: string;
  /** Ends the call itself after this; else it waits for BYE. */
  readonly byeAfterMs?: number;
  readonly media?: { readonly file: string; readonly codec: 'PCMU' | 'PCMA' };
};

function sdp(codec: 'PCMU' | 'PCMA', port: string): string {
  const type = codec === 'PCMU' ? 0 : 8;
  return `Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio ${port} RTP/AVP ${type} 101
a=rtpmap:${type} ${codec}/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20`;
}

function request(
  method: string,
  uri: string,
  to: string,
  cseq: string,
  tail: string,
  attributes = '',
): string {
  return `<send${attributes}><![CDATA[
${method} ${uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]>;tag=[pid]C[call_number]
${to}
[routes]
Call-ID: [call_id]
CSeq: ${cseq}
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
${tail}

]]></send>
`;
}

function response(status: string, toTag: string, tail: string, attributes = ''): string {
  return `<send${attributes}><![CDATA[
SIP/2.0 ${status}
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:]${toTag}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
${tail}

]]></send>
`;
}

/** rtp_stream sends from one port for all calls of the process, which is then the one to advertise. */
function portOf(media: object | undefined): string {
  return media === undefined ? '[media_port]' : '[rtpstream_audio_port]';
}

function play(media: { file: string; codec: string }): string {
  const type = media.codec === 'PCMU' ? 0 : 8;
  return `<nop><action><exec rtp_stream="${media.file},1,${type},${media.codec}/8000"/></action></nop>\n`;
}

/** A caller: INVITE, ACK, talk, BYE. Timer `invite` is INVITE to 200. */
export function uacXml(scenario: UacScenario): string {
  const codec = scenario.media?.codec ?? scenario.codec ?? 'PCMU';
  const uri = 'sip:[service]@[remote_ip]:[remote_port]';
  const parts = [
    `${DECLARATION}<scenario name="uac">\n`,
    request(
      'INVITE',
      uri,
      'To: <sip:[service]@[remote_ip]>',
      '1 INVITE',
      sdp(codec, portOf(scenario.media)),
      ' retrans="500" start_rtd="invite"',
    ),
    '<recv response="100" optional="true"/><recv response="180" optional="true"/><recv response="183" optional="true"/>',
    '<recv response="200" rtd="invite" rrs="true"/>\n',
    request('ACK', '[next_url]', '[last_To:]', '1 ACK', EMPTY),
    scenario.media === undefined ? '' : play(scenario.media),
  ];
  if (scenario.waitForBye) {
    parts.push(
      `<recv request="BYE" timeout="${scenario.talkMs}"/>\n`,
      response('200 OK', '', EMPTY),
    );
  } else {
    parts.push(
      `<pause milliseconds="${scenario.talkMs}"/>\n`,
      request('BYE', '[next_url]', '[last_To:]', '2 BYE', EMPTY, ' retrans="500" start_rtd="bye"'),
      '<recv response="200" rtd="bye"/>\n',
    );
  }
  parts.push('<ResponseTimeRepartition value="5,10,20,50,100,200,500,1000,3000"/></scenario>\n');
  return parts.join('');
}

/** A called party: optionally 407 and a verified answer, ringing, 200, ACK, BYE. */
export function uasXml(scenario: UasScenario): string {
  const tag = ';tag=[pid]S[call_number]';
  const keep = scenario.byeAfterMs === undefined ? '' : KEEP_PARTIES;
  const parts = [
    `${DECLARATION}<scenario name="uas">\n`,
    `<recv request="INVITE" rrs="true">${keep}</recv>\n`,
  ];
  if (scenario.digest) parts.push(...challenge(scenario.digest, tag));
  if (scenario.refuse !== undefined) {
    parts.push(response(scenario.refuse, tag, EMPTY), '<recv request="ACK"/></scenario>\n');
    return parts.join('');
  }
  parts.push(
    response('180 Ringing', tag, EMPTY),
    `<pause milliseconds="${scenario.ringMs}"/>\n`,
    response('200 OK', tag, sdp(scenario.media?.codec ?? 'PCMU', '[media_port]'), ' retrans="500"'),
    '<recv request="ACK"/>\n',
    scenario.media === undefined ? '' : play(scenario.media),
  );
  if (scenario.byeAfterMs !== undefined) {
    parts.push(
      `<pause milliseconds="${scenario.byeAfterMs}"/>\n`,
      uasBye(),
      '<recv response="200"/>\n',
    );
  } else parts.push('<recv request="BYE"/>\n', response('200 OK', '', EMPTY));
  if (scenario.digest) parts.push(...refusal(scenario.digest.realm, tag));
  parts.push('</scenario>\n');
  return parts.join('');
}

function challenge(digest: DigestCheck, tag: string): string[] {
  // SIPp's verifyauth never looks at Proxy-Authorization, so the expected answer (RFC 2617 3.2.2.1, no qop) is compared.
  const expected = `<ereg regexp="response=.?${digestResponse(digest)}" search_in="hdr" header="Proxy-Authorization:" assign_to="good"/>`;
  return [
    response(
      '407 Proxy Authentication Required',
      tag,
      `${challengeHeader(digest.realm)}\n${EMPTY}`,
    ),
    '<recv request="ACK"/>\n',
    `<recv request="INVITE" rrs="true"><action>${expected}</action></recv>\n`,
    '<nop hide="true" test="good" next="good"/>\n',
    '<nop hide="true" next="bad"/>\n',
    '<label id="good"/>\n',
  ];
}

const NONCE = '47ebe028cda119c35d4877b383027d28';

function challengeHeader(realm: string): string {
  return `Proxy-Authenticate: Digest realm="${realm}", nonce="${NONCE}", algorithm=MD5`;
}

function digestResponse(digest: DigestCheck): string {
  const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
  const secret = md5(`${digest.username}:${digest.realm}:${digest.password}`);
  return md5(`${secret}:${NONCE}:${md5(`INVITE:${digest.uri}`)}`);
}

/** A wrong answer is challenged again: the caller must then give up. */
function refusal(realm: string, tag: string): string[] {
  return [
    '<nop hide="true" next="end"/>\n',
    '<label id="bad"/>\n',
    response('407 Proxy Authentication Required', tag, `${challengeHeader(realm)}\n${EMPTY}`),
    '<recv request="ACK"/>\n',
    '<label id="end"/>\n',
    '<timewait milliseconds="100"/>\n',
  ];
}

/** BYE from the called side: From and To of the INVITE change places; the route set is that of the INVITE. */
function uasBye(): string {
  return `<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: [$callee];tag=[pid]S[call_number]
To: [$caller]
[routes]
Call-ID: [call_id]
CSeq: 1 BYE
Max-Forwards: 70
${EMPTY}

]]></send>
`;
}

/** Keeps the parties of the INVITE for a BYE of our own. */
const KEEP_PARTIES =
  '<action><ereg regexp=".*" search_in="hdr" header="From:" assign_to="caller"/>' +
  '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="callee"/></action>';
