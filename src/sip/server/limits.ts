/** Every bound of the transport and the parser in one place. Sizes in bytes unless the name says otherwise. */

/** A message of any transport; a UDP datagram cannot be longer. */
export const MAX_MESSAGE = 65_535;
/** Start line and header lines together; more is answered 513. */
export const MAX_HEAD = 32_768;
export const MAX_HEADER_LINES = 160;
/** One header line, folds included; more is answered 513. */
export const MAX_HEADER_LINE = 8_192;
/** More is answered 413. SDP of a call is about 1 KB; SIPREC metadata and PIDF stay far below. */
export const MAX_BODY = 32_768;
/** Values of one message that are parsed as addresses (Contact). */
export const MAX_CONTACTS = 64;

/** Open TCP connections, in and out; a further one is refused. */
export const MAX_CONNECTIONS = 2_048;
/** Of them, accepted from one address. */
export const MAX_CONNECTIONS_PER_ADDRESS = 512;
/** Unsent bytes of one connection; a peer that reads more slowly is cut off. */
export const MAX_UNSENT = 262_144;

export const CONNECT_TIMEOUT_MS = 5_000;
/** From our half-close until the peer has closed too. */
export const CLOSE_TIMEOUT_MS = 5_000;
/** An accepted connection has this long for its first message, and each message for its last byte. */
export const MESSAGE_TIMEOUT_MS = 32_000;
/** A connection without any traffic, keep-alives included. The next request opens a new one. */
export const IDLE_TIMEOUT_MS = 900_000;

/** Stateless error answers to malformed requests, so that a flood of them is not answered in kind. */
export const MAX_REJECTIONS_PER_S = 50;

/** Remembered answers to "which local address leads there". */
export const MAX_ROUTES = 256;
export const ROUTE_LIFETIME_MS = 60_000;
export const ROUTE_PROBE_TIMEOUT_MS = 1_000;
